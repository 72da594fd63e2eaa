"""Batch sizes that share a program: a study's batches are gathered from parts of one size where that is worth it."""

import math
import os
from collections.abc import Sequence
from typing import Any

import jax

from hyperjax.studies.ending import Budget
from hyperjax.studies.space import Space
from hyperjax.tasks import Task
from hyperjax.training.lowering import grouped, lower_together
from hyperjax.training.mapping import resolved
from hyperjax.training.members import recipe_of
from hyperjax.training.program import program_of, rows_are_apart
from hyperjax.training.recipe import Recipe
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure

NO_LIMIT = Budget()
LEAST = 16  # examples of a part: smaller ones waste what a core can multiply at once
MOST_PARTS = 8  # of a batch
MOST_LOOKED_AT = 8  # structures beside the batch size, for each of which the model is traced
SAVED = 6.0  # seconds of a core, by each program that is not traced and compiled
WASTED = 0.15  # of training: smaller products, and what adds them up
OTHERWISE = ("micro_batches", "micro_batch_size", "batch_ramp", "sam")  # fields that cut batches, or need whole ones


def shared_size(
    task: Task,
    space: Space,
    recipe: Recipe | None = None,
    layout: str = "auto",
    runs: float = 64,
    budget: Budget = NO_LIMIT,
) -> int | None:
    """Examples of the parts by which all batch sizes of a space can share a program; None where they had better not.

    They can where examples do not meet in the model or its loss, so that a batch's gradient is the mean of its parts',
    to rounding; masks (dropout's) are others than those of a whole batch. They had better where that compiles sooner
    than parts train more slowly than whole batches, so in short studies; and where members are trained one by one
    ("map"): side by side all would wait for the largest batch.

    Args:
        task, space, recipe, layout: as in `study`.
        runs: that are trained at most, infinite where a budget alone limits them; budget: as it was read.

    >>> from hyperjax.studies import space
    >>> from hyperjax.tasks import digits, digits_cnn
    >>> sizes = space(batch_size=[32, 64, 128], epochs=1)
    >>> shared_size(digits(), sizes), shared_size(digits_cnn(), sizes)  # which has batch normalization
    (32, None)
    """
    base = recipe_of(recipe)
    sizes = space.entries.get("batch_size")
    if not isinstance(sizes, list) or len(sizes) < 2 or not all(isinstance(size, int) for size in sizes):
        return None
    size, plain = math.gcd(*sizes), Recipe()
    asked = {name.partition(".")[0] for name in space.entries}
    asked |= {name for name in OTHERWISE if getattr(base, name) != getattr(plain, name)}
    optimizers = space.entries.get("optimizer", base.optimizer)
    own = any(map(callable, optimizers if isinstance(optimizers, list) else [optimizers]))
    if asked.intersection(OTHERWISE) or own or task.stream is not None:
        return None
    if resolved(layout) != "map" or jax.process_count() > 1:
        return None
    if size < LEAST or max(sizes) > MOST_PARTS * size or max(sizes) > task.size("train"):
        return None
    parted = in_parts(base, size)
    room = space.room(None, parted)
    groups = grouped(room, task)
    if len(groups) > MOST_LOOKED_AT:
        return None
    together = [lower_together([room[place] for place in places], task) for places in groups]
    if not all(rows_are_apart(task, structure, settings[0]) for settings, structure in together):
        return None
    longest = max(_seconds(task, structure, settings) for settings, structure in together)
    epochs = max(each.epochs for each in room)
    most = [runs * longest, budget.seconds * (os.cpu_count() or 1), budget.epochs * longest / epochs]
    return size if WASTED * min(most) < SAVED * (len(set(sizes)) - 1) * len(groups) else None


def _seconds(task: Task, structure: Structure, settings: Sequence[Settings]) -> float:
    """Seconds of a core for the longest run, by its operations."""
    turns = max(int(structure.turns(one.parts, one.steps)) for one in settings)
    return program_of(task, structure).seconds_per_step(settings[0]) * turns


def most_runs(space: Space, trials: int | None, seeds: int, budget: Budget) -> float:
    """How many runs a study trains at most, as `study` reads its arguments.

    >>> from hyperjax.studies import space, uniform
    >>> numbers, lists = space(dropout=uniform(0.0, 0.5)), space(epochs=[1, 2])
    >>> most_runs(numbers, None, 2, NO_LIMIT), most_runs(lists, None, 1, NO_LIMIT)
    (128, 2)
    """
    if trials is not None:
        return trials * seeds
    if space.is_grid:
        return math.prod(len(entry) for entry in space.searched.values()) * seeds
    return math.inf if budget.given else 64 * seeds


def in_parts(recipe: Recipe | None, size: int | None) -> Recipe | None:
    """What everything outside a space is, with batches in parts of a size; as it is where there is none."""
    if size is None:
        return recipe
    changes: dict[str, Any] = {"batch_size": size, "micro_batch_size": size}
    return recipe_of(recipe).replace(**changes)


def default_in_parts(recipe: Recipe, size: int | None) -> Recipe:
    """The default recipe by the study's own program, where its batch size has a place there."""
    fits = size is not None and recipe.batch_size != "full" and int(recipe.batch_size) % size == 0
    return recipe.replace(micro_batch_size=size) if fits and recipe.micro_batch_size is None else recipe
