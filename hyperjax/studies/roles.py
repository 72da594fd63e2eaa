"""Roles of hyperparameters: scientific ones are compared, nuisances are tuned for each of their values."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hyperjax.studies.space import Space


def scientific_names(given: str | Sequence[str], space: Space) -> tuple[str, ...]:
    """The names that are compared, checked.

    Args:
        given: a name, or several.
        space: in which they must be lists of values.
    Raises: ValueError for a name that is not searched over a list.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    lists = [name for name, entry in space.searched.items() if isinstance(entry, list)]
    for name in names:
        if name not in lists:
            raise ValueError(
                f"scientific must be names that the space gives lists of values, {', '.join(lists) or '(none)'}, "
                f"got {name!r}"
            )
    return tuple(dict.fromkeys(names))


def combinations(names: Sequence[str], space: Space) -> list[dict[str, Any]]:
    """All combinations of the scientific names' values: trials take them in turn, so that each has as many.

    >>> from hyperjax.studies.space import space
    >>> combinations(["optimizer"], space(optimizer=["sgd", "adam"], epochs=2))
    [{'optimizer': 'sgd'}, {'optimizer': 'adam'}]
    """
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*(space.entries[n] for n in names))]


def roles(space: Mapping[str, str], fixed: Mapping[str, str], scientific: Sequence[str]) -> dict[str, str]:
    """Name -> "scientific", "nuisance" or "fixed"."""
    searched = {name: "scientific" if name in scientific else "nuisance" for name in space}
    return searched | dict.fromkeys(fixed, "fixed")
