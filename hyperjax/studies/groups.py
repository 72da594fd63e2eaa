"""Trials in groups by one hyperparameter: bins of equal counts of a number, or one group a choice."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Group(NamedTuple):
    """Trials that share a bin or a choice.

    Attributes:
        label: as text.
        low, high: ends of a bin; of a choice its place.
        members: i64[trials], places in the list that was grouped.
    """

    label: str
    low: float
    high: float
    members: np.ndarray


def grouped(values: Sequence[Any], bins: int, continuous: bool) -> tuple[str, list[Group]]:
    """Cut values into groups.

    Args:
        values: of one hyperparameter, in the order of the trials.
        bins: how many bins of equal counts numbers are cut into, at most.
        continuous: True for numbers of a range; others are cut when there are more of them than bins.
    Returns: "number" or "choice", and the groups: bins from low to high, choices in order.

    >>> kind, groups = grouped([3.0, 1.0, 2.0, 9.0], 2, continuous=True)
    >>> kind, [group.label for group in groups], groups[0].members.tolist()
    ('number', ['1 to 2', '3 to 9'], [1, 2])
    """
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numeric and len(values) and (continuous or len(set(values)) > bins):
        array = np.asarray(values, np.float64)
        order = np.argsort(array, kind="stable")
        return "number", [_bin(array, part) for part in np.array_split(order, min(bins, len(values)))]
    members: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        members.setdefault(_key(value), []).append(place)
    own = [(values[places[0]], places) for places in members.values()]
    if numeric:
        own.sort(key=lambda one: one[0])
    return "choice", [_choice(value, np.array(places), order) for order, (value, places) in enumerate(own)]


def _bin(values: np.ndarray, members: np.ndarray) -> Group:
    low, high = float(values[members].min()), float(values[members].max())
    return Group(f"{low:.3g} to {high:.3g}", low, high, members)


def _choice(value: Any, members: np.ndarray, place: int) -> Group:
    label = str(getattr(value, "__name__", value)) if callable(value) else str(value)
    return Group(label, float(place), float(place), members)


def _key(value: Any) -> Any:
    """What is equal for equal values and can be hashed, as lists and mappings cannot."""
    try:
        hash(value)
    except TypeError:
        return type(value), repr(value)
    return value
