"""Points from eight heaps on a ring, to be made from noise."""

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from hyperjax.metrics import energy_distance, modes_counted
from hyperjax.models import GAN, game
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task
from hyperjax.types import Array

_DEVIATION = 0.05
_HEAPS = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1).astype(np.float32)


def ring(latent: int = 4, widths: Sequence[int] = (64, 64)) -> Task:
    """Points from eight heaps on a ring, to be made from noise (made), by two MLPs that play against each other.

    3,072 points of eight normal distributions of deviation 0.05 around places on a circle of radius 1: 2,048 for
    training, 512 for validation and 512 for the test. A generator and a discriminator are trained at once, by their
    Wasserstein losses with a gradient penalty. The first metric, "modes", counts the heaps to which more than
    a hundredth of the made points belong, by no more than three deviations; as many are made as there are given ones.
    "distance" is the energy distance of the made points from those.

    To be reached: all eight heaps, where plain games often keep to one or two of them. A normal distribution with the
    points' mean and covariance has a distance of 0.045 on the validation set, the training points themselves 0.001
    (measured by `benchmarks/baselines.py`).

    Args:
        latent: numbers of the noise.
        widths: hidden layers of both; a recipe changes them by `model={"widths": (128, 128)}`.
    Source: Metz et al. 2017, arXiv:1611.02163, section 3.1, with another radius and deviation.

    >>> task = ring()
    >>> task.data["train"].shape, task.ranking, task.direction
    ((2048, 2), 'validation_modes', 'max')
    """
    draw = np.random.default_rng(0)
    points = _HEAPS[np.arange(3072) % 8] + _DEVIATION * draw.normal(size=(3072, 2))
    points = points[draw.permutation(3072)].astype(np.float32)
    play = game("wasserstein", penalty=1.0)

    def model(rngs: nnx.Rngs, latent: int = latent, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return GAN(2, latent, widths, rngs=rngs)

    def objective(model: GAN, batch: Array, key: jax.Array) -> tuple[Array, dict[str, Array]]:
        values, metrics = play(model, batch, key)
        made = model.sample(jax.random.fold_in(key, 1), batch.shape[0])
        reached = modes_counted(made, _HEAPS, 3 * _DEVIATION, share=0.01)
        return values, metrics | {"modes": reached, "distance": energy_distance(made, batch)}

    return Task(
        model=model,
        data=split((2048, 512, 512), points),
        objective=objective,
        metrics={"modes": "max", "distance": "min"},
        name="ring",
        recipe={"learning_rate": 3e-3, "optimizer_arguments": {"b1": 0.5}, "batch_size": 128, "epochs": 100},
    )
