"""Move the picture at random: each way draws a matrix, and one function resamples for all of them."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment.examples import each, number
from hyperjax.augment.images.resampling import AXES, resample, rotation, scaling, shearing, translation
from hyperjax.types import Array, Scalar


def shift(key: Array, images: Any, strength: Scalar) -> Array:
    """Move each image by a random part of its height and width, filling with 0.

    `translation(s u height, s v width)` with u and v uniform in [-1, 1).

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] in [0, 1], the greatest shift as a part of the size; may be traced.
    Returns: as `images`; at 0, `images` bit for bit. Interpolated where the shift is no whole number of pixels.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Simard, Steinkraus & Platt 2003, Best practices for convolutional neural networks, section 2. torchvision:
        `RandomAffine(0, translate=(s, s))`, which moves by whole pixels.

    >>> from hyperjax import random
    >>> moved = shift(random.key(0), jnp.ones((1, 4, 4, 1)), 0.5)
    >>> bool(moved.sum() < 16)
    True
    """
    number("strength of shift", strength, 1.0)
    return each(_shifted, key, images, strength, name="images", axes=AXES)


def rotate(key: Array, images: Any, strength: Scalar) -> Array:
    """Turn each image about its centre by a random angle, filling with 0.

    `rotation(s u)` with u uniform in [-1, 1).

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] in [0, 180], the greatest angle in degrees; may be traced.
    Returns: as `images`; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: as `shift`. torchvision: `RandomRotation(s, BILINEAR)`.

    >>> from hyperjax import random
    >>> turned = rotate(random.key(0), jnp.ones((1, 4, 4, 1)), 45.0)
    >>> bool(turned[0, 0, 0, 0] < 1) and bool(turned[0, 1, 1, 0] == 1)
    True
    """
    number("strength of rotate", strength, 180.0)
    return each(_rotated, key, images, strength, name="images", axes=AXES)


def scale(key: Array, images: Any, strength: Scalar) -> Array:
    """Enlarge or shrink each image about its centre by a random factor, filling with 0.

    `scaling((1 + s)^u)` with u uniform in [-1, 1): as likely to grow as to shrink, between 1 / (1 + s) and 1 + s.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] at least 0, how far the greatest factor is above 1; may be traced.
    Returns: as `images`; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: as `shift`; uniform in the logarithm, where torchvision's `RandomAffine(0, scale=(low, high))` is uniform
        in the factor.

    >>> from hyperjax import random
    >>> scaled = scale(random.key(1), jnp.ones((1, 5, 5, 1)), 0.5)
    >>> float(scaled[0, 2, 2, 0])
    1.0
    """
    number("strength of scale", strength)
    return each(_scaled, key, images, strength, name="images", axes=AXES)


def shear(key: Array, images: Any, strength: Scalar) -> Array:
    """Slant each image sideways by a random slope, filling with 0.

    `shearing(s u)` with u uniform in [-1, 1).

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] at least 0, the greatest slope in columns a row (tan of the angle); may be traced.
    Returns: as `images`; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Cubuk et al. 2018, AutoAugment, arXiv:1805.09501, appendix, ShearX, whose slopes reach 0.3.

    >>> from hyperjax import random
    >>> slanted = shear(random.key(0), jnp.ones((1, 5, 5, 1)), 0.3)
    >>> print(slanted[0, 2, :, 0])
    [1. 1. 1. 1. 1.]
    """
    number("strength of shear", strength)
    return each(_sheared, key, images, strength, name="images", axes=AXES)


def crop(key: Array, images: Any, strength: Scalar) -> Array:
    """Cut a window out of each image at a random place and enlarge it to the whole size.

    The window's sides are (1 - s) times the image's, from the middle of its first pixel to the middle of its last:
    `A = (1 - s) I`, `b = s / 2 (u (height - 1), v (width - 1))` with u and v uniform in [-1, 1). It lies inside the
    image, so that nothing is filled.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] in [0, 1], the part of each side that is cut off; may be traced.
    Returns: as `images`; at 0, `images` bit for bit. At 1 the window is one point.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, with a fixed size and aspect. torchvision:
        `RandomResizedCrop(size, scale=((1 - s)**2,) * 2, ratio=(1, 1))`.

    >>> from hyperjax import random
    >>> ramp = jnp.arange(9.0).reshape(1, 1, 9, 1)
    >>> cut = crop(random.key(0), ramp, 0.5)[0, 0, :, 0]  # half as steep
    >>> print(f"{cut[8] - cut[0]:.3f}")
    4.000
    """
    number("strength of crop", strength, 1.0)
    return each(_cropped, key, images, strength, name="images", axes=AXES)


def flip(key: Array, images: Any, strength: Scalar) -> Array:
    """Mirror each image left to right with a given probability.

    `images[:, :, ::-1]` where u < s, with u uniform in [0, 1).

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] in [0, 1], the probability; may be traced. Its derivative is 0, since a decision is a step.
    Returns: as `images`; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural networks,
        section 4.1. torchvision: `RandomHorizontalFlip(s)`.

    >>> from hyperjax import random
    >>> print(flip(random.key(0), jnp.array([[1.0, 2.0]])[None, :, :, None], 1.0)[0, 0, :, 0])
    [2. 1.]
    """
    number("strength of flip", strength, 1.0)
    return each(_flipped, key, images, strength, name="images", axes=AXES)


def _shifted(key: Array, image: Array, s: Array) -> Array:
    u = s * _signed(key, 2)
    return resample(image, translation(u[0] * image.shape[0], u[1] * image.shape[1]))


def _rotated(key: Array, image: Array, s: Array) -> Array:
    return resample(image, rotation(s * _signed(key)))


def _scaled(key: Array, image: Array, s: Array) -> Array:
    return resample(image, scaling(jnp.exp(jnp.log1p(s) * _signed(key))))


def _sheared(key: Array, image: Array, s: Array) -> Array:
    return resample(image, shearing(s * _signed(key)))


def _cropped(key: Array, image: Array, s: Array) -> Array:
    u = s / 2 * _signed(key, 2)
    rows, columns = u[0] * (image.shape[0] - 1), u[1] * (image.shape[1] - 1)
    return resample(image, jnp.array([[1.0 - s, 0.0, rows], [0.0, 1.0 - s, columns]]))


def _flipped(key: Array, image: Array, s: Array) -> Array:
    return jnp.where(jax.random.uniform(key, (), jnp.float32) < s, image[:, ::-1], image)


def _signed(key: Array, *shape: int) -> Array:
    """f32[shape], uniform in [-1, 1)."""
    return jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0)
