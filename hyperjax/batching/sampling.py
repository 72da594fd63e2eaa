"""Batches drawn with replacement: any example, or an example of each class alike."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import positive_integer, require
from hyperjax.types import Array


class Classes(NamedTuple):
    """Where the examples of each class are; made by `by_class`."""

    order: Array  # i32[examples], sorted by class
    starts: Array  # i32[classes], where each class begins in that order
    counts: Array  # i32[classes], all at least 1


def by_class(labels: Any) -> Classes:
    """Sort examples by their class, once; classes that do not occur are left out.

    Args:
        labels: int[examples], concrete.
    Raises: ValueError for labels that are not one whole number an example.

    >>> by_class(np.array([2, 0, 2])).counts.tolist()
    [1, 2]
    """
    array = np.asarray(labels)
    whole = np.issubdtype(array.dtype, np.integer) and array.ndim == 1 and len(array) > 0
    require(whole, f"labels must be one whole number an example, got shape {array.shape} of {array.dtype}")
    _, counts = np.unique(array, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    columns = (np.argsort(array, kind="stable"), starts, counts)
    return Classes(*(jnp.asarray(column, jnp.int32) for column in columns))


def replacement_indices(epoch_key: jax.Array, batch: Any, examples: Any, width: int) -> Array:
    """Return which examples form a batch, each drawn from all of them, whatever was drawn before.

    An epoch is then a number of steps and no longer a pass: a share of 1/e of the examples is not seen in it. It is
    what the theory of stochastic gradients assumes.

    Args:
        epoch_key: the epoch's own key; batch: int32[], the batch's number within the epoch, may be traced.
        examples: number of examples, static or traced.
        width: number of indices returned, static.
    Returns: int32[width], in [0, examples).
    Raises: ValueError when the width is not a whole number of at least 1.

    >>> from hyperjax import random
    >>> replacement_indices(random.key(0), 0, 3, 200).tolist().count(2) > 40
    True
    """
    key = jax.random.fold_in(epoch_key, batch)
    return jax.random.randint(key, (positive_integer("width", width),), 0, examples, jnp.int32)


def balanced_indices(epoch_key: jax.Array, batch: Any, classes: Classes, width: int) -> Array:
    """Return which examples form a batch, each of a class drawn with equal chances, then of that class alike.

    Rare classes are seen as often as frequent ones, their examples again and again. The model's probabilities are then
    those of balanced classes.

    Args:
        epoch_key: the epoch's own key; batch: int32[], the batch's number within the epoch, may be traced.
        classes: of `by_class`.
        width: number of indices returned, static.
    Returns: int32[width].
    Raises: ValueError when the width is not a whole number of at least 1.

    >>> from hyperjax import random
    >>> labels = np.array([0] * 90 + [1] * 10)
    >>> chosen = balanced_indices(random.key(0), 0, by_class(labels), 1000)
    >>> 450 < int(labels[np.asarray(chosen)].sum()) < 550
    True
    """
    first, second = jax.random.split(jax.random.fold_in(epoch_key, batch))
    shape = (positive_integer("width", width),)
    drawn = jax.random.randint(first, shape, 0, len(classes.counts), jnp.int32)
    counts = classes.counts[drawn]
    within = jnp.minimum((jax.random.uniform(second, shape) * counts).astype(jnp.int32), counts - 1)
    return classes.order[classes.starts[drawn] + within]
