"""The progress of diabetes in 442 patients, which ships inside scikit-learn."""

from collections.abc import Sequence

import numpy as np
from flax import nnx

from hyperjax.checks import within
from hyperjax.metrics import mean_absolute_error, mean_squared_error
from hyperjax.models import MLP
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task


def diabetes(widths: Sequence[int] = (32, 32), outliers: float = 0.0) -> Task:
    """Regression: the progress of a disease after a year from ten measurements (scikit-learn), by an MLP.

    442 patients, split once by a fixed permutation: 310 for training, 66 for validation and 66 for the test. Inputs and
    target are standardized by the training set's mean and deviation, so that a constant guess has a mean squared error
    of about 1; noise is large and the set small, hence regularization and ensembles matter. Least squares
    (scikit-learn) has 0.52 on the validation set and 0.53 on the test set, which are to be reached.

    Args:
        widths: hidden layers of the MLP; a recipe changes them by `model={"widths": (64, 64)}`.
        outliers: in [0, 1]: share of the training targets that is replaced by values 8 to 12 deviations above the mean,
            as a fault in the recording would; which ones is fixed, and a larger share holds those of a smaller one.
            Validation and test stay clean. Losses that grow slowly (`Recipe(loss="huber")`) are hurt less.
    Raises: ValueError for a share out of its range.
    Source: Efron, Hastie, Johnstone & Tibshirani 2004, Least angle regression, Annals of Statistics 32:407.

    >>> task = diabetes()
    >>> task.data["train"][0].shape, task.ranking, task.direction
    ((310, 10), 'validation_mean_squared_error', 'min')
    """
    from sklearn.datasets import load_diabetes

    within("outliers", outliers, 0.0, 1.0)
    inputs, target = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(0).permutation(len(target))
    inputs, target = inputs[order], target[order][:, None]

    def standardized(values: np.ndarray) -> np.ndarray:
        known = values[:310]
        return np.asarray((values - known.mean(0)) / known.std(0), np.float32)

    x, y = standardized(inputs), standardized(target)
    draw = np.random.default_rng(1)
    hit = draw.permutation(310)[: round(310 * outliers)]
    y[hit, 0] = draw.uniform(8.0, 12.0, 310).astype(np.float32)[: len(hit)]

    def model(rngs: nnx.Rngs, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return MLP(10, 1, widths, rngs=rngs)

    return Task(
        model=model,
        data=split((310, 66, 66), (x, y)),
        loss="squared_error",
        metrics={"mean_squared_error": mean_squared_error, "mean_absolute_error": mean_absolute_error},
        name="diabetes",
        recipe={"optimizer": "adamw", "learning_rate": 3e-3, "weight_decay": 1.0, "activation": "tanh", "epochs": 30},
    )
