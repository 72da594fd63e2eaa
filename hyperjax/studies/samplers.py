"""Where trials come from: at random, or the whole grid."""

import itertools
import math
from typing import Any

import numpy as np

from hyperjax.studies.space import Space


def draw(space: Space, trials: int | None, seed: int) -> list[dict[str, Any]]:
    """The values of each trial.

    A space of lists alone is a grid: all of it in order when `trials` is None or reaches its size, else a sample
    without repetition. Any other space is sampled independently, each trial from a generator of its own, so that a
    longer study begins with the trials of a shorter one.

    >>> from hyperjax.studies.space import space
    >>> [v["batch_size"] for v in draw(space(batch_size=[32, 64]), None, seed=0)]
    [32, 64]
    """
    if space.is_grid:
        size = math.prod(len(entry) for entry in space.searched.values())
        if trials is None or trials >= size:
            return list(space.combinations())
        chosen = sorted(np.random.default_rng(seed).choice(size, trials, replace=False).tolist())
        return [next(itertools.islice(space.combinations(), place, None)) for place in chosen]
    count = 64 if trials is None else trials
    return [space.sample(np.random.default_rng([seed, number])) for number in range(count)]
