"""Losses of logits against classes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import is_concrete, one_number, require
from hyperjax.losses.reduction import (
    checked_weights,
    kept_entries,
    per_example,
    require_within,
    result_type,
    widened,
    with_last_axis,
)
from hyperjax.types import Array, Scalar


def cross_entropy(
    logits: Any, labels: Any, label_smoothing: Scalar = 0.0, class_weights: Any = None, where: Any = None
) -> Array:
    """Softmax cross-entropy with smoothed labels, one value per example.

    `-sum_c w_c q_c log softmax(logits)_c`, `q = (1 - label_smoothing) p + label_smoothing / C`, where `p` is the given
    distribution, or 1 at the integer label. Means over the labels' axes after the first.

    Args:
        logits: float[examples, ..., C], no unit.
        labels: int[examples, ...] in [0, C), or float[examples, ..., C], probabilities (one-hot, say).
        label_smoothing: float[], no unit, in [0, 1); may be traced.
        class_weights: float[C], no unit, at least 0; may be traced. None: all 1. A weighted mean over examples divides
            by the sum of their labels' weights, which PyTorch's `reduction="mean"` does and a plain mean does not.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError on shapes that do not fit, concrete labels out of range, smoothing outside [0, 1).
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7. optax: `softmax_cross_entropy_with_integer_labels`,
        `softmax_cross_entropy` of `smooth_labels`. PyTorch: `CrossEntropyLoss(weight, label_smoothing,
        reduction="none")`.

    >>> print(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])))  # log(4)
    [1.3862944 1.3862944]
    """
    one_number("label_smoothing", label_smoothing, 0.0, 1.0, open_high=True)
    logits, labels, classes, kept = _checked(logits, labels, where)
    (precise,) = widened(logits)
    weights = None if class_weights is None else checked_weights(class_weights, classes).astype(precise.dtype)
    if kept is not None:
        precise = jnp.where(kept[..., None], precise, 0.0)  # what is left out may be infinite
    shifted = precise - jax.lax.stop_gradient(jnp.max(precise, -1, keepdims=True))
    normalizer = jnp.log(jnp.sum(jnp.exp(shifted), -1))
    if labels.ndim == logits.ndim:
        given = labels.astype(shifted.dtype)
        given = given if kept is None else jnp.where(kept[..., None], given, 0.0)
        given = given if weights is None else given * weights
        mass = jnp.sum(given, -1)
        aligned = _products(given, shifted)
    else:
        mass = (
            jnp.ones((), shifted.dtype)
            if weights is None
            else _at_label(jnp.broadcast_to(weights, shifted.shape), labels)
        )
        aligned = mass * _at_label(shifted, labels)
    if is_concrete(label_smoothing) and not isinstance(label_smoothing, jax.Array) and label_smoothing == 0:
        values = mass * normalizer - aligned
    else:
        smoothing = jnp.asarray(label_smoothing, shifted.dtype)
        own = 1 - smoothing
        even = jnp.mean(shifted, -1) if weights is None else _products(weights / classes, shifted)
        # Where a class is impossible this is infinite, and no smoothing of it is nothing.
        even = jnp.where((smoothing == 0) & jnp.isinf(even), 0.0, even)
        spread = 1.0 if weights is None else jnp.mean(weights)
        values = (own * mass + smoothing * spread) * normalizer - own * aligned - smoothing * even
    return per_example(values, kept).astype(result_type(logits))


def focal(logits: Any, labels: Any, gamma: Scalar = 2.0, alpha: Any = None, where: Any = None) -> Array:
    """Cross-entropy that counts examples less, the surer the model is of their label.

    `-sum_c alpha_c p_c (1 - s_c)^gamma log s_c`, `s = softmax(logits)`, where `p` is the given distribution, or 1 at
    the integer label. Means over the labels' axes after the first.

    Args:
        logits: float[examples, ..., C], no unit; -inf for a class that is impossible, if it is not the label.
        labels: int[examples, ...] in [0, C), or float[examples, ..., C], probabilities.
        gamma: float[], no unit, at least 0; 0 is cross-entropy. May be traced.
        alpha: float[C], no unit, weight of each class; None: all 1. May be traced.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError on shapes that do not fit, concrete labels out of range, weights or gamma below 0.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 5, over classes; see `binary_focal` for theirs. optax and
        PyTorch: none.

    >>> print(focal(jnp.zeros((1, 2)), jnp.array([0])))  # (1/2)^2 log 2
    [0.1732868]
    """
    one_number("gamma", gamma, 0.0)
    logits, labels, classes, kept = _checked(logits, labels, where)
    precise, target = _against_shares(logits, labels, kept)
    target = target if alpha is None else target * checked_weights(alpha, classes, "alpha").astype(precise.dtype)
    # Other classes are taken out before the product: of an impossible one the factor 0 would meet infinity.
    log_share = jnp.where(target != 0, jax.nn.log_softmax(precise, -1), 0.0)
    focused = jnp.exp(jnp.asarray(gamma, precise.dtype) * _log_one_less(log_share)) * log_share
    values = -jnp.sum(target * focused, -1)
    return per_example(values, kept).astype(result_type(logits))


def multiclass_hinge(scores: Any, labels: Any, where: Any = None, class_weights: Any = None) -> Array:
    """How far the label's score falls short of leading all others by 1, one value per example.

    `w max(0, 1 + max_{c != label} scores_c - scores_label)`, `w` the weight of the label

    Args:
        scores: float[examples, ..., C], no unit.
        labels: int[examples, ...] in [0, C), or one-hot.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
        class_weights: float[C], no unit, at least 0; may be traced. None: all 1.
    Returns: float[examples] in the type of the scores, computed in float32 at least.
    Raises: ValueError on shapes that do not fit, concrete labels out of range or weights below 0.
    Source: Crammer & Singer 2001, JMLR 2:265. optax: `multiclass_hinge_loss`. scikit-learn: `hinge_loss` of several
        classes. PyTorch's `MultiMarginLoss` is another: it averages over all classes that are too near.

    >>> print(multiclass_hinge(jnp.array([[2.0, 1.5, 0.0]]), jnp.array([0])))
    [0.5]
    """
    scores, labels, classes, kept = _checked(scores, labels, where)
    precise, target = _against_shares(scores, labels, kept)
    values = jnp.max(precise + 1 - target, -1) - _products(target, precise)
    if class_weights is not None:
        values = values * jnp.sum(target * checked_weights(class_weights, classes).astype(precise.dtype), -1)
    return per_example(values, kept).astype(result_type(scores))


def one_hot_squared_error(logits: Any, labels: Any, where: Any = None) -> Array:
    """Squared distance of logits to the one-hot label, averaged over classes, one value per example.

    `mean_c (logits_c - [c = label])^2`

    Args:
        logits: float[examples, ..., C], no unit.
        labels: int[examples, ...] in [0, C), or float[examples, ..., C], probabilities.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError on shapes that do not fit or concrete labels out of range.
    Source: Hui & Belkin 2021, arXiv:2006.07322, without their rescaling. optax: `squared_error` of `one_hot` labels.
        PyTorch: `MSELoss(reduction="none")` of `one_hot` labels.

    >>> print(one_hot_squared_error(jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([0, 1])))
    [0. 1.]
    """
    logits, labels, classes, kept = _checked(logits, labels, where)
    (precise,) = widened(logits)
    target = labels if labels.ndim == logits.ndim else _is_label(labels, classes)
    error = precise - target.astype(precise.dtype)
    if kept is not None:
        error = jnp.where(kept[..., None], error, 0.0)
    return per_example(jnp.mean(error**2, -1), kept).astype(result_type(logits))


def _against_shares(logits: Array, labels: Array, kept: Array | None) -> tuple[Array, Array]:
    """Logits, and the distribution that their labels are, in one float type; 0 in both where left out."""
    (precise,) = widened(logits)
    shares = labels if labels.ndim == logits.ndim else _is_label(labels, logits.shape[-1])
    shares = shares.astype(precise.dtype)
    if kept is None:
        return precise, shares
    return jnp.where(kept[..., None], precise, 0.0), jnp.where(kept[..., None], shares, 0.0)


def _products(weights: Array, values: Array) -> Array:
    """Sum of products over the last axis, where a weight of 0 makes nothing of an infinite value."""
    return jnp.sum(jnp.where(weights != 0, weights * jnp.where(weights != 0, values, 0.0), 0.0), -1)


def _log_one_less(log_share: Array) -> Array:
    """`log(1 - exp(x))` for x at most 0; at 0 a number so low that its exponential is 0, with derivative 0."""
    sure = log_share >= 0
    x = jnp.where(sure, -1.0, log_share)
    near = x > -np.log(2.0)
    result = jnp.where(
        near, jnp.log(-jnp.expm1(jnp.where(near, x, -1.0))), jnp.log1p(-jnp.exp(jnp.where(near, -1.0, x)))
    )
    return jnp.where(sure, -1e9, result)


def _is_label(labels: Array, classes: int) -> Array:
    return labels[..., None] == np.arange(classes, dtype=np.int32)


@jax.custom_jvp
def _at_label(values: Array, labels: Array) -> Array:
    """`values[..., label]`, 0 where the label is out of range, which a traced label cannot be refused for."""
    classes = values.shape[-1]
    index = jnp.where((labels < 0) | (labels >= classes), classes, labels)  # a negative one would count from the end
    return jnp.take_along_axis(values, index[..., None], -1, mode="fill", fill_value=0)[..., 0]


@_at_label.defjvp
def _at_label_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    """The same number by a masked sum: the transpose of a gather is a scatter, in loops on CPU half as fast."""
    (values, labels), (moved, _) = primals, tangents
    return _at_label(values, labels), jnp.sum(jnp.where(_is_label(labels, values.shape[-1]), moved, 0.0), -1)


def _checked(given_logits: Any, given_labels: Any, where: Any) -> tuple[Array, Array, int, Array | None]:
    """Logits, labels that fit them, the number of classes, and which positions are kept."""
    logits, labels = jnp.asarray(given_logits), jnp.asarray(given_labels)
    require(logits.ndim >= 1, f"logits must have classes as their last axis, got shape {logits.shape}")
    whole = jnp.issubdtype(labels.dtype, jnp.integer)
    fits = labels.shape == logits.shape or (whole and labels.shape == logits.shape[:-1])
    require(
        fits,
        f"labels must be integers of shape {logits.shape[:-1]} or probabilities of shape {logits.shape} "
        f"for logits of that shape, got {labels.dtype} of shape {labels.shape}",
    )
    classes = int(logits.shape[-1])
    kept = kept_entries(where, logits.shape[:-1])
    if labels.ndim == logits.ndim:
        require_within("labels", given_labels, 0.0, 1.0, with_last_axis(where))
    elif is_concrete(given_labels) and labels.size:
        known = np.asarray(given_labels)  # not the JAX array: inside a jit that is traced even when known
        low, high = int(known.min()), int(known.max())
        require(low >= 0 and high < classes, f"labels must be in [0, {classes}), got values from {low} to {high}")
    return logits, labels, classes, kept
