"""A whole run as one program that can be differentiated: segments that are computed again, not kept."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from hyperjax.checks import one_of, require
from hyperjax.tasks import Task
from hyperjax.training.lowering import lower_together
from hyperjax.training.mapping import Population
from hyperjax.training.program import Carry, Program
from hyperjax.training.recipe import Recipe
from hyperjax.training.recipe_numbers import float_leaves
from hyperjax.training.segment import segment
from hyperjax.training.settings import Settings
from hyperjax.training.trainer import streams_of
from hyperjax.types import Array, PyTree


class Ended(NamedTuple):
    """Where a run ended."""

    value: Array  # f32[], the metric at its end
    diverged_at: Array  # i32[], -1, or the step whose loss or gradient was not finite


class Unrolled:
    """A run from its first weights to the metric at its end, as a function of its settings.

    Of `steps` steps, about the root are walked at a time. The backward pass keeps the states between these segments and
    takes each segment's steps again, so that memory grows as the root of the number of steps.

    Args:
        task: what is learnt.
        recipe: whose structure, form and number of steps the program has; its numbers are arguments.
        part: of the task's data, that the metric is measured on.
        metric: "loss" or one of the task's.
        segment_steps: steps in a segment, at least 2; None: about the root of the run's.

    Attributes:
        steps: of the run; metric: with its part, as a run's metrics are called.
        slopes: settings, roots -> (`Ended`, derivative of its value by each float leaf), mapped over both.
        plain: settings, roots -> `Ended`, the same run without a backward pass.

    Raises: ValueError where recipe and task do not fit; for a stream of batches; for a batch size that grows.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        part: str = "validation",
        metric: str = "loss",
        segment_steps: int | None = None,
    ):
        task.require_arrays("a derivative through a run")
        require(not recipe.batch_ramp, f"recipe must have one batch size, got batch_ramp={dict(recipe.batch_ramp)}")
        part = one_of("part", part, task.arrays)
        (settings,), structure = lower_together([recipe], task)
        self.program = Program(task, structure)
        columns = ("loss", *self.program.metric_names)
        self._column = columns.index(one_of("metric", metric, columns))
        self.steps, self.metric, self._part = int(settings.steps), f"{part}_{metric}", part
        self._length = segment_steps or max(2, math.ceil(math.sqrt(self.steps)))
        self.slopes = Population(self._slopes, in_axes=(0, None, 0, None))
        self.plain = Population(self._plain, in_axes=(0, None, 0, None))
        wanted = {"train", "validation", part}
        self.data = self.slopes.shared({name: arrays for name, arrays in task.arrays.items() if name in wanted})

    def _plain(self, settings: Settings, yardstick: dict[str, Any], root: Any, data: dict[str, PyTree]) -> Ended:
        return self._run(settings, yardstick, root, data, rematerialized=False)

    def _slopes(
        self, settings: Settings, yardstick: dict[str, Any], root: Any, data: dict[str, PyTree]
    ) -> tuple[Ended, list[Array]]:
        numbers, rejoined = float_leaves(settings)

        def value(numbers: list[Array]) -> tuple[Array, Array]:
            ended = self._run(rejoined(numbers), yardstick, root, data, rematerialized=True)
            return ended.value, ended.diverged_at

        (found, diverged_at), slopes = jax.value_and_grad(value, has_aux=True)(numbers)
        return Ended(found, diverged_at), slopes

    def _run(
        self, settings: Settings, yardstick: dict[str, Any], root: Any, data: dict[str, PyTree], rematerialized: bool
    ) -> Ended:
        streams, program = streams_of(root), self.program
        follows = settings.stopping is not None or settings.plateau is not None
        seen = {name: arrays for name, arrays in data.items() if name == "train" or (name == "validation" and follows)}

        def advanced(carry: Carry, start: Array) -> tuple[Carry, None]:
            return segment(program, self._length, carry, settings, streams, seen, start)[0], None

        per_epoch = program.structure.steps_per_epoch
        counted = -(-self.steps // per_epoch) * per_epoch if follows else self.steps  # to the last validation
        starts = jnp.arange(-(-counted // self._length), dtype=jnp.int32) * self._length
        if rematerialized:
            advanced = jax.checkpoint(advanced, prevent_cse=False)
        carry, _ = lax.scan(advanced, program.init(settings, streams), starts)
        weights, rest = program.judged(carry, settings), carry.rest
        step = carry.step
        stopping = carry.following.stopping
        if stopping is not None:
            weights, rest, step = stopping.weights, stopping.rest, stopping.best_step
        # The run is judged by the loss that it began with: a loss whose numbers move is another yardstick.
        judged = replace(settings, loss_arguments=yardstick)
        last = jnp.maximum(step - 1, 0)
        found = program.evaluate(weights, rest, data[self._part], judged, last, streams.masks)
        return Ended(found[self._column], carry.diverged_at)
