"""Which examples meet in which batch: each once an epoch, the last batch smaller where they do not divide."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.batching.permutation import permute
from hyperjax.checks import positive_integer


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return ceil(examples / batch_size), the number of batches that see each example once.

    >>> steps_per_epoch(1437, 64)
    23
    """
    return -(-positive_integer("examples", examples) // positive_integer("batch_size", batch_size))


def last_batch_size(examples: int, batch_size: int) -> int:
    """Return how many examples are left for an epoch's last batch, in [1, batch_size].

    >>> last_batch_size(1437, 64), last_batch_size(128, 64)
    (29, 64)
    """
    return examples - (steps_per_epoch(examples, batch_size) - 1) * batch_size


def batch_indices(
    epoch_key: jax.Array, batch: Any, batch_size: int, examples: Any, width: int | None = None
) -> jax.Array:
    """Return which examples form one batch of a shuffled epoch.

    Args:
        epoch_key: the epoch's own key, such as `jax.random.fold_in(key, epoch)`.
        batch: int32[], the batch's number within the epoch, in [0, steps_per_epoch); may be traced.
        batch_size: number of examples in every batch before the last.
        examples: number of examples, static or traced.
        width: number of indices returned, static; `last_batch_size(...)` for the last batch. None: `batch_size`.

    Returns: int32[width], distinct indices in [0, examples).
    Raises: ValueError when a size is not a whole number of at least 1.

    >>> from hyperjax import random
    >>> first, last = (batch_indices(random.key(0), b, 4, 6, w) for b, w in ((0, 4), (1, 2)))
    >>> sorted(first.tolist() + last.tolist())
    [0, 1, 2, 3, 4, 5]
    """
    start = jnp.asarray(batch, jnp.int32) * positive_integer("batch_size", batch_size)
    width = batch_size if width is None else positive_integer("width", width)
    return permute(epoch_key, start + jnp.arange(width, dtype=jnp.int32), examples)
