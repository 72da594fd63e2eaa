"""What batch sizes cost in time and memory, which is the largest that fits, and which to take."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import numpy as np

from hyperjax.checks import one_number, positive_integer, require
from hyperjax.diagnostics.batch_generalization import Generalization, paired_runs
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.largest_batch import largest_batch
from hyperjax.diagnostics.noise_scale import NoiseScale, noise_scale
from hyperjax.diagnostics.step_cost import Memory, StepCost, Timing, measured_where
from hyperjax.diagnostics.wording import plain, ranged
from hyperjax.statistics import Interval
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.recipe import Recipe

ENOUGH = 0.9  # of the best throughput
CLEARLY_FEWER = 3  # runs that diverge
UNSTEADY = 2.0  # times, between calls of the same program
SMALLEST, SIZES = 8, 8  # batch sizes that are tried unless somebody names some
COMPILING = 2  # programs at a time


class BatchSize(NamedTuple):
    """The cost of one batch size; what was not measured, since it does not fit, is None."""

    batch_size: int
    seconds: Timing | None  # a step, without compilation
    compile_seconds: float
    examples_a_second: float | None
    memory: Memory | None  # as XLA's analysis has it
    memory_grown: int | None  # bytes, measured in the first steps
    gradient_variance: float  # tr(Sigma) / batch size, half-way through the run


class Advice(NamedTuple):
    """The batch size that one reason is for."""

    by: str
    batch_size: int
    reason: str


@dataclass(frozen=True)
class BatchCost(Diagnostic):
    """What batch sizes cost, and which to take.

    Attributes:
        task: its name; device: on which it was measured.
        in_use: the recipe's batch size.
        costs: of each batch size.
        memory_free: bytes that a program may need beside its arguments; None: nothing tells.
        memory_measured: what `memory_grown` is of: the "device", the "process" (of which memory that it had before is
            used again, so that it is a lower bound), or "nowhere".
        largest: the largest batch that fits; None where nothing tells, or not even one example does.
        examples: in the training set, which no batch is larger than.
        critical_batch: of the noise scale, see `NoiseScale`.
        advice: by throughput, by the noise scale, by both together ("time"), and by generalization where measured.
        generalization: of paired runs; empty where they were not asked for, or the size in use does not fit.
        metric: that those runs are ranked by.
    """

    title: ClassVar[str] = "Cost of the batch size"
    task: str
    device: str
    in_use: int
    costs: tuple[BatchSize, ...]
    memory_free: int | None
    memory_measured: str
    largest: int | None
    examples: int
    critical_batch: Interval
    advice: tuple[Advice, ...]
    generalization: tuple[Generalization, ...]
    metric: str

    @property
    def disagreement(self) -> float:
        """The largest batch size advised over the smallest."""
        sizes = [each.batch_size for each in self.advice]
        return max(sizes) / min(sizes) if sizes else 1.0

    @property
    def unsteady(self) -> float:
        """The slowest call over the fastest, of the batch size where they differ most."""
        return max((each.seconds.high / each.seconds.low for each in self.costs if each.seconds), default=1.0)

    @property
    def answer(self) -> str:
        """What each reason is for, whether they disagree, and the largest batch that fits."""
        each = "; ".join(f"{one.batch_size} by {one.by} ({one.reason})" for one in self.advice)
        said = [f"Batch sizes for {self.task} on {self.device}, with {self.in_use} in use: {each or 'none fits'}."]
        if self.disagreement > 2:
            low, high = (end(self.advice, key=lambda one: one.batch_size) for end in (min, max))
            said.append(
                f"The reasons disagree by a factor of {plain(self.disagreement)}: {low.by} is for {low.batch_size}, "
                f"{high.by} for {high.batch_size}."
            )
        elif len(self.advice) > 1:
            said.append("The reasons agree to a factor of 2.")
        if self.unsteady > UNSTEADY:
            said.append(
                f"The machine was busy: calls of one size differed by up to {plain(self.unsteady)} times, so times are "
                "rough."
            )
        if self.memory_free is None:
            said.append("Nothing tells how much memory is free.")
        elif any(each.memory is None for each in self.costs):
            said.append("Nothing tells how much memory batches need.")
        elif self.largest is None:
            said.append("Not even one example fits.")
        elif self.largest == self.examples:
            said.append(f"Even all {self.examples} training examples fit as one batch.")
        else:
            said.append(f"The largest batch that fits is {self.largest}.")
        return " ".join(said)

    @property
    def table(self) -> Table:
        """Each batch size with its time, throughput, memory and the variance of its gradient."""
        measured = "grown" if self.memory_measured == "nowhere" else f"{self.memory_measured} grew"
        headings = (
            "batch size",
            "s a step",
            "fastest to slowest",
            "examples a s",
            "memory",
            measured,
            "gradient variance",
        )
        rows = []
        for each in self.costs:
            timing = each.seconds
            rows.append(
                (
                    f"{each.batch_size}{', in use' if each.batch_size == self.in_use else ''}",
                    "does not fit" if timing is None else timing.median,
                    "" if timing is None else f"{plain(timing.low)} to {plain(timing.high)}",
                    each.examples_a_second,
                    None if each.memory is None else _megabytes(each.memory.needed),
                    None if each.memory_grown is None else _megabytes(each.memory_grown),
                    each.gradient_variance,
                )
            )
        return Table(headings, tuple(rows))


def batch_cost(
    task: Task,
    recipe: Recipe,
    batch_sizes: Sequence[int] | None = None,
    *,
    seed: int = 0,
    noise: NoiseScale | None = None,
    generalization: bool = False,
    seeds: int = 5,
    memory: float | None = None,
) -> BatchCost:
    """Measure what batch sizes cost, find the largest that fits, and say which to take and why.

    Programs of training steps are compiled, and XLA's analysis of their memory is held against what is free: what does
    not fit is never run. The others are timed by turns of some steps, compilation apart, validation left out. The noise
    scale tells what fewer steps they need, so that both together give the time to a loss. Nothing but trying shows what
    a batch size does to what is learnt beyond that: `generalization` trains, in pairs of equal seeds and epochs.

    Args:
        task: what is learnt.
        recipe: its batch size is the one in use.
        batch_sizes: to measure; None: powers of two from 8 and the one in use, as far as there are examples.
        seed: of the run whose noise scale is measured.
        noise: a noise scale of this recipe, so that it is not measured again.
        generalization: whether to train with up to four of the sizes, rates scaled to the batch size (by its root for
            adaptive rules), for as many epochs.
        seeds: of those runs, at least 2.
        memory: bytes that a program may need; None: what is free.
    Raises: ValueError for batch sizes out of range, what is no recipe, one whose batch size grows or that does not fit
        the task, `generalization` without a validation set, data that are streamed.

    >>> from flax import nnx
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> line = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error")
    >>> found = batch_cost(line, Recipe(batch_size=16, epochs=4), [16, 64])
    >>> [each.batch_size for each in found.costs], found.largest
    ([16, 64], 64)
    """
    require_task(task)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe must be a Recipe, got a {type(recipe).__name__}")
    if recipe.batch_ramp:
        raise ValueError(f"recipe must have one batch size, got batch_ramp={dict(recipe.batch_ramp)}")
    available = task.size("train")
    in_use = available if recipe.batch_size == "full" else int(recipe.batch_size)
    sizes = _sizes(task, batch_sizes, in_use)
    recipe.lower(task)
    if memory is not None:
        one_number("memory", memory, 0.0, open_low=True)
    if generalization:
        require(positive_integer("seeds", seeds) > 1, f"seeds must be at least 2, got {seeds}")
        if "validation" not in task.data:
            raise ValueError(f"generalization must be False for {task.name}, which has no validation set; got True")

    def step(size: int) -> StepCost:
        made = StepCost(task, recipe, size)
        made.memory()
        return made

    with ThreadPoolExecutor(COMPILING) as pool:
        steps = list(pool.map(step, sizes))
    if noise is None:
        noise = noise_scale(task, recipe, seed=seed, hessian=False)
    free = steps[0].free() if memory is None else int(memory)
    needed: dict[int, Memory | None] = {one.batch_size: one.memory() for one in steps}

    def fits(size: int) -> bool:
        if size not in needed:
            needed[size] = step(size).memory()
        need = needed[size]
        return need is None or free is None or need.needed <= free

    variance = noise.variance[len(noise.variance) // 2]
    costs = []
    for one in steps:
        found = one.run() if fits(one.batch_size) else (None, None, None)
        timing, rate, grown = found
        size = one.batch_size
        costs.append(BatchSize(size, timing, one.compile_seconds, rate, needed[size], grown, variance / size))
    known = free is not None and all(each is not None for each in needed.values())
    trained = _trained(task, recipe, costs, in_use, seeds, fits) if generalization else ()
    return BatchCost(
        task=task.name,
        device=jax.devices()[0].device_kind,
        in_use=in_use,
        costs=tuple(costs),
        memory_free=free,
        memory_measured=measured_where(),
        largest=largest_batch(fits, in_use, available) if known else None,
        examples=available,
        critical_batch=noise.critical_batch,
        advice=_advice(costs, noise.critical_batch, in_use, trained),
        generalization=trained,
        metric=task.ranking,
    )


def _sizes(task: Task, given: Sequence[int] | None, in_use: int) -> list[int]:
    task.require_arrays("measuring batch sizes")
    available = task.size("train")
    if given is None:
        powers = [SMALLEST << i for i in range(SIZES) if SMALLEST << i <= available]
        return sorted({*powers, in_use})
    sizes = [positive_integer("batch_sizes", size) for size in given]
    require(len(sizes) > 0, "batch_sizes must hold at least one, got none")
    require(
        max(sizes, default=1) <= available,
        f"batch_sizes must be at most the {available} training examples of {task.name}, got {max(sizes, default=1)}",
    )
    return sorted(set(sizes))


def _trained(
    task: Task, recipe: Recipe, costs: Sequence[BatchSize], in_use: int, seeds: int, fits: Callable[[int], bool]
) -> tuple[Generalization, ...]:
    """Runs with some of the sizes; none where the size in use, which all are held against, does not fit."""
    if not fits(in_use):
        return ()
    fitting = [each.batch_size for each in costs if each.seconds is not None]
    places = np.unique(np.linspace(0, len(fitting) - 1, min(4, len(fitting))).round().astype(int))
    return paired_runs(task, recipe, [fitting[place] for place in places], in_use, seeds)


def _advice(
    costs: Sequence[BatchSize], critical: Interval, in_use: int, trained: Sequence[Generalization]
) -> tuple[Advice, ...]:
    """By each reason the batch size that it is for, of those that were measured."""
    # By the fastest call: whatever else the machine does can only slow one down.
    ran = [
        (each.batch_size, each.seconds.low, (each.examples_a_second or 0.0) * each.seconds.median / each.seconds.low)
        for each in costs
        if each.seconds is not None
    ]
    if not ran:
        return ()
    best = max(rate for _, _, rate in ran)
    size, rate = next((size, rate) for size, _, rate in ran if rate >= ENOUGH * best)
    found = [
        Advice("throughput", size, f"{plain(rate)} examples a second in its fastest call, the most being {plain(best)}")
    ]
    if not math.isnan(critical.mean):
        below = [size for size, _, _ in ran if size <= critical.mean]
        reason = f"the critical batch size is {ranged(critical)}"
        found.append(Advice("noise scale", below[-1] if below else ran[0][0], reason))

        def quickest(scale: float) -> int:
            # Steps needed go as 1 + scale / size; without end, as 1 / size.
            return min(ran, key=lambda one: one[1] * (1 / one[0] if math.isinf(scale) else 1 + scale / one[0]))[0]

        between = sorted({quickest(end) for end in (critical.low, critical.high)})
        reason = "least seconds to the same loss, by steps needed times seconds a step"
        if len(between) > 1:
            reason += f"; {between[0]} to {between[1]} by the interval of the noise scale"
        found.append(Advice("time", quickest(critical.mean), reason))
    if trained:
        found += _by_generalization(trained, in_use)
    return tuple(found)


def _by_generalization(trained: Sequence[Generalization], in_use: int) -> tuple[Advice, ...]:
    """The size that is shown better and loses no more runs, else one that loses clearly fewer, else the one in use."""
    base = next(each for each in trained if each.batch_size == in_use)
    alive = [each for each in trained if not math.isnan(each.score.mean)]
    if not alive:
        return ()
    worse = [each.batch_size for each in alive if each.gain.high < 0]
    lost = [f"{each.diverged} with {each.batch_size}" for each in trained if each.diverged]
    gone = f"; {', '.join(map(str, worse))} shown worse" if worse else ""
    gone += f"; runs that diverged: {', '.join(lost)}" if lost else ""
    better = [each for each in alive if each.gain.low > 0 and each.diverged <= base.diverged]
    steadier = [each for each in alive if base not in alive or base.diverged - each.diverged >= CLEARLY_FEWER]
    size, reason = in_use, "no size is shown better"
    if better:
        best = max(better, key=lambda each: each.gain.mean)
        size, reason = best.batch_size, f"shown better by {ranged(best.gain)}"
    elif steadier:
        # The rate is tuned for the size in use: of those that lose as few, the nearest.
        steady = min(steadier, key=lambda each: (each.diverged, abs(math.log(each.batch_size / in_use))))
        size, reason = steady.batch_size, "fewer runs diverge"
    return (Advice("generalization", size, f"{reason}{gone}"),)


def _megabytes(count: int) -> str:
    return f"{plain(count / 1e6)} MB"
