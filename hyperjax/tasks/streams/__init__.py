"""Training data that is read while it is used: from memory maps, or from whatever gives batches."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from hyperjax.tasks.streams.batches import Stream
from hyperjax.tasks.streams.memory_map import MemoryMap
from hyperjax.tasks.streams.streamed import Reading, Streamed

__all__ = ["MemoryMap", "Reading", "Stream", "Streamed", "as_stream"]


def as_stream(data: Any) -> Streamed | None:
    """The stream that somebody's training data are; None for arrays, which go on the device."""
    if isinstance(data, Streamed):
        return data
    if any(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(data)):
        return MemoryMap(data)
    # A tuple, list, dictionary or whatever else JAX knows to be a tree is one of arrays.
    is_leaf = jax.tree_util.all_leaves([data]) and not hasattr(data, "shape")
    return Stream(data) if is_leaf and isinstance(data, Iterable) and not isinstance(data, str) else None
