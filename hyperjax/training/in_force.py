"""The numbers of a recipe as they were used, step by step."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from hyperjax import activations, losses, optimizers
from hyperjax.checks import one_of
from hyperjax.schedules import Schedule
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.training.recipe_checks import LOOKAHEAD
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure


def in_force(
    task: Task,
    structure: Structure,
    recipe: Recipe,
    settings: Settings,
    scale: np.ndarray | None,
    name: str,
    steps: np.ndarray,
) -> np.ndarray:
    """Values of one of a recipe's numbers at some steps.

    Args:
        task, structure: what was trained, and the static part of how.
        recipe, settings: what was written, and the leaves that it became.
        scale: f32[all steps], what a plateau left of the rate; None where none was followed.
        name: "learning_rate", or any other number that the recipe has or takes a default for: "weight_decay", "b1",
            and with its field where two are called alike, "loss_arguments.alpha" and "activation_arguments.alpha".
        steps: i64[n].
    Returns: f32[n].
    Raises: ValueError for a name that this recipe has no number for.
    """
    if name == "learning_rate":
        rate = np.broadcast_to(np.asarray(settings.rate_at(steps), np.float32), steps.shape)
        rate = rate * structure.rate_factors(steps).astype(np.float32) if structure.ramp else rate
        return rate if scale is None else rate * scale[steps]
    known = {"learning_rate": recipe.learning_rate, **numbers_of(recipe, task)}
    number = known[full_name("name", name, known)]
    if isinstance(number, Schedule):
        number = number.resolve(structure.epoch_starts(int(settings.steps)))(steps)
    return np.broadcast_to(np.asarray(number, np.float32), steps.shape)


def full_name(argument: str, name: str, known: Collection[str]) -> str:
    """The name of a number with the field that it is in, where a bare one says which.

    Args:
        argument: what the message calls it.
        name: bare or full; known: full ones.
    Raises: ValueError for a name that is not known, or that two fields have.

    >>> full_name("name", "b1", ["learning_rate", "optimizer_arguments.b1"])
    'optimizer_arguments.b1'
    """
    fields = [full for full in known if full.partition(".")[2] == name]
    if name in known or not fields:
        bare = (full.partition(".")[2] for full in known)
        return one_of(argument, name, [*known, *filter(None, bare)])
    if len(fields) > 1:
        raise ValueError(f"{argument} must say which of {' and '.join(fields)} is meant, got {name!r}")
    return fields[0]


def numbers_of(recipe: Recipe, task: Task) -> dict[str, Any]:
    """Every number of a recipe: a field's own by its name, one of several in a field as `field.name`."""
    known: dict[str, Any] = {"weight_decay": recipe.weight_decay, "momentum": recipe.momentum, "l2": recipe.l2}
    known |= {field: getattr(recipe, field) for field in ("l1", "proximal_l1", "gradient_noise", "dropout")}
    for field in ("clip_norm", "clip_value", "clip_adaptive", "max_norm"):
        value = getattr(recipe, field)
        known[field] = math.inf if value is None else value
    for field in ("sam", "average"):
        known[field] = getattr(recipe, field) or 0.0
    several: dict[str, dict[str, Any]] = {"optimizer_arguments": dict(recipe.optimizer_arguments)}
    if isinstance(recipe.optimizer, str):
        defaults = {n: a.default for n, a in optimizers.numbers(recipe.optimizer).items() if a.default is not None}
        for field in ("weight_decay", "momentum", "l2"):
            default = defaults.pop(field, 0.0)
            known[field] = default if known[field] is None else known[field]
        several["optimizer_arguments"] = defaults | several["optimizer_arguments"]
    smoothing = {} if recipe.label_smoothing is None else {"label_smoothing": recipe.label_smoothing}
    several["loss_arguments"] = dict(recipe.loss_arguments) | smoothing
    if isinstance(task.loss, str) and task.kind is not None:
        row = losses.LOSSES[task.kind][recipe.loss or task.loss]
        own = {row.number.name: row.number.default} if row.number else {}
        several["loss_arguments"] = own | several["loss_arguments"]
    several["activation_arguments"] = activations.NUMBERS.get(recipe.activation or "", {}) | dict(
        recipe.activation_arguments
    )
    several["lookahead"] = LOOKAHEAD | dict(recipe.lookahead) if recipe.lookahead else {}
    several |= {field: dict(getattr(recipe, field)) for field in ("rate_multipliers", "hyperparameters")}
    known |= {f"{field}.{name}": value for field, numbers in several.items() for name, value in numbers.items()}
    return {name: number for name, number in known.items() if number is not None}
