"""A range with more room at one end, within what its field allows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hyperjax.checks import one_of
from hyperjax.studies.ranges import Range

FACTOR = 10.0  # of a range on a logarithmic scale; any other gains its own width
_HALVINGS = 40  # which leave a trillionth


def wider(entry: Range, end: str, allowed: Callable[[float], bool]) -> Range:
    """A range that reaches further at one end: by a factor of 10 on a logarithmic scale, else by its width.

    Where that is more than is allowed, it reaches to the bound; to nine tenths of the way to one that is not allowed
    itself, as a momentum of 1. Whole numbers that were counts stay at least 1.

    Args:
        entry: the range.
        end: "low" or "high".
        allowed: whether the field may have a value; it may have those of the range.
    Returns: a `Range`; the same one where nothing beyond is allowed.

    >>> print(wider(Range(1e-4, 1.0, log=True), "high", lambda rate: rate >= 0))
    numbers from 0.0001 to 10, log scale
    >>> print(wider(Range(0.5, 0.9), "high", lambda momentum: 0 <= momentum < 1))
    numbers from 0.5 to 0.99
    >>> print(wider(Range(0.0, 0.5), "low", lambda dropout: 0 <= dropout <= 1))
    numbers from 0 to 0.5
    """
    now = getattr(entry, one_of("end", end, ("low", "high")))
    way = 1.0 if end == "high" else -1.0
    there = now * FACTOR**way if entry.log else now + way * (entry.high - entry.low)
    if entry.integer:
        there = round(there) if entry.low < 1 else max(round(there), 1)
        return _reaching(entry, end, there if allowed(there) else _last_whole(int(now), there, allowed))
    there = float(f"{there:.12g}")  # 1e-5, not 1.0000000000000001e-05
    if not allowed(there):
        bound = _bound(now, there, allowed)
        there = bound if allowed(bound) else float(f"{now + 0.9 * (bound - now):.12g}")
    beyond = (there - now) * way > 0 and allowed(there)
    return _reaching(entry, end, there) if beyond else entry


def widest(
    entry: Range,
    end: str,
    points: Sequence[Mapping[str, Any]],
    allows: Callable[[Mapping[str, Any], float, bool], bool],
) -> Range:
    """`wider`, where what a field may have depends on the other values of a sample.

    Args:
        entry, end: as in `wider`.
        points: samples that the range is used in.
        allows: as `allows(point, value, strictly)`: whether the field may have a value beside those of a point; unless
            strictly, also where a constraint keeps such samples out. The first point decides strictly.
    """
    at = getattr(entry, end)
    first = next((point for point in points if allows(point, at, True)), None)
    if first is None:
        return entry
    asked: list[Mapping[str, Any]] = []  # those that have refused a range: no others have a bound to look for

    def allowed(value: float) -> bool:
        return allows(first, value, True) and all(allows(point, value, False) for point in asked)

    for _ in range(len(points) + 1):
        found = wider(entry, end, allowed)
        reached = getattr(found, end)
        refused = next((point for point in points if not allows(point, reached, False)), None)
        if reached == at or refused is None:
            return found
        asked.append(refused)
    return entry


def _reaching(entry: Range, end: str, value: float) -> Range:
    return replace(entry, low=value) if end == "low" else replace(entry, high=value)


def _last_whole(inside: int, outside: int, allowed: Callable[[float], bool]) -> int:
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if allowed(middle) else (inside, middle)
    return inside


def _bound(inside: float, outside: float, allowed: Callable[[float], bool]) -> float:
    """Where what is allowed ends: the roundest number between two that have come together."""
    for _ in range(_HALVINGS):
        middle = inside + (outside - inside) / 2
        inside, outside = (middle, outside) if allowed(middle) else (inside, middle)
    low, high = sorted((inside, outside))
    if low <= 0 <= high:
        return 0.0
    rounded = (float(f"{high:.{digits}g}") for digits in range(1, 17))
    return next((number for number in rounded if low <= number <= high), inside)
