"""Symbols to be repeated after a pause."""

import numpy as np
from flax import nnx

from hyperjax import losses, metrics
from hyperjax.checks import positive_integer
from hyperjax.models import GRU
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task
from hyperjax.types import Array

_SYMBOLS = 8
_SIZES = (2000, 300, 300)


def copying(length: int = 5, delay: int = 10, width: int = 64) -> Task:
    """Symbols to be repeated in their order after a pause (made), by gated recurrent units.

    2,600 different sequences: `length` symbols out of eight, each alike probable, blanks, a signal at the end of the
    pause, and as many blanks again, during which the symbols are to be told; 2,000 for training, 300 for validation and
    300 for the test. Tokens: 0 the blank, 1 to 8 the symbols, 9 the signal. Only the outputs in answer to the last
    `length` tokens count; the metric is the share of symbols that is right.

    To be reached: guessing is right for 1/8 of the symbols; 0.9 shows that all five are remembered, not four.

    Args:
        length: symbols to be repeated, at least 4 (fewer make too few sequences).
        delay: tokens of the pause, the signal included.
        width: units of the network; a recipe changes them by `model={"width": 128}`.
    Raises: ValueError for a size that is not a whole number, or too small.
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8); in this form Arjovsky, Shah & Bengio 2016,
        arXiv:1511.06464, section 5.1.

    >>> task = copying()
    >>> task.data["train"][0].shape, task.data["train"][1].shape
    ((2000, 20), (2000, 5))
    """
    if positive_integer("length", length) < 4:
        raise ValueError(f"length must be a whole number of at least 4, else sequences repeat, got {length}")
    positive_integer("delay", delay)
    drawn = 1 + np.random.default_rng(0).integers(0, _SYMBOLS, (2 * sum(_SIZES), length)).astype(np.int32)
    first = np.sort(np.unique(drawn, axis=0, return_index=True)[1])
    symbols = drawn[first[: sum(_SIZES)]]
    tokens = np.zeros((len(symbols), 2 * length + delay), np.int32)
    tokens[:, :length], tokens[:, length + delay - 1] = symbols, _SYMBOLS + 1

    def model(rngs: nnx.Rngs, width: int = width) -> nnx.Module:
        return GRU(16, _SYMBOLS, width, vocabulary=_SYMBOLS + 2, outputs_at="each", rngs=rngs)

    def loss(logits: Array, labels: Array) -> Array:
        return losses.cross_entropy(logits[:, -length:], labels)

    def right(logits: Array, labels: Array) -> Array:
        return metrics.accuracy(logits[:, -length:], labels)

    return Task(
        model=model,
        data=split(_SIZES, (tokens, symbols - 1)),
        loss=loss,
        metrics={"accuracy": right},
        name="copying",
        recipe={"learning_rate": 0.01, "clip_norm": 1.0, "epochs": 15},
    )
