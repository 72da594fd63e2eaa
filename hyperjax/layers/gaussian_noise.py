"""Additive Gaussian noise whose standard deviation is a value: a number, a named hyperparameter, or a tracer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax.checks import require, within
from hyperjax.layers.streams import forked, held, next_key, value_of


class GaussianNoise(nnx.Module):
    """Add independent noise to each element in training, `y = x + std e`, `e ~ N(0, 1)`.

    Arguments, `train()`, `eval()` and streams are as in `Dropout`. At std 0 nothing is drawn where branches are true
    ones (outside `vmap`), and the output is the input, bit for bit; the stream's counter moves on all the same. A
    traced std below 0 counts as 0.

    The derivative by the std is the noise, hence that of the expected loss in the mean; at std 0, where nothing is
    drawn, it is 0, which is its mean there.

    Args:
        std: standard deviation in the unit of the input, at least 0; float, array, tracer, or a `Hyperparameter`
            (shared if several layers get the same one).
        rngs: `nnx.Rngs` or a stream of it, forked; None: pass a key, a stream or rngs at the call.
        deterministic: True: return the input; `eval()` sets it, `train()` clears it.
        rng_collection: name of the stream in `rngs`.
        name: name under which a plain std can be bound; None: it cannot be, and a number is part of the program. A
            `Hyperparameter` keeps its own.

    Raises: ValueError when a concrete std is negative or not finite, the input is not of a floating dtype (noise would
        be rounded away), or there is no source of randomness.
    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7(1),
        equation 1. Keras: `GaussianNoise(stddev)`.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> layer = GaussianNoise(0.5, rngs=nnx.Rngs(0))
    >>> out = layer(jnp.zeros(10_000))
    >>> print(f"{float(out.std()):.1f}")
    0.5
    >>> layer.eval()
    >>> float(layer(jnp.ones(3)).sum())
    3.0
    """

    def __init__(
        self,
        std: Any,
        *,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        deterministic: bool = False,
        rng_collection: str = "noise",
        name: str | None = "noise",
    ) -> None:
        within("std", value_of(std), 0.0)
        self.std = held(std, name)
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        self.rngs = forked(rngs, rng_collection)

    def __call__(
        self,
        x: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> jax.Array:
        """Return x with noise added; both arguments go before the layer's own."""
        if self.deterministic if deterministic is None else deterministic:
            return x
        require(jnp.issubdtype(x.dtype, jnp.floating), f"x must be of a floating dtype, got {x.dtype}")
        key = next_key(self, rngs, "GaussianNoise")
        std = value_of(self.std)
        if isinstance(std, int | float) and std == 0:
            return x
        return _noisy(x, std, key)


def _noisy(x: jax.Array, std: Any, key: jax.Array) -> jax.Array:
    dtype = jnp.promote_types(x.dtype, jnp.float32)  # half precision has too few levels for the tails

    def drawn() -> jax.Array:
        return jax.random.normal(key, x.shape, dtype)

    fixed = isinstance(std, int | float)
    # As in Dropout, x stays outside the branch, so that the backward pass needs none.
    noise = drawn() if fixed else jax.lax.cond(std > 0, drawn, lambda: jnp.zeros(x.shape, dtype))
    # A sum with 0 would turn -0 into 0, so the input itself is taken.
    return jnp.where(jnp.asarray(std) > 0, x + (std * noise).astype(x.dtype), x)
