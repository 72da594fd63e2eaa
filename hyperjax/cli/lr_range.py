"""hyperjax lr-range: which learning rates train, which blow up, and one to take."""

from typing import Annotated

import typer

from hyperjax.cli.diagnosing import AsJson, Output, make_folder, show
from hyperjax.cli.recipes import BatchSize, Optimizer, RecipeFile, recipe_of
from hyperjax.cli.values import number

EPILOG = (
    "Examples:\n\n"
    "  hyperjax lr-range digits\n\n"
    "  hyperjax lr-range digits --optimizer sgd --batch-size 128 --output out\n\n"
    "  hyperjax lr-range mypackage.mymodule:task --recipe out/best.json --steps 300 --json\n\n"
    "It trains constant rates side by side for some steps with several seeds, or with --method ramp one run a seed "
    "whose rate rises. It suggests no rate where the loss does not say which: then it says why."
)


def lr_range(
    task: Annotated[str, typer.Argument(help="Name of a task; see: hyperjax tasks.")],
    low: Annotated[str, typer.Option(help="Lowest rate.", metavar="RATE")] = "1e-7",
    high: Annotated[str, typer.Option(help="Highest rate.", metavar="RATE")] = "10",
    method: Annotated[str, typer.Option(help="population or ramp.", metavar="NAME")] = "population",
    rates: Annotated[str, typer.Option(help="How many rates, of a population.", metavar="N")] = "64",
    seeds: Annotated[str, typer.Option(help="How many seeds to train each rate with.", metavar="N")] = "3",
    steps: Annotated[
        str | None, typer.Option(help="Steps of each run. Default: 100, of a ramp 400.", metavar="N")
    ] = None,
    recipe: RecipeFile = None,
    optimizer: Optimizer = None,
    batch_size: BatchSize = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Find the learning rates that train, and one to take."""
    from hyperjax.checks import positive_integer
    from hyperjax.cli.programs import keep_compiled_programs
    from hyperjax.diagnostics import lr_range_test
    from hyperjax.tasks import find

    learnt, tried = find(task), recipe_of(recipe, optimizer=optimizer, batch_size=batch_size)
    count = positive_integer("seeds", number(seeds))
    make_folder(output)
    keep_compiled_programs(True)
    result = lr_range_test(
        learnt,
        tried,
        number(low),  # type: ignore[arg-type] # a text is refused there
        number(high),  # type: ignore[arg-type]
        method=method,
        rates=number(rates),  # type: ignore[arg-type]
        seeds=range(count),
        steps=None if steps is None else number(steps),  # type: ignore[arg-type]
    )
    show(result, output, as_json)
