"""Losses of one logit, or score, against one of two classes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.checks import one_number, require
from hyperjax.losses.reduction import (
    checked_weights,
    hidden_zero,
    kept_entries,
    per_example,
    require_one_of_two,
    require_within,
    result_type,
    widened,
)
from hyperjax.types import Array, Scalar


def binary_cross_entropy(
    logits: Any, labels: Any, label_smoothing: Scalar = 0.0, where: Any = None, class_weights: Any = None
) -> Array:
    """Cross-entropy of a sigmoid with smoothed labels, averaged over the axes after the first, one value per example.

    `mean -w_1 q log sigmoid(logits) - w_0 (1 - q) log sigmoid(-logits)`, `q = (1 - label_smoothing) labels +
    label_smoothing / 2`

    Args:
        logits: float[examples, ...], no unit.
        labels: bool, int or float[examples, ...] of the same shape, in [0, 1]: the probability of the class.
        label_smoothing: float[], no unit, in [0, 1); may be traced.
        where: bool, broadcastable to the labels; False leaves an entry out of its example's mean.
        class_weights: float[2], no unit, at least 0: `w_0` of the rest and `w_1` of the class; may be traced. None:
            both 1.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError when the shapes differ, concrete labels are outside [0, 1], smoothing outside [0, 1), or the
        weights are not two of at least 0.
    Source: Cox 1958, The regression analysis of binary sequences. optax: `sigmoid_binary_cross_entropy`. PyTorch:
        `BCEWithLogitsLoss(weight, pos_weight, reduction="none")`, with weights `(weight, weight pos_weight)`.

    >>> print(binary_cross_entropy(jnp.array([0.0, 100.0]), jnp.array([1, 0])))  # log(2), 100
    [  0.6931472 100.       ]
    """
    one_number("label_smoothing", label_smoothing, 0.0, 1.0, open_high=True)
    weights = None if class_weights is None else checked_weights(class_weights, 2)

    def values(logits: Array, labels: Array) -> Array:
        smoothing = jnp.asarray(label_smoothing, logits.dtype)
        return _entropy(logits, (1 - smoothing) * labels + 0.5 * smoothing, weights)

    return _of_pairs(values, logits, labels, where)


def binary_focal(
    logits: Any, labels: Any, gamma: Scalar = 2.0, alpha: Scalar | None = None, where: Any = None
) -> Array:
    """Binary cross-entropy that counts examples less, the surer the model is of their label.

    `mean (1 - s)^gamma (cross-entropy)`, where `s` is the probability that the model gives to the label; times `alpha`
    for the class and `1 - alpha` for the rest.

    Args:
        logits: float[examples, ...], no unit.
        labels: bool, int or float[examples, ...] of the same shape, in [0, 1].
        gamma: float[], no unit, at least 0; 0 is cross-entropy. May be traced.
        alpha: float[], no unit, in [0, 1]; may be traced. None: no weights.
        where: bool, broadcastable to the labels; False leaves an entry out of its example's mean.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError when the shapes differ, concrete labels are outside [0, 1], or a number is out of range.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 5. optax: `sigmoid_focal_loss`, whose `alpha` comes first.
        torchvision: `sigmoid_focal_loss`.

    >>> print(binary_focal(jnp.zeros(1), jnp.ones(1)))  # (1/2)^2 log 2
    [0.1732868]
    """
    one_number("gamma", gamma, 0.0)
    if alpha is not None:
        one_number("alpha", alpha, 0.0, 1.0)

    def values(logits: Array, labels: Array) -> Array:
        missed = labels * jax.nn.sigmoid(-logits) + (1 - labels) * jax.nn.sigmoid(logits)
        left = missed > 0  # at 0 the derivative of a power below 1 is infinite
        power = jnp.power(jnp.where(left, missed, 1.0), jnp.asarray(gamma, missed.dtype))
        focused = _entropy(logits, labels) * jnp.where(left, power, jnp.where(jnp.asarray(gamma) == 0, 1.0, 0.0))
        if alpha is None:
            return focused
        share = jnp.asarray(alpha, missed.dtype)
        return focused * (share * labels + (1 - share) * (1 - labels))

    return _of_pairs(values, logits, labels, where)


def hinge(scores: Any, labels: Any, where: Any = None, class_weights: Any = None) -> Array:
    """How far a score falls short of 1 on its label's side, averaged over the axes after the first.

    `mean w max(0, 1 - labels scores)`, `w` the weight of the label's class

    Args:
        scores: float[examples, ...], no unit.
        labels: int or float[examples, ...] of the same shape, -1 or 1. (As a task's or a recipe's loss, by name, its
            labels are 0 and 1, as for every binary loss.)
        where: bool, broadcastable to the labels; False leaves an entry out of its example's mean.
        class_weights: float[2], no unit, at least 0: of labels -1 and 1; may be traced. None: both 1.
    Returns: float[examples] in the type of the scores, computed in float32 at least.
    Raises: ValueError when the shapes differ, concrete labels are not -1 or 1, or the weights are not two of at least
        0.
    Source: Cortes & Vapnik 1995, Support-vector networks. optax: `hinge_loss`. scikit-learn: `hinge_loss`. PyTorch:
        `HingeEmbeddingLoss` is another (of distances).

    >>> print(hinge(jnp.array([0.5, 2.0, 0.5]), jnp.array([1, 1, -1])))
    [0.5 0.  1.5]
    """
    weights = None if class_weights is None else checked_weights(class_weights, 2)
    return _of_pairs(lambda scores, labels: _short_of_one(scores, labels, weights), scores, labels, where, signs=True)


def zero_one_hinge(scores: Any, labels: Any, where: Any = None, class_weights: Any = None) -> Array:
    """`hinge` with labels 0 and 1, the form in which it stands beside other binary losses.

    Args:
        scores: float[examples, ...], no unit.
        labels: bool, int or float[examples, ...] of the same shape, 0 or 1.
        where: bool, broadcastable to the labels; False leaves an entry out of its example's mean.
        class_weights: float[2], no unit, at least 0: of labels 0 and 1; may be traced. None: both 1.
    Returns: float[examples] in the type of the scores, computed in float32 at least.
    Raises: ValueError when the shapes differ, concrete labels are outside [0, 1], or the weights are not two of at
        least 0.
    Source: as `hinge`.

    >>> print(zero_one_hinge(jnp.array([0.5, 0.5]), jnp.array([1, 0])))
    [0.5 1.5]
    """
    weights = None if class_weights is None else checked_weights(class_weights, 2)
    return _of_pairs(lambda scores, labels: _short_of_one(scores, 2 * labels - 1, weights), scores, labels, where)


def _short_of_one(scores: Array, labels: Array, weights: Array | None) -> Array:
    short = jax.nn.relu(1 - labels * scores)
    return short if weights is None else short * jnp.where(labels > 0, weights[1], weights[0]).astype(short.dtype)


def _entropy(logits: Array, labels: Array, weights: Array | None = None) -> Array:
    zero = hidden_zero(labels)
    positive, negative = labels * jax.nn.log_sigmoid(logits) + zero, (1 - labels) * jax.nn.log_sigmoid(-logits) + zero
    if weights is not None:
        of = weights.astype(logits.dtype)
        positive, negative = of[1] * positive + zero, of[0] * negative + zero
    return -(positive + negative)


def _of_pairs(
    function: Callable[[Array, Array], Array], given_logits: Any, given_labels: Any, where: Any, signs: bool = False
) -> Array:
    logits, labels = jnp.asarray(given_logits), jnp.asarray(given_labels)
    require(
        logits.shape == labels.shape,
        f"labels must have the shape of the logits, {logits.shape}, got {labels.shape}",
    )
    kept = kept_entries(where, labels.shape)
    if signs:
        require_one_of_two("labels", given_labels, -1, 1, where)
    else:
        require_within("labels", given_labels, 0.0, 1.0, where)
    result = result_type(logits)
    precise, wanted = widened(logits, labels)
    if kept is not None:
        precise, wanted = (jnp.where(kept, each, 0.0) for each in (precise, wanted))
    return per_example(function(precise, wanted) + hidden_zero(wanted), kept).astype(result)
