"""The digits that ship inside scikit-learn."""

from collections.abc import Sequence

import numpy as np
from flax import nnx

from hyperjax.metrics import accuracy
from hyperjax.models import MLP
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task


def digits(widths: Sequence[int] = (128, 128)) -> Task:
    """Handwritten digits, 8x8 pixels, ten classes (scikit-learn), by an MLP.

    The 1,797 images, scaled to [0, 1], are split in the order of the data set, which is that of its writers: 1,437 for
    training, 180 for validation (choices are made there) and 180 for the test. To be reached: logistic regression
    (scikit-learn, measured by `benchmarks/baselines.py`) is right for 0.872 of the validation set and 0.933 of the
    test set.

    Args:
        widths: hidden layers of the MLP; a recipe changes them by `model={"widths": (64, 64)}`.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).

    >>> task = digits()
    >>> task.data["train"][0].shape, task.data["test"][1].shape
    ((1437, 64), (180,))
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)

    def model(rngs: nnx.Rngs, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return MLP(64, 10, widths, rngs=rngs)

    return Task(
        model=model,
        data=split((1437, 180, 180), (images, labels)),
        loss="cross_entropy",
        metrics={"accuracy": accuracy},
        name="digits",
        recipe={"learning_rate": 2e-3, "dropout": 0.3, "epochs": 20},
    )
