"""Digits told by a few numbers, as a variational autoencoder finds them."""

from collections.abc import Sequence

from flax import nnx

from hyperjax.models import VAE, negative_elbo
from hyperjax.tasks.digits import digits
from hyperjax.tasks.task import Task


def autoencoding(latent: int = 8, widths: Sequence[int] = (128,)) -> Task:
    """Handwritten digits as eight numbers each (scikit-learn), by a variational autoencoder.

    Images and split are those of `digits`. What is minimized, and ranks, is minus the evidence lower bound in nats an
    image, a pixel's brightness being taken for the chance that it is black.

    To be reached: pixels that are independent of one another, each with its mean brightness in the training set, need
    27.25 nats on the validation set and 26.41 on the test set (measured by `benchmarks/baselines.py`).

    Args:
        latent: numbers of the code.
        widths: hidden layers of the encoder, and in the opposite order of the decoder; a recipe changes them by
            `model={"widths": (64, 64)}`.
    Source: Kingma & Welling 2014, arXiv:1312.6114.

    >>> task = autoencoding()
    >>> task.data["train"].shape, task.ranking, task.direction
    ((1437, 64), 'validation_loss', 'min')
    """

    def model(rngs: nnx.Rngs, latent: int = latent, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return VAE(64, latent, widths, rngs=rngs)

    return Task(
        model=model,
        data={part: images for part, (images, _) in digits().data.items()},
        objective=negative_elbo,
        name="autoencoding",
        recipe={"learning_rate": 3e-3, "epochs": 30},
    )
