"""Measures of made examples against the places where the real ones are."""

from typing import Any

import jax.numpy as jnp

from hyperjax.checks import require, within
from hyperjax.types import Array, Scalar


def modes_counted(samples: Any, modes: Any, radius: Scalar, share: Scalar = 0.0) -> Array:
    """How many modes the made examples reach.

    Args:
        samples: float[samples, D].
        modes: float[modes, D], the centres.
        radius: float[], in the samples' unit, above 0: a sample belongs to the nearest mode if it is no farther from
            it; three standard deviations are customary.
        share: float[], no unit, in [0, 1]: a mode counts when more than this share of all samples belongs to it; 0:
            when any does.
    Returns: f32[], from 0 to the number of modes.
    Raises: ValueError on shapes that do not fit or a number out of its range.
    Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, for the rule of three deviations.

    >>> modes = jnp.array([[0.0, 0.0], [1.0, 0.0]])
    >>> float(modes_counted(jnp.array([[0.1, 0.0], [0.5, 0.5]]), modes, radius=0.3))
    1.0
    """
    within("radius", radius, 0.0, open_low=True)
    within("share", share, 0.0, 1.0)
    made, centres = jnp.asarray(samples), jnp.asarray(modes)
    fits = made.ndim == centres.ndim == 2 and made.shape[1] == centres.shape[1]
    require(fits, f"modes must be of shape [modes, D] for samples [samples, D], {made.shape}, got {centres.shape}")
    squares = jnp.sum(jnp.square(made[:, None] - centres[None]), -1)
    nearest = jnp.arange(len(centres)) == jnp.argmin(squares, 1)[:, None]
    belongs = nearest & (squares <= jnp.square(radius))
    return jnp.sum(jnp.mean(belongs, 0, dtype=jnp.float32) > share).astype(jnp.float32)


def energy_distance(samples: Any, others: Any) -> Array:
    """How far made examples and given ones are from having one distribution.

    `2 mean |x - y| - mean |x - x'| - mean |y - y'|` over all pairs, of an example with itself too, so that it is at
    least 0, and 0 for equal sets.

    Args:
        samples, others: float[samples, D] and float[others, D].
    Returns: f32[], in their unit.
    Raises: ValueError on shapes that do not fit.
    Source: Szekely & Rizzo 2013, Energy statistics: a class of statistics based on distances, J. Stat. Plan. Inference
        143:1249. scipy: the square of its `energy_distance`, which is for one axis.

    >>> round(float(energy_distance(jnp.zeros((3, 2)), jnp.array([[3.0, 4.0]]))), 4)  # 2 * 5
    10.0
    """
    x, y = jnp.asarray(samples), jnp.asarray(others)
    fits = x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1]
    require(fits, f"others must be of shape [others, D] for samples [samples, D], {x.shape}, got {y.shape}")
    return 2 * _mean_distance(x, y) - _mean_distance(x, x) - _mean_distance(y, y)


def _mean_distance(x: Array, y: Array) -> Array:
    a, b = (v.astype(jnp.promote_types(v.dtype, jnp.float32)) for v in (x, y))
    squares = jnp.sum(jnp.square(a), 1)[:, None] + jnp.sum(jnp.square(b), 1)
    squares = squares - 2 * jnp.matmul(a, b.T, precision="highest")
    return jnp.mean(jnp.sqrt(jnp.maximum(squares, 0.0)))
