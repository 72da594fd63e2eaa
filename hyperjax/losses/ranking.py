"""Losses of scores that should order the items of a query by their relevance."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import one_number, require
from hyperjax.losses.reduction import kept_entries, require_within, result_type, widened
from hyperjax.types import Array, Scalar


def pairwise_ranking(scores: Any, relevance: Any, sigma: Scalar = 1.0, where: Any = None) -> Array:
    """Cross-entropy of which of two items is the more relevant, averaged over a query's pairs; one value per query.

    `mean log(1 + exp(-sigma (scores_i - scores_j)))` over the pairs with `relevance_i > relevance_j`.

    Args:
        scores: float[queries, items], no unit.
        relevance: int or float[queries, items], at least 0; only its order counts.
        sigma: float[], inverse of the scores' unit, above 0; may be traced.
        where: bool, broadcastable to the scores; False marks what only fills a query up.
    Returns: float[queries] in the type of the scores, computed in float32 at least; 0 for a query whose items are all
        of one relevance, or all left out. Needs memory of queries items^2 numbers.
    Raises: ValueError on shapes that do not fit, a concrete relevance below 0, a sigma that is not above 0.
    Source: Burges et al. 2005, Learning to rank using gradient descent (RankNet), equation 3. optax: none. PyTorch:
        `MarginRankingLoss` is another (a hinge, of given pairs).

    >>> print(pairwise_ranking(jnp.zeros((1, 3)), jnp.array([[2, 1, 0]])))  # log(2)
    [0.6931472]
    """
    one_number("sigma", sigma, 0.0, open_low=True)
    precise, wanted, kept = _checked(scores, relevance, where)
    counted, values = _mistakes(precise, wanted, kept, sigma)
    number = jnp.maximum(jnp.sum(counted, (1, 2)), 1).astype(precise.dtype)
    return (jnp.sum(values, (1, 2)) / number).astype(result_type(jnp.asarray(scores)))


def list_ranking(scores: Any, relevance: Any, temperature: Scalar = 1.0, where: Any = None) -> Array:
    """Cross-entropy between the chances of being first that relevances and scores give; one value per query.

    `-sum_i softmax(relevance / temperature)_i log softmax(scores / temperature)_i`, least where the scores are the
    relevances, up to a constant. (For relevances that are shares already, use `cross_entropy(scores, shares)`.)

    Args:
        scores: float[queries, items], in the relevances' unit.
        relevance: int or float[queries, items], at least 0.
        temperature: float[], in the relevances' unit, above 0; small, only the most relevant count. May be traced.
        where: bool, broadcastable to the scores; False marks what only fills a query up.
    Returns: float[queries] in the type of the scores, computed in float32 at least; 0 for a query whose items are all
        left out.
    Raises: ValueError on shapes that do not fit, a concrete relevance below 0, a temperature that is not above 0.
    Source: Cao et al. 2007, Learning to rank: from pairwise approach to listwise approach (ListNet), section 4 with
        chances of the first place and their function phi `exp(x / temperature)`. optax: `softmax_cross_entropy` with
        `softmax(relevance)`. PyTorch: `CrossEntropyLoss(reduction="none")` likewise.

    >>> print(list_ranking(jnp.zeros((1, 4)), jnp.array([[3, 0, 0, 1]])))  # log(4)
    [1.3862944]
    """
    one_number("temperature", temperature, 0.0, open_low=True)
    precise, wanted, kept = _checked(scores, relevance, where)
    heat = jnp.asarray(temperature, precise.dtype)
    chances = jnp.where(kept, jnp.exp(_log_softmax(wanted / heat, kept)), 0.0)
    values = -jnp.sum(chances * _log_softmax(precise / heat, kept), 1)
    return values.astype(result_type(jnp.asarray(scores)))


def lambda_ranking(scores: Any, relevance: Any, sigma: Scalar = 1.0, where: Any = None) -> Array:
    """`pairwise_ranking` summed, each pair weighted by what exchanging its two items would change in NDCG.

    `sum w_ij log(1 + exp(-sigma (scores_i - scores_j)))` over the pairs with `relevance_i > relevance_j`, `w_ij =
    |gain_i - gain_j| |1 / D_i - 1 / D_j| / max DCG`, `gain = 2^relevance - 1`, `D = log2(1 + rank by score)`.

    Args:
        scores: float[queries, items], no unit. Items of equal score rank in their order.
        relevance: int or float[queries, items], at least 0.
        sigma: float[], inverse of the scores' unit, above 0; may be traced.
        where: bool, broadcastable to the scores; False marks what only fills a query up.
    Returns: float[queries] in the type of the scores, computed in float32 at least; 0 for a query whose items are all
        of one relevance, or all left out. Ranks are steps, so the weights are constants in the gradient.
        Needs memory of queries items^2 numbers.
    Raises: ValueError on shapes that do not fit, a concrete relevance below 0, a sigma that is not above 0.
    Source: Burges, Ragno & Le 2006, Learning to rank with nonsmooth cost functions (LambdaRank); as a loss, Wang et
        al. 2018, The LambdaLoss framework for ranking metric optimization, section 5.2, with log in place of log2.
        optax and PyTorch: none.

    >>> print(lambda_ranking(jnp.zeros((1, 2)), jnp.array([[0, 1]])))  # (1 - 1 / log2(3)) log(2)
    [0.25582...]
    """
    one_number("sigma", sigma, 0.0, open_low=True)
    precise, wanted, kept = _checked(scores, relevance, where)
    weights = _exchange_weights(precise, wanted, kept)
    _, values = _mistakes(precise, wanted, kept, sigma)
    return jnp.sum(weights * values, (1, 2)).astype(result_type(jnp.asarray(scores)))


def _mistakes(scores: Array, relevance: Array, kept: Array, sigma: Scalar) -> tuple[Array, Array]:
    """Which pairs [queries, better item, worse item] count, and their losses, 0 where they do not."""
    counted = (relevance[:, :, None] > relevance[:, None, :]) & kept[:, :, None] & kept[:, None, :]
    lead = jnp.where(counted, scores[:, :, None] - scores[:, None, :], 0.0)
    return counted, jnp.where(counted, jax.nn.softplus(-jnp.asarray(sigma, scores.dtype) * lead), 0.0)


def _exchange_weights(scores: Array, relevance: Array, kept: Array) -> Array:
    """|change in NDCG| by exchange of two items, [queries, items, items]."""
    # Gains as shares of the largest power, which cancels with the one in max DCG: 2^1000 cannot be written down.
    largest = jnp.max(relevance, 1, keepdims=True)
    gains = jnp.exp2(relevance - largest) * -jnp.expm1(-np.log(2.0) * relevance)
    discounts = 1 / jnp.log2(1 + _ranks(scores, kept))
    best = jnp.sum(jnp.where(kept, gains / jnp.log2(1 + _ranks(relevance, kept)), 0.0), 1)
    some = best > 0
    shares = jnp.where(some[:, None], gains / jnp.where(some, best, 1.0)[:, None], 0.0)
    return jnp.abs((shares[:, :, None] - shares[:, None, :]) * (discounts[:, :, None] - discounts[:, None, :]))


def _ranks(values: Array, kept: Array) -> Array:
    """Places from 1 by falling value among what is kept; equal values in their order."""
    places = np.arange(values.shape[1])
    mine, others = values[:, :, None], values[:, None, :]
    ahead = (others > mine) | ((others == mine) & (places[None, :] < places[:, None]))
    return 1 + jnp.sum(ahead & kept[:, None, :], 2).astype(values.dtype)


def _log_softmax(values: Array, kept: Array) -> Array:
    """Over what is kept; 0 elsewhere."""
    highest = jnp.max(jnp.where(kept, values, -jnp.inf), 1, keepdims=True)
    some = kept.any(1, keepdims=True)
    shifted = values - jax.lax.stop_gradient(jnp.where(some, highest, 0.0))
    total = jnp.sum(jnp.where(kept, jnp.exp(jnp.where(kept, shifted, 0.0)), 0.0), 1, keepdims=True)
    return jnp.where(kept, shifted - jnp.log(jnp.where(some, total, 1.0)), 0.0)


def _checked(given_scores: Any, given_relevance: Any, where: Any) -> tuple[Array, Array, Array]:
    """Scores and relevances in one float type, 0 where left out, and what is kept."""
    scores, relevance = jnp.asarray(given_scores), jnp.asarray(given_relevance)
    require(scores.ndim == 2, f"scores must be of shape [queries, items], got {scores.shape}")
    require(
        relevance.shape == scores.shape,
        f"relevance must have the shape of the scores, {scores.shape}, got {relevance.shape}",
    )
    kept = kept_entries(where, scores.shape)
    require_within("relevance", given_relevance, 0.0, np.inf, where)
    precise, wanted = widened(scores, relevance)
    if kept is None:
        return precise, wanted, jnp.ones(scores.shape, bool)
    return jnp.where(kept, precise, 0.0), jnp.where(kept, wanted, 0.0), kept
