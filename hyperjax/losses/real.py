"""Losses of real numbers against real numbers."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.checks import require
from hyperjax.losses.reduction import per_example, widened
from hyperjax.types import Array


def squared_error(predictions: Any, targets: Any, where: Any = None) -> Array:
    """Squared difference, averaged over the axes after the first, one value per example.

    `mean (predictions - targets)^2`

    Args:
        predictions: float[examples, ...], in the targets' unit.
        targets: float[examples, ...] of the same shape.
        where: bool, broadcastable to the targets; False leaves an entry out of its example's mean.
    Returns: float[examples] in the type of the predictions, computed in float32 at least.
    Raises: ValueError when the shapes differ.
    Source: Gauss 1809. optax: `squared_error` (`l2_loss` is half of it). PyTorch: `MSELoss(reduction="none")`.

    >>> print(squared_error(jnp.array([1.0, 3.0]), jnp.array([0.0, 5.0])))
    [1. 4.]
    """
    return _of_difference(jnp.square, predictions, targets, where)


def absolute_error(predictions: Any, targets: Any, where: Any = None) -> Array:
    """Absolute difference, averaged over the axes after the first, one value per example.

    `mean |predictions - targets|`; its derivative at 0 is 0.

    Args:
        predictions: float[examples, ...], in the targets' unit.
        targets: float[examples, ...] of the same shape.
        where: bool, broadcastable to the targets; False leaves an entry out of its example's mean.
    Returns: float[examples] in the type of the predictions, computed in float32 at least.
    Raises: ValueError when the shapes differ.
    Source: Laplace 1774. optax: none (`huber_loss` with a small delta). PyTorch: `L1Loss(reduction="none")`.

    >>> print(absolute_error(jnp.array([1.0, 3.0]), jnp.array([0.0, 5.0])))
    [1. 2.]
    """
    return _of_difference(_absolute, predictions, targets, where)


def _absolute(difference: Array) -> Array:
    return difference * jnp.sign(jax.lax.stop_gradient(difference))  # the derivative of jnp.abs at 0 is 1


def _of_difference(function: Any, predictions: Any, targets: Any, where: Any) -> Array:
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    require(
        predictions.shape == targets.shape,
        f"targets must have the shape of the predictions, {predictions.shape}, got {targets.shape}",
    )
    result = predictions.dtype if jnp.issubdtype(predictions.dtype, jnp.floating) else jnp.result_type(float)
    precise, wanted = widened(predictions, targets)
    difference = precise - wanted
    if where is not None:
        where = jnp.asarray(where)
        difference = jnp.where(where, difference, 0.0)  # what is left out may be missing, hence not a number
    return per_example(function(difference), where).astype(result)
