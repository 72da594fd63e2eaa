"""Digits to be made from noise."""

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from hyperjax.metrics import energy_distance
from hyperjax.models import GAN, game
from hyperjax.tasks.digits import digits
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import SETS, Task
from hyperjax.types import Array


def digits_gan(latent: int = 16, widths: Sequence[int] = (128, 128)) -> Task:
    """Handwritten digits, 8x8 pixels, to be made from noise (scikit-learn), by two MLPs that play against each other.

    The 1,797 images of `digits`, in a fixed order in which all writers are mixed: 1,297 for training, 250 for
    validation and 250 for the test. A generator and a discriminator are trained at once, by their non-saturating losses
    with a penalty on the discriminator's slope; judged by the energy distance of made images from given ones. An
    average of the generator's weights makes better images than the weights themselves.

    To be reached: pixels that are independent of one another, each normal with its mean and deviation in the training
    set, cut to [0, 1], have a distance of 0.073 on the validation set; the training images themselves 0.015 (measured
    by `benchmarks/baselines.py`).

    Args:
        latent: numbers of the noise.
        widths: hidden layers of both; a recipe changes them by `model={"widths": (256, 256)}`.
    Source: Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406, equation 9.

    >>> task = digits_gan()
    >>> task.data["train"].shape, task.ranking, task.direction
    ((1297, 64), 'validation_distance', 'min')
    """
    play = game("non_saturating", penalty=1.0, target=0.0)

    def model(rngs: nnx.Rngs, latent: int = latent, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return GAN(64, latent, widths, rngs=rngs)

    def objective(model: GAN, batch: Array, key: jax.Array) -> tuple[Array, dict[str, Array]]:
        values, metrics = play(model, batch, key)
        made = model.sample(jax.random.fold_in(key, 1), batch.shape[0])
        return values, metrics | {"distance": energy_distance(made, batch)}

    images = np.concatenate([digits().data[part][0] for part in SETS])
    images = images[np.random.default_rng(0).permutation(len(images))]
    return Task(
        model=model,
        data=split((1297, 250, 250), images),
        objective=objective,
        metrics={"distance": "min"},
        name="digits_gan",
        recipe={
            "learning_rate": 3e-3,
            "optimizer_arguments": {"b1": 0.5},
            "batch_size": 64,
            "average": 0.99,
            "epochs": 60,
        },
    )
