"""Queries whose items have known relevances, made by a generator."""

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from hyperjax.losses import list_ranking
from hyperjax.metrics import ndcg, ndcg_at
from hyperjax.models import MLP
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task

_ITEMS, _FEATURES = 10, 8
_SIZES = (400, 200, 200)


class Scores(MLP):
    """An MLP that gives each item of a query one score."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Scores float[queries, items] of features float[queries, items, features]."""
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(x.shape[:-1])


def ranking(widths: Sequence[int] = (32, 32)) -> Task:
    """Items of a query to be put in the order of their relevance from 0 to 4 (made), by an MLP that scores each.

    800 queries of ten items with eight features each: 400 for training, 200 for validation and 200 for the test. What
    an item is worth is a fixed function of its features, with a product and a threshold in it, plus noise. Within a
    query the best item has relevance 4, two have 3, two have 2, two have 1 and the last three 0; a query shifts the
    worth of all its items alike, which a loss of single items must see through and a loss of lists need not.

    To be reached: boosted trees that regress the relevance of single items (scikit-learn, measured by
    `benchmarks/baselines.py`) have an NDCG of 0.880 on the validation set and 0.893 on the test set.

    Args:
        widths: hidden layers of the MLP; a recipe changes them by `model={"widths": (64, 64)}`.
    Source: written for this library; the loss is `hyperjax.losses.list_ranking`.

    >>> task = ranking()
    >>> task.data["train"][0].shape, task.data["train"][1].shape, task.ranking
    ((400, 10, 8), (400, 10), 'validation_ndcg')
    """

    def model(rngs: nnx.Rngs, widths: Sequence[int] = tuple(widths)) -> nnx.Module:
        return Scores(_FEATURES, 1, widths, rngs=rngs)

    return Task(
        model=model,
        data=split(_SIZES, _queries()),
        loss=list_ranking,
        metrics={"ndcg": ndcg, "ndcg_at_3": ndcg_at(3)},
        name="ranking",
        recipe={"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.3, "epochs": 20},
    )


def _queries() -> tuple[np.ndarray, np.ndarray]:
    """Features, f32[queries, items, features], and relevances, f32[queries, items]."""
    draw = np.random.default_rng(0)
    queries = sum(_SIZES)
    x = draw.normal(size=(queries, _ITEMS, _FEATURES))
    x[..., 0] += 3.0 * draw.normal(size=(queries, 1))  # the shift of the query
    worth = x[..., 0] + 1.5 * x[..., 1] * x[..., 2] - np.abs(x[..., 3]) + (x[..., 4] > 0.5)
    worth += 0.3 * draw.normal(size=worth.shape)
    grades = np.array([4, 3, 3, 2, 2, 1, 1, 0, 0, 0], np.float32)
    places = np.argsort(np.argsort(-worth, 1), 1)
    return x.astype(np.float32), grades[places]
