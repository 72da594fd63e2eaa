"""Gradients of single examples, or of small batches, at a moment of a run, in one compiled program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hyperjax.batching import balanced_indices, batch_indices
from hyperjax.checks import require
from hyperjax.diagnostics.gradient_noise import Products
from hyperjax.diagnostics.moments import Moment, Moments
from hyperjax.training.program import Carry
from hyperjax.types import Array, PyTree

GROUPS = 128  # at most, of units, each with one Hessian-vector product for a set of curvature
FEWEST = 16  # groups, and units
SETS = 8  # of examples that the Hessian is taken on
GRADIENTS_TOGETHER = 1 << 24  # numbers; more are computed one piece after another
_DRAWN = 0x6E6F6973  # folded into the key of the order, apart from the epochs that it is split into


class Layout(NamedTuple):
    """How the examples that are looked at are cut."""

    groups: int
    pieces: int  # of a group, one after another
    together: int  # units of a piece, side by side
    size: int  # examples of a unit
    sets: int  # of curvature; 0: none
    width: int  # examples of a set

    @property
    def units(self) -> int:
        """How many gradients there are."""
        return self.groups * self.pieces * self.together

    @property
    def examples(self) -> int:
        """How many are looked at."""
        return self.units * self.size + self.sets * self.width


def layout_of(examples: int, size: int, elements: int, hessian: bool) -> Layout:
    """Cut examples into units, groups of units and sets of curvature, of which no two share one.

    Args:
        examples: how many there are; some may be left over.
        size: examples of a unit at most; fewer where there would be too few units.
        elements: numbers of a gradient.
        hessian: whether there are sets of curvature.
    Raises: ValueError for fewer than 32 examples.

    >>> layout_of(1280, 1, 26_000, True)
    Layout(groups=128, pieces=1, together=8, size=1, sets=8, width=32)
    """
    require(examples >= 2 * FEWEST, f"examples must be at least {2 * FEWEST}, got {examples}")
    sets = SETS if hessian else 0
    size = max(1, min(size, examples // (FEWEST + sets)))
    width = 0 if not hessian else size if size > 1 else max(1, examples // (5 * sets))
    units = (examples - sets * width) // size
    if size > 1:
        return Layout(units, 1, 1, size, sets, width)
    groups = max(range(FEWEST, min(GROUPS, units) + 1), key=lambda count: (units // count * count, count))
    pieces = -(-(units // groups) * elements // GRADIENTS_TOGETHER)
    pieces = min(max(pieces, 1), units // groups)
    return Layout(groups, pieces, units // groups // pieces, 1, sets, width)


class UnitGradients:
    """Products of gradients at the moments of a run, by one program.

    Models are in training mode: each unit has masks of its own, of the step that the moment stands before. The loss is
    that which the run minimizes, without the penalties that are added to its gradient (`l1`, `l2`), each example
    counting as much as the recipe says.

    Args:
        moments: of the run.
        layout: how examples are cut.
    """

    def __init__(self, moments: Moments, layout: Layout):
        self._moments, self.layout = moments, layout
        self._measure = jax.jit(self._products)

    def __call__(self, moment: Moment) -> tuple[Products, Products | None]:
        """Plain products of the units' gradients, and those by curvature, of the groups' mean gradients."""
        carry, moments = moment.carry, self._moments
        plain, curved = self._measure(carry.weights, carry, moments.settings, moments.streams, moments.arrays)
        return Products(*map(np.asarray, plain)), None if curved is None else Products(*map(np.asarray, curved))

    def _products(
        self, weights: PyTree, carry: Carry, settings: Any, streams: Any, arrays: PyTree
    ) -> tuple[Any, Any | None]:
        cut, program = self.layout, self._moments.program
        masks = jax.random.fold_in(streams.masks, carry.step)
        index = self._drawn(jax.random.fold_in(jax.random.fold_in(streams.order, _DRAWN), carry.step))
        units = index[: cut.units * cut.size].reshape(cut.groups, cut.pieces, cut.together, cut.size)
        sets = index[cut.units * cut.size : cut.examples].reshape(cut.sets, cut.width)

        def gradient(weights: PyTree, index: Array) -> PyTree:
            batch, key = _rows(arrays, index), jax.random.fold_in(masks, index[0])
            shares = None if settings.example_weights is None else settings.example_weights[index]

            def loss(weights: PyTree) -> Array:
                return program.objective(weights, carry.rest, batch, settings, carry.step, key, True, shares)[0]

            return jax.grad(loss)(weights)

        def added(total: PyTree, piece: Array) -> tuple[PyTree, None]:
            each = jax.vmap(gradient, (None, 0))(weights, piece)
            return jax.tree.map(lambda sum_, one: sum_ + one.sum(0), total, each), None

        nothing = jax.tree.map(jnp.zeros_like, weights)
        total, _ = lax.scan(added, nothing, units.reshape(-1, cut.together, cut.size))

        def of_group(group: Array) -> tuple[Any, Any | None]:
            def of_piece(mean: PyTree, piece: Array) -> tuple[PyTree, tuple[Array, Array]]:
                each = jax.vmap(gradient, (None, 0))(weights, piece)
                count = cut.pieces * cut.together
                mean = jax.tree.map(lambda sum_, one: sum_ + one.sum(0) / count, mean, each)
                return mean, (jax.vmap(_product)(each, each), jax.vmap(_product, (0, None))(each, total))

            mean, plain = lax.scan(of_piece, nothing, group)
            if not cut.sets:
                return plain, None

            def of_set(index: Array) -> tuple[Array, Array]:
                _, bent = jax.jvp(lambda at: gradient(at, index), (weights,), (mean,))
                return _product(bent, mean), _product(bent, total) / (cut.pieces * cut.together)

            return plain, lax.map(of_set, sets)

        plain, curved = lax.map(of_group, units)
        return tuple(each.reshape(cut.units, 1) for each in plain), curved

    def _drawn(self, key: Array) -> Array:
        """i32[examples], as the recipe draws them."""
        task, count = self._moments.task, self.layout.examples
        if self._moments.recipe.sampling == "balanced":
            return balanced_indices(key, 0, task.classes, count)
        return batch_indices(key, 0, count, task.size("train"), count)


def examples_meet(moments: Moments, carry: Carry) -> bool:
    """Whether the loss of an example depends on those beside it in the batch, as BatchNorm and mixing make it.

    It is looked at with other neighbours beside one example, at weights a little off, where no zero hides it.
    """
    program, settings, size = moments.program, moments.settings, moments.task.size("train")
    first, count = 4, min(4, (size + 1) // 2)
    places = np.stack([np.arange(count), np.r_[0, np.arange(size - count + 1, size)]])
    key = jax.random.fold_in(moments.streams.masks, first)
    shares = jnp.zeros(count, jnp.float32).at[0].set(count)

    def loss(weights: PyTree, batch: PyTree) -> Array:
        leaves, tree = jax.tree.flatten(weights)
        moved = [
            w + 0.05 * jax.random.normal(jax.random.fold_in(key, i), w.shape, w.dtype) for i, w in enumerate(leaves)
        ]
        weights = jax.tree.unflatten(tree, moved)
        return program.objective(weights, carry.rest, batch, settings, carry.step, key, True, shares)[0]

    compiled: Callable[..., Array] = jax.jit(loss)
    one, other = (float(compiled(carry.weights, _rows(moments.arrays, place))) for place in places)
    return not abs(one - other) <= 1e-5 * abs(one)


def _rows(arrays: PyTree, index: Any) -> PyTree:
    return jax.tree.map(lambda array: array[index], arrays)


def _product(one: PyTree, other: PyTree) -> Array:
    """f32[], sum of the products of all entries."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return jnp.asarray(sum(jnp.sum((a * b).astype(jnp.promote_types(a.dtype, jnp.float32))) for a, b in pairs))
