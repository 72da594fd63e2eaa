"""Layers whose kernel, not whose input, is disturbed in training: DropConnect and Gaussian noise on the weights."""

from typing import Any

import jax
from flax import nnx

from hyperjax.checks import require
from hyperjax.layers.dropout import Dropout
from hyperjax.layers.gaussian_noise import GaussianNoise


class _NoisyKernel(nnx.Module):
    """A layer that is called with its kernel passed through another layer."""

    def __init__(self, layer: Any, noise: Dropout | GaussianNoise) -> None:
        kernel = getattr(layer, "kernel", None)
        require(
            isinstance(kernel, nnx.Variable),
            f"layer must hold its weights as `kernel`, as nnx.Linear and nnx.Conv do, got {type(layer).__name__}",
        )
        self.layer = layer
        self.noise = noise

    def __call__(
        self,
        x: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> jax.Array:
        """Return the layer's output for x; the other arguments are those of the layer that disturbs the kernel."""
        kernel = self.noise(self.layer.kernel.get_value(), deterministic=deterministic, rngs=rngs)
        # The parameter itself must not change, so a second layer is put together around the other kernel.
        graph, state = nnx.split(self.layer)
        leaves = dict(nnx.to_flat_state(state))
        leaves["kernel",] = leaves["kernel",].replace(kernel)
        out: jax.Array = nnx.merge(graph, nnx.from_flat_state(leaves))(x)
        return out


class DropConnect(_NoisyKernel):
    """Zero each weight of a layer's kernel with probability `rate` in training, and scale the rest by 1 / (1 - rate).

    `y = x (W * M) / (1 - rate) + b`, `M_ij = 1` with probability `1 - rate`; the bias stays. All that `Dropout`
    promises about rates, streams and modes holds here for the kernel. One mask is drawn a call and shared by the batch,
    as drawing one an example would cost a kernel each; the paper draws one an example, which `jax.vmap` over examples
    and keys does. The mean over masks is the output in evaluation, exactly as far as the next nonlinearity; the paper
    samples there from a Gaussian instead.

    Args:
        layer: `nnx.Linear`, `nnx.Conv` or another whose weights are its `kernel`; it may be used elsewhere too.
        rate: probability of dropping a weight, in [0, 1]; float, array, tracer or `Hyperparameter`.
        rngs, deterministic, rng_collection: as in `Dropout`.
        name: under which a plain rate is bound.

    Raises: ValueError when a concrete rate is outside [0, 1], there is no source of randomness, or the layer has no
        kernel.
    Source: Wan et al. 2013, "Regularization of neural networks using DropConnect", ICML, section 3.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> ones = nnx.Linear(1, 100, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0))
    >>> layer = DropConnect(ones, 0.5, rngs=nnx.Rngs(0))
    >>> sorted(set(layer(jnp.ones(1)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()
    >>> float(layer(jnp.ones(1)).mean())
    1.0
    """

    def __init__(
        self,
        layer: Any,
        rate: Any,
        *,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        name: str | None = "drop_connect",
    ) -> None:
        noise = Dropout(rate, rngs=rngs, deterministic=deterministic, rng_collection=rng_collection, name=name)
        super().__init__(layer, noise)


class WeightNoise(_NoisyKernel):
    """Add Gaussian noise to a layer's kernel in training, `y = x (W + std E) + b`, `E_ij ~ N(0, 1)`.

    All that `GaussianNoise` promises about std, streams and modes holds here for the kernel; one draw a call, shared by
    the batch. To second order in the std this adds `std^2 / 2` times the trace of the loss's Hessian by the kernel, so
    that flat minima are favoured.

    Args:
        layer: `nnx.Linear`, `nnx.Conv` or another whose weights are its `kernel`; it may be used elsewhere too.
        std: standard deviation in the unit of the weights, at least 0; float, array, tracer or `Hyperparameter`.
        rngs, deterministic, rng_collection: as in `GaussianNoise`.
        name: under which a plain std is bound.

    Raises: ValueError when a concrete std is negative or not finite, there is no source of randomness, or the layer has
        no kernel.
    Source: Graves 2011, "Practical variational inference for neural networks", NeurIPS, with a Gaussian posterior of
        fixed width; An 1996, "The effects of adding noise during backpropagation training on a generalization
        performance", Neural Computation 8(3).

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> layer = WeightNoise(nnx.Linear(1, 10_000, rngs=nnx.Rngs(0)), 0.1, rngs=nnx.Rngs(0))
    >>> print(f"{float(jnp.std(layer(jnp.ones(1)) - layer.layer(jnp.ones(1)))):.1f}")
    0.1
    """

    def __init__(
        self,
        layer: Any,
        std: Any,
        *,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        deterministic: bool = False,
        rng_collection: str = "noise",
        name: str | None = "weight_noise",
    ) -> None:
        noise = GaussianNoise(std, rngs=rngs, deterministic=deterministic, rng_collection=rng_collection, name=name)
        super().__init__(layer, noise)
