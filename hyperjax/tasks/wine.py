"""Chemical analyses of wines, which ship inside scikit-learn."""

from collections.abc import Sequence

from hyperjax.tasks.tabular import classified
from hyperjax.tasks.task import Task


def wine(widths: Sequence[int] = (32,), imbalance: float = 0.0) -> Task:
    """Wines of three growers by thirteen chemical measurements (scikit-learn), by an MLP.

    178 wines, split once so that each set has the classes' shares: 130 for training, 24 for validation and 24 for the
    test. Inputs are standardized by the training set. To be reached: logistic regression (scikit-learn, measured by
    `benchmarks/baselines.py`) has a balanced accuracy of 0.963 on the validation set and 0.967 on the test set.

    Args:
        widths: hidden layers of the MLP; a recipe changes them by `model={"widths": (64, 64)}`.
        imbalance: in [0, 1): share of the rarest grower's training examples that is left out, and of the second of the
            three `1 - (1 - imbalance)^0.5`; validation and test stay as they are.
    Raises: ValueError for an imbalance out of its range.
    Source: Aeberhard & Forina, Wine, UCI (1992).

    >>> task = wine()
    >>> task.data["train"][0].shape, task.ranking
    ((130, 13), 'validation_balanced_accuracy')
    """
    from sklearn.datasets import load_wine

    inputs, labels = load_wine(return_X_y=True)
    recipe = {
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 1.0,
        "dropout": 0.4,
        "batch_size": 16,
        "epochs": 30,
    }
    return classified("wine", inputs, labels, (130, 24, 24), widths, imbalance, recipe)
