"""How far the loss falls at each rate: where that begins, where it ends, and whether it is more than noise."""

import math
from typing import NamedTuple

import numpy as np

from hyperjax.statistics import Interval, mean_interval


class RateCurve(NamedTuple):
    """Progress over rates, of several seeds.

    Attributes:
        rates: f64[n], ascending.
        progress: f64[n, seeds], by how much the loss is lower than without training; minus infinity where it diverged.
    """

    rates: np.ndarray
    progress: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """f64[n], progress in the mean of the seeds; minus infinity where one diverged."""
        return np.asarray(self.progress.mean(1))

    @property
    def best(self) -> int:
        """The place of the lowest rate with as much progress, but for a hundredth, as any in the mean of the seeds.

        Past the blow-up a loss may fall again, where units have died or a network has become linear: that is not what
        anybody looks for.
        """
        return self.reaching(0.99)

    def reaching(self, share: float) -> int:
        """The place of the lowest rate with a share of the most progress in the mean of the seeds."""
        most = self.means.max()
        return int(np.argmax(self.means >= share * most if most > 0 else self.means))

    def brackets(self, share: float, upwards: bool) -> np.ndarray:
        """f64[seeds, 2]: the neighbouring rates between which progress leaves `share` of the best rate's.

        The side is the one above the best rate, or below; of several crossings the one next to the best rate counts.
        NaN for a seed whose progress stays, and for one that makes none at the best rate.
        """
        enough = self.progress >= share * self.progress[self.best]
        found = np.full((self.progress.shape[1], 2), np.nan)
        step = 1 if upwards else -1
        for seed in np.flatnonzero(self.progress[self.best] > 0):
            row = enough[:, seed]
            on_the_way = np.flatnonzero(~row[self.best :: step]) * step + self.best
            if len(on_the_way):
                found[seed] = np.sort(self.rates[[on_the_way[0] - step, on_the_way[0]]])
        return found

    def joined(self, other: "RateCurve") -> "RateCurve":
        """Both curves in one."""
        rates, progress = (np.concatenate(pair) for pair in zip(self, other, strict=True))
        order = np.argsort(rates, kind="stable")
        return RateCurve(rates[order], progress[order])


def crossing(brackets: np.ndarray, end: float, upwards: bool) -> Interval:
    """The rate at which seeds cross, with a 95 % interval: Student's over logarithms, at least as wide as the brackets.

    Args:
        brackets: f64[seeds, 2], as `RateCurve.brackets` finds them.
        end: of the tested range. A seed that does not cross within it counts as crossing there, and leaves the interval
            open beyond it.
        upwards: whether `end` is the upper one.
    """
    is_open = np.isnan(brackets[:, 0])
    logs = np.log(np.where(is_open[:, None], end, brackets))
    mean, low, high = mean_interval(logs.mean(1))
    low, high = min(low, float(logs[:, 0].mean())), max(high, float(logs[:, 1].mean()))
    if is_open.any():
        low, high = (low, math.inf) if upwards else (-math.inf, high)
    return Interval(*(math.exp(log) for log in (mean, low, high)))


def beyond_noise(gains: np.ndarray, more: float = 0.0) -> bool:
    """Whether gains of several seeds are positive with 95 % confidence (Student, two-sided).

    Args:
        gains: f64[seeds].
        more: variances of a gain that enter in addition to that of their mean, for what all seeds share by chance.
    """
    if not np.isfinite(gains).all() or len(gains) < 2:
        return False
    mean, low, _ = mean_interval(gains)
    return bool(mean > 0 and mean - (mean - low) * math.sqrt(1 + more * len(gains)) > 0)
