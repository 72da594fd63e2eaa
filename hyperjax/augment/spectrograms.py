"""Augmentation of sound as spectrograms, float[examples, time, frequency]."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment.examples import each, number
from hyperjax.types import Array, Scalar

_AXES = "examples, time, frequency"


def time_mask(key: Array, spectrograms: Any, strength: Scalar) -> Array:
    """Set a random run of consecutive frames to 0, over all frequencies.

    The run's width is uniform over `0, 1, ..., floor(s time)`, and its first frame uniform over those where it fits.

    Args:
        key: one typed key, of any implementation.
        spectrograms: float[examples, time, frequency]; 0 should be their mean, as after standardisation.
        strength: s, float[] in [0, 1], the greatest width as a part of the frames; may be traced. Its derivative is 0,
            since a border that moves is a step.
    Returns: as `spectrograms`; at 0, `spectrograms` bit for bit. For two runs, call it twice with two keys.
    Raises: ValueError on a strength out of range, or spectrograms that are not floats of three axes.
    Source: Park et al. 2019, SpecAugment, arXiv:1904.08779, section 2, item 3, where T is s time and p is s.

    >>> from hyperjax import random
    >>> masked = time_mask(random.key(0), jnp.ones((9, 10, 2)), 0.3)
    >>> sorted(set((masked == 0)[:, :, 0].sum(1).tolist()))  # widths
    [0, 1, 2, 3]
    """
    number("strength of time_mask", strength, 1.0)
    return each(_MASKED[0], key, spectrograms, strength, name="spectrograms", axes=_AXES)


def frequency_mask(key: Array, spectrograms: Any, strength: Scalar) -> Array:
    """Set a random run of neighbouring frequencies to 0, over all frames.

    The run's width is uniform over `0, 1, ..., floor(s frequency)`, and its first channel uniform over those where it
    fits.

    Args:
        key: one typed key, of any implementation.
        spectrograms: float[examples, time, frequency]; 0 should be their mean, as after standardisation.
        strength: s, float[] in [0, 1], the greatest width as a part of the channels; may be traced. Its derivative is
            0, since a border that moves is a step.
    Returns: as `spectrograms`; at 0, `spectrograms` bit for bit. For two runs, call it twice with two keys.
    Raises: ValueError on a strength out of range, or spectrograms that are not floats of three axes.
    Source: Park et al. 2019, SpecAugment, arXiv:1904.08779, section 2, item 2, where F is s frequency.

    >>> from hyperjax import random
    >>> masked = frequency_mask(random.key(0), jnp.ones((9, 2, 10)), 0.3)
    >>> sorted(set((masked == 0)[:, 0].sum(1).tolist()))  # widths
    [0, 1, 2, 3]
    """
    number("strength of frequency_mask", strength, 1.0)
    return each(_MASKED[1], key, spectrograms, strength, name="spectrograms", axes=_AXES)


TABLE: Mapping[str, Callable[..., Array]] = MappingProxyType({"time_mask": time_mask, "frequency_mask": frequency_mask})


def _masked(axis: int, key: Array, picture: Array, s: Array) -> Array:
    size = picture.shape[axis]
    u = jax.random.uniform(key, (2,), jnp.float32)
    # In float32 whatever the input, where 0.29 * 100 is 29: every type then masks the same frames.
    widest = jnp.floor(s.astype(jnp.float32) * size)
    # A product just below a whole number may round up to it.
    width = jnp.minimum(jnp.floor(u[0] * (widest + 1)), widest)
    first = jnp.minimum(jnp.floor(u[1] * (size - width + 1)), size - width)
    place = jnp.arange(size)
    inside = (place >= first) & (place < first + width)
    return jnp.where(jnp.expand_dims(inside, 1 - axis), 0.0, picture)


_MASKED = functools.partial(_masked, 0), functools.partial(_masked, 1)
