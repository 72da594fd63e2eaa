"""Which examples meet in which batch."""

from hyperjax.batching.epochs import batch_indices, last_batch_size, steps_per_epoch
from hyperjax.batching.permutation import permute

__all__ = ["batch_indices", "last_batch_size", "permute", "steps_per_epoch"]
