"""The values of one hyperparameter compared, each at its own best setting of all the others."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.statistics import Interval, t_quantile
from hyperjax.studies.groups import grouped

if TYPE_CHECKING:
    from hyperjax.studies.study import Study


class IsolatedPoint(NamedTuple):
    """One choice or bin: how many trials it has, how many of them diverged, the best one's number, and its interval."""

    label: str
    value: Any  # the choice; None of a bin
    low: float
    high: float
    trials: int
    diverged: int
    best: int | None  # None when all diverged
    interval: Interval


@dataclass(frozen=True)
class Isolation:
    """One hyperparameter's values, each at its own best.

    Attributes:
        name: the hyperparameter; metric, direction: what was measured.
        kind: "number" (bins of equal counts) or "choice".
        draws: how many trials each value is given, whatever it had: the intervals are of the best of so many.
        points: one a bin or choice.
    """

    name: str
    metric: str
    direction: str
    kind: str
    draws: int
    points: tuple[IsolatedPoint, ...]


def isolate(study: "Study", name: str, draws: int | None, bins: int) -> Isolation:
    """Compare the values of a name; see `Study.isolate`."""
    one_of("name", name, study.space)
    positive_integer("bins", bins)
    counted = [trial for trial in study.trials if name in trial.values]
    sign = 1.0 if study.direction == "max" else -1.0
    scores = sign * np.array([trial.score for trial in counted], np.float64)
    finite = np.isfinite(scores)
    scores[~finite] = scores[finite].min() if finite.any() else math.nan
    kind, groups = grouped([trial.values[name] for trial in counted], bins, name in study.continuous)
    half = max(1, min((len(group.members) for group in groups), default=2) // 2)
    draws = half if draws is None else positive_integer("draws", draws)
    points = []
    for group in groups:
        ordered = group.members[np.argsort(-scores[group.members], kind="stable")]
        alive = [counted[at].number for at in ordered if finite[at]]
        mean, *ends = (sign * end for end in best_of(scores[ordered], draws))
        value = counted[ordered[0]].values[name] if kind == "choice" else None
        counts = len(ordered), len(ordered) - len(alive), alive[0] if alive else None
        points.append(IsolatedPoint(group.label, value, group.low, group.high, *counts, Interval(mean, *sorted(ends))))
    return Isolation(name, study.metric, study.direction, kind, draws, tuple(points))


def best_of(scores: np.ndarray, draws: int) -> Interval:
    """The expected best of so many of some scores, with a 95 % interval.

    Over all subsets of `draws` of n scores, the j-th best is a subset's best in a share C(n - j, draws - 1) /
    C(n, draws). The interval is Student's with the jackknife's deviation and n // draws degrees of freedom, of which
    a best has as few as there are subsets apart: on normal, uniform, exponential and two-humped scores it covers 89 to
    98 % for draws up to n / 2. (The percentile bootstrap covers 46 to 65 % where draws = n, 64 to 85 % at half.)

    Args:
        scores: f64[n], higher is better.
        draws: whole number of at least 1.
    Returns: NaN with fewer scores than draws; unbounded ends where nothing is left to judge the spread by.
    Source: Dodge et al. 2019, "Show Your Work", arXiv:1909.03004; without replacement, hence unbiased, as in Tang et
        al. 2020, arXiv:2004.13705.

    >>> best_of(np.array([3.0, 1.0, 2.0]), 2).mean  # of the pairs 3 1, 3 2 and 1 2
    2.66...
    """
    ordered = -np.sort(-np.asarray(scores, np.float64))
    count = len(ordered)
    if count < draws or not np.isfinite(ordered).all():
        return Interval(math.nan, math.nan, math.nan)
    mean = float(_shares(count, draws) @ ordered)
    if count <= draws:
        return Interval(mean, -math.inf, math.inf)
    share = _shares(count - 1, draws)
    # Without the score at i those before it keep their places, and those behind it move up by one.
    before = np.concatenate([[0.0], np.cumsum(share * ordered[:-1])])
    behind = np.concatenate([np.cumsum((share * ordered[1:])[::-1])[::-1], [0.0]])
    without = before + behind
    deviation = math.sqrt((count - 1) / count * float(np.sum((without - without.mean()) ** 2)))
    half = t_quantile(min(count // draws, count - 1), 0.95) * deviation
    return Interval(mean, mean - half, mean + half)


def _shares(count: int, draws: int) -> np.ndarray:
    """f64[count]: how often each of `count` scores, the best first, is the best of a random subset of `draws`."""
    left = np.arange(count, 0.0, -1)  # scores from the j-th best on: all of a subset must be among them
    kept = np.cumprod(np.concatenate([[1.0], (left[:-1] - draws).clip(0) / left[:-1]]))  # none of the better ones drawn
    return kept * np.minimum(draws / left, 1.0)
