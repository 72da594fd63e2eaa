"""Metrics of embeddings: whether what lies near belongs together."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from hyperjax.checks import require
from hyperjax.metrics.metric import Metric
from hyperjax.types import Array


def _recall_at_1(embeddings: Any, labels: Any) -> Array:
    """1 where the nearest other example, of those handed over together, has the same label."""
    embeddings, labels = jnp.asarray(embeddings), jnp.asarray(labels)
    fits = embeddings.ndim == 2 and labels.shape == embeddings.shape[:1]
    require(fits, f"targets must be one label for each of the embeddings, {embeddings.shape}, got {labels.shape}")
    vectors = embeddings.astype(jnp.promote_types(embeddings.dtype, jnp.float32))
    vectors = vectors - jnp.mean(vectors, 0)  # the distances below are differences of large numbers otherwise
    lengths = jnp.sum(jnp.square(vectors), 1)
    distances = lengths[:, None] + lengths - 2 * jnp.matmul(vectors, vectors.T, precision="highest")
    nearest = jnp.argmin(jnp.where(np.eye(len(labels), dtype=bool), jnp.inf, distances), 1)
    found: Array = labels[nearest] == labels
    return found.astype(jnp.float32)


recall_at_1 = Metric(_recall_at_1, "max", "recall_at_1")
