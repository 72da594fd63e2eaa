"""The numbers of a recipe as they were used, step by step."""

import math
from typing import Any

import numpy as np

from hyperjax import activations, losses, optimizers
from hyperjax.checks import one_of
from hyperjax.schedules import Schedule
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
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
        name: "learning_rate", or any other number that the recipe has or takes a default for.
        steps: i64[n].
    Returns: f32[n].
    Raises: ValueError for a name that this recipe has no number for.
    """
    if name == "learning_rate":
        rate = np.broadcast_to(np.asarray(settings.rate_at(steps), np.float32), steps.shape)
        rate = rate * structure.rate_factors(steps).astype(np.float32) if structure.ramp else rate
        return rate if scale is None else rate * scale[steps]
    known = _numbers(recipe, task)
    number = known[one_of("name", name, ["learning_rate", *known])]
    if isinstance(number, Schedule):
        number = number.resolve(structure.epoch_starts(int(settings.steps)))(steps)
    return np.broadcast_to(np.asarray(number, np.float32), steps.shape)


def _numbers(recipe: Recipe, task: Task) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if isinstance(recipe.optimizer, str):
        known |= {n: a.default for n, a in optimizers.numbers(recipe.optimizer).items() if a.default is not None}
    known |= recipe.rule_arguments
    for field in ("clip_norm", "clip_value", "clip_adaptive", "max_norm"):
        value = getattr(recipe, field)
        known[field] = math.inf if value is None else value
    known |= {field: getattr(recipe, field) for field in ("l1", "proximal_l1", "gradient_noise")}
    if isinstance(task.loss, str) and task.kind is not None:
        row = losses.LOSSES[task.kind][recipe.loss or task.loss]
        known |= {row.number.name: row.number.default} if row.number else {}
    known |= recipe.loss_arguments
    known |= activations.NUMBERS.get(recipe.activation or "", {}) | dict(recipe.activation_arguments)
    for field in ("label_smoothing", "dropout", "sam", "average"):
        known |= {} if getattr(recipe, field) is None else {field: getattr(recipe, field)}
    return known | dict[str, Any](recipe.hyperparameters)
