"""From a chunk's arrays to runs: what a person reads."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from hyperjax import random
from hyperjax.models.adapters import given_back
from hyperjax.training.chunk import Harvest
from hyperjax.training.following import Following, Stopping
from hyperjax.training.in_force import in_force
from hyperjax.training.program import Carry, Program, Record
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import MOST_RECORDED_STEPS, Run, Trained
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure
from hyperjax.training.trainer import Trainer


def to_run(trainer: Trainer, recipe: Recipe, seed: int, settings: Settings, harvest: Harvest, member: int) -> Run:
    """The run of one member of a chunk."""
    record: Any = jax.tree.map(lambda leaf: leaf[member], harvest.records)  # of NumPy arrays
    carry: Carry = jax.tree.map(lambda leaf: leaf[member], harvest.carry)
    program, structure = trainer.program, trainer.structure.member(settings.parts)
    if settings.parts is not None:  # a step's record is that of the turn in which it ends
        ends = trainer.structure.turn_ends(settings.parts, len(record.loss))
        record = jax.tree.map(lambda leaf: leaf[ends], record)
    task, total = program.task, int(settings.steps)
    diverged_at = int(carry.diverged_at) if int(carry.diverged_at) >= 0 else None
    done = int(carry.step)
    seen = len(record.loss)  # of the shared counter
    taken = done + (diverged_at is not None)  # the step that diverged has a loss, if not an update
    every = math.ceil(total / MOST_RECORDED_STEPS)
    steps = np.arange(0, taken, every)
    stopping = carry.following.stopping if recipe.early_stopping else None
    stopped = stopping is not None and bool(stopping.stopped)
    ended = diverged_at is not None or done >= total or stopped
    boundaries = structure.boundaries(max(done, 1))  # first steps of the epochs begun, and the last one's end
    validations = _validations(done, boundaries, seen, diverged_at is not None)
    epochs = np.interp(np.minimum(validations, done), boundaries, np.arange(len(boundaries)))
    best = None
    at_best = stopping if stopping is not None and int(stopping.best_step) > 0 else None
    if at_best is not None:
        best = int(np.searchsorted(np.minimum(validations, done), int(at_best.best_step)))
    metrics = _training_metrics(program, structure, record, validations, boundaries, done)
    trained = partial(_trained, program, settings, *_kept(program, carry, at_best))
    if "validation" in task.data:
        rows = record.validation[validations - 1]
        names = [f"validation_{name}" for name in ("loss", *program.metric_names)]
        metrics |= {name: rows[:, i] for i, name in enumerate(names)}
    return Run(
        recipe=recipe,
        seed=seed,
        steps=steps,
        losses=record.loss[steps],
        gradient_norms=record.gradient_norm[steps],
        update_norms=record.update_norm[steps],
        epochs=epochs,
        metrics=metrics,
        metric=task.ranking,
        direction=task.direction,
        total_steps=total,
        steps_done=done,
        diverged_at=diverged_at,
        finished=ended,
        layout=trainer.layout,
        best=best,
        _numbers=partial(in_force, task, structure, recipe, settings, record.scale),
        _model=partial(_model, program, settings, trained, seed),
        _trained=trained,
        _task=task,
    )


def _validations(done: int, boundaries: np.ndarray, seen: int, diverged: bool) -> np.ndarray:
    """The counters after which a member was validated: the ends of the epochs in which it moved."""
    ends = boundaries[1:]
    ends = ends[ends <= done] if diverged else ends[: int(np.searchsorted(boundaries, done))]
    return ends[ends <= seen]


def _training_metrics(
    program: Program, structure: Structure, record: Record, validations: np.ndarray, boundaries: np.ndarray, done: int
) -> dict[str, np.ndarray]:
    """Means over the examples seen since the last validation."""
    names = [f"train_{name}" for name in ("loss", *program.metric_names)]
    if not len(validations):
        return {name: np.zeros(0, np.float32) for name in names}
    sizes = structure.batch_sizes(done)[:, None].astype(np.float64)
    columns = np.concatenate([record.loss[:done, None], record.metrics[:done]], axis=1)
    starts = boundaries[: len(validations)]
    end = min(int(validations[-1]), done)  # of a run that diverged, the steps of its last epoch belong to no mean
    sums = np.add.reduceat((columns * sizes)[:end], starts, axis=0)
    means = sums / np.add.reduceat(sizes[:end], starts, axis=0)
    return dict(zip(names, means.astype(np.float32).T, strict=True))


def _kept(program: Program, carry: Carry, at_best: Stopping | None) -> tuple[Carry, Stopping | None]:
    """What a run's weights are made from, copied: rows of a chunk's arrays would keep all of the chunk in memory.

    Most of a state is what the optimizer remembers, which only rules of the user's have a use for then.
    """
    of_factory = carry.optimizer if program.structure.optimizer is not None else None
    kept = carry._replace(optimizer=of_factory, following=Following(None, None))
    if at_best is not None:
        kept = kept._replace(weights=None, optimizer=None, around={})
    copied: tuple[Carry, Stopping | None] = jax.tree.map(np.array, (kept, at_best))
    return copied


def _trained(program: Program, settings: Settings, carry: Carry, at_best: Stopping | None) -> Trained:
    if at_best is not None:
        step, weights, rest = int(at_best.best_step), at_best.weights, at_best.rest
    else:
        step, rest = int(carry.step), carry.rest
        weights = program.judged(jax.tree.map(jax.numpy.asarray, carry), settings)
    weights = program.unpacked(jax.tree.map(jax.numpy.asarray, weights))
    return Trained(step, weights, jax.tree.map(jax.numpy.asarray, rest))


def _model(program: Program, settings: Settings, trained: Callable[[], Trained], seed: int) -> Any:
    step, weights, rest = trained()
    numbers = settings.model_numbers_at(max(step - 1, 0))
    model = program.model.model(weights, rest, numbers, random.streams(seed).masks, training=True)
    model.eval()
    return given_back(model)


def weights_of(program: Program, source: Any) -> tuple[Any, Any]:
    """Weights and other state of a model or a run, to begin a new run from.

    Raises: ValueError for a model whose weights or state have another structure than the task's.
    """
    parts = program.model.split(source.model if isinstance(source, Run) else source)
    for kind, part, like in zip(("weights", "state"), parts, (program.model.weights, program.model.rest), strict=True):
        expected, found = (jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree) for tree in (like, part))
        if expected != found:
            raise ValueError(f"init must be a model with the task's {kind}, {expected}, got {found}")
    return parts
