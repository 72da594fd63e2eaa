"""Resample pictures through affine maps, and the matrices of the usual ones."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment.examples import floats
from hyperjax.checks import require
from hyperjax.types import Array, Scalar

AXES = "examples, height, width, channels"


def affine(images: Any, matrices: Any) -> Array:
    """Resample each image through its own affine map, by bilinear interpolation between pixels and 0 outside.

    With positions p = (row, column) in pixels from the image's centre, rows downwards and columns to the right:
    `output(p) = input(A p + b)`, where a matrix is `[A | b]`. `translation`, `rotation`, `scaling` and `shearing`
    make such matrices. Between a border pixel and the outside the value falls to 0 over one pixel.

    Args:
        images: float[examples, height, width, channels], of any range.
        matrices: float[examples, 2, 3].
    Returns: as `images`, computed in float32 at least.
    Raises: ValueError when images are not floats of four axes or the matrices' shape does not fit.
    Source: scipy: `ndimage.affine_transform(order=1, mode="grid-constant")`, whose origin is the first pixel.

    >>> image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    >>> print(affine(image, translation(0.0, 0.5)[None])[0, :, :, 0])
    [[0.5 1.5]
     [1.5 3.5]]
    """
    images, matrices = floats("images", images, AXES), floats("matrices", matrices, "examples, 2, 3")
    expected = (len(images), 2, 3)
    require(matrices.shape == expected, f"matrices must be of shape {expected}, one an image, got {matrices.shape}")
    wide = jnp.promote_types(images.dtype, jnp.float32)
    moved: Array = jax.vmap(resample)(images.astype(wide), matrices.astype(wide)).astype(images.dtype)
    return moved


def resample(image: Array, matrix: Array) -> Array:
    """`affine` of one image [height, width, channels] and one matrix [2, 3].

    >>> print(resample(jnp.array([[[1.0], [2.0]]]), translation(0.0, 1.0))[0, :, 0])
    [0. 1.]
    """
    height, width = image.shape[:2]
    rows = jnp.arange(height, dtype=image.dtype) - (height - 1) / 2
    columns = jnp.arange(width, dtype=image.dtype) - (width - 1) / 2
    # Written out and not as a matrix product, which some devices round to bfloat16.
    y = matrix[0, 0] * rows[:, None] + matrix[0, 1] * columns + matrix[0, 2] + (height - 1) / 2
    x = matrix[1, 0] * rows[:, None] + matrix[1, 1] * columns + matrix[1, 2] + (width - 1) / 2
    y, x = jnp.clip(y, -1, height), jnp.clip(x, -1, width)  # no farther outside than the frame of zeros is wide
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    framed = jnp.pad(image, ((1, 2), (1, 2), (0, 0)))
    i, j = top.astype(jnp.int32) + 1, left.astype(jnp.int32) + 1
    above = (1 - right) * framed[i, j] + right * framed[i, j + 1]
    below = (1 - right) * framed[i + 1, j] + right * framed[i + 1, j + 1]
    return (1 - down) * above + down * below


def translation(rows: Scalar, columns: Scalar) -> Array:
    """Matrix for `affine` that moves the picture down by `rows` and to the right by `columns` pixels.

    `A = I`, `b = -(rows, columns)`. Returns float[2, 3].

    >>> print(translation(1.0, 2.0))
    [[ 1.  0. -1.]
     [ 0.  1. -2.]]
    """
    return jnp.array([[1.0, 0.0, -rows], [0.0, 1.0, -columns]])


def rotation(degrees: Scalar) -> Array:
    """Matrix for `affine` that turns the picture counter-clockwise as seen, as `jnp.rot90` does.

    `A = [[cos t, sin t], [-sin t, cos t]]`, `t` being `degrees` in radians; `b = 0`. Returns float[2, 3].

    >>> print(rotation(0.0))
    [[ 1.  0.  0.]
     [-0.  1.  0.]]
    """
    angle = jnp.deg2rad(degrees)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])


def scaling(factor: Scalar) -> Array:
    """Matrix for `affine` that enlarges the picture about its centre by `factor`, above 0.

    `A = I / factor`, `b = 0`. Returns float[2, 3].

    >>> print(scaling(2.0))
    [[0.5 0.  0. ]
     [0.  0.5 0. ]]
    """
    return jnp.array([[1.0 / factor, 0.0, 0.0], [0.0, 1.0 / factor, 0.0]])


def shearing(slope: Scalar) -> Array:
    """Matrix for `affine` that slides each row to the right by `slope` pixels for each row below the centre.

    `A = [[1, 0], [-slope, 1]]`, `b = 0`. Returns float[2, 3].

    >>> print(shearing(0.5))
    [[ 1.   0.   0. ]
     [-0.5  1.   0. ]]
    """
    return jnp.array([[1.0, 0.0, 0.0], [-slope, 1.0, 0.0]])
