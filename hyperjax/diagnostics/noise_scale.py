"""The gradient noise scale along a run, and the critical batch size that follows from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hyperjax.checks import one_number, one_of, positive_integer, require
from hyperjax.diagnostics.batch_tradeoff import Tradeoff, critical_batch, tradeoff
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.gradient_noise import Estimate, Products, noise_scale_of
from hyperjax.diagnostics.moments import Moments
from hyperjax.diagnostics.unit_gradients import FEWEST, UnitGradients, examples_meet, layout_of
from hyperjax.diagnostics.wording import plain, ranged
from hyperjax.statistics import Interval
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

METHODS = ("auto", "per_example", "two_batches")
MOST_EXAMPLES = 1280  # at a moment, unless somebody asks for more
MOST_BATCHES = 48


@dataclass(frozen=True)
class NoiseScale(Diagnostic):
    """How noisy a run's gradients are against how large, in examples.

    Attributes:
        task: its name.
        steps: updates made at each moment.
        simple: tr(Sigma) / |G|^2 at each moment, with G the true gradient and Sigma the covariance of an example's.
        with_hessian: tr(H Sigma) / (G'HG) at each moment, H the loss's Hessian; NaN where the loss bends down,
            and empty where it was not asked for.
        variance: tr(Sigma) at each moment; a batch of B has a B-th of it.
        batch_size: in use.
        critical_batch: where steps and examples needed are each twice the least; from `simple`, over the whole run.
        critical_with_hessian: the same from `with_hessian`.
        tradeoffs: what other batch sizes need, against the one in use.
        method: "per_example", or "two_batches" where an example's gradient depends on its batch.
        unit: examples of the smaller batch, 1 with "per_example"; examples: how many were looked at, at each moment.
        diverged_at: the step at which the run diverged, where it ends; None: it did not.
    """

    title: ClassVar[str] = "Gradient noise scale"
    task: str
    steps: tuple[int, ...]
    simple: tuple[Interval, ...]
    with_hessian: tuple[Interval, ...]
    variance: tuple[float, ...]
    batch_size: int
    critical_batch: Interval
    critical_with_hessian: Interval | None
    tradeoffs: tuple[Tradeoff, ...]
    method: str
    unit: int
    examples: int
    diverged_at: int | None

    @property
    def answer(self) -> str:
        """The critical batch size, where the batch size in use lies, and what twice or half as much would do."""
        critical, size = self.critical_batch, self.batch_size
        if math.isnan(critical.mean):
            return f"The gradients of {self.task} are 0 or not finite at every moment: there is no noise scale."
        said = [f"The critical batch size of {self.task} is {ranged(critical)} examples, with {size} in use."]
        by_size = {each.batch_size: each for each in self.tradeoffs}
        where, other = "cannot be told from it", None
        if critical.low > size:
            where, other = "is below it", by_size.get(2 * size)
        elif critical.high < size:
            where, other = "is above it", by_size.get(size // 2)
        said[0] = f"{said[0][:-1]}, which {where}."
        if other is not None:
            said.append(f"Batches of {other.batch_size} would need {_times(other.steps)} the steps and "
                        f"{_times(other.examples)} the examples.")  # fmt: skip
        if self.critical_with_hessian is not None and not math.isnan(self.critical_with_hessian.mean):
            said.append(f"Weighed by the loss's curvature it is {ranged(self.critical_with_hessian)}.")
        unbounded = sum(math.isinf(each.high) and not math.isnan(each.mean) for each in self.simple)
        if unbounded:
            said.append(
                f"At {unbounded} of {len(self.steps)} moments the true gradient cannot be told from 0 by "
                f"{self.examples} examples: there the noise scale has no upper end."
            )
        if self.diverged_at is not None:
            said.append(f"The run diverged at step {self.diverged_at}, where this ends.")
        return " ".join(said)

    @property
    def table(self) -> Table:
        """Batch sizes, and how many steps and examples each needs for the same loss as the one in use."""
        rows = [
            (
                f"{each.batch_size}{', in use' if each.batch_size == self.batch_size else ''}",
                _times(each.steps),
                _times(each.examples),
            )
            for each in self.tradeoffs
        ]
        return Table(("batch size", "steps needed", "examples needed"), tuple(rows))


def noise_scale(
    task: Task,
    source: Recipe | Run,
    *,
    seed: int | None = None,
    points: int = 5,
    steps: int | None = None,
    method: str = "auto",
    examples: int | None = None,
    hessian: bool = True,
    confidence: float = 0.95,
) -> NoiseScale:
    """Measure the gradient noise scale at some moments of a run, and what follows for its batch size.

    The run is trained again. At each moment a program takes the gradients of examples drawn anew, in training mode, and
    forms the products that the estimates and their intervals are made of. Both estimates are unbiased in numerator and
    denominator: from |G|^2 the share of the noise is taken off. Examples are looked at as draws from what the training
    set itself is a sample of. The loss is meant without `l1` and `l2`, and the plain gradient, as for SGD: what
    adaptive rules divide it by is left out of the noise scale, which then is an indication of the critical batch size.

    Args:
        task: what is learnt.
        source: a recipe, or a run of one, whose recipe and seed are taken.
        seed, points, steps: as in `Moments`.
        method: "per_example"; "two_batches", which compares small batches with all of them together, for models where
            one example's gradient says nothing (BatchNorm) or depends on the others; "auto": whichever of the two an
            experiment with an example's neighbours says.
        examples: to look at, at each moment, at least 32; None: 1280, or 48 batches, or all.
        hessian: whether to measure the form with the Hessian too; it takes most of the time.
        confidence: of the intervals, in (0, 1).
    Raises: ValueError for arguments out of range, for more examples than there are, for a task of fewer than 32, and as
        `Moments` does.
    Source: arXiv:1812.06162.

    >>> from hyperjax.tasks import wine
    >>> found = noise_scale(wine(), Recipe(epochs=4), points=2, hessian=False)
    >>> found.steps, found.method, found.unit, len(found.simple)
    ((0, 20), 'per_example', 1, 2)
    """
    one_of("method", method, METHODS)
    one_number("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    moments = Moments(task, source, seed=seed, points=points, steps=steps)
    available, batch_size = task.size("train"), moments.program.structure.batch_size
    require(
        available >= 2 * FEWEST,
        f"task must have at least {2 * FEWEST} training examples for a noise scale, got {available}",
    )
    if examples is not None:
        require(
            positive_integer("examples", examples) <= available,
            f"examples must be at most the {available} training examples of {task.name}, got {examples}",
        )
    gradients: UnitGradients | None = None
    at: list[int] = []
    found: list[tuple[Products, Products | None]] = []
    diverged_at = -1
    for moment in moments:
        if gradients is None:
            if method == "auto":
                method = "two_batches" if examples_meet(moments, moment.carry) else "per_example"
            unit = 1 if method == "per_example" else max(2, batch_size)
            wanted = min(available, examples or (MOST_EXAMPLES if unit == 1 else MOST_BATCHES * unit))
            gradients = UnitGradients(moments, layout_of(wanted, unit, moments.program.packing.elements, hessian))
        at.append(moment.step)
        found.append(gradients(moment))
        diverged_at = int(moment.carry.diverged_at)
    assert gradients is not None
    cut = gradients.layout
    simple = noise_scale_of(_stacked([plain for plain, _ in found]), cut.size, confidence)
    curved = [by_curvature for _, by_curvature in found if by_curvature is not None]
    bent = noise_scale_of(_stacked(curved), cut.size * cut.pieces * cut.together, confidence) if curved else None
    critical = critical_batch(at, simple, batch_size)
    return NoiseScale(
        task=task.name,
        steps=tuple(at),
        simple=_intervals(simple),
        with_hessian=() if bent is None else _intervals(bent),
        variance=tuple(_variance(plain, cut.size) for plain, _ in found),
        batch_size=batch_size,
        critical_batch=critical,
        critical_with_hessian=None if bent is None else critical_batch(at, bent, batch_size),
        tradeoffs=tuple(tradeoff(critical, batch_size, other) for other in _others(batch_size, available)),
        method=method,
        unit=cut.size,
        examples=cut.examples,
        diverged_at=None if diverged_at < 0 else diverged_at,
    )


def _others(batch_size: int, available: int) -> list[int]:
    sizes = {batch_size // 4, batch_size // 2, batch_size, 2 * batch_size, 4 * batch_size, 8 * batch_size}
    return sorted(size for size in sizes if 1 <= size <= available)


def _variance(products: Products, size: int) -> float:
    """tr(Sigma) of one example, from the products of units of some size."""
    own, sums = (np.asarray(each, np.float64)[:, 0] for each in products)
    count = len(own)
    return float(size * (own.mean() - (sums.sum() - own.sum()) / (count * (count - 1))))


def _stacked(each: Sequence[Products]) -> Products:
    return Products(np.stack([one.own for one in each]), np.stack([one.sums for one in each]))


def _intervals(estimate: Estimate) -> tuple[Interval, ...]:
    return tuple(Interval(*map(float, each)) for each in zip(*estimate, strict=True))


def _times(interval: Interval) -> str:
    if interval.low == interval.high:
        return f"{plain(interval.mean)} times"
    return f"{plain(interval.mean)} ({plain(interval.low)} to {plain(interval.high)}) times"
