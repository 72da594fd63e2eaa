"""Which examples meet in which batch, and what its size does to the learning rate."""

from hyperjax.batching.epochs import batch_indices, last_batch_size, steps_per_epoch
from hyperjax.batching.permutation import permute
from hyperjax.batching.sampling import Classes, balanced_indices, by_class, replacement_indices
from hyperjax.batching.scaling import scale_learning_rate

__all__ = [
    "Classes",
    "balanced_indices",
    "batch_indices",
    "by_class",
    "last_batch_size",
    "permute",
    "replacement_indices",
    "scale_learning_rate",
    "steps_per_epoch",
]
