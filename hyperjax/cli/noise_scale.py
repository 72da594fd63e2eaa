"""hyperjax noise-scale: the gradient noise scale of a task, and the critical batch size."""

from typing import Annotated, Any

import typer

from hyperjax.cli.diagnosing import AsJson, Output, make_folder, show
from hyperjax.cli.recipes import BatchSize, Epochs, LearningRate, Optimizer, RecipeFile, recipe_of
from hyperjax.cli.values import number, seed_of

EPILOG = (
    "Examples:\n\n"
    "  hyperjax noise-scale digits\n\n"
    "  hyperjax noise-scale digits --optimizer sgd --learning-rate 0.1 --batch-size 64 --output out\n\n"
    "  hyperjax noise-scale mypackage.mymodule:task --recipe out/best.json --json\n\n"
    "Up to the critical batch size, twice the batch halves the steps; beyond it, it doubles the examples. The loss is "
    "that which is minimized, and the plain gradient: for adaptive optimizers it is an indication."
)


def noise_scale(
    task: Annotated[str, typer.Argument(help="Name of a task; see: hyperjax tasks.")],
    recipe: RecipeFile = None,
    optimizer: Optimizer = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    points: Annotated[str, typer.Option(help="Moments of the run at which to measure.", metavar="N")] = "5",
    examples: Annotated[
        str | None,
        typer.Option(help="Examples to look at, at each moment. Default: 1280, or 48 batches, or all.", metavar="N"),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="per_example, two_batches (where examples meet, as in BatchNorm), or auto.", metavar="NAME"),
    ] = "auto",
    hessian: Annotated[bool, typer.Option(help="Measure the form with the Hessian too.")] = True,
    seed: Annotated[str, typer.Option(help="Seed of the run.", metavar="N")] = "0",
    output: Output = None,
    as_json: AsJson = False,
    cache: Annotated[bool, typer.Option(help="Keep compiled programs for the next time.")] = True,
) -> None:
    """Measure how noisy the gradients of a run are, and what another batch size would need."""
    from hyperjax import diagnostics
    from hyperjax.checks import positive_integer
    from hyperjax.cli.programs import keep_compiled_programs
    from hyperjax.tasks import find

    many = None if examples is None else positive_integer("examples", number(examples))
    moments, start = positive_integer("points", number(points)), seed_of(seed)
    chosen = recipe_of(recipe, optimizer, learning_rate, batch_size, epochs)
    learnt = find(task)
    make_folder(output)
    keep_compiled_programs(cache)
    asked: dict[str, Any] = {"points": moments, "examples": many, "method": method, "hessian": hessian, "seed": start}
    show(diagnostics.noise_scale(learnt, chosen, **asked), output, as_json)
