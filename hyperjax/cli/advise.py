"""hyperjax advise: a first recipe for a task that nobody has trained yet."""

from typing import Annotated

import typer

from hyperjax.cli.diagnosing import AsJson, Output
from hyperjax.cli.values import seed_of

EPILOG = (
    "Examples:\n\n"
    "  hyperjax advise digits\n\n"
    "  hyperjax advise words --budget 2m --output out\n\n"
    "  hyperjax advise mypackage.mymodule:task --budget 90s --json\n\n"
    "The budget is for everything, the comparison with the default recipe too. With --output the recipe is written as "
    "JSON, recipe.json, which other commands take as --recipe."
)


def advise(
    task: Annotated[str, typer.Argument(help="Name of a task; see: hyperjax tasks.")],
    budget: Annotated[str, typer.Option(help="Time for everything: 90, 90s, 1m, 0.5h.", metavar="TIME")] = "1m",
    seed: Annotated[str, typer.Option(help="Of what is drawn, and first of the runs.", metavar="N")] = "0",
    metric: Annotated[
        str | None, typer.Option(help="Metric that ranks. Default: the task's own.", metavar="NAME")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
    cache: Annotated[bool, typer.Option(help="Keep compiled programs for the next time.")] = True,
) -> None:
    """Find a first recipe for a task, and say what each of its numbers rests on."""
    from hyperjax.advice import advise as find_recipe
    from hyperjax.cli.diagnosing import make_folder, show
    from hyperjax.cli.programs import keep_compiled_programs
    from hyperjax.tasks import find

    start = seed_of(seed)
    learnt = find(task)
    make_folder(output)
    keep_compiled_programs(cache)
    found = find_recipe(learnt, budget, seed=start, metric=metric)
    show(found, output, as_json)
    if output is not None:
        (output / "recipe.json").write_text(found.recipe.to_json(indent=2) + "\n", "utf-8")
