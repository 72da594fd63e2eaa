"""Change the light of a picture: brightness, contrast, saturation. Nothing is clipped."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.augment.examples import each, number
from hyperjax.augment.images.resampling import AXES
from hyperjax.types import Array, Scalar

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, what Pillow and torchvision weigh RGB with


def brightness(key: Array, images: Any, strength: Scalar) -> Array:
    """Multiply each image by a random factor.

    `f x` with f uniform in [1 - s, 1 + s), one factor an image.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], 0 being black; of any greatest value.
        strength: s, float[] in [0, 1]; may be traced.
    Returns: as `images`, not clipped; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Howard 2013, arXiv:1312.5402, section 2.2. torchvision: `ColorJitter(brightness=s)`, which clips.

    >>> from hyperjax import random
    >>> lit = brightness(random.key(0), jnp.ones((1, 1, 2, 1)), 0.5)
    >>> bool(lit[0, 0, 0, 0] == lit[0, 0, 1, 0]) and 0.5 <= float(lit[0, 0, 0, 0]) < 1.5
    True
    """
    number("strength of brightness", strength, 1.0)
    return each(_brightened, key, images, strength, name="images", axes=AXES)


def contrast(key: Array, images: Any, strength: Scalar) -> Array:
    """Stretch each image's distance from its own mean grey by a random factor.

    `x + (f - 1) (x - g)` with f uniform in [1 - s, 1 + s) and g the mean of the grey image: 0.299 R + 0.587 G +
    0.114 B for three channels, their mean for any other number.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] in [0, 1]; may be traced.
    Returns: as `images`, not clipped; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Howard 2013, arXiv:1312.5402, section 2.2. torchvision: `ColorJitter(contrast=s)`, which clips.

    >>> from hyperjax import random
    >>> image = jnp.array([[1.0, 3.0]])[None, :, :, None]
    >>> print(jnp.mean(contrast(random.key(0), image, 0.5)))  # the mean grey stays
    2.0
    """
    number("strength of contrast", strength, 1.0)
    return each(_contrasted, key, images, strength, name="images", axes=AXES)


def saturation(key: Array, images: Any, strength: Scalar) -> Array:
    """Stretch each pixel's distance from its own grey by a random factor, one factor an image.

    `x + (f - 1) (x - g)` with f uniform in [1 - s, 1 + s) and g the pixel's grey, as in `contrast`. An image of one
    channel has no colour and stays as it is.

    Args:
        key: one typed key, of any implementation.
        images: float[examples, height, width, channels], of any range.
        strength: s, float[] in [0, 1]; may be traced. At f = 0 the image is grey.
    Returns: as `images`, not clipped; at 0, `images` bit for bit.
    Raises: ValueError on a strength out of range, or images that are not floats of four axes.
    Source: Howard 2013, arXiv:1312.5402, section 2.2. torchvision: `ColorJitter(saturation=s)`, which clips.

    >>> from hyperjax import random
    >>> grey = jnp.full((1, 1, 1, 3), 0.5)
    >>> print(saturation(random.key(0), grey, 0.9)[0, 0, 0])
    [0.5 0.5 0.5]
    """
    number("strength of saturation", strength, 1.0)
    return each(_saturated, key, images, strength, name="images", axes=AXES)


def _brightened(key: Array, image: Array, s: Array) -> Array:
    return image + _change(key, s) * image


def _contrasted(key: Array, image: Array, s: Array) -> Array:
    return image + _change(key, s) * (image - jnp.mean(_grey(image)))


def _saturated(key: Array, image: Array, s: Array) -> Array:
    return image + _change(key, s) * (image - _grey(image))


def _change(key: Array, s: Array) -> Array:
    """f - 1, uniform in [-s, s)."""
    return s * jax.random.uniform(key, (), jnp.float32, -1.0, 1.0)


def _grey(image: Array) -> Array:
    """float[height, width, 1]."""
    if image.shape[-1] == len(_LUMA):
        return jnp.sum(image * _LUMA.astype(image.dtype), -1, keepdims=True)
    return jnp.mean(image, -1, keepdims=True)
