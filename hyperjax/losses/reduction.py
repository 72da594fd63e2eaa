"""One value per example from elementwise values, and the guards and checks that several losses share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import is_concrete, require, within
from hyperjax.types import Array


def per_example(values: Array, kept: Array | None = None) -> Array:
    """Average over every axis but the first.

    Args:
        values: float[examples, ...]; a scalar stays one.
        kept: bool[examples, ...], what `kept_entries` made; entries left out count nowhere, an example without any
            gives 0.
    Returns: float[examples].

    >>> print(per_example(jnp.array([[1.0, 3.0], [5.0, 9.0]]), jnp.array([[True, True], [True, False]])))
    [2. 5.]
    """
    axes = tuple(range(1, values.ndim))
    if kept is None:
        return jnp.mean(values, axes) if axes else values
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


def result_type(*arrays: Array) -> Any:
    """The type in which a loss of these arrays is handed back: their own if it is a float type, else the default."""
    common = jnp.result_type(*arrays)
    return common if jnp.issubdtype(common, jnp.floating) else jnp.result_type(float)


def length(vectors: Array) -> Array:
    """2-norm over the last axis; at 0 with derivative 0.

    >>> print(length(jnp.array([[3.0, 4.0], [0.0, 0.0]])), jax.grad(length)(jnp.zeros(2)))
    [5. 0.] [0. 0.]
    """
    squared = jnp.sum(jnp.square(vectors), -1)
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)


def kept_entries(where: Any, shape: tuple[int, ...]) -> Array | None:
    """`where` as bool of the given shape; None stays None."""
    if where is None:
        return None
    given = jnp.asarray(where)
    fits = given.ndim <= len(shape) and all(n in (1, m) for n, m in zip(given.shape[::-1], shape[::-1], strict=False))
    require(fits, f"where must be broadcastable to shape {shape}, got shape {given.shape}")
    return jnp.broadcast_to(given.astype(bool), shape)


def with_last_axis(where: Any) -> Any:
    """`where`, of positions, for arrays with one more axis; what is known stays so inside a jit."""
    known = where is not None and not isinstance(where, jax.core.Tracer)
    return np.asarray(where)[..., None] if known else where


def checked_weights(given: Any, classes: int, name: str = "class_weights") -> Array:
    """Weights of classes as an array, one at least 0 for each."""
    weights = jnp.asarray(given)
    require(weights.shape == (classes,), f"{name} must be one number for each of {classes} classes, got {given!r}")
    within(name, given, 0.0)
    return weights


def require_within(name: str, given: Any, low: float, high: float, where: Any = None) -> None:
    """Require the entries that are kept to be in [low, high], if they are known now."""
    known = _known(given, where)
    if known is not None and known.size:
        bounds = f"[{low:g}, {high:g}" + (")" if high == np.inf else "]")
        inside = np.isfinite(known) & (known >= low) & (known <= high)
        require(inside, f"{name} must be in {bounds}, got values from {known.min():g} to {known.max():g}")


def require_one_of_two(name: str, given: Any, first: float, second: float, where: Any = None) -> None:
    """Require the entries that are kept to be one of two numbers, if they are known now."""
    known = _known(given, where)
    if known is not None and known.size:
        others = known[(known != first) & (known != second)]
        require(
            others.size == 0, f"{name} must be {first:g} or {second:g}, got {', '.join(f'{v:g}' for v in others[:3])}"
        )


def _known(given: Any, where: Any) -> np.ndarray | None:
    """The entries that are kept, on the host; None where they, or which they are, is traced."""
    if not is_concrete(given) or isinstance(where, jax.core.Tracer):
        return None
    # Not the JAX array made of it: inside a jit that is traced even when what was given is known.
    known = np.asarray(given).astype(np.float64)
    return known if where is None else known[np.broadcast_to(np.asarray(where, bool), known.shape)]
