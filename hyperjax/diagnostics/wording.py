"""Numbers inside the sentences of an answer."""

import math

from hyperjax.statistics import Interval


def plain(value: float, digits: int = 2) -> str:
    """A number to a few digits, as one says it.

    >>> plain(1234.5), plain(0.02345), plain(64), plain(float("inf"))
    ('1,200', '0.023', '64', 'any size')
    """
    if not math.isfinite(value):
        return "any size" if value > 0 else "unknown"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"


def ranged(interval: Interval, digits: int = 2) -> str:
    """A value and where it lies.

    >>> ranged(Interval(64.2, 50.1, 81.0)), ranged(Interval(64.2, 50.1, math.inf))
    ('64 (50 to 81)', '64 (above 50)')
    """
    if math.isinf(interval.low):
        return "beyond measure"
    where = f"above {plain(interval.low, digits)}"
    if math.isfinite(interval.high):
        where = f"{plain(interval.low, digits)} to {plain(interval.high, digits)}"
    return f"{plain(interval.mean, digits)} ({where})" if math.isfinite(interval.mean) else where
