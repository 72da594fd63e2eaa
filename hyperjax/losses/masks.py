"""Losses of a whole mask, by its overlap with the predicted one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import one_number, require
from hyperjax.losses.reduction import hidden_zero, kept_entries, require_within, result_type, widened
from hyperjax.types import Array, Scalar


def dice(logits: Any, masks: Any, smooth: Scalar = 1.0, where: Any = None) -> Array:
    """What a predicted mask and the true one lack to be the same, as a share of both, one value per example.

    `1 - (2 sum p m + smooth) / (sum p + sum m + smooth)`, `p = sigmoid(logits)`, `m = masks`, sums over the axes after
    the first.

    Args:
        logits: float[examples, ...], no unit; one mask an example (of several classes, map over their axis).
        masks: bool, int or float[examples, ...] of the same shape, in [0, 1].
        smooth: float[], in entries of the mask, at least 0; may be traced. Above 0, an empty mask makes small
            predictions better than large ones; at 0 it gives 1 whatever is predicted, or 0 once every probability has
            vanished, with gradient 0 in both cases.
        where: bool, broadcastable to the masks; False leaves an entry out of its example's sums. An example without
            any gives 0.
    Returns: float[examples] in the type of the logits, computed in float32 at least. It is computed from what is
        missed, `sum p (1 - m) + sum (1 - p) m`, over the same denominator, so that a loss near 0 keeps its digits.
    Raises: ValueError when the shapes differ, concrete masks are outside [0, 1] or `smooth` is negative.
    Source: Milletari, Navab & Ahmadi 2016, arXiv:1606.04797, section 3, with the sums of p and m not squared and with
        `smooth` added. optax: `dice_loss`, with half this `smooth`. PyTorch: none. MONAI:
        `DiceLoss(sigmoid=True)`, with its `smooth_nr` and `smooth_dr` both `smooth`.

    >>> logits = jnp.array([[1e3, 1e3, -1e3, -1e3]])  # two entries predicted, one of them right
    >>> print(dice(logits, jnp.array([[1, 0, 0, 0]])))  # 1 - (2 + 1) / (2 + 1 + 1)
    [0.25]
    """
    one_number("smooth", smooth, 0.0)
    return _missed_share(logits, masks, 0.5, 0.5, 0.5 * jnp.asarray(smooth, float), where)


def tversky(
    logits: Any,
    masks: Any,
    alpha: Scalar = 0.5,
    beta: Scalar | None = None,
    smooth: Scalar = 1.0,
    where: Any = None,
) -> Array:
    """`dice` that says what is worse: to predict too much of a mask, or too little.

    `1 - (T + smooth) / (T + alpha F + beta M + smooth)`, with the sums, over the axes after the first, of what is
    right, `T = sum p m`, of what is too much, `F = sum p (1 - m)`, and of what is missing, `M = sum (1 - p) m`.

    Args:
        logits: float[examples, ...], no unit.
        masks: bool, int or float[examples, ...] of the same shape, in [0, 1].
        alpha: float[], no unit, at least 0: weight of what is too much. May be traced.
        beta: float[], no unit, at least 0: weight of what is missing. May be traced. None: `1 - alpha`, so that alpha
            alone (then in [0, 1]) trades one against the other, as it does when a recipe names this loss. Halves give
            `dice` with twice the `smooth`; two ones give one less the Jaccard index, also called IoU.
        smooth: float[], in entries of the mask, at least 0; may be traced. See `dice`.
        where: bool, broadcastable to the masks; False leaves an entry out of its example's sums. An example without
            any gives 0.
    Returns: float[examples] in the type of the logits, computed in float32 at least.
    Raises: ValueError when the shapes differ, concrete masks are outside [0, 1] or a number is out of range.
    Source: Salehi, Erdogmus & Gholipour 2017, arXiv:1706.05721, equation 3, with `smooth` added. optax:
        `dice_loss(alpha=, beta=)`. PyTorch: none. MONAI: `TverskyLoss(sigmoid=True)`, likewise.

    >>> logits = jnp.array([[1e3, 1e3, -1e3, -1e3]])  # one entry too much
    >>> print(tversky(logits, jnp.array([[1, 0, 0, 0]]), alpha=0.5, smooth=0.0))  # 0.5 / (1 + 0.5)
    [0.33333334]
    """
    one_number("alpha", alpha, 0.0)
    if beta is None:
        one_number("alpha", alpha, 0.0, 1.0)
    else:
        one_number("beta", beta, 0.0)
    one_number("smooth", smooth, 0.0)
    return _missed_share(logits, masks, alpha, 1 - jnp.asarray(alpha, float) if beta is None else beta, smooth, where)


def _missed_share(
    given_logits: Any, given_masks: Any, alpha: Scalar, beta: Scalar, smooth: Scalar, where: Any
) -> Array:
    """`(alpha F + beta M) / (T + alpha F + beta M + smooth)`."""
    logits, masks = jnp.asarray(given_logits), jnp.asarray(given_masks)
    require(logits.shape == masks.shape, f"masks must have the shape of the logits, {logits.shape}, got {masks.shape}")
    kept = kept_entries(where, masks.shape)
    require_within("masks", given_masks, 0.0, 1.0, where)
    precise, wanted = widened(logits, masks)
    if kept is not None:
        precise, wanted = (jnp.where(kept, each, 0.0) for each in (precise, wanted))
    inside, outside, zero = jax.nn.sigmoid(precise), jax.nn.sigmoid(-precise), hidden_zero(wanted)
    weights = (1.0, alpha, beta)
    products = (inside * wanted, inside * (1 - wanted), outside * wanted)
    right, too_much, missing = (
        jnp.asarray(weight, precise.dtype) * _total(product + zero, kept) + zero
        for weight, product in zip(weights, products, strict=True)
    )
    missed = too_much + missing
    return _share(missed, right + missed + jnp.asarray(smooth, precise.dtype)).astype(result_type(logits))


def _total(values: Array, kept: Array | None) -> Array:
    return jnp.sum(values if kept is None else jnp.where(kept, values, 0.0), tuple(range(1, values.ndim)))


def _share(part: Array, whole: Array) -> Array:
    """`part / whole`, 0 where there is nothing.

    The derivative of a quotient holds the square of what it divides by, which for an empty mask and small predictions
    is too small to be written down. Both are first made of order 1 by a factor that the derivative takes as given.
    """
    some = whole >= np.finfo(whole.dtype).tiny
    factor = jax.lax.stop_gradient(1 / jnp.where(some, whole, 1.0))
    return jnp.where(some, part * factor / jnp.where(some, whole * factor, 1.0), 0.0)
