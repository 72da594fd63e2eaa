"""One value per example from elementwise values: the mean over the other axes, of the kept entries only."""

import jax
import jax.numpy as jnp

from hyperjax.types import Array


def per_example(values: Array, where: Array | None = None) -> Array:
    """Average over every axis but the first.

    Args:
        values: float[examples, ...]; a scalar stays one.
        where: bool, broadcastable to `values`; entries left out count nowhere, an example without any gives 0.
    Returns: float[examples].

    >>> print(per_example(jnp.array([[1.0, 3.0], [5.0, 9.0]]), jnp.array([[True, True], [True, False]])))
    [2. 5.]
    """
    axes = tuple(range(1, values.ndim))
    if where is None:
        return jnp.mean(values, axes) if axes else values
    kept = jnp.broadcast_to(jnp.asarray(where), values.shape)
    total = jnp.sum(jnp.where(kept, values, 0.0), axes)
    return total / jnp.maximum(jnp.sum(kept, axes), 1).astype(values.dtype)


def hidden_zero(finite: Array) -> Array:
    """-0.0, from any finite numbers, so that no compiler knows it.

    A compiler may contract a product and the sum that it enters into one operation with one rounding, here and not
    there. `product + hidden_zero(x)` is the product, rounded before the sum in every program.

    >>> print(hidden_zero(jnp.array([1.0, 2.0])))
    -0.0
    """
    return -0.0 * jnp.abs(jax.lax.stop_gradient(jnp.sum(finite.ravel()[:1])))


def widened(*arrays: Array) -> tuple[Array, ...]:
    """Arrays of one float type of at least float32, in which losses are computed whatever the inputs' type is."""
    precise = jnp.promote_types(jnp.result_type(*arrays, float), jnp.float32)
    return tuple(array.astype(precise) for array in arrays)
