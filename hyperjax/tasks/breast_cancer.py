"""Measurements of cell nuclei from breast tumours, which ship inside scikit-learn."""

from collections.abc import Sequence

from hyperjax.tasks.tabular import classified
from hyperjax.tasks.task import Task


def breast_cancer(widths: Sequence[int] = (128,), imbalance: float = 0.0) -> Task:
    """Malignant and benign tumours by thirty measurements of cell nuclei (scikit-learn), by an MLP.

    569 tumours, 212 of them malignant, split once so that each set has the classes' shares: 399 for training, 85 for
    validation and 85 for the test. Inputs are standardized by the training set. Class 0 is malignant. To be reached:
    logistic regression (scikit-learn, measured by `benchmarks/baselines.py`) has a balanced accuracy of 0.968 on the
    validation set and 0.928 on the test set.

    Args:
        widths: hidden layers of the MLP; a recipe changes them by `model={"widths": (64, 64)}`.
        imbalance: in [0, 1): share of the malignant training examples that is left out; validation and test stay as
            they are.
    Raises: ValueError for an imbalance out of its range.
    Source: Street, Wolberg & Mangasarian 1993, Nuclear feature extraction for breast tumor diagnosis, SPIE 1905:861.

    >>> task = breast_cancer(imbalance=0.9)
    >>> task.data["train"][0].shape, int((task.data["train"][1] == 0).sum())
    ((265, 30), 15)
    """
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    recipe = {"optimizer": "adamw", "weight_decay": 0.01, "dropout": 0.4, "batch_size": 16, "epochs": 30}
    return classified("breast_cancer", inputs, labels, (399, 85, 85), widths, imbalance, recipe)
