"""Arrays on disk, read row by row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random
from hyperjax.batching import permute, steps_per_epoch
from hyperjax.tasks.streams.streamed import Reading, Streamed, leading_axis
from hyperjax.types import PyTree

SAMPLED = 64  # rows that are looked at before anything is compiled
_TOGETHER = 1 << 16  # positions of a permutation that are computed at once


class MemoryMap(Streamed):
    """Arrays on disk, read row by row in a new order each epoch, the last batch smaller where they do not divide.

    Arrays of `np.memmap` in `data["train"]` become one by themselves; what fits on the device is faster there, where
    `np.asarray(array)` puts it.

    Args:
        arrays: any pytree of arrays whose first axes agree, such as `np.load(path, mmap_mode="r")`.
        seed: of the order, which all runs of a population share; the order of a run on the device with this seed.
    Raises: ValueError for no array, or first axes that differ.

    >>> stream = MemoryMap((np.arange(6), np.arange(6) % 2), seed=1)
    >>> first, targets = stream.open(batch_size=4, epoch=0, step=0, position=None).read(2)
    >>> first.shape, sorted(first[0].tolist() + first[1, :2].tolist())
    ((2, 4), [0, 1, 2, 3, 4, 5])
    """

    def __init__(self, arrays: PyTree, seed: int = 0):
        self.seed, self._size = seed, leading_axis("arrays must have one length of at least 1", arrays)
        self.arrays = jax.tree.map(np.asarray, arrays)
        rows = np.unique(np.linspace(0, self._size - 1, SAMPLED).astype(np.int64))
        self.sample = jax.tree.map(lambda leaf: np.array(leaf[rows]), self.arrays)

    @property
    def size(self) -> int:
        return self._size

    @property
    def signature(self) -> PyTree:
        return self.sample, np.int64(self._size), np.int64(self.seed)

    def open(self, batch_size: int, epoch: int, step: int, position: Any) -> Reading:
        return _Rows(self, batch_size, epoch, step)


class _Rows(Reading):
    def __init__(self, source: MemoryMap, batch_size: int, epoch: int, step: int):
        self._source, self._batch, self._epoch, self._step = source, batch_size, epoch, step
        self._order = np.asarray(jax.random.key_data(random.streams(source.seed).order))

    def read(self, steps: int) -> PyTree:
        size, per_epoch = self._source.size, steps_per_epoch(self._source.size, self._batch)
        rows = np.zeros((steps, self._batch), np.int64)
        done = 0
        while done < steps:
            epoch, first = divmod(self._step + done, per_epoch)
            count = min(per_epoch - first, steps - done)
            begin, end = first * self._batch, min((first + count) * self._batch, size)
            rows[done : done + count].reshape(-1)[: end - begin] = self._rows(self._epoch + epoch, begin, end)
            done += count
        self._step += steps
        return jax.tree.map(
            lambda leaf: leaf[rows.reshape(-1)].reshape(*rows.shape, *leaf.shape[1:]), self._source.arrays
        )

    def position(self) -> Any:
        return None  # the step says it all

    def _rows(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """Rows at some positions of an epoch."""
        found = []
        # On the host, where it does not wait for the device to end what it is doing.
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            for first in range(begin, end, _TOGETHER):
                rows = _permuted(self._order, np.int32(epoch), np.int32(first), np.int32(self._source.size))
                found.append(np.asarray(rows)[: end - first])
        return np.concatenate(found)


@jax.jit
def _permuted(order: jax.Array, epoch: jax.Array, first: jax.Array, size: jax.Array) -> jax.Array:
    key = jax.random.fold_in(jax.random.wrap_key_data(order, impl=random.IMPLEMENTATION), epoch)
    return permute(key, jnp.minimum(first + jnp.arange(_TOGETHER), size - 1), size)
