"""The learning-rate range test: which rates train at all, where the loss blows up, and which one to take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np

from hyperjax import random
from hyperjax.checks import one_of, positive_integer, require, within
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.ramp import RateRamp
from hyperjax.diagnostics.rate_curve import beyond_noise, crossing
from hyperjax.diagnostics.rate_population import RatePopulation
from hyperjax.diagnostics.rate_runs import RateRuns
from hyperjax.statistics import Interval
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.members import recipe_of, seeds_of
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import MOST_RECORDED_STEPS

METHODS = ("population", "ramp")
STEPS = {"population": 100, "ramp": 400}
FEWEST_STEPS = 20  # for a suggestion
NOTICEABLE = 0.01  # share of the most progress that shuffled targets must not make
_CONTROL = 0x5AFE  # folded into a seed's key for the order of shuffled targets

_REASONS = {
    "steps": "{steps} steps are too few to tell; take {fewest} or more",
    "seeds": "one seed does not tell progress from noise; take three",
    "untrained": "the loss of untrained weights is not finite; look at the data and at the loss",
    "diverged": "every rate from {low:.2g} diverges; look lower",
    "flat": "no rate changes the loss",
    "noise": "no rate lowers the loss beyond what differs between seeds",
    "targets": "shuffled targets are learnt as fast as the task's own, so nothing is learnt of what the inputs say in "
    "{steps} steps; take more steps, or doubt the data",
    "lowest": "the most progress is at the lowest rate tested, {low:.2g}; look lower",
    "highest": "the most progress is at the highest rate tested, {high:.2g}; look higher",
}


@dataclass(frozen=True, eq=False)
class RangeTest(Diagnostic):
    """What some steps at each of many learning rates do to the loss.

    Attributes:
        recipe: what was tested, at other rates than its own; method: "population" or "ramp".
        steps: of each run; seeds: that each rate was trained with.
        rates: f64[n], ascending; for a ramp those of its steps.
        progress: f64[n, seeds], by how much the loss on the last quarter of the steps is lower than untrained weights
            have on the same batches; for a ramp so far, smoothed. Minus infinity where the run diverged.
        untrained: f64[seeds], loss of the untrained weights on those batches.
        lower, upper: the safe interval's ends with their own 95 % intervals over seeds, in which a rate makes half of
            the best rate's progress; NaN where no rate makes any.
        suggestion: a rate to take; None where the curve does not say, and why in `reason`.
        reason: "steps", "seeds", "untrained", "diverged", "flat", "noise", "targets", "lowest", "highest", or None.
    """

    title: ClassVar[str] = "Learning-rate range test"
    recipe: Recipe
    method: str
    steps: int
    seeds: tuple[int, ...]
    rates: np.ndarray
    progress: np.ndarray
    untrained: np.ndarray
    lower: Interval
    upper: Interval
    suggestion: float | None
    reason: str | None

    @property
    def loss(self) -> np.ndarray:
        """f64[n, seeds], the loss that each rate reaches, infinite where it diverged."""
        return np.asarray(self.untrained - self.progress)

    @property
    def diverged(self) -> np.ndarray:
        """f64[n], the share of seeds that diverged."""
        return np.asarray(np.isneginf(self.progress).mean(1))

    @property
    def answer(self) -> str:
        """The suggestion, or why there is none, and the safe interval."""
        low, high = float(self.rates[0]), float(self.rates[-1])
        if self.reason is not None:
            why = _REASONS[self.reason].format(steps=self.steps, fewest=FEWEST_STEPS, low=low, high=high)
            return f"No rate is suggested: {why}."
        end = f"up to {high:.2g}, the highest tested" if math.isinf(self.upper.high) else f"to {_told(self.upper)}"
        start = f"{low:.2g}, the lowest tested," if self.lower.low == 0 else _told(self.lower)
        return (
            f"Take a learning rate of {self.suggestion:.2g}. Rates from {start} {end} make at least half of the best "
            f"rate's progress in {self.steps} steps."
        )

    @property
    def table(self) -> Table:
        """A dozen of the rates, evenly spaced in the logarithm, and the suggested one."""
        wanted = [*np.geomspace(self.rates[0], self.rates[-1], 12), *([self.suggestion] if self.suggestion else [])]
        near = {int(np.argmin(abs(np.log(self.rates / rate)))) for rate in wanted}
        rows = tuple(self._row(place) for place in sorted(near))
        return Table(("rate", "loss reached", "lower than untrained by", "diverged", ""), rows)

    def _row(self, place: int) -> tuple[Any, ...]:
        rate, loss = float(self.rates[place]), float(self.loss[place].mean())
        told = "safe" if self.lower.mean <= rate <= self.upper.mean else ""
        told = "suggested" if rate == self.suggestion else told
        progress = float(self.progress[place].mean()) if math.isfinite(loss) else math.nan
        return rate, loss, progress, f"{100 * self.diverged[place]:.0f} %", told


def lr_range_test(
    task: Task,
    recipe: Recipe | None = None,
    low: float = 1e-7,
    high: float = 10.0,
    *,
    method: str = "population",
    rates: int = 64,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
) -> RangeTest:
    """Find the learning rates that train, the one at which the loss blows up, and one to take.

    "population" trains constant rates side by side, all on the same batches, and so knows what is noise: progress is
    the loss of untrained weights minus the loss reached, over the last quarter of the steps, batch by batch and seed by
    seed. The safe interval holds the rates around the best one that make at least half of its progress; its upper end,
    above which the loss blows up, is refined by populations of 8 rates between the neighbours. The suggestion is the
    lowest rate with nine tenths of the most progress, since what is best for some steps is too high for a whole
    training: `benchmarks/range.py` compares it with the best of a grid of rates after whole trainings.

    "ramp" is the classic test: one run a seed, whose rate rises exponentially from `low` to `high`, and whose progress
    is smoothed over steps (an exponential mean with decay 0.8, its beginning debiased). It costs less and is coarser,
    since a loss needs steps to fall and to blow up while the rate goes on rising: its interval begins where the loss
    has fallen by a tenth of what it falls in all, its upper end comes too late, and the suggestion is where eight
    tenths are reached.

    Nothing is suggested where the curve does not say, see `RangeTest.reason`. Progress has to exceed what differs
    between seeds, and what is made of the same inputs with targets in random order, which shows that more is learnt
    than what targets are like in the mean. The latter is left out where a task has an objective instead of targets, or
    a recipe balances classes.

    Args:
        task: what is learnt, from arrays.
        recipe: what is tested; its rate is replaced, and schedule, warm-up, plateau, early stopping and batch ramp are
            left out. None is `Recipe()`.
        low, high: lowest and highest rate, above 0.
        method: "population" or "ramp".
        rates: how many, at least 8, evenly spaced in the logarithm; a ramp has one a step.
        seeds: at least one; one alone is not enough for a suggestion.
        steps: of each run, 4 to 4096; None: 100, of a ramp 400.
    Returns: the test as data; `hyperjax.plot` and `hyperjax.report` draw it.
    Raises: ValueError for what is out of its range, a stream of batches, or targets of one class.
    Source: the ramp: Smith 2017, arXiv:1506.01186.

    >>> from hyperjax.tasks import wine
    >>> test = lr_range_test(wine(), Recipe(optimizer="sgd"), low=1e-4, rates=16, steps=40)
    >>> test.lower.mean < test.suggestion < test.upper.mean
    True
    """
    require_task(task)
    one_of("method", method, METHODS)
    within("low", low, 0.0, open_low=True)
    within("high", high, 0.0, open_low=True)
    require(low < high, f"low must be below high, got {low!r} and {high!r}")
    require(positive_integer("rates", rates) >= 8, f"rates must be at least 8, got {rates}")
    steps = STEPS[method] if steps is None else positive_integer("steps", steps)
    require(4 <= steps <= MOST_RECORDED_STEPS, f"steps must be in [4, {MOST_RECORDED_STEPS}], got {steps}")
    task.require_arrays("a range test")
    task.require_classes()
    recipe = recipe_of(recipe)
    runs = RateRuns(task, recipe, seeds_of(seeds), steps)
    test = RateRamp(runs, low, high) if method == "ramp" else RatePopulation(runs, low, high, rates)
    curve = test.curve
    reason = _reason(test, runs)
    nowhere = Interval(math.nan, math.nan, math.nan)
    lower, upper = nowhere, nowhere
    if curve.progress[curve.best].min() > 0:
        lower = crossing(curve.brackets(test.below, upwards=False), low, upwards=False)
        upper = crossing(curve.brackets(test.above, upwards=True), high, upwards=True)
    elif reason == "diverged":
        upper = Interval(low, 0.0, low)
    return RangeTest(
        recipe=recipe,
        method=method,
        steps=steps,
        seeds=tuple(runs.seeds),
        rates=curve.rates,
        progress=curve.progress,
        untrained=test.untrained,
        lower=lower,
        upper=upper,
        suggestion=None if reason is not None else float(curve.rates[curve.reaching(test.good)]),
        reason=reason,
    )


def _reason(test: RatePopulation | RateRamp, runs: RateRuns) -> str | None:
    """Why the curve does not say which rate to take, by name; None where it does."""
    curve = test.curve
    if runs.steps < FEWEST_STEPS:
        return "steps"
    if len(runs.seeds) < 2:
        return "seeds"
    if not np.isfinite(test.untrained).all():
        return "untrained"
    if np.isneginf(curve.progress).any(1).all():
        return "diverged"
    if not np.any(curve.progress[np.isfinite(curve.progress)]):
        return "flat"
    rises = curve.means.max() > 0 and curve.means.argmax() == len(curve.rates) - 1
    if rises and np.isnan(curve.brackets(test.above, upwards=True)).all():
        return "highest"
    # Seeds begin with losses of different sizes, and progress goes with them: shares of those differ less.
    if not beyond_noise(curve.progress[curve.best] / np.abs(test.untrained)):
        return "noise"
    if curve.reaching(test.good) == 0:
        return "lowest"
    if _has_control(runs):
        # The task's targets are one order of all, which every seed has: one more variance than that of a mean.
        own, others = test.lowest(_shuffled(runs))
        shares = (others - own) / np.abs(others)
        if not beyond_noise(shares, more=1.0) or (others - own).mean() < NOTICEABLE * curve.means.max():
            return "targets"
    return None


def _has_control(runs: RateRuns) -> bool:
    """Whether targets can be shuffled without anything else of the recipe changing its meaning."""
    recipe = runs.recipe
    return runs.task.objective is None and recipe.class_weights is None and recipe.sampling != "balanced"


def _shuffled(runs: RateRuns) -> np.ndarray:
    """[seeds, *targets' shape], the task's targets in a random order for each seed."""
    targets = np.asarray(runs.task.data["train"][1])
    keys = [jax.random.fold_in(random.key(seed), _CONTROL) for seed in runs.seeds]
    return np.stack([targets[np.asarray(jax.random.permutation(key, len(targets)))] for key in keys])


def _told(interval: Interval) -> str:
    return f"{interval.mean:.2g} ({interval.low:.2g} to {interval.high:.2g})"
