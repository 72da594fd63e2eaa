"""What a training step of some batch size costs: its memory before it ever runs, then its time."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random
from hyperjax.tasks import Task
from hyperjax.training.lowering import lower_together, stepwise
from hyperjax.training.recipe import Recipe
from hyperjax.training.trainer import Trainer
from hyperjax.types import PyTree

EXAMPLES_A_CALL = 4096  # about; a call has 4 to 64 steps
CALLS = 7  # timed at least
SECONDS = 0.3  # of timing at least, and
SECONDS_AT_MOST = 3.0  # after which no call begins
_FOREVER = 1 << 30  # steps


class Memory(NamedTuple):
    """What XLA says that a program of training steps takes, in bytes."""

    needed: int  # while it runs, beside its arguments
    held: int  # with them: weights, optimizer's state, training set


class Timing(NamedTuple):
    """Seconds of a step: the median over calls, and the fastest and slowest call."""

    median: float
    low: float
    high: float


class StepCost:
    """Training steps with batches of one size, as a run of the recipe takes them, without validation.

    They go with a learning rate of 0, so that no rate is too high for what is measured, and no warm-up too long.

    Args:
        task, recipe: of the run; batch_size: instead of the recipe's, of which there are no more micro-batches.
    """

    def __init__(self, task: Task, recipe: Recipe, batch_size: int):
        recipe = stepwise(recipe)
        still = recipe.replace(learning_rate=0.0, schedule="constant", schedule_arguments={}, warmup=0)
        parts = min(recipe.micro_batches, batch_size)
        (settings,), structure = lower_together([still.replace(batch_size=batch_size, micro_batches=parts)], task)
        settings = replace(settings, steps=np.int32(_FOREVER))
        self.batch_size = batch_size
        steps = min(max(EXAMPLES_A_CALL // batch_size, 4), 64)
        self._trainer = Trainer(task, structure, settings, steps, "map", steps)
        self._data = {"train": self._trainer.data["train"]}
        self._settings = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], settings)
        self._root = jax.random.key_data(random.key(0))[None]
        self.compile_seconds = 0.0

    def memory(self) -> Memory | None:
        """XLA's analysis of the program, which is compiled for it and not run; None where it has none."""
        analysis: Any = self._compiled().memory_analysis()  # type: ignore[attr-defined]
        if analysis is None:
            return None
        needed = int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes)
        return Memory(needed, needed + int(analysis.argument_size_in_bytes))

    def free(self) -> int | None:
        """Bytes that are free now on the device, or the machine; None where nothing tells."""
        return self._trainer.advance.memory(*self._shapes())[1]

    def run(self) -> tuple[Timing, float, int | None]:
        """Take steps: seconds of one, examples a second, and bytes by which memory grew meanwhile, None if unknown."""
        run, trainer = self._compiled(), self._trainer
        carry = trainer.init.compile(self._settings, self._root)(self._settings, self._root)
        counter = 0
        times: list[float] = []

        def call(carry: PyTree) -> PyTree:
            after, _ = run(carry, self._settings, self._root, self._data, np.int32(counter))
            return jax.block_until_ready(after)

        with MemoryWatch() as watch:
            carry = call(carry)
        begin = time.perf_counter()
        while (spent := time.perf_counter() - begin) < SECONDS_AT_MOST and (len(times) < CALLS or spent < SECONDS):
            counter += trainer.steps
            before = time.perf_counter()
            carry = call(carry)
            times.append((time.perf_counter() - before) / trainer.steps)
        sizes = trainer.structure.batch_sizes(counter + trainer.steps)
        median = float(np.median(times))
        return Timing(median, min(times), max(times)), float(sizes.mean()) / median, watch.growth

    def _shapes(self) -> tuple[Any, ...]:
        settings, root = self._trainer.shapes(1)
        return self._trainer.carry(1), settings, root, self._data, np.int32(0)

    def _compiled(self) -> Callable[..., Any]:
        begin = time.perf_counter()
        compiled = self._trainer.advance.compile(*self._shapes())
        self.compile_seconds = max(self.compile_seconds, time.perf_counter() - begin)  # later calls find it there
        return compiled


class MemoryWatch:
    """How much memory grows while something runs: the device's peak where it tells, else the process's.

    Attributes:
        growth: bytes; None where neither tells.
    """

    def __init__(self, every: float = 0.001):
        self.growth: int | None = None
        self._every, self._ended = every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._before = _in_use()
        self._most = self._before
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._before is not None and self._most is not None:
            self.growth = max(0, self._most - self._before)

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            now = _in_use()
            if now is not None and self._most is not None:
                self._most = max(self._most, now)


def measured_where() -> str:
    """Whose memory is measured: "device", "process", or "nowhere"."""
    if jax.local_devices()[0].memory_stats():
        return "device"
    return "nowhere" if _in_use() is None else "process"


def _in_use() -> int | None:
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return int(stats["bytes_in_use"])
    try:  # Linux: pages of the process that are in memory
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
