"""The range test as a population: constant rates side by side, on the same batches."""

import numpy as np

from hyperjax.diagnostics.rate_curve import RateCurve
from hyperjax.diagnostics.rate_runs import STILL, RateRuns

# Shares of the best rate's progress.
ENOUGH = 0.5  # that a rate of the safe interval makes
GOOD = 0.9  # that the suggestion makes
FINER = 8  # rates of a refinement
FINE_ENOUGH = 0.02  # logarithm of the ratio of the rates on both sides of a crossing
MOST_REFINEMENTS = 3
CONTROLS = 4  # rates at which shuffled targets are learnt


class RatePopulation:
    """Constant rates from `low` to `high`, and finer ones where the loss blows up.

    Args:
        runs: trains them.
        low, high: lowest and highest rate; rates: how many, evenly spaced in the logarithm.

    Attributes:
        curve: progress of each rate: what the last quarter of the steps loses less than untrained weights on the same
            batches.
        untrained: f64[seeds], the mean loss of untrained weights on those batches.
        below, above, good: shares of the best rate's progress, at which the safe interval ends below and above, and at
            which the suggestion is.
    """

    below, above, good = ENOUGH, ENOUGH, GOOD

    def __init__(self, runs: RateRuns, low: float, high: float, rates: int):
        self._runs = runs
        grid = np.geomspace(low, high, rates)
        still, *reached = self._last(runs.losses([low * STILL, *grid]))
        self.untrained = still
        self.curve = RateCurve(grid, self._progress(np.stack(reached)))
        self._refine()

    def lowest(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f64[seeds] twice, the lowest loss that some safe rates reach with the task's targets, and with others.

        Args:
            targets: [seeds, *targets' shape], those others.
        """
        means = self.curve.means
        safe = np.flatnonzero(means >= ENOUGH * means[self.curve.best])
        some = safe[np.unique(np.linspace(0, len(safe) - 1, CONTROLS).round().astype(int))]
        others = self._last(self._runs.losses([float(rate) for rate in self.curve.rates[some]], targets)).min(0)
        return np.asarray((self.untrained - self.curve.progress[some]).min(0)), others

    def _last(self, losses: np.ndarray) -> np.ndarray:
        """f64[rates, seeds], mean over the last quarter of the steps, infinite where a run diverged."""
        mean = losses[..., -max(1, self._runs.steps // 4) :].mean(-1)
        return np.where(np.isfinite(mean), mean, np.inf)

    def _progress(self, reached: np.ndarray) -> np.ndarray:
        """f64[rates, seeds], minus infinity where a loss is not finite, be it that of the untrained weights."""
        finite = np.isfinite(reached) & np.isfinite(self.untrained)
        return np.asarray(np.subtract(self.untrained, reached, where=finite, out=np.full(reached.shape, -np.inf)))

    def _refine(self) -> None:
        """Train rates around the upper crossings, as often as that halves what lies between those next to one."""
        for _ in range(MOST_REFINEMENTS):
            brackets = self.curve.brackets(ENOUGH, upwards=True)
            brackets = brackets[~np.isnan(brackets[:, 0])]
            if not len(brackets) or self.curve.progress[self.curve.best].min() <= 0:
                return
            widest = float(np.log(brackets[:, 1] / brackets[:, 0]).max())
            finer = np.geomspace(brackets[:, 0].min(), brackets[:, 1].max(), FINER + 2)
            if widest <= FINE_ENOUGH or np.log(finer[1] / finer[0]) > widest / 2:
                return
            more = self._last(self._runs.losses([float(rate) for rate in finer[1:-1]]))
            self.curve = self.curve.joined(RateCurve(finer[1:-1], self._progress(more)))
