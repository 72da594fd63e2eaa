"""The numbers of a recipe as they were used, step by step."""

import math
from typing import Any

import numpy as np

from hyperjax import losses, optimizers
from hyperjax.checks import one_of
from hyperjax.schedules import Schedule
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.training.settings import Settings


def in_force(recipe: Recipe, settings: Settings, task: Task, name: str, steps: np.ndarray) -> np.ndarray:
    """Values of one of a recipe's numbers at some steps.

    Args:
        recipe, settings: what was written and what it became.
        task: what it was trained on.
        name: "learning_rate", or any other number that the recipe has or takes a default for.
        steps: i64[n].
    Returns: f32[n].
    Raises: ValueError for a name that this recipe has no number for.
    """
    if name == "learning_rate":
        return np.broadcast_to(np.asarray(settings.rate_at(steps), np.float32), steps.shape)
    known = _numbers(recipe, task)
    number = known[one_of("name", name, ["learning_rate", *known])]
    if isinstance(number, Schedule):
        number = number.resolve(_epoch_starts(recipe, task, int(settings.steps)))(steps)
    return np.broadcast_to(np.asarray(number, np.float32), steps.shape)


def _numbers(recipe: Recipe, task: Task) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if isinstance(recipe.optimizer, str):
        known |= {n: a.default for n, a in optimizers.numbers(recipe.optimizer).items() if a.default is not None}
    known |= recipe.rule_arguments
    known["clip_norm"] = math.inf if recipe.clip_norm is None else recipe.clip_norm
    if isinstance(task.loss, str) and task.kind is not None:
        row = losses.LOSSES[task.kind][recipe.loss or task.loss]
        known |= {row.number.name: row.number.default} if row.number else {}
    known |= recipe.loss_arguments
    for field in ("label_smoothing", "dropout"):
        known |= {} if getattr(recipe, field) is None else {field: getattr(recipe, field)}
    return known | dict[str, Any](recipe.hyperparameters)


def _epoch_starts(recipe: Recipe, task: Task, steps: int) -> np.ndarray:
    per_epoch = steps_an_epoch(recipe, task)
    return np.minimum(np.arange(math.ceil(steps / per_epoch) + 1) * per_epoch, steps).astype(np.float64)


def steps_an_epoch(recipe: Recipe, task: Task) -> int:
    """Steps that see each training example once under a recipe."""
    examples = task.size("train")
    size = examples if recipe.batch_size == "full" else int(recipe.batch_size)
    return -(-examples // size)


def batch_sizes(recipe: Recipe, task: Task, steps: np.ndarray) -> np.ndarray:
    """i64[n], examples in the batch of each step."""
    per_epoch, examples = steps_an_epoch(recipe, task), task.size("train")
    size = examples if recipe.batch_size == "full" else int(recipe.batch_size)
    return np.where((steps + 1) % per_epoch == 0, examples - (per_epoch - 1) * size, size)
