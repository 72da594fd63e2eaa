"""The front of a study with several metrics: trials that no other one beats."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hyperjax.studies.study import Study, Trial


@dataclass(frozen=True, eq=False)
class Front:
    """The trials of a study that no other one beats: along them, what is gained by one metric is lost by another.

    A trial beats another that it equals or betters by every metric, and betters by at least one. Of trials that are
    equal by all metrics the earliest stands for the others.

    Attributes:
        metrics: their names, the one that ranks first.
        directions: "max" or "min" of each, whichever is better.
        trials: the front, from the best to the worst by the first metric.
        others: the trials with scores that are beaten, or equal to an earlier one, in the order of sampling.
    """

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    trials: tuple["Trial", ...]
    others: tuple["Trial", ...]

    def scores_of(self, trial: "Trial") -> tuple[float, ...]:
        """One value a metric."""
        return tuple(trial.measured(name) for name in self.metrics)

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row a trial of the front: its number, the searched values, its metrics."""
        return [
            {"trial": trial.number, **trial.values, **dict(zip(self.metrics, self.scores_of(trial), strict=True))}
            for trial in self.trials
        ]

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator["Trial"]:
        return iter(self.trials)

    def __str__(self) -> str:
        *others, last = self.metrics
        names = f"{', '.join(others)} and {last}" if others else last
        return f"{len(self.trials)} of {len(self.trials) + len(self.others)} trials are beaten by no other in {names}."


def front(study: "Study") -> Front:
    """The front of all trials that have a score by every metric and were not pruned; see `Study.front`."""
    told = [(trial, study.scores_of(trial)) for trial in study.trials if trial.pruned_at is None]
    known = [trial for trial, scores in told if np.isfinite(scores).all()]
    signs = np.array([-1.0 if direction == "max" else 1.0 for direction in study.directions])
    scores = np.array([scores for _, scores in told if np.isfinite(scores).all()]).reshape(-1, len(signs))
    places = unbeaten(scores * signs)
    rest = set(range(len(known))).difference(places)
    trials, others = tuple(known[place] for place in places), tuple(known[place] for place in sorted(rest))
    return Front(study.metrics, study.directions, trials, others)


def unbeaten(losses: np.ndarray) -> list[int]:
    """The rows that no other row beats, in the order of their entries; of equal rows the first.

    n rows take O(n log n) for two columns; for more, time in proportion to rows and rows found.

    Args:
        losses: f64[rows, columns], finite, smaller is better.

    >>> unbeaten(np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 2.0], [1.0, 2.0]]))
    [1, 0]
    """
    order = np.lexsort(losses.T[::-1])  # by the first column, then the second; equal rows as they were
    ordered = losses[order]
    if losses.shape[1] == 2:
        before = np.minimum.accumulate(np.concatenate([[np.inf], ordered[:-1, 1]]))
        return [int(place) for place in order[ordered[:, 1] < before]]
    found, left = [], np.arange(len(order))
    while len(left):  # the first that is left is beaten by none: what could beat it comes before it
        found.append(int(order[left[0]]))
        better = [column[left] < column[left[0]] for column in ordered.T]  # by one column at least
        left = left[np.logical_or.reduce(better)]
    return found
