"""hyperjax report: the page of a study that is kept somewhere."""

from pathlib import Path
from typing import Annotated

import typer

from hyperjax.cli.values import number

EPILOG = (
    "Examples:\n\n"
    "  hyperjax report out\n\n"
    "  hyperjax report out --watch\n\n"
    "  hyperjax report out --storage postgresql://host/studies --name night --watch\n\n"
    "It reads what is kept of a study that runs, here or elsewhere, or was killed. It neither trains nor disturbs."
)


def report(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of the study; the files are written there.", metavar="DIR", show_default=False),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="Write again whenever trials have ended, until all are there or Ctrl-C.")
    ] = False,
    every: Annotated[
        str, typer.Option(help="Seconds between two looks, and between two loads of the page.", metavar="SECONDS")
    ] = "5",
    storage: Annotated[
        str | None, typer.Option(help="Where the study is kept. Default: DIR/study.journal.", metavar="URL")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the study in its storage.", metavar="NAME")] = "hyperjax",
) -> None:
    """Write the page of a study that runs or was stopped, from what is kept of it."""
    from hyperjax.checks import within
    from hyperjax.reports.folder import prepare_folder
    from hyperjax.reports.watching import watch as watch_study
    from hyperjax.reports.watching import write_once
    from hyperjax.studies.reading import StudyReader
    from hyperjax.studies.storage import JOURNAL

    pause = number(every)
    if isinstance(pause, str):
        raise ValueError(f"every must be a number above 0, got {pause!r}")
    within("every", pause, 0.0, open_low=True)
    where = storage or str(folder / JOURNAL)
    with StudyReader(where, name) as reader:
        prepare_folder(folder, storage=where)
        if watch:
            watch_study(reader, folder, pause, print)
        else:
            print(write_once(reader, folder))
    print(f"Next: open {folder / 'report.html'} in a browser")
