"""A study's folder written by whoever looks on: once, or again and again while the study grows."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from hyperjax.reports.folder import FILES, write_study
from hyperjax.reports.study_page import Running
from hyperjax.reports.wording import plural
from hyperjax.studies.reading import StudyReader
from hyperjax.studies.study import Study

REST = 3  # times as long as writing took, so that training keeps its cores


def write_once(reader: StudyReader, folder: Path, running: float | None = None) -> str:
    """Write what there is of a study, unless the study itself has written as much.

    Args:
        reader: of the study.
        folder: where the files go.
        running: seconds after which the page is to load itself again; None: never.
    Returns: a sentence on what was done.
    Raises: ValueError or OSError where it cannot be read or written.
    """
    return _write(reader.read(), folder, running)


def watch(reader: StudyReader, folder: Path, every: float, say: Callable[[str], None]) -> None:
    """Write a study whenever it has grown, until all trials are there that were asked for.

    On Ctrl-C the page is written once more, so that it does not go on loading itself.

    Args:
        reader, folder: as in `write_once`.
        every: least seconds between two looks.
        say: told what was done.
    """
    written, running = -1, True
    try:
        while running:
            begin, study = time.perf_counter(), reader.read()
            count, asked = len(study.trials), study.conditions.get("asked_trials")
            running = asked is None or count < asked
            if count != written:
                say(_write(study, folder, every if running else None))
                written = count
            if running:
                time.sleep(max(every, REST * (time.perf_counter() - begin)))
    except KeyboardInterrupt:
        _write(reader.read(), folder, None)
        raise


def _write(study: Study, folder: Path, running: float | None) -> str:
    count, asked = len(study.trials), study.conditions.get("asked_trials")
    if _own(folder, study):
        return f"{folder / 'report.html'} is the study's own, of the same {plural(count, 'trial')}: left as it is."
    write_study(study, folder, None if running is None else Running(running, time.strftime("%H:%M:%S")))
    of_all = f" of {asked}" if asked is not None else ""
    return f"Wrote {folder / 'report.html'}, trials.csv and best.json: {count}{of_all} trials."


def _own(folder: Path, study: Study) -> bool:
    """Whether the files are those that the study wrote at its end, with no fewer trials."""
    try:
        told = json.loads((folder / "best.json").read_text("utf-8"))
        theirs = told["conditions"]
        own = theirs["storage"] == study.conditions["storage"] and "last_trial" not in theirs
        return bool(own and told["trials"] >= len(study.trials)) and all((folder / name).is_file() for name in FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False
