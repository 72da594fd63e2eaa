"""Dropout whose rate is a value: a number, a named hyperparameter, or a tracer."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax.checks import within
from hyperjax.layers.streams import forked, held, next_key, value_of


class Dropout(nnx.Module):
    """Zero each element with probability `rate` and scale the rest by 1 / (1 - rate), so that the mean stays.

    As `flax.nnx.Dropout` (arguments, `train()`, `eval()`, streams), but the rate may change without retracing, and
    differ between members of a population. At rate 0 nothing is drawn where branches are true ones (outside `vmap`),
    and the output is the input, bit for bit; the stream's counter moves on at every rate, so rates do not disturb one
    another's masks. At rate 1 the output and its gradient are 0.

    The derivative by the rate is that of the scale alone, 1 / (1 - rate)^2 times what was kept: the mask is a step in
    the rate and its derivative is 0 almost everywhere, which is not the derivative of the expected loss.

    Args:
        rate: probability of dropping, in [0, 1]; float, array, tracer, or a `Hyperparameter` (shared if several layers
            get the same one).
        rngs: `nnx.Rngs` or a stream of it, forked as nnx.Dropout does; None: pass a key, a stream or rngs at the call.
        deterministic: True: return the input; `eval()` sets it, `train()` clears it.
        broadcast_dims: axes that share one mask.
        rng_collection: name of the stream in `rngs`.
        name: name under which a plain rate can be bound; None: it cannot be, and a number is
            part of the program. A `Hyperparameter` keeps its own.

    Raises: ValueError when a concrete rate is outside [0, 1] or there is no source of randomness.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014), in
        the form that scales in training.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> layer = Dropout(0.5, rngs=nnx.Rngs(0))
    >>> sorted(set(layer(jnp.ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()
    >>> float(layer(jnp.ones(100)).sum())
    100.0
    """

    def __init__(
        self,
        rate: Any,
        *,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        deterministic: bool = False,
        broadcast_dims: Sequence[int] = (),
        rng_collection: str = "dropout",
        name: str | None = "dropout",
    ) -> None:
        within("rate", value_of(rate), 0.0, 1.0)
        self.rate = held(rate, name)
        self.deterministic = deterministic
        self.broadcast_dims = tuple(broadcast_dims)
        self.rng_collection = rng_collection
        self.rngs = forked(rngs, rng_collection)

    def __call__(
        self,
        x: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> jax.Array:
        """Return x with elements dropped; both arguments go before the layer's own."""
        if self.deterministic if deterministic is None else deterministic:
            return x
        key = next_key(self, rngs, "Dropout")
        rate = self._rate()
        if isinstance(rate, int | float) and rate == 0:
            return x
        return _dropped(x, rate, key, self.broadcast_dims)

    def _rate(self) -> Any:
        """The rate in force."""
        return value_of(self.rate)


def _dropped(x: jax.Array, rate: Any, key: jax.Array, broadcast_dims: tuple[int, ...]) -> jax.Array:
    shape = list(x.shape)
    for axis in broadcast_dims:
        shape[axis] = 1

    keep = 1 - rate

    def drawn() -> jax.Array:
        return jax.random.bernoulli(key, jax.lax.stop_gradient(keep), tuple(shape))

    # Only the mask comes from the branch: with x inside, the backward pass would need a branch of its own.
    if isinstance(rate, int | float):
        kept = drawn()
    else:
        kept = jax.lax.cond(rate > 0, drawn, lambda: jnp.ones(tuple(shape), bool))
    scale = 1 / jnp.where(keep > 0, keep, 1)  # at rate 1 all is dropped: no infinity may meet that zero
    return jnp.where(kept, x * scale.astype(x.dtype), 0)
