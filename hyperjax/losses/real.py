"""Losses of real numbers against real numbers."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.checks import one_number, require
from hyperjax.losses.reduction import kept_entries, per_example, result_type, widened
from hyperjax.types import Array, Scalar


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


def huber(predictions: Any, targets: Any, delta: Scalar = 1.0, where: Any = None) -> Array:
    """Half the square of small differences, and a straight line beyond `delta`, one value per example.

    `mean e^2 / 2` where `|e| <= delta`, `delta (|e| - delta / 2)` elsewhere, `e = predictions - targets`.

    Args:
        predictions: float[examples, ...], in the targets' unit.
        targets: float[examples, ...] of the same shape.
        delta: float[], in the targets' unit, above 0; may be traced.
        where: bool, broadcastable to the targets; False leaves an entry out of its example's mean.
    Returns: float[examples] in the type of the predictions, computed in float32 at least.
    Raises: ValueError when the shapes differ or delta is not positive.
    Source: Huber 1964, Robust estimation of a location parameter. optax: `huber_loss`. PyTorch: `HuberLoss(delta,
        reduction="none")`; its `SmoothL1Loss(beta)` is this divided by beta.

    >>> print(huber(jnp.array([0.5, 3.0]), jnp.zeros(2)))
    [0.125 2.5  ]
    """
    one_number("delta", delta, 0.0, open_low=True)

    def values(difference: Array) -> Array:
        bound = jnp.asarray(delta, difference.dtype)
        size = _absolute(difference)
        near = size <= bound
        return jnp.where(near, 0.5 * jnp.square(jnp.where(near, difference, 0.0)), bound * (size - 0.5 * bound))

    return _of_difference(values, predictions, targets, where)


def log_cosh(predictions: Any, targets: Any, where: Any = None) -> Array:
    """Logarithm of the hyperbolic cosine of the difference: half its square when small, its size less log 2 when large.

    `mean log cosh(predictions - targets)`

    Args:
        predictions: float[examples, ...], in the targets' unit.
        targets: float[examples, ...] of the same shape.
        where: bool, broadcastable to the targets; False leaves an entry out of its example's mean.
    Returns: float[examples] in the type of the predictions, computed in float32 at least.
    Raises: ValueError when the shapes differ.
    Source: Green 1990, IEEE Trans. Med. Imaging 9:84. optax: `log_cosh`. PyTorch: none.

    >>> print(log_cosh(jnp.array([0.0, 100.0]), jnp.zeros(2)))
    [ 0.       99.306854]
    """

    def values(difference: Array) -> Array:
        size = _absolute(difference)
        return size + jnp.log1p(jnp.exp(-2 * size)) - jnp.log(2.0).astype(size.dtype)

    return _of_difference(values, predictions, targets, where)


def quantile(predictions: Any, targets: Any, level: Scalar = 0.5, where: Any = None) -> Array:
    """The tilted absolute difference, least when a share `level` of the targets lies below the prediction.

    `mean max(level e, (level - 1) e)`, `e = targets - predictions`

    Args:
        predictions: float[examples, ...], in the targets' unit.
        targets: float[examples, ...] of the same shape.
        level: float[], no unit, in [0, 1]; may be traced. 0.5 is half of `absolute_error`.
        where: bool, broadcastable to the targets; False leaves an entry out of its example's mean.
    Returns: float[examples] in the type of the predictions, computed in float32 at least.
    Raises: ValueError when the shapes differ or the level is out of range.
    Source: Koenker & Bassett 1978, Regression quantiles. scikit-learn: `mean_pinball_loss`. PyTorch: none.

    >>> print(quantile(jnp.zeros(2), jnp.array([1.0, -1.0]), level=0.75))
    [0.75 0.25]
    """
    one_number("level", level, 0.0, 1.0)

    def values(difference: Array) -> Array:
        share = jnp.asarray(level, difference.dtype)
        return jnp.where(difference > 0, (1 - share) * difference, -share * difference)

    return _of_difference(values, predictions, targets, where)


def _absolute(difference: Array) -> Array:
    return difference * jnp.sign(jax.lax.stop_gradient(difference))  # the derivative of jnp.abs at 0 is 1


def _of_difference(function: Any, predictions: Any, targets: Any, where: Any) -> Array:
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    require(
        predictions.shape == targets.shape,
        f"targets must have the shape of the predictions, {predictions.shape}, got {targets.shape}",
    )
    result = result_type(predictions)
    precise, wanted = widened(predictions, targets)
    difference = precise - wanted
    kept = kept_entries(where, predictions.shape)
    if kept is not None:
        difference = jnp.where(kept, difference, 0.0)  # what is left out may be missing, hence not a number
    return per_example(function(difference), kept).astype(result)
