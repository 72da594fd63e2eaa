"""The states that a run passes through, for whoever measures something along the way."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random
from hyperjax.checks import positive_integer, require
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.chunk import Chunk, block_of
from hyperjax.training.feeding import Fed
from hyperjax.training.lowering import lower_together, stepwise
from hyperjax.training.program import Carry, Record
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run
from hyperjax.training.trainer import Trainer
from hyperjax.types import Array, PyTree


class Moment(NamedTuple):
    """A run after some of its steps."""

    step: int  # updates made
    carry: Carry  # weights as the program's packing lays them out, the optimizer's state, all that goes on
    records: Record | None  # of the steps since the moment before, each [steps, ...]; None at the beginning


class Moments:
    """A run, trained again and halted at evenly spaced steps; the bits are those of `fit` cut so.

    Args:
        task: what is learnt.
        source: a recipe, or a run of one, whose recipe and seed are taken.
        seed: of the run; None: the run's own, or 0.
        points: how many moments at most, the beginning and the end among them, at least 2.
        steps: end after so many; None: the whole run.

    Attributes:
        recipe, seed: of the run; steps: how many it is followed for.
        program, settings, streams: its parts, as `hyperjax.training` has them.
        arrays: the training set, on the device.
        stride: steps from one moment to the next; the last may be nearer.

    Raises: ValueError where recipe and task do not fit; for a stream of batches, whose examples cannot be chosen; for a
        batch size that grows; for a run that is too short to be cut.

    >>> from hyperjax.tasks import digits
    >>> moments = Moments(digits(), Recipe(epochs=1), points=3)
    >>> [moment.step for moment in moments]
    [0, 23, 45]
    """

    def __init__(
        self, task: Task, source: Recipe | Run, *, seed: int | None = None, points: int = 5, steps: int | None = None
    ):
        require_task(task)
        require(positive_integer("points", points) > 1, f"points must be at least 2, got {points}")
        if not isinstance(source, Recipe | Run):
            raise ValueError(f"source must be a recipe or a run, got a {type(source).__name__}")
        self.recipe = source.recipe if isinstance(source, Run) else source
        self.seed = seed if seed is not None else source.seed if isinstance(source, Run) else 0
        task.require_arrays("diagnostics along a run")
        if self.recipe.batch_ramp:
            raise ValueError(f"recipe must have one batch size, got batch_ramp={dict(self.recipe.batch_ramp)}")
        (settings,), structure = lower_together([stepwise(self.recipe)], task)
        whole = int(settings.steps)
        self.steps = whole if steps is None else min(whole, positive_integer("steps", steps))
        require(self.steps > 1, f"steps must be at least 2, got {self.steps}")
        self.stride = max(2, -(-self.steps // (points - 1)))
        # Its schedules span the whole run, however early it is left.
        self._settings = replace(settings, steps=np.int32(self.steps))
        self._trainer = Trainer(task, structure, self._settings, whole, "map", self.stride)
        self.task, self.program = task, self._trainer.program
        self.settings = jax.tree.map(jnp.asarray, self._settings)
        self.streams = random.streams(self.seed)
        self.arrays: PyTree = self._trainer.data["train"]

    def __iter__(self) -> Iterator[Moment]:
        chunk = Chunk(self._trainer, [0], [self._settings], [self.seed])
        chunk.begin(1)
        with contextlib.closing(chunk):
            block, seen = block_of(chunk, 1), 0
            yield Moment(0, self._alone(chunk.carry), None)
            while int(chunk.carry.step[0]) < self.steps and int(chunk.carry.diverged_at[0]) < 0 and not chunk.done:
                block.advance(Fed(self._trainer.data, None))
                carry = self._alone(chunk.carry)
                done = int(carry.step)
                records = jax.tree.map(lambda leaf: leaf[0, seen:done], chunk.records)  # noqa: B023
                seen = done
                yield Moment(done, carry, records)

    def loss(
        self, weights: PyTree, carry: Carry, batch: PyTree, *, key: jax.Array | None = None, training: bool = False
    ) -> Array:
        """f32[]: mean loss of a batch at some weights; for tracing.

        Args:
            weights: as the program's packing lays them out.
            carry: gives the model's other state, and the step at which schedules are read.
            batch: arrays of examples, as the task has them.
            key: of masks; None: the run's own.
            training: whether the model is in training mode.
        """
        key = self.streams.masks if key is None else key
        return self.program.objective(weights, carry.rest, batch, self.settings, carry.step, key, training)[0]

    @staticmethod
    def _alone(carry: Carry) -> Carry:
        alone: Carry = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), carry)
        return alone
