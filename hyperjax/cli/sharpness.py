"""hyperjax sharpness: the curvature of the loss along a run."""

from typing import Annotated

import typer

from hyperjax.cli.diagnosing import AsJson, Output
from hyperjax.cli.recipes import BatchSize, Epochs, LearningRate, Optimizer, RecipeFile, recipe_of
from hyperjax.cli.values import number, seed_of

EPILOG = (
    "Examples:\n\n"
    "  hyperjax sharpness digits --optimizer sgd --learning-rate 0.2 --batch-size full --epochs 200\n\n"
    "  hyperjax sharpness digits --recipe out/best.json --output out\n\n"
    "Above the limit of the optimizer the steps along the sharpest direction grow. Full batches sharpen a network "
    "up to it and hover there (the edge of stability); below it there is room for a larger rate."
)


def sharpness(
    task: Annotated[str, typer.Argument(help="Name of a task; see: hyperjax tasks.")],
    recipe: RecipeFile = None,
    optimizer: Optimizer = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    points: Annotated[str, typer.Option(help="Moments of the run to measure at, 2 or more.", metavar="N")] = "10",
    examples: Annotated[
        str | None, typer.Option(help="Training examples to measure on. Default: all.", metavar="N")
    ] = None,
    seed: Annotated[str, typer.Option(help="Seed of the run.", metavar="N")] = "0",
    output: Output = None,
    as_json: AsJson = False,
    cache: Annotated[bool, typer.Option(help="Keep compiled programs for the next time.")] = True,
) -> None:
    """Train a recipe and follow how sharp its loss is, against what its optimizer can bear."""
    from hyperjax.checks import positive_integer
    from hyperjax.cli.diagnosing import make_folder, show
    from hyperjax.cli.programs import keep_compiled_programs
    from hyperjax.diagnostics import sharpness as measure
    from hyperjax.tasks import find

    trained = recipe_of(recipe, optimizer, learning_rate, batch_size, epochs)
    start = seed_of(seed)
    some = None if examples is None else positive_integer("examples", number(examples))
    many = positive_integer("points", number(points))
    learnt = find(task)
    make_folder(output)
    keep_compiled_programs(cache)
    show(measure(learnt, trained, seed=start, points=many, examples=some), output, as_json)
