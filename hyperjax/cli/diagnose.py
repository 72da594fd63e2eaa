"""hyperjax diagnose: what is wrong with a training curve that some framework wrote down."""

from pathlib import Path
from typing import Annotated

import typer

from hyperjax.cli.diagnosing import AsJson, Output, make_folder, show
from hyperjax.cli.recipes import recipe_of

EPILOG = (
    "Examples:\n\n"
    "  hyperjax diagnose curve.csv\n\n"
    "  hyperjax diagnose curve.csv --recipe out/best.json\n\n"
    "  hyperjax diagnose curve.csv --json\n\n"
    "The table has a column of training losses and, if there are any, of steps or epochs, validation losses and "
    "learning rates, by the names that frameworks give them. Without a recipe advice is by factors."
)


def diagnose(
    file: Annotated[
        Path,
        typer.Argument(
            help="Table of the losses: CSV, or with semicolons or tabs.", metavar="FILE", show_default=False
        ),
    ],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="What was trained, as JSON; advice then has values.", metavar="JSON")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a training curve, how sure that is, and what to set instead."""
    from hyperjax.diagnostics import Curve
    from hyperjax.diagnostics import diagnose as diagnosed
    from hyperjax.diagnostics.curves.diagnosis import as_data

    curve = Curve.read_csv(file)
    if recipe is not None:
        curve.recipe = recipe_of(recipe)
    make_folder(output)
    result = diagnosed(curve)
    show(result, output, as_json, dict(as_data(result)))
