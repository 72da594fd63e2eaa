"""The result of a study: trials, their ranking, and what each hyperparameter did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.statistics import Interval, mean_interval
from hyperjax.studies.ranges import Range
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

EDGE = 0.05  # share of a range


@dataclass(frozen=True, eq=False)
class Trial:
    """One recipe of a study with its runs, one a seed.

    Attributes:
        number: from 0, in the order of sampling.
        values: the searched hyperparameters alone, name -> number or choice.
        recipe: the whole recipe.
        runs: one a seed.
    """

    number: int
    values: Mapping[str, Any]
    recipe: Recipe
    runs: tuple[Run, ...]

    @property
    def diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(run.diverged for run in self.runs)

    @property
    def finished(self) -> bool:
        """False when a run was stopped from outside before its end."""
        return all(run.finished for run in self.runs)

    @property
    def interval(self) -> Interval:
        """Mean of the ranking metric over the seeds with its 95 % interval; NaN when any run diverged."""
        scores = [run.score for run in self.runs]
        return mean_interval(scores) if all(map(math.isfinite, scores)) else Interval(math.nan, math.nan, math.nan)

    @property
    def score(self) -> float:
        """Mean of the ranking metric over the seeds; NaN when any run diverged."""
        return self.interval.mean


class EffectPoint(NamedTuple):
    """One bin or choice of a hyperparameter: where it lies, how many trials, the metric's mean and interval."""

    label: str
    low: float
    high: float
    trials: int
    interval: Interval


@dataclass(frozen=True)
class Effect:
    """The metric over one hyperparameter, the others varying as sampled.

    Attributes:
        name: the hyperparameter; metric, direction: what was measured.
        kind: "number" (bins of equal counts) or "choice".
        log: True when a number was searched on a logarithmic scale.
        points: one a bin or choice.
        values, scores: every trial that counted, for a scatter plot.
    """

    name: str
    metric: str
    direction: str
    kind: str
    log: bool
    points: tuple[EffectPoint, ...]
    values: tuple[Any, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """Trials of a search over a space, ranked.

    Attributes:
        task: the task's name.
        space: name -> what was searched, as text.
        trials: in the order of sampling.
        metric, direction: the ranking metric and whether "max" or "min" is better.
        seeds: the seeds that every recipe was trained with.
        logs: names searched on a logarithmic scale.
        continuous: names searched over a range of real numbers.
        ranges: name -> the range that it was searched over, where it was one.
        fixed: name -> the one value that the space gave it, as text.
        test: metrics of the best trial on the test set, empty when the task has none.
        conditions: how it was run: versions, device, cores, layout, seconds in all, compiling and training, programs.
    """

    task: str
    space: Mapping[str, str]
    trials: tuple[Trial, ...]
    metric: str
    direction: str
    seeds: tuple[int, ...]
    logs: frozenset[str] = frozenset()
    continuous: frozenset[str] = frozenset()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ranking(self) -> tuple[Trial, ...]:
        """Trials from best to worst by validation; diverged ones last, in the order of sampling."""
        sign = -1.0 if self.direction == "max" else 1.0

        def order(trial: Trial) -> tuple[bool, float]:
            score = trial.score
            return (True, 0.0) if math.isnan(score) else (False, sign * score)

        return tuple(sorted(self.trials, key=order))

    @property
    def best(self) -> Trial:
        """The trial with the best mean validation metric.

        Raises: ValueError for a study without a finished trial.
        """
        if not self.trials:
            raise ValueError("study must have at least one finished trial to have a best one, got none")
        return self.ranking[0]

    @property
    def edges(self) -> dict[str, str]:
        """The ranges at whose end the best trial lies, in the outer 5 %: name -> "low" or "high".

        The best value may then lie outside, so a wider range is worth a search.
        """
        if not self.trials or math.isnan(self.best.score):
            return {}
        shares = {n: r.share(self.best.values[n]) for n, r in self.ranges.items() if n in self.best.values}
        return {n: "low" if share <= EDGE else "high" for n, share in shares.items() if not EDGE < share < 1 - EDGE}

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row a trial, best first: rank, trial, the searched values, the metric with its interval, divergence."""
        rows = []
        for rank, trial in enumerate(self.ranking, 1):
            mean, low, high = trial.interval
            steps = [run.diverged_at for run in trial.runs if run.diverged_at is not None]
            rows.append(
                {"rank": rank, "trial": trial.number, **trial.values, self.metric: mean}
                | ({"low": low, "high": high} if len(self.seeds) > 1 else {})
                | {"diverged_at": min(steps) if steps else None}
            )
        return rows

    def effect(self, name: str, bins: int = 8) -> Effect:
        """How the metric moves with one hyperparameter, over all trials that did not diverge.

        Args:
            name: a searched hyperparameter.
            bins: how many bins of equal counts a number is cut into, at most.
        Returns: for each bin or choice the mean with a 95 % Student interval over trials.
        Raises: ValueError for a name that was not searched, or bins below 1.
        """
        one_of("name", name, self.space)
        positive_integer("bins", bins)
        counted = [t for t in self.trials if math.isfinite(t.score) and name in t.values]
        values, scores = [t.values[name] for t in counted], np.array([t.score for t in counted])
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        points: tuple[EffectPoint, ...] = ()
        binned = numeric and bool(values) and (name in self.continuous or len(set(values)) > bins)
        if binned:
            order = np.argsort(np.asarray(values, np.float64), kind="stable")
            parts = np.array_split(order, min(bins, len(values)))
            points = tuple(_point(np.asarray(values)[part], scores[part]) for part in parts)
        else:
            distinct: list[Any] = []
            for value in sorted(values) if numeric else values:
                if value not in distinct:  # a list among the choices cannot be hashed
                    distinct.append(value)
            points = tuple(_choice(value, scores[[v == value for v in values]], i) for i, value in enumerate(distinct))
        kind = "number" if binned else "choice"
        return Effect(name, self.metric, self.direction, kind, name in self.logs, points, tuple(values), tuple(scores))


def _point(values: np.ndarray, scores: np.ndarray) -> EffectPoint:
    low, high = float(values.min()), float(values.max())
    return EffectPoint(f"{low:.3g} to {high:.3g}", low, high, len(scores), mean_interval(scores))


def _choice(value: Any, scores: np.ndarray, place: int) -> EffectPoint:
    label = str(getattr(value, "__name__", value)) if callable(value) else str(value)
    return EffectPoint(label, float(place), float(place), len(scores), mean_interval(scores))
