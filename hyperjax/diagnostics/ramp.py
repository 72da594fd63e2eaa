"""The range test as a ramp: a rate that rises exponentially in one run, and its loss smoothed over steps."""

import numpy as np

from hyperjax import schedules
from hyperjax.diagnostics.rate_curve import RateCurve
from hyperjax.diagnostics.rate_runs import STILL, RateRuns
from hyperjax.schedules import Schedule

SMOOTHING = 0.8  # decay of the loss's mean over steps
# Shares of the most progress. In a ramp progress adds up, while the rate goes on rising.
BEGUN = 0.1  # above which the loss has begun to fall
ENOUGH = 0.5  # below which, later, it has blown up
GOOD = 0.8  # where the suggestion is


def ramp(low: float, high: float, steps: int) -> Schedule:
    """The rate that rises from `low` at the first step to `high` at the last by the same factor each step.

    >>> print(ramp(1e-4, 1.0, 5)(2))
    0.01
    """
    return schedules.exponential_decay(low, steps - 1, high / low, end_value=high)


def smoothed(values: np.ndarray, decay: float) -> np.ndarray:
    """The exponential mean of the values up to each one, its beginning debiased; what is not finite stays so.

    `m_t = decay m_(t-1) + (1 - decay) v_t`, `s_t = m_t / (1 - decay^(t+1))`

    Args:
        values: f64[..., steps].
        decay: in [0, 1).

    >>> smoothed(np.array([1.0, 1.0, 4.0]), 0.5).round(3).tolist()
    [1.0, 1.0, 2.714]
    """
    mean = np.zeros(values.shape[:-1])
    found = np.empty(values.shape)
    for step in range(values.shape[-1]):
        mean = decay * mean + (1 - decay) * values[..., step]
        found[..., step] = mean / (1 - decay ** (step + 1))
    return found


class RateRamp:
    """One run a seed, whose rate rises from `low` to `high`, and its progress so far at each step's rate.

    Args, Attributes: as of `RatePopulation`; progress is what the batches lose less than with untrained weights,
        smoothed over steps.
    """

    below, above, good = BEGUN, ENOUGH, GOOD

    def __init__(self, runs: RateRuns, low: float, high: float):
        self._runs, self._schedule = runs, ramp(low, high, runs.steps)
        still, self._losses = runs.losses([low * STILL, self._schedule])
        self.untrained = still.mean(1)
        progress = smoothed(still - self._losses, SMOOTHING).T
        rates = np.geomspace(low, high, runs.steps)
        self.curve = RateCurve(rates, np.where(np.isfinite(progress), progress, -np.inf))

    def lowest(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f64[seeds] twice, the lowest smoothed loss with the task's targets, and with others.

        Args:
            targets: [seeds, *targets' shape], those others.
        """
        (others,) = self._runs.losses([self._schedule], targets)
        own, other = (np.fmin.reduce(smoothed(losses, SMOOTHING), -1) for losses in (self._losses, others))
        return np.asarray(own), np.asarray(other)
