"""Losses of two players, one that makes examples and one that tells them from real ones."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from hyperjax.checks import one_number, one_of, require
from hyperjax.losses.reduction import length, per_example, result_type, widened
from hyperjax.types import Array, Scalar


class _OfBoth(Protocol):
    def __call__(self, real_logits: Any, fake_logits: Any) -> Array: ...


class _OfFake(Protocol):
    def __call__(self, fake_logits: Any) -> Array: ...


class Gan(NamedTuple):
    """The two losses that `gan` returns, each with one value per example."""

    discriminator: _OfBoth
    generator: _OfFake


class _Kind(NamedTuple):
    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    generator: Callable[[Array], Array]


def _negative(x: Array) -> Array:
    return -x


_KINDS = {
    "minimax": _Kind(lambda x: jax.nn.softplus(-x), jax.nn.softplus, lambda x: -jax.nn.softplus(x)),
    "non_saturating": _Kind(lambda x: jax.nn.softplus(-x), jax.nn.softplus, lambda x: jax.nn.softplus(-x)),
    "least_squares": _Kind(
        lambda x: 0.5 * jnp.square(x - 1), lambda x: 0.5 * jnp.square(x), lambda x: 0.5 * jnp.square(x - 1)
    ),
    "wasserstein": _Kind(_negative, jnp.positive, _negative),
    "hinge": _Kind(lambda x: jax.nn.relu(1 - x), lambda x: jax.nn.relu(1 + x), _negative),
}


def gan(kind: str) -> Gan:
    """The losses of discriminator and generator in an adversarial game, by the game's name.

    With `r` and `f` the discriminator's logits of real and of made examples, both players minimize:

    - "minimax": `-log sigmoid(r) - log(1 - sigmoid(f))` and `log(1 - sigmoid(f))`, whose slope vanishes while the
      discriminator is sure of its side;
    - "non_saturating": the same and `-log sigmoid(f)`;
    - "least_squares": `(r - 1)^2 / 2 + f^2 / 2` and `(f - 1)^2 / 2`;
    - "wasserstein": `f - r` and `-f`, for a discriminator kept smooth (by `gradient_penalty`, say);
    - "hinge": `max(0, 1 - r) + max(0, 1 + f)` and `-f`.

    Args:
        kind: one of these names.
    Returns: a pair with `.discriminator(real_logits, fake_logits)` and `.generator(fake_logits)`. Logits are
        float[examples, ...], of one shape, averaged over the axes after the first; values are float[examples] in the
        type of the logits, computed in float32 at least. Neither stops a gradient: in one objective for both players,
        hand the discriminator made examples, and the generator a discriminator, through `jax.lax.stop_gradient`.
    Raises: ValueError on an unknown kind; from the discriminator's loss, when the shapes differ.
    Source: Goodfellow et al. 2014, arXiv:1406.2661, equation 1 and, for "non_saturating", the end of section 3; Mao et
        al. 2017, arXiv:1611.04076, equation 9; Arjovsky, Chintala & Bottou 2017, arXiv:1701.07875, algorithm 1; Miyato
        et al. 2018, arXiv:1802.05957, equations 16 and 17. optax: `sigmoid_binary_cross_entropy` with labels 1 and 0.
        PyTorch: `BCEWithLogitsLoss` and half of `MSELoss` with labels 1 and 0.

    >>> game = gan("hinge")
    >>> print(game.discriminator(jnp.array([2.0, 0.5]), jnp.array([-2.0, 0.5])), game.generator(jnp.array([-2.0, 0.5])))
    [0. 2.] [ 2.  -0.5]
    """
    chosen = _KINDS[one_of("kind", kind, _KINDS)]

    def discriminator(real_logits: Any, fake_logits: Any) -> Array:
        real, fake = jnp.asarray(real_logits), jnp.asarray(fake_logits)
        require(
            real.shape == fake.shape,
            f"fake_logits must have the shape of real_logits, {real.shape}, got {fake.shape}",
        )
        precise = widened(real, fake)
        return per_example(chosen.real(precise[0]) + chosen.fake(precise[1])).astype(result_type(real, fake))

    def generator(fake_logits: Any) -> Array:
        fake = jnp.asarray(fake_logits)
        (precise,) = widened(fake)
        return per_example(chosen.generator(precise)).astype(result_type(fake))

    return Gan(discriminator, generator)


def gradient_penalty(critic: Callable[[Any], Any], real: Any, fake: Any, key: jax.Array, target: Scalar = 1.0) -> Array:
    """How far a critic's slope is from `target` at random points between real and made examples, one value per example.

    `(|d critic(x) / d x| - target)^2` at `x = u real + (1 - u) fake`, with one uniform `u` in [0, 1) an example.

    Args:
        critic: `examples -> float[examples]`, or [examples, 1]; each output must depend on its own example alone
            (BatchNorm in training mode would mix them).
        real, fake: float[examples, ...] of one shape.
        key: a key of `jax.random`, for the points.
        target: float[], in the critic's unit over the examples', at least 0; may be traced. 0 with `real` given twice
            penalizes any slope at real examples.
    Returns: float[examples] in the type of the examples, the norm computed in float32 at least. The derivative of a
        slope of 0 is 0. The caller weights it (by 10 in the paper) and adds it to the discriminator's loss.
    Raises: ValueError when the shapes differ, the critic does not give one value per example, the target is negative.
    Source: Gulrajani et al. 2017, arXiv:1704.00028, equation 3 and algorithm 1; target 0 at real examples: Mescheder,
        Geiger & Nowozin 2018, arXiv:1801.04406, equation 9, which has half of it. optax and PyTorch: none.

    >>> slope, real, fake = jnp.array([3.0, 4.0]), jnp.ones((2, 2)), jnp.zeros((2, 2))
    >>> print(gradient_penalty(lambda x: x @ slope, real, fake, jax.random.key(0)))  # (5 - 1)^2
    [16. 16.]
    """
    one_number("target", target, 0.0)
    truth, made = jnp.asarray(real), jnp.asarray(fake)
    require(
        truth.shape == made.shape and truth.ndim >= 1,
        f"fake must have the shape of real, [examples, ...], {truth.shape}, got {made.shape}",
    )
    precise, other = widened(truth, made)
    dtype, examples = result_type(truth, made), truth.shape[0]
    share = jax.random.uniform(key, (examples,) + (1,) * (truth.ndim - 1), precise.dtype)
    points = (other + share * (precise - other)).astype(dtype)

    def total(points: Array) -> Array:
        values = jnp.asarray(critic(points))
        require(
            values.shape in ((examples,), (examples, 1)),
            f"critic must give one value for each of {examples} examples, got shape {values.shape}",
        )
        return jnp.sum(values)

    (slopes,) = widened(jax.grad(total)(points))
    steepness = length(slopes.reshape(examples, math.prod(truth.shape[1:])))
    return jnp.square(steepness - jnp.asarray(target, steepness.dtype)).astype(dtype)
