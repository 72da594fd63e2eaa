"""Digits to be found among scraps of others."""

import itertools
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from hyperjax.layers import Dropout
from hyperjax.metrics import dice, iou
from hyperjax.models.cnn import Convolution, as_images
from hyperjax.tasks.digits import digits
from hyperjax.tasks.task import Task

_SIDE, _SCRAPS = 16, 8


class Segmenter(nnx.Module):
    """5x5 convolutions without a stride, and a linear layer at each place."""

    def __init__(self, channels: Sequence[int] = (8, 8), *, rngs: nnx.Rngs) -> None:
        sizes = (1, *channels)
        self.blocks = nnx.List(
            [
                Convolution(inputs, outputs, kernel=5, norm=None, activation="relu", rngs=rngs)
                for inputs, outputs in itertools.pairwise(sizes)
            ]
        )
        self.dropout = Dropout(0.0, rngs=rngs)
        self.output = nnx.Linear(sizes[-1], 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits float[examples, height, width] of images of that shape."""
        x = as_images(x, (x.shape[1], x.shape[2], 1))
        for block in self.blocks:
            x = block(x)
        return self.output(self.dropout(x))[..., 0]


def segmentation(channels: Sequence[int] = (8, 8)) -> Task:
    """The pixels of a digit among scraps of others (scikit-learn's digits, put together), by a convolutional network.

    Images of 16x16 pixels: a digit of `digits` somewhere, behind it eight scraps of other digits, 3x3 pixels each,
    weaker or as bright, and noise; the mask is where the digit itself is brighter than 0.3. The set's own digits are
    used, 600 images for training, 180 for validation and 180 for the test. Judged by the Dice coefficient of each
    image's mask and by its intersection over union.

    To be reached: logistic regression on the 7x7 pixels around each pixel (scikit-learn, measured by
    `benchmarks/baselines.py`) has a Dice coefficient of 0.750 on the validation set and 0.781 on the test set, the best
    threshold on brightness 0.648 and 0.639.

    Args:
        channels: output channels of each convolution; a recipe changes them by `model={"channels": (16, 16, 16)}`.
    Source: written for this library.

    >>> task = segmentation()
    >>> task.data["train"][0].shape, task.kind, task.ranking
    ((600, 16, 16), 'mask', 'validation_dice')
    """

    def model(rngs: nnx.Rngs, channels: Sequence[int] = tuple(channels)) -> nnx.Module:
        return Segmenter(channels, rngs=rngs)

    data = {}
    for seed, (part, (flat, _)) in enumerate(digits().data.items()):
        data[part] = _scenes(flat.reshape(-1, 8, 8), min(len(flat), 600), seed)
    return Task(
        model=model,
        data=data,
        loss="dice",
        metrics={"dice": dice, "iou": iou},
        name="segmentation",
        recipe={"learning_rate": 5e-3, "batch_size": 16, "epochs": 6},
    )


def _scenes(images: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes, f32[count, side, side], and masks, u8 of that shape, of the first `count` images."""
    draw = np.random.default_rng(seed)
    scenes = np.zeros((count, _SIDE, _SIDE), np.float32)
    masks = np.zeros((count, _SIDE, _SIDE), np.uint8)
    for scene, mask, digit in zip(scenes, masks, images, strict=False):
        for _ in range(_SCRAPS):
            other = images[draw.integers(len(images))]
            top, left = draw.integers(0, 6, 2)
            row, column = draw.integers(0, _SIDE - 2, 2)
            scrap = other[top : top + 3, left : left + 3] * draw.uniform(0.5, 1.0)
            place = scene[row : row + 3, column : column + 3]
            np.maximum(place, scrap, out=place)
        row, column = draw.integers(0, _SIDE - 7, 2)
        own = (slice(row, row + 8), slice(column, column + 8))
        scene[own] = np.maximum(scene[own], digit)
        mask[own] = digit > 0.3
    scenes += 0.1 * draw.normal(size=scenes.shape)
    return scenes, masks
