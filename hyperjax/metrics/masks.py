"""Metrics of predicted masks: how much of them and of the true ones overlaps, for each example by itself."""

from typing import Any

import jax.numpy as jnp

from hyperjax.metrics.metric import Metric, alike
from hyperjax.types import Array


def _iou(logits: Any, masks: Any) -> Array:
    """Intersection over union (the Jaccard index) of `logits > 0` and the mask; 1 where both are empty."""
    both, either, _ = _counts(logits, masks)
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0)


def _dice(logits: Any, masks: Any) -> Array:
    """Twice the intersection over the sum of sizes of `logits > 0` and the mask; 1 where both are empty."""
    both, _, sizes = _counts(logits, masks)
    return jnp.where(sizes > 0, 2 * both / jnp.maximum(sizes, 1), 1.0)


def _counts(logits: Any, masks: Any) -> tuple[Array, Array, Array]:
    """Entries in both masks, in either, and in the one plus in the other."""
    logits, masks = alike(logits, masks, "logits")
    predicted, true = logits > 0, masks > 0.5
    axes = tuple(range(1, logits.ndim))
    both, sizes = jnp.sum(predicted & true, axes), jnp.sum(predicted, axes) + jnp.sum(true, axes)
    return both.astype(jnp.float32), (sizes - both).astype(jnp.float32), sizes.astype(jnp.float32)


iou = Metric(_iou, "max", "iou")
dice = Metric(_dice, "max", "dice")
