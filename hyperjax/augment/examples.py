"""What every augmentation shares: checked input, a key of its own for each example, and no change at strength 0."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import require, within
from hyperjax.types import Array, Scalar


def each(
    change: Callable[[Array, Array, Array], Array], key: Array, x: Any, strength: Scalar, *, name: str, axes: str
) -> Array:
    """Change every example of a batch with its own key, in float32 at least, and cast back; at strength 0 return `x`.

    Args:
        change: `(key, example, strength) -> example` of the same shape, a function of a module.
        key: one typed key; example `i` gets `fold_in(key, i)`, so that its neighbours are nothing to it.
        x: float of the axes named in `axes`, the first of which are the examples.
        strength: float[], already known to be in range.
        name: what `x` is called in errors.
        axes: names of the axes, as in "examples, time".
    Returns: as `x`. What is random is drawn in float32 whatever the type, so that types do not change decisions.
    Raises: ValueError when the key or the shape or the type of `x` is wrong.

    >>> from hyperjax import random
    >>> add = lambda key, example, s: example + s
    >>> print(each(add, random.key(0), jnp.ones((1, 2)), 0.5, name="x", axes="examples, time"))
    [[1.5 1.5]]
    """
    x = floats(name, x, axes)
    changed: Array = _each(change, one(key), x, jnp.asarray(strength, jnp.promote_types(x.dtype, jnp.float32)))
    return changed


# Compiled as a whole, so that an augmentation called outside of jit is one program too. The function it is compiled
# for must be one that lasts, hence no closure.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _each(change: Callable[[Array, Array, Array], Array], key: Array, x: Array, s: Array) -> Array:
    changed = jax.vmap(change, (0, 0, None))(keys(key, len(x)), x.astype(s.dtype), s)
    return off_at_zero(s, changed.astype(x.dtype), x)


def one(key: Array) -> Array:
    """Return `key`, if it is one typed key.

    >>> one(jax.random.PRNGKey(0))
    Traceback (most recent call last):
    ...
    ValueError: key must be one typed key, such as hyperjax.random.key(0), got uint32[2]
    """
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    got = f"{key.dtype}{list(key.shape)}" if hasattr(key, "dtype") else repr(key)
    require(typed and key.ndim == 0, f"key must be one typed key, such as hyperjax.random.key(0), got {got}")
    return key


def keys(key: Array, examples: int) -> Array:
    """One key for each example, which depends on the example's index and not on how many there are.

    >>> from hyperjax import random
    >>> bool(keys(random.key(0), 2)[1] == keys(random.key(0), 5)[1])
    True
    """
    folded: Array = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(examples, dtype=jnp.uint32))
    return folded


@jax.custom_jvp
def off_at_zero(strength: Array, changed: Array, given: Array) -> Array:
    """`changed` at a strength above 0, else `given` bit for bit; the derivative is that of `changed` in both cases.

    A plain select would have derivative 0 by the strength at 0, and descent on a strength could never leave that point.

    >>> brighter = lambda s: off_at_zero(s, 3.0 * (1.0 + s), 3.0)
    >>> float(brighter(0.0)), float(jax.grad(brighter)(0.0))
    (3.0, 3.0)
    """
    return jnp.where(strength > 0, changed, given)


@off_at_zero.defjvp
def _(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    return off_at_zero(*primals), tangents[1]


def number(name: str, value: Scalar, high: float = float("inf")) -> None:
    """Require one number in [0, high]; a traced one needs only to be a scalar.

    >>> number("strength of flip", 1.5, high=1.0)
    Traceback (most recent call last):
    ...
    ValueError: strength of flip must be a number in [0, 1], got 1.5
    """
    require(value is not None and not callable(value), f"{name} must be one number, got {value!r}")
    require(np.ndim(value) == 0, f"{name} must be one number, got an array of shape {np.shape(value)}")
    within(name, value, 0.0, high)


def floats(name: str, x: Any, axes: str) -> Array:
    """Return `x` as an array, if it holds floats and has as many axes as `axes` names.

    >>> floats("images", jnp.zeros((1, 2, 2, 1), jnp.uint8), "examples, height, width, channels")
    Traceback (most recent call last):
    ...
    ValueError: images must be floats: convert them, as by images.astype(jnp.float32) / 255, got uint8
    """
    array = jnp.asarray(x)
    _shaped(name, array, axes)
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    scale = " / 255" if array.dtype == jnp.uint8 else ""
    convert = f"convert them, as by {name}.astype(jnp.float32){scale}"
    require(floating, f"{name} must be floats: {convert}, got {array.dtype}")
    return array


def integers(name: str, x: Any, axes: str) -> Array:
    """Return `x` as an array, if it holds integers and has as many axes as `axes` names.

    >>> integers("tokens", jnp.zeros((2, 3)), "examples, length")
    Traceback (most recent call last):
    ...
    ValueError: tokens must be integers, got float32
    """
    array = jnp.asarray(x)
    _shaped(name, array, axes)
    require(jnp.issubdtype(array.dtype, jnp.integer), f"{name} must be integers, got {array.dtype}")
    return array


def _shaped(name: str, array: Array, axes: str) -> None:
    require(array.ndim == axes.count(",") + 1, f"{name} must have the axes [{axes}], got shape {array.shape}")
