"""What a training set that is read while it is used must be able to do."""

from abc import ABC, abstractmethod
from typing import Any

import jax
import numpy as np

from hyperjax.types import PyTree


class Reading(ABC):
    """A stream from one place on; what is read is gone."""

    @abstractmethod
    def read(self, steps: int) -> PyTree:
        """The next batches, arrays [steps, batch, ...]; rows behind a smaller last batch mean nothing."""

    @abstractmethod
    def position(self) -> Any:
        """What JSON can hold, and `Streamed.open` needs, to go on behind what was read."""

    def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of what is open."""


class Streamed(ABC):
    """A training set that does not lie on the device.

    Attributes:
        sample: some examples, which show structure, shapes and types.
        batch_size: examples in a batch; None: whatever is asked for.
    """

    sample: PyTree
    batch_size: int | None = None

    @property
    @abstractmethod
    def size(self) -> int:
        """Examples in an epoch."""

    @property
    @abstractmethod
    def signature(self) -> PyTree:
        """Arrays that differ where the data do, as far as can be told without reading all of it."""

    @abstractmethod
    def open(self, batch_size: int, epoch: int, step: int, position: Any) -> Reading:
        """Begin to read.

        Args:
            batch_size: examples in a batch.
            epoch: number of the epoch that step 0 begins.
            step: the first to be read, counted from there.
            position: as a reading told it before that step; None at step 0.
        """


def leading_axis(must: str, arrays: PyTree) -> int:
    """The size of the first axis that arrays share, at least 1.

    Args:
        must: what is said of arrays without one, before what arrived.

    >>> leading_axis("arrays must have one length", (np.zeros((3, 2)), np.zeros(4)))
    Traceback (most recent call last):
    ValueError: arrays must have one length, got 3, 4
    """
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(arrays)}
    if len(sizes) != 1 or sizes & {0, None}:
        raise ValueError(f"{must}, got {', '.join(sorted(map(str, sizes))) or 'no array'}")
    return int(sizes.pop() or 0)
