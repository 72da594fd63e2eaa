"""A curve as its tests look at it: losses in the unit of their start, noise told from trend."""

from functools import cached_property

import numpy as np

from hyperjax.diagnostics.curves.curve import Curve
from hyperjax.diagnostics.curves.noise import blocked, cycles, falling, replicates, smoother


class Series:
    """One kind of loss of a curve, averaged to few points, smoothed, and as it might as well have been.

    Attributes:
        x: f64[n], steps; share: f64[n], the same as shares of the run; y: f64[n], losses.
        trend: f64[n], smoothed; draws: f64[replicates, n], smoothed replicates of it.
    """

    def __init__(self, steps: np.ndarray, losses: np.ndarray, begin: float, end: float):
        self.x, self.y = blocked(steps, losses)
        self.share = (self.x - begin) / max(end - begin, 1e-300)
        self._smooth = smoother(self.x)
        self.trend: np.ndarray = self._smooth @ self.y

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def draws(self) -> np.ndarray:
        """f64[replicates, n]."""
        return replicates(self.y, self._smooth)

    @cached_property
    def ends(self) -> np.ndarray:
        """f64[replicates]: the level at the end, over its last tenth or three points."""
        levels: np.ndarray = self.draws[:, -max(min(3, len(self)), len(self) // 10) :].mean(1)
        return levels

    @cached_property
    def end(self) -> float:
        """The level at the end."""
        return float(self.trend[-max(min(3, len(self)), len(self) // 10) :].mean())

    def at(self, share: float) -> np.ndarray:
        """f64[replicates]: the level after a share of the run."""
        return self.draws[:, min(int(np.searchsorted(self.share, share)), len(self) - 1)]

    def within(self, low: float, high: float) -> np.ndarray:
        """f64[replicates]: the mean level between two shares of the run."""
        first, last = np.searchsorted(self.share, [low, high])
        first = min(int(first), len(self) - 1)
        result: np.ndarray = self.draws[:, first : max(int(last), first + 1)].mean(1)
        return result

    def falls(self, since: float = 0.0) -> float:
        """Probability that it falls from a share of the run on, by Mann and Kendall's test of at most 12 blocks."""
        own = self.y[self.share >= since]
        return falling(blocked(own, own, 12)[1]) if len(own) >= 4 else 0.5


class Seen:
    """What a curve shows, apart from noise; for the tests of it.

    Losses are divided by the largest of them, so that no sum of theirs overflows.

    Attributes:
        curve: it; unit: what its losses were divided by.
        train, validation: the two series; the validation is None with fewer than 5.
        start: the training loss that it began at; most: what larger ones are cut to.
        begin, end: steps.
    """

    def __init__(self, curve: Curve):
        self.curve = curve
        every = np.concatenate([curve.train, curve.validation])
        self.unit = float(np.abs(every).max(initial=0.0)) or 1.0
        places = np.concatenate([curve.steps, curve.validation_steps])
        # A first step of 1 comes after a step; one of 1000 may be the first that was written down.
        self.begin, self.end = float(places.min()), float(places.max())
        if 0 < self.begin < self.end / 4:
            self.begin = 0.0
        self.raw = curve.train / self.unit
        first = float(np.median(self.raw[: max(1, min(5, len(self.raw) // 30))]))
        noise = float(np.median(np.abs(np.diff(self.raw))))
        self.start = first if first < self.raw[0] + 5 * noise else float(self.raw[0])  # a leap is no start
        # One loss of a thousand times the start would drown all others; how far above it is tells nothing more.
        fall = self.start - float(self.raw.min())
        self.most = self.start + 3 * max(fall, 0.3 * abs(self.start))
        self.train = Series(curve.steps, np.minimum(self.raw, self.most), self.begin, self.end)
        self.validation: Series | None = None
        if len(curve.validation) >= 5:
            seen = np.minimum(curve.validation / self.unit, self.most)
            self.validation = Series(curve.validation_steps, seen, self.begin, self.end)

    @cached_property
    def calm(self) -> Series:
        """The validation losses, which know no noise of batches, where there are ten; else the training's."""
        return self.validation if self.validation is not None and len(self.validation) >= 10 else self.train

    @cached_property
    def cyclic(self) -> bool:
        """True when the losses go up and down slowly and regularly, as a schedule makes them, or the rate does."""
        rate = self.curve.rate
        if rate is not None and len(rate) > 2:
            highest = np.maximum.accumulate(rate[::-1])[::-1]  # of what follows
            lowest = np.minimum.accumulate(rate)
            after_a_low = rate > 2 * lowest
            fell_again = np.flatnonzero(after_a_low & (highest > 0))
            # A warm-up rises once, from the beginning.
            return bool(len(fell_again) and np.any(np.diff(rate[: fell_again[-1] + 1]) < 0))
        if self.validation is not None and _restarts(self.curve.validation):
            return True
        return any(
            cycles(series.y[series.share > 0.15]) > 0 for series in (self.train, self.validation) if series is not None
        )


def _restarts(y: np.ndarray) -> bool:
    """True when at least two jumps up are each followed by a slow way down, and hardly any by a fall at once.

    >>> _restarts(np.array([9, 5, 3, 2, 6, 5, 4, 3, 2, 6, 5, 4, 3, 2.0])), _restarts(np.array([9, 3.0] + [2, 2, 6] * 4))
    (True, False)
    """
    if len(y) < 12:
        return False
    rest = y[len(y) // 8 :]
    steps = np.diff(rest)
    jumps = np.flatnonzero(steps[:-2] > max(0.1 * float(np.ptp(y)), 3 * float(np.median(np.abs(steps)))))
    slow = [rest[i] + 0.4 * steps[i] < rest[i + 2] < rest[i + 1] and rest[i + 3] < rest[i + 1] for i in jumps]
    return len(slow) >= 2 and bool(sum(slow) > 0.7 * len(slow))
