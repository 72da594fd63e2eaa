"""The progress of diabetes in 442 patients, which ships inside scikit-learn."""

from collections.abc import Sequence

import numpy as np
from flax import nnx

from hyperjax.metrics import mean_absolute_error, mean_squared_error
from hyperjax.models import MLP
from hyperjax.tasks.task import Task


def diabetes(widths: Sequence[int] = (32, 32)) -> Task:
    """Regression: the progress of a disease after a year from ten measurements (scikit-learn), by an MLP.

    442 patients, split once by a fixed permutation: 310 for training, 66 for validation and 66 for the test. Inputs and
    target are standardized by the training set's mean and deviation, so that a constant guess has a mean squared error
    of about 1; noise is large and the set small, hence regularization and ensembles matter. Least squares
    (scikit-learn, measured by `tests/ensembles`) has 0.52 on the validation set and 0.53 on the test set.

    Args:
        widths: hidden layers of the MLP; a recipe changes them by `model={"widths": (64, 64)}`.
    Source: Efron, Hastie, Johnstone & Tibshirani 2004, Least angle regression, Annals of Statistics 32:407.

    >>> task = diabetes()
    >>> task.data["train"][0].shape, task.ranking, task.direction
    ((310, 10), 'validation_mean_squared_error', 'min')
    """
    from sklearn.datasets import load_diabetes

    inputs, target = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(0).permutation(len(target))
    inputs, target = inputs[order], target[order][:, None]
    cuts = {"train": slice(0, 310), "validation": slice(310, 376), "test": slice(376, None)}

    def standardized(values: np.ndarray) -> np.ndarray:
        known = values[cuts["train"]]
        return np.asarray((values - known.mean(0)) / known.std(0), np.float32)

    x, y = standardized(inputs), standardized(target)

    def model(rngs: nnx.Rngs, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return MLP(10, 1, widths, rngs=rngs)

    return Task(
        model=model,
        data={name: (x[cut], y[cut]) for name, cut in cuts.items()},
        loss="squared_error",
        metrics={"mean_squared_error": mean_squared_error, "mean_absolute_error": mean_absolute_error},
        name="diabetes",
    )
