"""Training data that is read while it is used: from memory maps, or from whatever gives batches."""

from collections.abc import Iterable, Mapping
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
    if hasattr(data, "shape") or isinstance(data, tuple | list | Mapping):  # arrays, whatever the tree
        return MemoryMap(data) if any(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(data)) else None
    return Stream(data) if isinstance(data, Iterable) and not isinstance(data, str) else None
