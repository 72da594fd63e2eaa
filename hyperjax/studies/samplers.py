"""Where trials come from: at random, or the whole grid."""

import math
from typing import Any

import numpy as np

from hyperjax.studies.space import Space
from hyperjax.training.recipe import Recipe


def draw(space: Space, trials: int | None, seed: int, base: Recipe | None = None) -> list[dict[str, Any]]:
    """The values of each trial.

    A space of lists alone is a grid: all of it in order when `trials` is None or reaches its size, else a sample
    without repetition; combinations that differ only in what cannot matter count once. Any other space is sampled
    independently, each trial from a generator of its own. A longer study begins with the trials of a shorter one,
    unless it is the whole grid.

    >>> from hyperjax.studies.space import space
    >>> [v["batch_size"] for v in draw(space(batch_size=[32, 64]), None, seed=0)]
    [32, 64]
    """
    if not space.is_grid:
        count = 64 if trials is None else trials
        return [space.sample(np.random.default_rng([seed, number])) for number in range(count)]
    size = math.prod(len(entry) for entry in space.searched.values())
    found: dict[str, dict[str, Any]] = {}
    if trials is None or trials >= size:
        for values in space.combinations():
            found.setdefault(repr(space.meaningful(values, base)), values)
        return list(found.values())
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    while len(found) < trials and len(seen) < size:
        values = space.sample(rng)
        seen.add(repr(values))
        found.setdefault(repr(space.meaningful(values, base)), values)
    return list(found.values())
