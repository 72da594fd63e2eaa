"""Metrics of scores that should order the items of a query."""

from typing import Any

import jax.numpy as jnp

from hyperjax.checks import positive_integer, require
from hyperjax.metrics.metric import Metric, alike
from hyperjax.types import Array


def ndcg_at(k: int) -> Metric:
    """Normalized discounted cumulative gain of the `k` items with the highest scores.

    `DCG / max DCG`, `DCG = sum_{ranks 1..k} (2^relevance - 1) / log2(1 + rank)`; one value per query.

    Args:
        k: at least 1.
    Returns: a metric named `ndcg_at_<k>`: scores float[queries, items] against relevances of at least 0, of that shape.
        Items of equal score rank in their order; a query without a relevant item gives 0.
    Raises: ValueError when `k` is not a whole number of at least 1.
    Source: Jarvelin & Kekalainen 2002, ACM TOIS 20:422; gains as in Burges et al. 2005. scikit-learn: `ndcg_score(2 **
        relevance - 1, scores, k=k)`, which averages over ties.

    >>> metric = ndcg_at(1)
    >>> metric.name, metric(jnp.array([[0.1, 0.9]]), jnp.array([[2, 1]])).tolist()  # 1 of 3 gained
    ('ndcg_at_1', [0.333...])
    """
    size = positive_integer("k", k)
    return Metric(lambda scores, relevance: _of_first(scores, relevance, size), "max", f"ndcg_at_{size}")


def _of_first(scores: Any, relevance: Any, size: int | None = None) -> Array:
    scores, relevance = alike(scores, relevance, "scores")
    require(scores.ndim == 2, f"predictions must be of shape [queries, items], got {scores.shape}")
    relevance = relevance.astype(jnp.float32)
    gained, best = (_gain(jnp.argsort(-order, axis=1, stable=True), relevance, size) for order in (scores, relevance))
    return jnp.where(best > 0, gained / jnp.where(best > 0, best, 1.0), 0.0)


def _gain(order: Array, relevance: Array, size: int | None) -> Array:
    sorted_gains = jnp.exp2(jnp.take_along_axis(relevance, order, 1)[:, :size]) - 1
    return jnp.sum(sorted_gains / jnp.log2(2.0 + jnp.arange(sorted_gains.shape[1])), 1)


ndcg = Metric(_of_first, "max", "ndcg")
