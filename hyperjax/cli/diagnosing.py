"""What the commands of diagnostics have in common: how a result is printed and written."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hyperjax.diagnostics import Diagnostic

Output = Annotated[
    Path | None, typer.Option("--output", help="Folder in which to write a page of it. Default: none.", metavar="DIR")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of words and a table.")]


def make_folder(output: Path | None) -> None:
    """Make the folder of the page before anything is measured, so that nothing is measured for a page that cannot be.

    Args:
        output: as a command takes it; None: no page.
    Raises: ValueError for what is no folder that can be written.
    """
    from hyperjax.reports.folder import prepare_folder

    if output is not None:
        prepare_folder(output, overwrite=True)


def show(result: "Diagnostic", output: Path | None, as_json: bool, data: dict[str, Any] | None = None) -> None:
    """Print a diagnostic: its answer, then its table; and write its page where one is wanted.

    Args:
        result: the diagnostic.
        output: folder of the page, `report.html`; None: no page.
        as_json: print it as JSON instead.
        data: what JSON is printed; None: the result's own.
    """
    from rich.console import Console
    from rich.table import Table

    from hyperjax.reports import report
    from hyperjax.reports.wording import value_text

    console = Console(highlight=False, stderr=as_json)
    if as_json:
        print(json.dumps(result.to_json() if data is None else data, indent=2))
    else:
        console.print(result.answer, markup=False)
        headings, rows = result.table
        if rows:
            table = Table(box=None, header_style="bold", pad_edge=False)
            for heading in headings:
                table.add_column(heading, justify="left")
            for row in rows:
                table.add_row(*(cell if isinstance(cell, str) else value_text(cell) for cell in row))
            console.print()
            console.print(table)
    if output is not None:
        page = report(result, output / "report.html")
        console.print(f"\nWrote {page}", markup=False)
        console.print(f"Next: open {page} in a browser", markup=False)
