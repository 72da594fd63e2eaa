"""Rows of measurements with a class each: one fixed split, inputs scaled by the training set, classes made rarer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx

from hyperjax.checks import require, within
from hyperjax.metrics import accuracy, balanced_accuracy, f1
from hyperjax.models import MLP
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task


def classified(
    name: str,
    inputs: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
    widths: Sequence[int],
    imbalance: float,
    recipe: Mapping[str, Any],
) -> Task:
    """A task of a table's rows, judged by the mean over classes of the share that is right, by an MLP.

    Args:
        name: the task's.
        inputs: float[rows, features].
        labels: int[rows].
        sizes: rows for training, validation and test.
        widths: hidden layers of the MLP.
        imbalance: in [0, 1), see `thinned`; validation and test keep their classes.
        recipe: that suits the task.
    Raises: ValueError for an imbalance out of its range.
    """
    order = evenly(labels, np.random.default_rng(0).permutation(len(labels)))
    places = split(sizes, order)
    known = inputs[places["train"]]
    mean, deviation = known.mean(0), known.std(0)
    scaled, classes = ((inputs - mean) / deviation).astype(np.float32), labels.astype(np.int32)
    places["train"] = places["train"][thinned(classes[places["train"]], imbalance)]
    features, outputs = inputs.shape[1], int(labels.max()) + 1

    def model(rngs: nnx.Rngs, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return MLP(features, outputs, widths, rngs=rngs)

    return Task(
        model=model,
        data={part: (scaled[own], classes[own]) for part, own in places.items()},
        loss="cross_entropy",
        metrics={"balanced_accuracy": balanced_accuracy, "accuracy": accuracy, "f1": f1},
        name=name,
        recipe=recipe,
    )


def evenly(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """An order in which every stretch has about the classes' shares of the whole.

    Args:
        labels: int[rows].
        order: int[rows], a permutation that decides among rows of one class.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[evenly(labels, np.arange(6))].tolist()
    [0, 1, 0, 0, 1, 0]
    """
    places = np.empty(len(labels))
    for c in np.unique(labels):
        own = order[labels[order] == c]
        places[own] = (np.arange(len(own)) + 0.5) / len(own)
    result: np.ndarray = order[np.argsort(places[order], kind="stable")]
    return result


def thinned(labels: np.ndarray, imbalance: float) -> np.ndarray:
    """Places of the labels that are kept when the rarer classes are made rarer still.

    Of `K` classes by falling size, class `k` (from 0) keeps a share `(1 - imbalance)^(k / (K - 1))` of its examples,
    the first ones, rounded, at least one.

    Args:
        labels: int[examples].
        imbalance: in [0, 1): the share of the rarest class that is left out; 0 leaves everything in.
    Raises: ValueError for an imbalance out of its range.
    Source: the exponential profile of Cui et al. 2019, arXiv:1901.05555, section 5.1, on top of the given sizes.

    >>> thinned(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.5).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    within("imbalance", imbalance, 0.0, 1.0)
    require(imbalance < 1, f"imbalance must be below 1, got {imbalance}")
    classes, counts = np.unique(labels, return_counts=True)
    by_size = classes[np.argsort(-counts, kind="stable")]
    kept = []
    for rank, c in enumerate(by_size):
        own = np.flatnonzero(labels == c)
        share = (1 - imbalance) ** (rank / max(len(classes) - 1, 1))
        kept.append(own[: max(1, round(len(own) * share))])
    return np.sort(np.concatenate(kept))
