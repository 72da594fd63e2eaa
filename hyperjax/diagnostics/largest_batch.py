"""The largest batch that fits, found by XLA's analysis of programs that never run."""

from collections.abc import Callable

CLOSE = 1.05  # a size is the largest when one so much larger does not fit


def largest_batch(fits: Callable[[int], bool], known: int, most: int) -> int | None:
    """The largest batch size that fits, to a twentieth of it: the size in use is doubled, then the gap is halved.

    Args:
        fits: whether batches of a size do; asked for few sizes, since each is a compilation.
        known: a size to begin with, at least 1.
        most: the largest that there can be, which is asked first.
    Returns: a size of which `fits` says yes; None where not even one example does.

    >>> asked = []
    >>> largest_batch(lambda size: asked.append(size) or size <= 300, 32, 60_000), len(asked)
    (296, 11)
    """
    if fits(most):
        return most
    low, high = 0, most
    size = known
    while low == 0 and size >= 1:  # down to one that fits
        if size < high and fits(size):
            low = size
        else:
            high, size = min(high, size), size // 2
    if low == 0:
        return None
    while 2 * low < high and fits(2 * low):
        low *= 2
    high = min(high, 2 * low)
    while high - low > 1 and high > CLOSE * low:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
