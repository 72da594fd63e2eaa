"""Spoil part of what a picture shows: noise on every pixel, or a square of nothing."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment.examples import each, number
from hyperjax.augment.images.resampling import AXES
from hyperjax.types import Array, Scalar


def noise(key: Array, images: Any, strength: Scalar) -> Array:
    """Add independent Gaussian noise to every value.

    `x + s n` with n standard normal.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] at least 0, the noise's standard deviation in the images' unit; may be traced.
    Returns: as `images`, not clipped; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Bishop 1995, Training with noise is equivalent to Tikhonov regularization, section 1. torchvision:
        `v2.GaussianNoise(sigma=s, clip=False)`.

    >>> from hyperjax import random
    >>> noisy = noise(random.key(0), jnp.zeros((1, 100, 100, 1)), 0.5)
    >>> print(f"{noisy.std():.1f}")
    0.5
    """
    number("strength of noise", strength)
    return each(_noisy, key, images, strength, name="images", axes=AXES)


def cutout(key: Array, images: Any, strength: Scalar) -> Array:
    """Set a square at a random place to 0.

    The square's side is `s min(height, width)` pixels; its centre is uniform over the image, so that part of it may
    lie outside. A pixel goes when its middle is inside.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range; 0 should mean nothing in it.
        strength: s, float[] in [0, 1]; may be traced. Its derivative is 0, since a border that moves is a step.
    Returns: as `images`; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: DeVries & Taylor 2017, arXiv:1708.04552, section 3.2, with a side that need not be whole.

    >>> from hyperjax import random
    >>> cut = cutout(random.key(0), jnp.ones((1, 8, 8, 1)), 0.5)
    >>> 0 < float(jnp.sum(cut == 0)) <= 16
    True
    """
    number("strength of cutout", strength, 1.0)
    return each(_cut, key, images, strength, name="images", axes=AXES)


def rectangle(size: tuple[int, int], centre: Array, half: Array) -> Array:
    """bool[height, width]: pixels whose middle is inside a rectangle.

    Args:
        size: height and width.
        centre: float[2] in [0, 1], as a part of the height and of the width.
        half: float[2], half the rectangle's height and width, in pixels. At 0 no pixel is inside.

    >>> print(rectangle((2, 3), jnp.array([0.0, 0.5]), jnp.array([1.0, 0.6])).astype(int))
    [[0 1 0]
     [0 0 0]]
    """
    inside = [jnp.abs(jnp.arange(n) + 0.5 - c * n) < h for n, c, h in zip(size, centre, half, strict=True)]
    changed: Array = inside[0][:, None] & inside[1]
    return changed


def _noisy(key: Array, image: Array, s: Array) -> Array:
    return image + s * jax.random.normal(key, image.shape, jnp.float32)


def _cut(key: Array, image: Array, s: Array) -> Array:
    height, width = image.shape[:2]
    half = jnp.full(2, s * min(height, width) / 2)
    hidden = rectangle((height, width), jax.random.uniform(key, (2,), jnp.float32), half)
    return jnp.where(hidden[:, :, None], 0.0, image)
