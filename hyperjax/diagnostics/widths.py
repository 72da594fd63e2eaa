"""Which arguments of a model's structure are its width."""

from collections.abc import Iterable

_CALLED = ("hidden", "hidden_size", "hidden_sizes", "channels")


def widths_among(names: Iterable[str]) -> list[str]:
    """Those of some arguments' names that are a width by what they are called.

    >>> widths_among(["depth", "widths", "channels", "classes"])
    ['widths', 'channels']
    """
    return [name for name in names if "width" in name or name in _CALLED]
