"""Products of the training loss's Hessian with vectors, at a moment of a run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from hyperjax.diagnostics.examples import Examples, sizes
from hyperjax.diagnostics.lanczos import Largest, largest_eigenvalue
from hyperjax.diagnostics.moments import Moments
from hyperjax.diagnostics.trace import trace
from hyperjax.statistics import Interval
from hyperjax.training.gradient import Batch
from hyperjax.training.program import Carry
from hyperjax.training.settings import at
from hyperjax.types import Array, PyTree


class _Inputs(NamedTuple):
    """What a product is a function of, beside the vector."""

    carry: Carry
    root: Array  # f[weights], what the matrix is multiplied by from both sides
    blocks: Batch
    left: Batch | None


class Curvature:
    """The Hessian of a run's training loss, by products with vectors: R (H + l2) R, R a diagonal.

    A product is forward over reverse mode, one block of examples after another; it costs about two gradients of them.
    The recipe's coupled decay belongs to what its rule descends, hence to the matrix.

    Args:
        moments: of the run.
        examples: over which the loss is the mean.
        training: whether the model is in training mode: masks are drawn, BatchNorm takes the statistics of a block.

    """

    def __init__(self, moments: Moments, examples: Examples, training: bool = False):
        self._moments, self._examples, self._training = moments, examples, training
        self._multiply = jax.jit(self._loss_and_product)

    def loss(self, carry: Carry) -> float:
        """Mean loss of the examples."""
        inputs = self._inputs(carry, None)
        return float(self._multiply(inputs, jnp.zeros_like(inputs.root))[0])

    def largest(self, carry: Carry, root: Array | None, key: jax.Array, iterations: int, tolerance: float) -> Largest:
        """The largest eigenvalue; see `largest_eigenvalue`.

        Args:
            carry: of the moment.
            root: f[weights], the diagonal of R as `ravel_pytree` lays the packed weights out; None: 1.
            key, iterations, tolerance: as there.
        """
        inputs = self._inputs(carry, root)
        return largest_eigenvalue(lambda v: self._multiply(inputs, v)[1], inputs.root, key, iterations, tolerance)

    def trace(self, carry: Carry, key: jax.Array, probes: int) -> Interval:
        """The trace, R being 1; see `hyperjax.diagnostics.trace`."""
        inputs = self._inputs(carry, None)
        return trace(lambda v: self._multiply(inputs, v)[1], inputs.root, key, probes)

    def _inputs(self, carry: Carry, root: Array | None) -> _Inputs:
        if root is None:
            root = jnp.ones_like(ravel_pytree(carry.weights)[0])
        return _Inputs(carry, root, self._examples.blocks, self._examples.left)

    def _loss_and_product(self, inputs: _Inputs, vector: Array) -> tuple[Array, Array]:
        weights, unravel = ravel_pytree(inputs.carry.weights)
        direction = unravel((inputs.root * vector).astype(weights.dtype))

        def of(batch: Batch) -> PyTree:
            loss = jax.value_and_grad(self._of_batch(inputs.carry, batch))
            (value, _), (_, product) = jax.jvp(loss, (inputs.carry.weights,), (direction,))
            return value, product

        # Eigenvalues to three digits want products that an accelerator does not round to ten bits.
        with jax.default_matmul_precision("highest"):
            loss, product = self._over_blocks(inputs, of)
        l2 = self._l2(inputs.carry)
        if l2 is not None:
            decayed = self._moments.program.decayed(direction, self._moments.settings)
            product = jax.tree.map(lambda p, d: p + l2 * d, product, decayed)
        return loss, inputs.root * ravel_pytree(product)[0].astype(inputs.root.dtype)

    def _of_batch(self, carry: Carry, batch: Batch) -> Any:
        moments = self._moments

        def loss(weights: PyTree) -> Array:
            rest, key = carry.rest, moments.streams.masks
            found = moments.program.objective(
                weights, rest, batch.arrays, moments.settings, carry.step, key, self._training, batch.shares
            )
            return found[0]

        return loss

    def _over_blocks(self, inputs: _Inputs, of: Any) -> Any:
        """The mean over all examples of what is a mean over a block's; nothing is kept from one block to the next."""
        block, left = sizes(self._examples)
        count = self._examples.measured

        def scaled(tree: PyTree, size: int) -> PyTree:
            return jax.tree.map(lambda leaf: leaf * (size / count), tree)

        def add(total: PyTree, batch: Batch) -> tuple[PyTree, None]:
            return jax.tree.map(jnp.add, total, scaled(of(batch), block)), None

        first = jax.tree.map(lambda leaf: leaf[0], inputs.blocks)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of, first))
        total, _ = lax.scan(add, zeros, inputs.blocks)
        if inputs.left is not None:
            total = jax.tree.map(jnp.add, total, scaled(of(inputs.left), left))
        return total

    def _l2(self, carry: Carry) -> Any:
        rule = self._moments.settings.rule
        return None if rule is None or "l2" not in rule.numbers else at(rule.numbers["l2"], carry.step)
