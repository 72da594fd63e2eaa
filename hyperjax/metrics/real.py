"""Metrics of real predictions."""

from typing import Any

import jax.numpy as jnp

from hyperjax.metrics.metric import Metric, alike, per_example
from hyperjax.types import Array


def _mean_squared_error(predictions: Any, targets: Any) -> Array:
    return per_example(jnp.square(_difference(predictions, targets)))


def _mean_absolute_error(predictions: Any, targets: Any) -> Array:
    return per_example(jnp.abs(_difference(predictions, targets)))


def _difference(predictions: Any, targets: Any) -> Array:
    predictions, targets = alike(predictions, targets)
    precise = jnp.promote_types(jnp.result_type(predictions, targets, float), jnp.float32)
    difference: Array = predictions.astype(precise) - targets.astype(precise)
    return difference


mean_squared_error = Metric(_mean_squared_error, "min", "mean_squared_error")
mean_absolute_error = Metric(_mean_absolute_error, "min", "mean_absolute_error")
