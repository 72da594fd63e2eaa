"""hyperjax batch-cost: what batch sizes cost, and the largest that fits."""

from typing import Annotated

import typer

from hyperjax.cli.diagnosing import AsJson, Output, make_folder, show
from hyperjax.cli.recipes import BatchSize, Epochs, LearningRate, Optimizer, RecipeFile, recipe_of
from hyperjax.cli.values import number

EPILOG = (
    "Examples:\n\n"
    "  hyperjax batch-cost digits\n\n"
    "  hyperjax batch-cost digits_cnn --sizes 16,64,256 --output out\n\n"
    "  hyperjax batch-cost digits --generalization --seeds 5 --json\n\n"
    "What does not fit in memory is never run: it is compiled, and XLA's analysis of it is held against what is free."
)


def batch_cost(
    task: Annotated[str, typer.Argument(help="Name of a task; see: hyperjax tasks.")],
    recipe: RecipeFile = None,
    optimizer: Optimizer = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    sizes: Annotated[
        str | None,
        typer.Option(help="Batch sizes to measure, by commas. Default: powers of two from 8.", metavar="N,N,..."),
    ] = None,
    generalization: Annotated[
        bool, typer.Option("--generalization", help="Train with some of the sizes too, and compare what is learnt.")
    ] = False,
    seeds: Annotated[str, typer.Option(help="Seeds of those runs.", metavar="N")] = "5",
    memory: Annotated[
        str | None, typer.Option(help="Gigabytes that a program may need. Default: what is free.", metavar="GB")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
    cache: Annotated[bool, typer.Option(help="Keep compiled programs for the next time.")] = True,
) -> None:
    """Measure what batch sizes cost in time and memory, and say which to take."""
    from hyperjax import diagnostics
    from hyperjax.checks import one_number, positive_integer
    from hyperjax.cli.programs import keep_compiled_programs
    from hyperjax.tasks import find

    each = None if sizes is None else [positive_integer("sizes", number(text.strip())) for text in sizes.split(",")]
    repeats = positive_integer("seeds", number(seeds))
    limit = None if memory is None else number(memory)
    if limit is not None:
        one_number("memory", limit, 0.0, open_low=True)
    chosen = recipe_of(recipe, optimizer, learning_rate, batch_size, epochs)
    learnt = find(task)
    make_folder(output)
    keep_compiled_programs(cache)
    available = None if limit is None else 1e9 * float(limit)
    found = diagnostics.batch_cost(learnt, chosen, each, generalization=generalization, seeds=repeats, memory=available)
    show(found, output, as_json)
