"""The training examples that a diagnostic is measured on, cut into blocks of one size so that memory is bounded."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import positive_integer
from hyperjax.diagnostics.moments import Moments
from hyperjax.training.gradient import Batch
from hyperjax.types import PyTree


class Examples(NamedTuple):
    """Some examples, each with what it counts in the loss where the recipe weighs them."""

    blocks: Batch  # arrays [blocks, block, ...]
    left: Batch | None  # arrays [fewer than a block, ...]; None where nothing is left
    measured: int  # how many
    whole: int  # examples of the training set


def examples_of(moments: Moments, count: int | None, block: int) -> Examples:
    """Examples of a run's training set, evenly spread over it.

    Args:
        moments: of the run.
        count: how many, at least 1; None, or more than there are: all.
        block: how many are looked at together, at least 1.
    """
    whole = moments.task.size("train")
    count = whole if count is None else min(whole, positive_integer("examples", count))
    block = min(count, positive_integer("block", block))
    arrays, shares = moments.arrays, moments.settings.example_weights
    if count < whole:
        index = np.linspace(0, whole - 1, count).round().astype(np.int32)
        arrays = jax.tree.map(lambda a: a[index], arrays)
        shares = None if shares is None else shares[index]
    many, left = divmod(count, block)
    batch, cut = Batch(arrays, shares), many * block

    def blocked(leaf: jax.Array) -> jax.Array:
        return jnp.reshape(leaf[:cut], (many, block, *leaf.shape[1:]))

    def behind(leaf: jax.Array) -> jax.Array:
        return leaf[cut:]

    return Examples(jax.tree.map(blocked, batch), jax.tree.map(behind, batch) if left else None, count, whole)


def sizes(examples: Examples) -> tuple[int, int]:
    """Examples in a block, and in what is left."""

    def length(batch: PyTree, axis: int) -> int:
        return int(jax.tree.leaves(batch)[0].shape[axis])

    return length(examples.blocks, 1), 0 if examples.left is None else length(examples.left, 0)
