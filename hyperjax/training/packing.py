"""Weights of a small model as one vector a dtype, so that a step updates one array instead of dozens."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.types import PyTree

# A loop on CPU pays for each array that it carries and each pass over one; above this size the pass itself costs more
# than its overhead, and the copies that packing needs begin to show.
PACKED_BELOW = 1 << 20  # elements
_STRIPS = 8


class Packing:
    """How a tree of arrays is laid out: packed into one vector for each dtype, or left as it is.

    >>> packing = Packing({"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}, packed=True)
    >>> packed = packing.pack({"w": jnp.ones((2, 3)), "b": jnp.zeros(3)})
    >>> packed["float32"].shape, packing.unpack(packed)["w"].shape
    ((9,), (2, 3))
    """

    def __init__(self, tree: PyTree, packed: bool | None = None):
        leaves = jax.tree.leaves(tree)
        self._treedef: Any = jax.tree.structure(tree)
        self._shapes = [tuple(leaf.shape) for leaf in leaves]
        self._dtypes = [str(leaf.dtype) for leaf in leaves]
        self.elements = sum(int(np.prod(shape)) for shape in self._shapes)
        self.packed = self.elements < PACKED_BELOW if packed is None else packed

    def pack(self, tree: PyTree) -> PyTree:
        """Vectors by dtype, leaves in the order of the tree; or the tree itself."""
        if not self.packed:
            return tree
        groups: dict[str, list[Any]] = {}
        for dtype, leaf in zip(self._dtypes, self._treedef.flatten_up_to(tree), strict=True):
            groups.setdefault(dtype, []).append(jnp.ravel(leaf.T if _tall(leaf.shape) else leaf))
        return {dtype: jnp.concatenate(leaves) for dtype, leaves in groups.items()}

    def unpack(self, packed: PyTree) -> PyTree:
        """The tree from its vectors."""
        if not self.packed:
            return packed
        sizes: dict[str, list[int]] = {}
        for dtype, shape in zip(self._dtypes, self._shapes, strict=True):
            sizes.setdefault(dtype, []).append(int(np.prod(shape)))
        # Split, not slices: its transpose is one concatenation, theirs a sum of padded vectors.
        pieces = {dtype: iter(jax.lax.split(packed[dtype], each)) for dtype, each in sizes.items()}
        leaves = [_shaped(next(pieces[d]), shape) for d, shape in zip(self._dtypes, self._shapes, strict=True)]
        return self._treedef.unflatten(leaves)


def _tall(shape: tuple[int, ...]) -> bool:
    """A matrix with more rows than columns lies in the vector by columns.

    The product that gives its gradient is then computed with the longer side last, which for a classifier's last layer
    (128 x 10) takes a third of the time on CPU.
    """
    return len(shape) == 2 and shape[0] > shape[1]


def _shaped(piece: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return piece.reshape(shape[::-1]).T if _tall(shape) else piece.reshape(shape)


def global_norm(trees: Sequence[jax.Array]) -> jax.Array:
    """2-norm over all entries of some arrays, in float32 at least.

    >>> float(global_norm([jnp.array([3.0]), jnp.array([4.0])]))
    5.0
    """
    total = jnp.asarray(sum(_sum_of_squares(leaf) for leaf in trees))
    zero = total == 0  # where the root has no derivative; what is no number stays none
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, total)))


def _sum_of_squares(leaf: jax.Array) -> jax.Array:
    # A long reduction on CPU is compiled into several passes, after one that writes the squares. Added strip by strip
    # they are one pass, and an eighth is left to reduce.
    flat = jnp.ravel(leaf).astype(jnp.promote_types(leaf.dtype, jnp.float32))
    strip = flat.size // _STRIPS
    strips = [jnp.square(flat[i * strip : (i + 1) * strip]) for i in range(_STRIPS)]
    return jnp.sum(sum(strips)) + jnp.sum(jnp.square(flat[_STRIPS * strip :]))
