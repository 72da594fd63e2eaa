"""Losses of logits against classes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import is_concrete, require, within
from hyperjax.losses.reduction import per_example, widened
from hyperjax.types import Array, Scalar


def cross_entropy(logits: Any, labels: Any, label_smoothing: Scalar = 0.0, where: Any = None) -> Array:
    """Softmax cross-entropy with smoothed labels, one value per example.

    `-sum_c q_c log softmax(logits)_c`, `q = (1 - label_smoothing) p + label_smoothing / C`, where `p` is the given
    distribution, or 1 at the integer label. Means over the labels' axes after the first.

    Args:
        logits: float[examples, ..., C], no unit.
        labels: int[examples, ...] in [0, C), or float[examples, ..., C], probabilities (one-hot, say).
        label_smoothing: float[], no unit, in [0, 1); may be traced.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError on shapes that do not fit, concrete integer labels out of range, smoothing outside [0, 1).
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7. optax: `softmax_cross_entropy_with_integer_labels`,
        `softmax_cross_entropy` of `smooth_labels`. PyTorch: `CrossEntropyLoss(label_smoothing, reduction="none")`.

    >>> print(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])))  # log(4)
    [1.3862944 1.3862944]
    """
    within("label_smoothing", label_smoothing, 0.0, 1.0)
    if is_concrete(label_smoothing):
        require(label_smoothing < 1, f"label_smoothing must be below 1, got {label_smoothing}")
    logits, labels, classes = _checked(logits, labels)
    (precise,) = widened(logits)
    if where is not None:
        where = jnp.asarray(where)
        precise = jnp.where(where[..., None], precise, 0.0)  # what is left out may be infinite
    shifted = precise - jax.lax.stop_gradient(jnp.max(precise, -1, keepdims=True))
    normalizer = jnp.log(jnp.sum(jnp.exp(shifted), -1))
    if labels.ndim == logits.ndim:
        given = labels.astype(shifted.dtype)
        given = given if where is None else jnp.where(where[..., None], given, 0.0)
        mass = jnp.sum(given, -1)
        aligned = jnp.sum(jnp.where(given != 0, given * shifted, 0.0), -1)  # 0 log 0 is 0
    else:
        mass = jnp.ones((), shifted.dtype)
        # A masked sum: inside a loop on CPU a gather and its scatter take twice as long.
        aligned = jnp.sum(jnp.where(_is_label(labels, classes), shifted, 0.0), -1)
    if is_concrete(label_smoothing) and not isinstance(label_smoothing, jax.Array) and label_smoothing == 0:
        values = mass * normalizer - aligned
    else:
        smoothing = jnp.asarray(label_smoothing, shifted.dtype)
        kept = 1 - smoothing
        values = (kept * mass + smoothing) * normalizer - kept * aligned - smoothing * jnp.mean(shifted, -1)
    return per_example(values, where).astype(logits.dtype)


def one_hot_squared_error(logits: Any, labels: Any, where: Any = None) -> Array:
    """Squared distance of logits to the one-hot label, averaged over classes, one value per example.

    `mean_c (logits_c - [c = label])^2`

    Args:
        logits: float[examples, ..., C], no unit.
        labels: int[examples, ...] in [0, C), or float[examples, ..., C], probabilities.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError on shapes that do not fit or concrete integer labels out of range.
    Source: Hui & Belkin 2021, arXiv:2006.07322, without their rescaling. optax: `squared_error` of `one_hot` labels.
        PyTorch: `MSELoss(reduction="none")` of `one_hot` labels.

    >>> print(one_hot_squared_error(jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([0, 1])))
    [0. 1.]
    """
    logits, labels, classes = _checked(logits, labels)
    (precise,) = widened(logits)
    target = labels if labels.ndim == logits.ndim else _is_label(labels, classes)
    error = precise - target.astype(precise.dtype)
    if where is not None:
        where = jnp.asarray(where)
        error = jnp.where(where[..., None], error, 0.0)
    return per_example(jnp.mean(error**2, -1), where).astype(logits.dtype)


def _is_label(labels: Array, classes: int) -> Array:
    return labels[..., None] == np.arange(classes, dtype=np.int32)


def _checked(given_logits: Any, given_labels: Any) -> tuple[Array, Array, int]:
    """Logits, labels that fit them, and the number of classes."""
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
    if whole and labels.ndim < logits.ndim and is_concrete(given_labels) and labels.size:
        known = np.asarray(given_labels)  # not the JAX array: inside a jit that is traced even when known
        low, high = int(known.min()), int(known.max())
        require(low >= 0 and high < classes, f"labels must be in [0, {classes}), got values from {low} to {high}")
    return logits, labels, classes
