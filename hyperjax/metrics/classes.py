"""Metrics of logits against classes.

`balanced_accuracy` and `f1` are ratios of sums over the examples handed over together; see `Metric` for what that
means for a large validation set.
"""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.checks import positive_integer, require
from hyperjax.metrics.metric import Metric, alike, per_example
from hyperjax.types import Array


def _accuracy(logits: Any, labels: Any) -> Array:
    logits, classes = _checked(logits, labels)
    return per_example(_most_likely(logits) == classes)


def _binary_accuracy(logits: Any, labels: Any) -> Array:
    logits, labels = alike(logits, labels, "logits")
    return per_example((logits > 0) == (labels > 0.5))


def top_k_accuracy(k: int) -> Metric:
    """The share of labels that are among the `k` largest logits.

    Args:
        k: at least 1; 1 is `accuracy`. A label that ties with the k-th largest counts by its place among equals, the
            first ones first.
    Returns: a metric named `top_<k>_accuracy`: logits [examples, ..., C] against int[examples, ...] or one-hot.
    Raises: ValueError when `k` is not a whole number of at least 1, or (when used) is above the number of classes.

    >>> metric = top_k_accuracy(2)
    >>> metric.name, metric(jnp.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), jnp.array([2, 1])).tolist()
    ('top_2_accuracy', [1.0, 0.0])
    """
    size = positive_integer("k", k)

    def values(logits: Any, labels: Any) -> Array:
        logits, classes = _checked(logits, labels)
        require(size <= logits.shape[-1], f"k must be at most the number of classes, {logits.shape[-1]}, got {size}")
        own = jnp.take_along_axis(logits, classes[..., None], -1)
        earlier = jnp.arange(logits.shape[-1]) < classes[..., None]
        ahead = jnp.sum((logits > own) | ((logits == own) & earlier), -1)
        return per_example(ahead < size)

    return Metric(values, "max", f"top_{size}_accuracy")


def _balanced_accuracy(logits: Any, labels: Any) -> Array:
    """Mean over the classes that occur of the share of their examples that is right."""
    logits, classes = _checked(logits, labels)
    require(classes.ndim == 1, f"targets must be one class an example, got shape {classes.shape}")
    counts = jnp.sum(_indicators(classes, logits.shape[-1]), 0)
    weights = 1 / jnp.maximum(jnp.sum(counts > 0) * counts[classes], 1)
    return len(classes) * weights * (_most_likely(logits) == classes)


def _f1(logits: Any, labels: Any) -> Array:
    """F1 of class 1 for one logit an example; of C logits the mean of all classes that occur or are predicted."""
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if logits.shape == labels.shape:
        given = (logits > 0)[:, None], (labels > 0.5)[:, None]
        require(logits.ndim == 1, f"predictions must be one logit an example, or one a class, got {logits.shape}")
    else:
        logits, classes = _checked(logits, labels)
        require(classes.ndim == 1, f"targets must be one class an example, got shape {classes.shape}")
        given = _indicators(_most_likely(logits), logits.shape[-1]), _indicators(classes, logits.shape[-1])
    predicted, true = (x.astype(jnp.float32) for x in given)
    totals = jnp.sum(predicted, 0) + jnp.sum(true, 0)
    present = jnp.maximum(jnp.sum(totals > 0), 1)
    return len(true) * jnp.sum(2 * predicted * true / (present * jnp.maximum(totals, 1)), 1)


def _checked(given_logits: Any, given_labels: Any) -> tuple[Array, Array]:
    """Logits, and the class of each example, of labels that are integers or one-hot."""
    logits, labels = jnp.asarray(given_logits), jnp.asarray(given_labels)
    classes = jnp.argmax(labels, -1) if labels.ndim == logits.ndim else labels
    require(
        classes.shape == logits.shape[:-1],
        f"targets must be integers of shape {logits.shape[:-1]} or one-hot of shape {logits.shape}, got {labels.shape}",
    )
    return logits, classes


def _most_likely(logits: Array) -> Array:
    # argmax by two plain reductions, which cost a loop on CPU a third of its reduction of pairs.
    places = jnp.arange(logits.shape[-1])
    return jnp.min(jnp.where(logits == jnp.max(logits, -1, keepdims=True), places, logits.shape[-1]), -1)


def _indicators(classes: Array, count: int) -> Array:
    return jax.nn.one_hot(classes, count, dtype=jnp.float32)


accuracy = Metric(_accuracy, "max", "accuracy")
binary_accuracy = Metric(_binary_accuracy, "max", "binary_accuracy")
balanced_accuracy = Metric(_balanced_accuracy, "max", "balanced_accuracy")
f1 = Metric(_f1, "max", "f1")
