"""What another batch size costs in steps and in examples, from the critical batch size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hyperjax.diagnostics.gradient_noise import Estimate, scale_from
from hyperjax.statistics import Interval


class Tradeoff(NamedTuple):
    """A batch size against the one in use, for the same loss; both are 1 for the latter."""

    batch_size: int
    steps: Interval  # needed, as a multiple
    examples: Interval  # needed, as a multiple


def critical_batch(steps: Sequence[int], scales: Estimate, batch_size: int) -> Interval:
    """The critical batch size E_min / S_min of a run whose noise scale changes on its way.

    A step with batches of B gets as far as 1 / (1 + B_noise / B) of one without noise. So a run of S steps needs at
    least S times the mean of that, and examples at least S B times what is missing to 1, and their ratio is the
    critical size. Between moments it is read off a line over the logarithm of the step, since noise scales change most
    at the beginning. The interval joins those of the moments, each from other examples; of what happens between them
    it knows nothing.

    Args:
        steps: of each moment, rising.
        scales: noise scale at each, f[moments].
        batch_size: in use.
    Source: arXiv:1812.06162, section 2.3 and appendix D; the interval after G. Y. Zou, A. Donner, Construction of
        confidence limits about effect measures (2008).

    >>> scale = np.array([96.0, 96.0])
    >>> critical_batch([0, 10], Estimate(scale, scale, scale), 32)
    Interval(mean=96.0, low=96.0, high=96.0)
    """
    progress, low, high = (1 / (1 + np.asarray(each) / batch_size) for each in (scales.value, scales.high, scales.low))
    known = np.isfinite(progress)
    at, mark = np.log1p(np.asarray(steps, np.float64)[known]), np.eye(int(known.sum()))
    path = np.log1p(np.linspace(0.0, max(steps), 2001))
    weights = np.array([np.interp(path, at, each).mean() for each in mark])
    mean = float(weights @ progress[known]) if len(at) else math.nan
    below = float(np.sqrt(np.square(weights * (progress - low)[known]).sum()))
    above = float(np.sqrt(np.square(weights * (high - progress)[known]).sum()))
    ends = [np.clip(each, 0.0, 1.0) for each in (mean, mean + above, mean - below)]
    return Interval(*(float(scale_from(each, batch_size)) for each in ends))


def tradeoff(critical: Interval, batch_size: int, other: int) -> Tradeoff:
    """Steps and examples that another batch size needs for the same loss: (S/S_min - 1)(E/E_min - 1) = 1.

    That is S = S_min (1 + critical / B) and E = E_min (1 + B / critical), each with the best rate for its batch size.

    Source: arXiv:1812.06162, equation 2.11.

    >>> tradeoff(Interval(64.0, 32.0, float("inf")), 64, 128)
    Tradeoff(batch_size=128, steps=Interval(mean=0.75, low=0.5, high=0.833...),
             examples=Interval(mean=1.5, low=1.0, high=1.666...))
    """

    def steps(scale: float) -> float:
        return batch_size / other if np.isinf(scale) else (1 + scale / other) / (1 + scale / batch_size)

    mean, *ends = map(steps, critical)
    needed = Interval(mean, min(ends), max(ends))
    return Tradeoff(other, needed, Interval(*(each * other / batch_size for each in needed)))
