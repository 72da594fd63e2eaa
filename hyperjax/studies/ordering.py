"""The order of scores."""

import math


def best_first(score: float, direction: str) -> tuple[bool, float]:
    """What sorts scores from best to worst; those that are NaN come last, in the order in which they were.

    >>> sorted([0.5, math.nan, 0.9], key=lambda score: best_first(score, "max"))
    [0.9, 0.5, nan]
    """
    sign = -1.0 if direction == "max" else 1.0
    return (True, 0.0) if math.isnan(score) else (False, sign * score)
