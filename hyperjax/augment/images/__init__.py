"""Augmentation of images, float[examples, height, width, channels]."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hyperjax.augment.images.colour import brightness, contrast, saturation
from hyperjax.augment.images.corruption import cutout, noise
from hyperjax.augment.images.geometry import crop, flip, rotate, scale, shear, shift
from hyperjax.augment.images.resampling import affine, rotation, scaling, shearing, translation
from hyperjax.types import Array

__all__ = [
    "TABLE",
    "affine",
    "brightness",
    "contrast",
    "crop",
    "cutout",
    "flip",
    "noise",
    "rotate",
    "rotation",
    "saturation",
    "scale",
    "scaling",
    "shear",
    "shearing",
    "shift",
    "translation",
]

# In the order in which a chain applies them: where the picture is, its light, then what hides part of it.
TABLE: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "crop": crop,
        "shift": shift,
        "scale": scale,
        "rotate": rotate,
        "shear": shear,
        "flip": flip,
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "noise": noise,
        "cutout": cutout,
    }
)
