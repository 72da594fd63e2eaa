"""Recipes as somebody types them: a file, single fields, or both."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperjax.cli.values import number

if TYPE_CHECKING:
    from hyperjax.training import Recipe

RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        help="JSON of a recipe, or the best.json of a study. Default: Adam at 0.001, batches of 32, 10 epochs.",
        metavar="FILE",
    ),
]
Optimizer = Annotated[str | None, typer.Option(help="Name of an optimizer, over the recipe's own.", metavar="NAME")]
LearningRate = Annotated[str | None, typer.Option(help="Learning rate, over the recipe's own.", metavar="RATE")]
BatchSize = Annotated[str | None, typer.Option(help="Examples a step, or full; over the recipe's own.", metavar="N")]
Epochs = Annotated[str | None, typer.Option(help="Passes over the training set, over the recipe's own.", metavar="N")]


def recipe_of(
    file: Path | None = None,
    optimizer: str | None = None,
    learning_rate: str | None = None,
    batch_size: str | None = None,
    epochs: str | None = None,
) -> "Recipe":
    """The recipe that is meant by the options of a command.

    Args:
        file: of a recipe's JSON, or a study's best.json, whose winner's it is, or else its best trial's; None: the
            default recipe.
        optimizer, learning_rate, batch_size, epochs: as typed, over what the file says; None: as it is there.
    Raises: ValueError for a file that cannot be read or holds no recipe, and for what a recipe refuses.

    >>> recipe_of(optimizer="sgd", learning_rate="0.1", batch_size="64")
    Recipe(optimizer='sgd', learning_rate=0.1, batch_size=64)
    """
    from hyperjax.training import Recipe

    recipe = Recipe() if file is None else _read(file)
    typed = {"learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs}
    changes: dict[str, Any] = {name: number(text) for name, text in typed.items() if text is not None}
    return recipe.replace(**changes, **({} if optimizer is None else {"optimizer": optimizer}))


def _read(file: Path) -> "Recipe":
    from hyperjax.training import Recipe

    try:
        text = file.read_text("utf-8")
        data = json.loads(text)
    except OSError as error:
        raise ValueError(f"recipe must be a file that can be read, got {str(file)!r}: {error.strerror}") from None
    except ValueError as error:  # neither UTF-8 nor JSON
        raise ValueError(f"recipe must be a file of JSON, got {str(file)!r}: {error}") from None
    if isinstance(data, dict) and "best" in data:  # a study's
        found = data.get("winner") or data["best"]
        if not isinstance(found, dict) or "recipe" not in found:
            raise ValueError(
                f"recipe must be a file that holds a recipe, got {str(file)!r} of a study without a best one"
            )
        text = json.dumps(found["recipe"])
    return Recipe.from_json(text)
