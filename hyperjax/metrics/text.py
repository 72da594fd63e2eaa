"""Metrics of models of text."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import require
from hyperjax.metrics.metric import Metric, per_example
from hyperjax.types import Array


def _bits_per_character(logits: Any, characters: Any) -> Array:
    """Mean of `-log2 softmax(logits)` at the character that came, over an example's places."""
    logits, characters = jnp.asarray(logits), jnp.asarray(characters)
    require(
        characters.shape == logits.shape[:-1],
        f"targets must be integers of shape {logits.shape[:-1]}, got {characters.shape}",
    )
    shares = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), -1)
    own = jnp.take_along_axis(shares, characters[..., None], -1)[..., 0]
    return per_example(-own / np.log(2.0).astype(own.dtype))


bits_per_character = Metric(_bits_per_character, "min", "bits_per_character")
