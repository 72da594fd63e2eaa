"""A variational autoencoder, and the bound that it is trained by."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax import losses
from hyperjax.checks import positive_integer, within
from hyperjax.layers import Hyperparameter
from hyperjax.models.mlp import MLP


class Reconstruction(NamedTuple):
    """What a VAE makes of a batch."""

    logits: jax.Array  # float[examples, ...], of each input being 1
    mean: jax.Array  # float[examples, latent]
    log_variance: jax.Array  # float[examples, latent]


class VAE(nnx.Module):
    """Encode an input as a Gaussian of independent parts and decode a draw from it, by an MLP each.

    Args:
        inputs: number of features of one example, all axes together, each in [0, 1].
        latent: numbers of the code.
        widths: units of the encoder's hidden layers; the decoder has them in the opposite order.
        divergence_weight: weight of the code's divergence from a standard Gaussian in `negative_elbo`, at least 0, held
            under its name; 1 is the bound itself, more makes the parts of the code less dependent.
        activation: name in `hyperjax.activations.TABLE`, held by every hidden layer under the name "activation".
        dropout: rate in [0, 1] after each hidden activation, held by every hidden layer under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, a rate or weight out of range, an activation
        unknown.
    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix C.1; the weight: Higgins et al. 2017, "beta-VAE".

    >>> model = VAE(64, 3, widths=(32,), rngs=nnx.Rngs(0))
    >>> made = model(jnp.ones((5, 8, 8)), jax.random.key(0))
    >>> made.logits.shape, made.mean.shape, model.sample(jax.random.key(1), 2).shape
    ((5, 8, 8), (5, 3), (2, 64))
    """

    def __init__(
        self,
        inputs: int,
        latent: int = 8,
        widths: Sequence[int] = (128,),
        *,
        divergence_weight: Any = 1.0,
        activation: str = "relu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.latent = positive_integer("latent", latent)
        within("divergence_weight", divergence_weight, 0.0)
        self.divergence_weight = Hyperparameter(divergence_weight, name="divergence_weight")
        both: dict[str, Any] = {"activation": activation, "dropout": dropout, "rngs": rngs}
        self.encoder = MLP(inputs, 2 * latent, widths, **both)
        self.decoder = MLP(latent, inputs, widths[::-1], **both)

    def encode(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and log variance of the code, float[examples, latent] each, from float[examples, ...]."""
        mean, log_variance = jnp.split(self.encoder(x), 2, -1)
        return mean, log_variance

    def decode(self, code: jax.Array) -> jax.Array:
        """Logits, float[examples, inputs], from float[examples, latent]."""
        return self.decoder(code)

    def __call__(self, x: jax.Array, key: jax.Array) -> Reconstruction:
        """Encode, draw a code by the key alone, and decode it."""
        mean, log_variance = self.encode(x)
        code = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape, mean.dtype)
        return Reconstruction(self.decode(code).reshape(x.shape), mean, log_variance)

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """New examples, float[count, inputs]: the probability of each input being 1, for codes drawn by the key."""
        return jax.nn.sigmoid(self.decode(jax.random.normal(key, (count, self.latent))))


def negative_elbo(model: VAE, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """A VAE's objective for a task: minus the evidence lower bound, by one draw an example.

    `-log p(x | code) + divergence_weight KL(q(code | x), N(0, 1))`, where every input is a Bernoulli variable.

    Args:
        model: the VAE.
        batch: float[examples, ...] in [0, 1].
        key: a key of `jax.random`, for the draws.
    Returns: float[examples] in nats, and the two terms as the metrics "reconstruction" and "divergence".
    Source: Kingma & Welling 2014, arXiv:1312.6114, equation 10 with one draw, and appendix C.1.

    >>> values, metrics = negative_elbo(VAE(4, 2, (8,), rngs=nnx.Rngs(0)), jnp.ones((3, 4)), jax.random.key(0))
    >>> values.shape, sorted(metrics)
    ((3,), ['divergence', 'reconstruction'])
    """
    made = model(batch, key)
    features = math.prod(batch.shape[1:])
    reconstruction = features * losses.binary_cross_entropy(made.logits, batch)  # a sum, where the loss is a mean
    divergence = losses.gaussian_kl(made.mean, made.log_variance)
    values = reconstruction + model.divergence_weight.get_value() * divergence
    return values, {"reconstruction": reconstruction, "divergence": divergence}
