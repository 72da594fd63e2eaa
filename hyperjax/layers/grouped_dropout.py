"""Dropout whose elements fall together: whole channels, or a whole residual branch of an example."""

import math
from typing import Any

import jax
from flax import nnx

from hyperjax.checks import require, within
from hyperjax.layers.dropout import Dropout


class SpatialDropout(Dropout):
    """Drop whole channels of an example and scale the rest by 1 / (1 - rate), so that the mean stays.

    `y[b, ..., c] = x[b, ..., c] m[b, c] / (1 - rate)`, `m[b, c] = 1` with probability `1 - rate`: neighbouring pixels
    of one channel say nearly the same, so that dropping them one by one takes away little. All else is as in `Dropout`,
    which this is where there are no axes between batch and channels.

    Args:
        rate: probability of dropping a channel, in [0, 1]; float, array, tracer or `Hyperparameter`.
        rngs, deterministic, rng_collection: as in `Dropout`.
        name: under which a plain rate is bound: by default the one that a recipe's `dropout` sets.

    Raises: ValueError when a concrete rate is outside [0, 1], there is no source of randomness, or the input is not
        [batch, ..., channels].
    Source: Tompson et al. 2015, "Efficient object localization using convolutional networks", section 3.2,
        arXiv:1411.4280. PyTorch: `Dropout1d` to `Dropout3d` (channels first); Keras: `SpatialDropout1D` to `3D`.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> layer = SpatialDropout(0.5, rngs=nnx.Rngs(0))
    >>> sums = layer(jnp.ones((8, 4, 4, 3))).sum((1, 2))  # f32[batch, channels]
    >>> sorted(set(sums.ravel().tolist()))
    [0.0, 32.0]
    """

    def __init__(
        self,
        rate: Any,
        *,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        name: str | None = "dropout",
    ) -> None:
        super().__init__(
            rate,
            rngs=rngs,
            deterministic=deterministic,
            broadcast_dims=(1,),
            rng_collection=rng_collection,
            name=name,
        )

    def __call__(
        self,
        x: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> jax.Array:
        """Return x, f[batch, ..., channels], with channels dropped."""
        require(x.ndim >= 2, f"x must be [batch, ..., channels], got shape {x.shape}")
        flat = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
        return super().__call__(flat, deterministic=deterministic, rngs=rngs).reshape(x.shape)


class StochasticDepth(Dropout):
    """Drop the residual branch of some examples and scale it for the others, so that its mean stays.

    `y[b] = x[b] m[b] / (1 - share * rate)`, `m[b] = 1` with probability `1 - share * rate`; use it on the branch alone:
    `x + drop(branch(x))`. The paper scales at evaluation instead; here that is the identity, as in `Dropout`. The
    branch is computed for every example, dropped or not: what is gained is the regularization, not time.

    Args:
        rate: probability that the deepest block is dropped, in [0, 1]; float, array, tracer or `Hyperparameter`.
        share: this block's part of the rate, in [0, 1]. The paper's linear rule for block l of L is `l / L`: one bound
            rate then gives each block its own.
        rngs, deterministic, rng_collection: as in `Dropout`.
        name: under which a plain rate is bound.

    Raises: ValueError when a concrete rate or share is outside [0, 1], there is no source of randomness, or the input
        has no batch axis.
    Source: Huang et al. 2016, "Deep networks with stochastic depth", equations 2 and 4, arXiv:1603.09382. torchvision:
        `StochasticDepth(p, mode="row")`; timm: `DropPath`.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> layer = StochasticDepth(0.5, rngs=nnx.Rngs(0))
    >>> sorted(set(layer(jnp.ones((16, 3))).sum(1).tolist()))
    [0.0, 6.0]
    """

    def __init__(
        self,
        rate: Any,
        *,
        share: float = 1.0,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        name: str | None = "stochastic_depth",
    ) -> None:
        super().__init__(
            rate,
            rngs=rngs,
            deterministic=deterministic,
            broadcast_dims=(1,),
            rng_collection=rng_collection,
            name=name,
        )
        within("share", share, 0.0, 1.0)
        self.share = share

    def __call__(
        self,
        x: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> jax.Array:
        """Return x, f[batch, ...], the output of a branch, with examples dropped."""
        require(x.ndim >= 1, f"x must be [batch, ...], got shape {x.shape}")
        flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        return super().__call__(flat, deterministic=deterministic, rngs=rngs).reshape(x.shape)

    def _rate(self) -> Any:
        return self.share * super()._rate()
