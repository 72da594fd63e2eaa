"""An autoencoder: a narrow code, and the input made again from it."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from hyperjax.checks import positive_integer
from hyperjax.models.mlp import MLP


class Autoencoder(nnx.Module):
    """Encode an input in a few numbers and decode it again, by an MLP each; the decoder's widths are the encoder's.

    As a task, input and target are the same array: `Task(model, {"train": (x, x)}, loss="squared_error")`.

    Args:
        inputs: number of features of one example, all axes together.
        latent: numbers of the code.
        widths: units of the encoder's hidden layers; the decoder has them in the opposite order.
        activation: name in `hyperjax.activations.TABLE`, held by every hidden layer under the name "activation".
        dropout: rate in [0, 1] after each hidden activation, held by every hidden layer under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, a rate out of range, an activation unknown.
    Source: Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks", Science 313.

    >>> import jax.numpy as jnp
    >>> model = Autoencoder(64, 3, widths=(32,), rngs=nnx.Rngs(0))
    >>> x = jnp.ones((5, 8, 8))
    >>> model.encode(x).shape, model(x).shape
    ((5, 3), (5, 8, 8))
    """

    def __init__(
        self,
        inputs: int,
        latent: int = 8,
        widths: Sequence[int] = (128,),
        *,
        activation: str = "relu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        positive_integer("latent", latent)
        both: dict[str, Any] = {"activation": activation, "dropout": dropout, "rngs": rngs}
        self.encoder = MLP(inputs, latent, widths, **both)
        self.decoder = MLP(latent, inputs, widths[::-1], **both)

    def encode(self, x: jax.Array) -> jax.Array:
        """float[examples, latent] from float[examples, ...]."""
        return self.encoder(x)

    def decode(self, code: jax.Array) -> jax.Array:
        """float[examples, inputs] from float[examples, latent]."""
        return self.decoder(code)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The input as the code lets it be known, in its shape."""
        return self.decode(self.encode(x)).reshape(x.shape)
