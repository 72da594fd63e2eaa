"""Random changes of training examples, on the device: every strength may be traced, and 0 is exactly off."""

from hyperjax.augment import images, spectrograms, tokens, waveforms
from hyperjax.augment.composition import TABLES, chain
from hyperjax.augment.mixing import cutmix, mixup

__all__ = [
    "TABLES",
    "chain",
    "cutmix",
    "images",
    "mixup",
    "spectrograms",
    "tokens",
    "waveforms",
]
