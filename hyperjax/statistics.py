"""Intervals for means and medians, and how many values they take, computed without SciPy."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with a confidence interval: `mean`, `low`, `high`, all in the unit of the data."""

    mean: float
    low: float
    high: float


class MedianInterval(NamedTuple):
    """A median with a confidence interval: `median`, `low`, `high`, all in the unit of the data."""

    median: float
    low: float
    high: float


def t_quantile(degrees: int, confidence: float = 0.95) -> float:
    """Two-sided Student quantile t with P(|T| <= t) = confidence, by bisection on the closed-form distribution.

    Args:
        degrees: degrees of freedom, a whole number of at least 1.
        confidence: in (0, 1).
    Source: Abramowitz & Stegun 26.7.3 and 26.7.4 (finite trigonometric sums for whole degrees of freedom).

    >>> round(t_quantile(4), 3)
    2.776
    """
    low, high = 0.0, 1.0
    while _central_probability(high, degrees) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def _central_probability(t: float, degrees: int) -> float:
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0 if degrees == 1 else term
    for k in range(2 if not odd else 3, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Mean of finite values with its Student t interval; one value alone has an unbounded interval, none gives NaN.

    >>> mean_interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, low=-0.48..., high=4.48...)
    """
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    if array.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, -math.inf, math.inf)
    half = t_quantile(array.size - 1, confidence) * float(array.std(ddof=1)) / math.sqrt(array.size)
    return Interval(mean, mean - half, mean + half)


def median_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> MedianInterval:
    """Median of finite values with an interval that holds for any distribution, however skewed.

    Its ends lie between two neighbouring order statistics, whose intervals hold with chances that the binomial
    distribution gives. Too few values have an unbounded one (for 95 %, fewer than 6); none gives NaN.

    Source: Hettmansperger & Sheather 1986, doi:10.1016/0167-7152(86)90021-0, equation 2.

    >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
    MedianInterval(median=3.5, low=1.35..., high=40.35...)
    >>> median_interval([1.0, 2.0, 3.0]).high
    inf
    """
    array = np.asarray(values, np.float64)
    array = np.sort(array[np.isfinite(array)])
    count = array.size
    if count == 0:
        return MedianInterval(math.nan, math.nan, math.nan)
    median = float(np.median(array))
    logarithms = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(count // 2 + 1)
    ]
    below = np.cumsum(np.exp(np.array(logarithms) - count * math.log(2)))
    holds = 1 - 2 * below  # of the interval from the (k + 1)-th smallest to the (k + 1)-th largest
    if holds[0] < confidence:
        return MedianInterval(median, -math.inf, math.inf)
    k = int(np.flatnonzero(holds >= confidence)[-1])  # the narrowest that holds often enough; the next does not
    depth = k + 1
    excess = (holds[k] - confidence) / (holds[k] - holds[k + 1])
    inner = (count - depth) * excess / (depth + (count - 2 * depth) * excess)
    low = (1 - inner) * array[depth - 1] + inner * array[depth]
    high = (1 - inner) * array[count - depth] + inner * array[count - depth - 1]
    return MedianInterval(median, float(low), float(high))


def count_needed(mean: float, deviation: float, power: float = 0.8, confidence: float = 0.95) -> float:
    """How many values it takes until the Student t interval of their mean leaves out 0 with a probability of `power`.

    From the noncentral t distribution; above 200 values from the normal one, which is a value off at most. An estimate
    of mean and deviation from few values carries its own error over: a plan, not a promise.

    Args:
        mean, deviation: of normal values.
        power, confidence: in (0, 1).
    Returns: a whole number of at least 2; infinite for a mean of 0, NaN where one of the two is not finite.

    >>> count_needed(1.0, 1.0), count_needed(0.0, 1.0), count_needed(1.0, 0.0)
    (10, inf, 2)
    """
    if not (math.isfinite(mean) and math.isfinite(deviation)):
        return math.nan
    if mean == 0:
        return math.inf
    if deviation == 0:
        return 2
    effect, normal = abs(mean) / deviation, NormalDist()
    limit = normal.inv_cdf(0.5 + confidence / 2)
    many = ((limit + normal.inv_cdf(power)) / effect) ** 2 + limit**2 / 2
    if many > 200:
        return math.ceil(many)
    low, high = 1, 2
    while _power(effect, high, confidence) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle, confidence) >= power else (middle, high)
    return high


def _power(effect: float, count: int, confidence: float) -> float:
    """P(|T| > t) of a noncentral t: over all deviations s, P(|Z + effect sqrt(count)| > t s), by the trapezoid."""
    degrees, shift, limit = count - 1, effect * math.sqrt(count), t_quantile(count - 1, confidence)
    s = np.linspace(1e-9, 1 + 8 / math.sqrt(degrees), 801)
    logarithm = math.log(2) + degrees / 2 * math.log(degrees / 2) - math.lgamma(degrees / 2)
    density = np.exp(logarithm + (degrees - 1) * np.log(s) - degrees / 2 * s * s)
    phi = NormalDist().cdf
    outside = np.array([phi(shift - limit * each) + phi(-shift - limit * each) for each in s.tolist()])
    return float(np.trapezoid(density * outside, s))
