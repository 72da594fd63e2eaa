"""A generator and a discriminator in one module, and the objective of their game."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from hyperjax import losses
from hyperjax.checks import positive_integer, within
from hyperjax.models.mlp import MLP

Objective = Callable[["GAN", Any, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]


class GAN(nnx.Module):
    """Make examples from noise by one MLP, and judge examples by another.

    Args:
        outputs: number of features of one example, all axes together.
        latent: numbers of the noise, standard normal.
        widths: units of the generator's hidden layers, and of the discriminator's.
        activation: name in `hyperjax.activations.TABLE`, held by every hidden layer under the name "activation".
        dropout: rate in [0, 1] after each hidden activation of the discriminator, held under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, a rate out of range, an activation unknown.
    Source: Goodfellow et al. 2014, arXiv:1406.2661.

    >>> model = GAN(2, latent=4, widths=(16,), rngs=nnx.Rngs(0))
    >>> made = model.sample(jax.random.key(0), 5)
    >>> made.shape, model.discriminator(made).shape
    ((5, 2), (5, 1))
    """

    def __init__(
        self,
        outputs: int,
        latent: int = 16,
        widths: Sequence[int] = (128, 128),
        *,
        activation: str = "relu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.latent = positive_integer("latent", latent)
        self.generator = MLP(latent, positive_integer("outputs", outputs), widths, activation=activation, rngs=rngs)
        self.discriminator = MLP(outputs, 1, widths, activation=activation, dropout=dropout, rngs=rngs)

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """New examples, float[count, outputs], from noise drawn by the key."""
        return self.generator(jax.random.normal(key, (count, self.latent)))


def game(kind: str = "non_saturating", penalty: float = 0.0, target: float = 1.0) -> Objective:
    """The objective of both players for a task: each is moved by its own loss, as if the other stood still.

    The value is the sum of both losses and of the penalty. Made examples reach the discriminator's loss, and the
    discriminator's weights the generator's loss, without their gradients. A recipe moves both players at once, by one
    optimizer; `rate_multipliers` gives them rates of their own.

    Args:
        kind: of `hyperjax.losses.gan`.
        penalty: weight of `hyperjax.losses.gradient_penalty` in the discriminator's loss, at least 0; 0 computes none.
            "wasserstein" needs it, by 10 in its paper.
        target: slope of the discriminator that the penalty asks for.
    Returns: `objective(model, batch, key)`, which takes a batch of real examples, float[examples, ...], and gives
        float[examples], with the metrics "discriminator" (its loss without the penalty) and "generator".
    Raises: ValueError on an unknown kind, or a negative number.
    Source: as `hyperjax.losses.gan` and `hyperjax.losses.gradient_penalty`.

    >>> import jax.numpy as jnp
    >>> objective = game("hinge")
    >>> values, metrics = objective(GAN(2, rngs=nnx.Rngs(0)), jnp.ones((5, 2)), jax.random.key(0))
    >>> values.shape, sorted(metrics)
    ((5,), ['discriminator', 'generator'])
    """
    play = losses.gan(kind)
    within("penalty", penalty, 0.0)
    within("target", target, 0.0)

    def objective(model: GAN, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        for_noise, for_points = jax.random.split(key)
        real = batch.reshape(batch.shape[0], -1)
        made = model.sample(for_noise, real.shape[0])
        still = jax.lax.stop_gradient(made)
        judged = play.discriminator(model.discriminator(real), model.discriminator(still))
        parts: Any = nnx.split(model.discriminator, nnx.Param, ...)
        graph, weights, rest = parts
        # A copy for each further use: masks are drawn inside it, under whichever derivative is being taken.
        fooled = play.generator(nnx.merge(graph, jax.lax.stop_gradient(weights), rest, copy=True)(made))
        values = judged + fooled
        if penalty > 0:

            def critic(x: jax.Array) -> jax.Array:
                out: jax.Array = nnx.merge(graph, weights, rest, copy=True)(x)
                return out

            values = values + penalty * losses.gradient_penalty(critic, real, still, for_points, target)
        return values, {"discriminator": judged, "generator": fooled}

    return objective
