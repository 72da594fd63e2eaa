"""Mix each example with another of its batch, inputs and targets alike."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment.examples import floats, keys, number, off_at_zero, one
from hyperjax.augment.images.corruption import rectangle
from hyperjax.augment.images.resampling import AXES
from hyperjax.checks import require
from hyperjax.types import Array, Scalar


def mixup(key: Array, inputs: Any, targets: Any, alpha: Scalar) -> tuple[Array, Array]:
    """Blend each example and its target with those of another example in a random proportion.

    `l x + (1 - l) x'` and `l t + (1 - l) t'`, l from Beta(alpha, alpha), drawn for each example. The other example is
    the one a random number of places further on, the same number for all: none is mixed with itself, each is used
    once as the other, and in a shuffled batch every pair is equally likely.

    Args:
        key: one typed key, of any implementation.
        inputs: float[examples, ...], at least one axis more.
        targets: float[examples, ...]: one-hot or soft classes, or real values.
        alpha: float[] at least 0; may be traced. 1: l is uniform; small: nearly one example; large: halves.
    Returns: mixed inputs and targets of the same shapes and types, computed in float32 at least; at 0, both bit for
        bit. The derivative by alpha is that of the drawn l at a fixed key.
    Raises: ValueError on a negative alpha, or on inputs or targets that are not floats or differ in number.
    Source: Zhang et al. 2018, arXiv:1710.09412, equation 1; the proportion is one a batch in the authors' program.

    >>> from hyperjax import random
    >>> inputs, targets = jnp.array([[0.0], [10.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> mixed, soft = mixup(random.key(0), inputs, targets, 1.0)
    >>> bool(jnp.allclose(mixed[:, 0], 10 * soft[:, 1], rtol=1e-5))
    True
    """
    number("alpha", alpha)
    mixed: tuple[Array, Array] = _blended(one(key), *_pair(inputs, targets), jnp.asarray(alpha, jnp.float32))
    return mixed


def cutmix(key: Array, inputs: Any, targets: Any, alpha: Scalar) -> tuple[Array, Array]:
    """Paste a rectangle of another image into each image and mix the targets by the area.

    The rectangle's sides are `sqrt(1 - l)` times the image's, l from Beta(alpha, alpha), drawn for each example, and
    its centre is uniform over the image; what lies outside is lost. Then `t + r (t' - t)` with r the part of the
    pixels that was pasted. The other example is chosen as in `mixup`.

    Args:
        key: one typed key, of any implementation.
        inputs: float[examples, height, width, channels].
        targets: float[examples, ...]: one-hot or soft classes, or real values.
        alpha: float[] at least 0; may be traced. Its derivative is 0, since a border that moves is a step.
    Returns: mixed inputs and targets of the same shapes and types; at 0, both bit for bit.
    Raises: ValueError on a negative alpha, inputs that are not floats of four axes, or targets that are not floats or
        differ in number.
    Source: Yun et al. 2019, arXiv:1905.04899, equations 1 and 2.

    >>> from hyperjax import random
    >>> inputs, targets = jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1) * jnp.ones((2, 8, 8, 1)), jnp.eye(2)
    >>> mixed, soft = cutmix(random.key(0), inputs, targets, 1.0)
    >>> bool(jnp.allclose(mixed.mean((1, 2, 3)), soft[:, 1]))
    True
    """
    number("alpha", alpha)
    mixed: tuple[Array, Array] = _pasted(
        one(key), *_pair(floats("inputs", inputs, AXES), targets), jnp.asarray(alpha, jnp.float32)
    )
    return mixed


TABLE: Mapping[str, Callable[[Array, Any, Any, Scalar], tuple[Array, Array]]] = MappingProxyType(
    {"mixup": mixup, "cutmix": cutmix}
)


def _pair(inputs: Any, targets: Any) -> tuple[Array, Array]:
    inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
    require(inputs.ndim >= 2, f"inputs must have the axes [examples, ...], at least two, got shape {inputs.shape}")
    require(jnp.issubdtype(inputs.dtype, jnp.floating), f"inputs must be floats, got {inputs.dtype}")
    soft = "floats, since a mixture of labels is no label: one-hot them, as by jax.nn.one_hot(targets, classes)"
    require(jnp.issubdtype(targets.dtype, jnp.floating), f"targets must be {soft}; got {targets.dtype}")
    together = targets.ndim >= 1 and len(targets) == len(inputs)
    require(together, f"targets must be {len(inputs)} in number, as the inputs are, got shape {targets.shape}")
    return inputs, targets


@functools.partial(jax.jit, inline=True)
def _blended(key: Array, inputs: Array, targets: Array, alpha: Array) -> tuple[Array, Array]:
    far, own = jax.random.split(key)
    kept, other = _shares(own, len(inputs), alpha), _others(far, len(inputs))
    return _mixed(inputs, other, kept, alpha), _mixed(targets, other, kept, alpha)


@functools.partial(jax.jit, inline=True)
def _pasted(key: Array, inputs: Array, targets: Array, alpha: Array) -> tuple[Array, Array]:
    far, own, place = jax.random.split(key, 3)
    examples, height, width, _ = inputs.shape
    side = jnp.sqrt(1 - jax.lax.stop_gradient(_shares(own, examples, alpha)))
    centres = jax.vmap(lambda k: jax.random.uniform(k, (2,), jnp.float32))(keys(place, examples))
    halves = side[:, None] / 2 * jnp.array([height, width], side.dtype)
    inside = jax.vmap(functools.partial(rectangle, (height, width)))(centres, halves)
    other = _others(far, examples)
    images = jnp.where(inside[..., None], inputs[other], inputs)
    return images, _mixed(targets, other, jnp.mean(~inside, (1, 2), side.dtype), alpha)


def _mixed(x: Array, other: Array, kept: Array, alpha: Array) -> Array:
    """Each example as far as its part is kept, the other one for the rest; at alpha 0, `x` bit for bit."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    part = kept.reshape(-1, *[1] * (x.ndim - 1)).astype(wide.dtype)
    mixed = part * wide + (1 - part) * wide[other]
    return off_at_zero(jnp.asarray(alpha, wide.dtype), mixed.astype(x.dtype), x)


def _shares(key: Array, examples: int, alpha: Array) -> Array:
    """float[examples] from Beta(alpha, alpha), 1 at alpha 0; each from the key of its own example."""
    # Below 1e-6 the distribution is a fair coin to more digits than floats have, and derivatives would overflow.
    safe = jnp.where(alpha > 0, jnp.maximum(alpha, 1e-6), 1.0)
    drawn = jax.vmap(lambda k: jax.random.loggamma(k, safe, (2,), safe.dtype))(keys(key, examples))
    return jnp.where(alpha > 0, jax.nn.sigmoid(drawn[:, 0] - drawn[:, 1]), 1.0)  # a / (a + b), both gamma variates


def _others(key: Array, examples: int) -> Array:
    """int32[examples]: each example's partner, never itself if there is another."""
    places = jax.random.randint(key, (), 1, max(examples, 2), jnp.int32)
    return (jnp.arange(examples, dtype=jnp.int32) + places) % max(examples, 1)
