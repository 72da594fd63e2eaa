"""Whether a learning rate found on a small model, or on few data, can be carried to a large one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np

from hyperjax import random
from hyperjax.checks import one_of, positive_integer, require, within
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.rate_curve import RateCurve, crossing
from hyperjax.diagnostics.rate_population import ENOUGH, RatePopulation
from hyperjax.diagnostics.rate_runs import RateRuns
from hyperjax.diagnostics.widths import widths_among
from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.members import recipe_of, seeds_of
from hyperjax.training.recipe import Recipe

STAYS = 0.25  # exponent of size: a rate that moves less moves by a fifth at most when the size doubles
NEARLY = 0.9  # share of the most progress: one rate alone is the best by chance, where many do as well
_ORDER = 0xDA7A  # folded into a key for which examples a part of the data has


@dataclass(frozen=True, eq=False)
class Transfer(Diagnostic):
    """How the best learning rate moves with the width of a model or the amount of data.

    Attributes:
        recipe: what was tested, at other rates than its own; over: "width" or "data".
        sizes: f64[sizes], ascending; seeds: of each rate at each size.
        best: the best rate at each size, with its 95 % interval over the seeds; upper: where the loss blows up.
        slope: d log(best rate) / d log(size), with its 95 % interval over the seeds; upper_slope: of the blow-up.
        coordinates: over the width, d log(change) / d log(width) of each weight's change in one step at one rate, and
            of that step's change of the outputs ("outputs"), each with its interval; empty over data.
        verdict: "carries", "moves" or "undecided".
    """

    title: ClassVar[str] = "Transfer of the learning rate"
    recipe: Recipe
    over: str
    sizes: np.ndarray
    seeds: tuple[int, ...]
    best: tuple[Interval, ...]
    upper: tuple[Interval, ...]
    slope: Interval
    upper_slope: Interval
    coordinates: Mapping[str, Interval]
    verdict: str

    @property
    def answer(self) -> str:
        """Whether the rate can be carried over, and how it moves."""
        factor, low, high = (2**exponent for exponent in self.slope)
        moved = f"{factor:.2f} ({low:.2f} to {high:.2f})"
        how = f"when the {self.over} doubles, the best rate is multiplied by {moved}"
        told = {
            "carries": f"The learning rate can be carried over: {how}.",
            "moves": f"The learning rate cannot be carried over as it is: {how}.",
            "undecided": f"It is open whether the learning rate can be carried over: {how}; take more seeds or sizes.",
        }[self.verdict]
        if "outputs" not in self.coordinates:
            return told
        mean, low, high = self.coordinates["outputs"]
        return f"{told} One step changes the outputs as width to the power of {mean:.2f} ({low:.2f} to {high:.2f})."

    @property
    def table(self) -> Table:
        """The best rate and the blow-up at each size."""
        rows = tuple(
            (float(size), best.mean, _within(best), upper.mean, _within(upper))
            for size, best, upper in zip(self.sizes, self.best, self.upper, strict=True)
        )
        return Table((self.over, "best rate", "95 %", "blows up at", "95 %"), rows)


def transfer(
    task: Task,
    recipe: Recipe | None = None,
    over: str = "width",
    sizes: Sequence[Any] | None = None,
    *,
    name: str | None = None,
    low: float = 1e-4,
    high: float = 10.0,
    rates: int = 32,
    seeds: Sequence[int] = (0, 1, 2, 3),
    steps: int = 100,
) -> Transfer:
    """Measure how the best learning rate moves with a model's width or the amount of training data.

    At each size a range test's population is trained (`lr_range_test`): constant rates side by side on the same
    batches, for so many steps. The best rate of a seed is the middle of those that make nine tenths of the most
    progress, in the logarithm; the slope of its logarithm over that of the size is fitted for each seed, and Student's
    interval is over the seeds. "carries": the interval lies within 0.25 of 0. "moves": it leaves
    out 0. The blow-up's slope is told beside it: it is sharper than that of the best rate.

    Over the width there is a coordinate check too: one step at the best rate of the smallest width, and how the size
    of each weight's change and of the outputs' change goes with the width. Outputs that change more the wider the model
    is will blow up at a rate that a narrow one bears.

    Over the data every part has the examples of the smaller ones, and the number of steps is the same: what differs is
    how often an example is seen.

    Args:
        task: what is learnt, from arrays.
        recipe: how; see `lr_range_test` for what of it is left out. None is `Recipe()`.
        over: "width" or "data".
        sizes: at least three. Over the width, whole numbers; None: 32, 64, 128, 256. Over the data, shares of the
            training set in (0, 1]; None: 1/8, 1/4, 1/2, 1.
        name: argument of the task's model factory that is the width; None: the only one that is called so. Where its
            default is a sequence ("widths" of an MLP), every entry is set.
        low, high, rates: lowest and highest rate, and how many.
        seeds: at least two.
        steps: of each run.
    Raises: ValueError for what is out of its range, an argument that the model does not have, a size at which no rate
        lowers the loss, or rates that do not hold the best one of every size.

    >>> from hyperjax.tasks import wine
    >>> result = transfer(wine(), Recipe(optimizer="sgd"), "data", (0.3, 0.6, 1), rates=8, steps=20, seeds=(0, 1))
    >>> len(result.best), result.verdict in ("carries", "moves", "undecided")
    (3, True)
    """
    require_task(task)
    one_of("over", over, ("width", "data"))
    within("low", low, 0.0, open_low=True)
    within("high", high, 0.0, open_low=True)
    require(low < high, f"low must be below high, got {low!r} and {high!r}")
    require(positive_integer("rates", rates) >= 8, f"rates must be at least 8, got {rates}")
    require(positive_integer("steps", steps) >= 4, f"steps must be at least 4, got {steps}")
    seeds = seeds_of(seeds)
    require(len(seeds) > 1, f"seeds must be at least two, got {seeds}")
    task.require_arrays("a test of transfer")
    recipe = recipe_of(recipe)
    given = sizes if sizes is not None else (32, 64, 128, 256) if over == "width" else (0.125, 0.25, 0.5, 1.0)
    require(np.iterable(given), f"sizes must be at least three, got {given!r}")
    ordered = sorted(given)
    require(len(set(ordered)) > 2, f"sizes must be at least three, got {list(given)}")
    made = [_wider(task, recipe, name, size) if over == "width" else (_less(task, size), recipe) for size in ordered]
    found, best, brackets, upper = [], [], [], []
    for size, (own, changed) in zip(ordered, made, strict=True):
        runs = RateRuns(own, changed, seeds, steps)
        population = RatePopulation(runs, low, high, rates)
        curve = population.curve
        require(
            curve.progress[curve.best].min() > 0,
            f"low and high must hold a rate that lowers the loss of every seed, got {low:g} and {high:g}, where none "
            f"does so for the {over} {size:g}",
        )
        require(
            0 < curve.means.argmax() < len(curve.rates) - 1,
            f"low and high must have the best rate between them, got {low:g} and {high:g} with the best at an end of "
            f"them for the {over} {size:g}",
        )
        found.append(runs)
        best.append(_best(curve))
        brackets.append(curve.brackets(ENOUGH, upwards=True))
        upper.append(crossing(brackets[-1], high, upwards=True))
    logs = np.log(np.asarray(ordered, np.float64))
    slope = _slope(logs, np.log(best))
    blown = np.where(np.isnan(brackets), high, brackets)
    first = float(np.exp(np.mean(np.log(best[0]))))
    return Transfer(
        recipe=recipe,
        over=over,
        sizes=np.asarray(ordered, np.float64),
        seeds=tuple(seeds),
        best=tuple(Interval(*map(math.exp, mean_interval(np.log(each)))) for each in best),
        upper=tuple(upper),
        slope=slope,
        upper_slope=_slope(logs, np.log(blown).mean(-1)),
        coordinates=_coordinates(found, logs, first) if over == "width" else {},
        verdict=_verdict(slope),
    )


def _wider(task: Task, recipe: Recipe, name: str | None, size: Any) -> tuple[Task, Recipe]:
    positive_integer("sizes' width", size)
    known = task.structure_arguments
    if name is None:
        arguments = {**(known or {}), **recipe.model}
        called, listed = widths_among(arguments), ", ".join(arguments) or "none that are known"
        require(len(called) == 1, f"name must say which of the model's arguments is its width ({listed}), got None")
        name = called[0]
    require(known is None or name in known, f"name must be one of {', '.join(known or ())}, got {name!r}")
    default = dict(recipe.model).get(name, (known or {}).get(name))
    value = (int(size),) * len(default) if isinstance(default, Sequence) else int(size)
    return task, recipe.replace(model={**recipe.model, name: value})


def _less(task: Task, share: Any) -> Task:
    within("sizes' share", share, 0.0, 1.0, open_low=True)
    size = task.size("train")
    chosen = np.asarray(jax.random.permutation(jax.random.fold_in(random.key(0), _ORDER), size))
    kept = chosen[: max(2, round(share * size))]
    return replace(
        task, data={**task.data, "train": jax.tree.map(lambda leaf: np.asarray(leaf)[kept], task.data["train"])}
    )


def _best(curve: RateCurve) -> np.ndarray:
    """f64[seeds], the middle, in the logarithm, of the rates next to each seed's best that make nearly its progress."""
    found = []
    for row in curve.progress.T:
        own = RateCurve(curve.rates, row[:, None])
        ends = [own.brackets(NEARLY, upwards) for upwards in (False, True)]
        known = [np.where(np.isnan(end), curve.rates[edge], end) for end, edge in zip(ends, (0, -1), strict=True)]
        found.append(math.exp(np.log(known).mean()))
    return np.array(found)


def _slope(logs: np.ndarray, values: np.ndarray) -> Interval:
    """Least-squares slope of values[sizes, seeds] over logs[sizes], of each seed, and the interval over the seeds."""
    centred = logs - logs.mean()
    return mean_interval(centred @ values / (centred @ centred))


def _verdict(slope: Interval) -> str:
    if slope.low > -STAYS and slope.high < STAYS:
        return "carries"
    return "moves" if slope.low > 0 or slope.high < 0 else "undecided"


def _coordinates(found: Sequence[RateRuns], logs: np.ndarray, rate: float) -> dict[str, Interval]:
    """Slopes over the width of the root mean square of what one step changes."""
    changes = [runs.changes(rate) for runs in found]
    slopes = {}
    for name in changes[0]:
        sizes = np.stack([each[name] for each in changes])
        if (sizes > 0).all() and np.isfinite(sizes).all():
            slopes[name] = _slope(logs, np.log(sizes))
    return slopes


def _within(interval: Interval) -> str:
    return f"{interval.low:.2g} to {interval.high:.2g}"
