"""The fixed split of a task's data."""

from collections.abc import Sequence

import jax
import numpy as np

from hyperjax.tasks.task import SETS
from hyperjax.types import PyTree


def split(sizes: Sequence[int], arrays: PyTree) -> dict[str, PyTree]:
    """Arrays cut one part after another: training, validation, test.

    Args:
        sizes: rows of each of the three.
        arrays: an array, or a tree of them, of so many rows in all.

    >>> {part: rows.tolist() for part, rows in split((3, 1, 2), np.arange(6)).items()}
    {'train': [0, 1, 2], 'validation': [3], 'test': [4, 5]}
    """
    cuts = [slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
    return {part: jax.tree.map(lambda rows, cut=cut: rows[cut], arrays) for part, cut in zip(SETS, cuts, strict=True)}
