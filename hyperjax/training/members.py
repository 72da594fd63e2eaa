"""Who is trained, as somebody says it: recipes and seeds."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from hyperjax.training.recipe import Recipe


def recipe_of(given: Any) -> Recipe:
    """A recipe, the default one for None.

    Raises: ValueError for anything else.

    >>> recipe_of("sgd")
    Traceback (most recent call last):
    ValueError: recipe must be a Recipe or None, got 'sgd'
    """
    if given is None:
        return Recipe()
    if not isinstance(given, Recipe):
        raise ValueError(f"recipe must be a Recipe or None, got {given!r}")
    return given


def recipes_of(given: Any) -> list[Recipe]:
    """Recipes in a list.

    Raises: ValueError unless there is at least one, and nothing else.

    >>> recipes_of(Recipe(epochs=3))
    Traceback (most recent call last):
    ValueError: recipes must hold at least one recipe, got Recipe(epochs=3)
    """
    listed = list(given) if isinstance(given, Iterable) else []
    if not listed or not all(isinstance(recipe, Recipe) for recipe in listed):
        raise ValueError(f"recipes must hold at least one recipe, got {given!r}")
    return listed


def seeds_of(given: Any) -> list[int]:
    """Seeds in a list.

    Raises: ValueError unless there is at least one, and all are whole numbers.

    >>> seeds_of(3)
    Traceback (most recent call last):
    ValueError: seeds must hold at least one whole number, got 3
    """
    listed = list(given) if isinstance(given, Iterable) else []
    if not listed:
        raise ValueError(f"seeds must hold at least one whole number, got {given!r}")
    for seed in listed:
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
            raise ValueError(f"seed must be a whole number, got {seed!r}")
    return [int(seed) for seed in listed]
