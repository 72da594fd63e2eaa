"""Two marked numbers of a sequence to be added."""

import numpy as np
from flax import nnx

from hyperjax.checks import require
from hyperjax.metrics import mean_squared_error
from hyperjax.models import GRU
from hyperjax.tasks.splitting import split
from hyperjax.tasks.task import Task

_SIZES = (2000, 300, 300)


def adding(length: int = 30, width: int = 32) -> Task:
    """The sum of two marked numbers of a sequence (made), by gated recurrent units.

    2,600 sequences of pairs: a number in [0, 1) and a mark, which is 1 at one place of the first half and one of the
    second, else 0; the target is the sum of the two marked numbers. 2,000 for training, 300 for validation and 300 for
    the test.

    To be reached: whoever always says 1 has a mean squared error of about 1/6; a tenth of that shows that both numbers
    are remembered.

    Args:
        length: pairs of a sequence, at least 2.
        width: units of the network; a recipe changes them by `model={"width": 128}`.
    Raises: ValueError for a length that is not a whole number of at least 2.
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 4; in this form Arjovsky, Shah & Bengio
        2016, arXiv:1511.06464, section 5.2.

    >>> task = adding()
    >>> task.data["train"][0].shape, task.ranking
    ((2000, 30, 2), 'validation_mean_squared_error')
    """
    whole = isinstance(length, int | np.integer) and length >= 2
    require(whole, f"length must be a whole number of at least 2, got {length!r}")
    draw = np.random.default_rng(0)
    count, half = sum(_SIZES), length // 2
    pairs = np.zeros((count, length, 2), np.float32)
    pairs[:, :, 0] = draw.random((count, length))
    rows = np.arange(count)
    pairs[rows, draw.integers(0, half, count), 1] = 1
    pairs[rows, draw.integers(half, length, count), 1] = 1
    sums = pairs.prod(2).sum(1, keepdims=True)

    def model(rngs: nnx.Rngs, width: int = width) -> nnx.Module:
        return GRU(2, 1, width, rngs=rngs)

    return Task(
        model=model,
        data=split(_SIZES, (pairs, sums)),
        loss="squared_error",
        metrics={"mean_squared_error": mean_squared_error},
        name="adding",
        recipe={"learning_rate": 5e-3, "clip_norm": 1.0, "epochs": 8},
    )
