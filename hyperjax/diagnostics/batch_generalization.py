"""Whether batch sizes differ in what is learnt: paired runs of equal epochs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hyperjax.batching import scale_learning_rate
from hyperjax.schedules import Length, Schedule, fraction
from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.training.fitting import fit_population
from hyperjax.training.lowering import stepwise
from hyperjax.training.recipe import Recipe

LINEAR = ("sgd", "momentum", "nesterov")  # whose rate goes with the batch size; that of others with its root


class Generalization(NamedTuple):
    """What runs with some batch size came to, against equally long ones with the size in use."""

    batch_size: int
    learning_rate: float | None  # scaled; None where it is a schedule of absolute values, which is kept
    score: Interval  # over the seeds
    gain: Interval  # over the size in use, of the same seeds, above 0 for better
    diverged: int  # runs; they are left out of both


def paired_runs(
    task: Task, recipe: Recipe, batch_sizes: Sequence[int], in_use: int, seeds: int
) -> tuple[Generalization, ...]:
    """Train with each batch size and several seeds, for as many epochs, the rate scaled from the size in use.

    A warm-up, and a start of the average, that the recipe counts in steps take the same share of each run.

    Args:
        task: with a validation set.
        recipe: its rate is tuned for batches of `in_use`.
        batch_sizes: to compare; seeds: runs of each, at least 2.
    """
    sizes = list(dict.fromkeys([in_use, *batch_sizes]))
    recipes = [_scaled(task, recipe, in_use, size) for size in sizes]
    scores = fit_population(task, recipes, range(seeds)).scores.reshape(len(sizes), seeds)
    sign = 1.0 if task.direction == "max" else -1.0
    found = []
    for size, each, own in zip(sizes, recipes, scores, strict=True):
        rate = None if isinstance(each.learning_rate, Schedule) else float(each.learning_rate)
        gain = mean_interval(sign * (own - scores[0])) if size != in_use else Interval(0.0, 0.0, 0.0)
        found.append(Generalization(size, rate, mean_interval(own), gain, int(np.isnan(own).sum())))
    return tuple(sorted(found))


def _scaled(task: Task, recipe: Recipe, in_use: int, size: int) -> Recipe:
    recipe = stepwise(recipe)
    changes: dict[str, Any] = {"batch_size": size, "micro_batches": min(recipe.micro_batches, size)}
    if size != in_use:
        steps = int(recipe.lower(task)[0].steps)
        for name in ("warmup", "average_start"):
            length = getattr(recipe, name)
            if length and not isinstance(length, Length):
                changes[name] = fraction(min(length / steps, 1.0))
    if not isinstance(recipe.learning_rate, Schedule):
        rule = "linear" if recipe.optimizer in LINEAR else "sqrt"
        changes["learning_rate"] = float(scale_learning_rate(recipe.learning_rate, in_use, size, rule))
    return recipe.replace(**changes)
