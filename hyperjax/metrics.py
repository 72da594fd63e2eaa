"""Metrics: what a run is judged by, one value per example, each with the direction that is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from hyperjax.checks import one_of, require
from hyperjax.types import Array

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Metric:
    """A function `(predictions, targets) -> one value per example` that says which direction is better.

    Args:
        function: `(predictions, targets) -> float[examples]`.
        direction: "max" when larger is better, "min" when smaller is.
        name: what tables and figures call it.

    >>> accuracy.direction, accuracy.name
    ('max', 'accuracy')
    """

    function: Callable[[Any, Any], Array]
    direction: Direction
    name: str

    def __post_init__(self) -> None:
        require(callable(self.function), f"function of metric {self.name!r} must be callable, got {self.function!r}")
        one_of("direction", self.direction, ("max", "min"))

    def __call__(self, predictions: Any, targets: Any) -> Array:
        return self.function(predictions, targets)

    def __repr__(self) -> str:
        return f"Metric({self.name!r}, direction={self.direction!r})"

    def better(self, value: float, other: float) -> bool:
        """True when `value` is strictly better than `other`; a value that is not a number is never better.

        >>> accuracy.better(0.9, 0.8), accuracy.better(0.9, float("nan")), accuracy.better(float("nan"), 0.1)
        (True, True, False)
        """
        if value != value:
            return False
        return other != other or (value > other if self.direction == "max" else value < other)


def as_metric(name: str, function: Callable[[Any, Any], Any], direction: Direction | None = None) -> Metric:
    """A metric from a plain function, under the name that the user gave it.

    Args:
        name: what tables and figures call it.
        function: `(predictions, targets) -> float[examples]`, or a `Metric`.
        direction: "max" or "min"; by default the function's own attribute `direction`, and "max" without one.
    Returns: a `Metric`.
    Raises: ValueError when the function cannot be called or the direction is neither.

    >>> as_metric("top", lambda predictions, targets: predictions[:, 0])
    Metric('top', direction='max')
    >>> as_metric("error", mean_absolute_error)
    Metric('error', direction='min')
    """
    chosen: Any = direction if direction is not None else getattr(function, "direction", "max")
    inner = function.function if isinstance(function, Metric) else function
    return Metric(inner, chosen, name)


def _accuracy(logits: Any, labels: Any) -> Array:
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    classes = jnp.argmax(labels, -1) if labels.ndim == logits.ndim else labels
    require(
        classes.shape == logits.shape[:-1],
        f"targets must be integers of shape {logits.shape[:-1]} or one-hot of shape {logits.shape}, got {labels.shape}",
    )
    # argmax by two plain reductions, which cost a loop on CPU a third of its reduction of pairs.
    places = jnp.arange(logits.shape[-1])
    best = jnp.min(jnp.where(logits == jnp.max(logits, -1, keepdims=True), places, logits.shape[-1]), -1)
    return _per_example(best == classes)


def _mean_squared_error(predictions: Any, targets: Any) -> Array:
    return _per_example(jnp.square(_difference(predictions, targets)))


def _mean_absolute_error(predictions: Any, targets: Any) -> Array:
    return _per_example(jnp.abs(_difference(predictions, targets)))


def _difference(predictions: Any, targets: Any) -> Array:
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    require(
        predictions.shape == targets.shape,
        f"targets must have the shape of the predictions, {predictions.shape}, got {targets.shape}",
    )
    precise = jnp.promote_types(jnp.result_type(predictions, targets, float), jnp.float32)
    difference: Array = predictions.astype(precise) - targets.astype(precise)
    return difference


def _per_example(values: Array) -> Array:
    # Metrics are kept apart from the weights' type: a share of correct answers in bfloat16 would have three digits.
    precise = jnp.promote_types(jnp.result_type(values, float), jnp.float32)
    return jnp.mean(values.astype(precise), axis=tuple(range(1, values.ndim)))


def _binary_accuracy(logits: Any, labels: Any) -> Array:
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    require(
        logits.shape == labels.shape, f"targets must have the shape of the logits, {logits.shape}, got {labels.shape}"
    )
    return _per_example((logits > 0) == (labels > 0.5))


accuracy = Metric(_accuracy, "max", "accuracy")
binary_accuracy = Metric(_binary_accuracy, "max", "binary_accuracy")
mean_squared_error = Metric(_mean_squared_error, "min", "mean_squared_error")
mean_absolute_error = Metric(_mean_absolute_error, "min", "mean_absolute_error")
