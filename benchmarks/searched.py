"""What all contenders of `search.py` share: two tasks, one space, and how an answer is told.

A contender is a function `(setting) -> None` that searches with all cores and tells each better recipe as it finds it.
Decay is decoupled in all, the first weights are He-normal, every epoch is shuffled anew and validated at its end.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

OPTIMIZERS, SCHEDULES = ("momentum", "adam", "rmsprop"), ("constant", "linear", "cosine_decay")
ACTIVATIONS, BATCHES = ("relu", "tanh", "gelu"), (32, 64, 128)
RATES, DECAYS, DROPOUTS = (1e-4, 1.0), (1e-6, 1e-1), (0.0, 0.5)  # the first two evenly in the logarithm
WIDTHS, CHANNELS = (64, 128, 128, 10), (32, 32)
EPOCHS = {"mlp": 20, "cnn": 8}
PARTS = ("train", "validation", "test")
Data = dict[str, np.ndarray]  # train_x f32[m, 64], train_y i64[m], and the same for validation and test


class Setting(NamedTuple):
    """One search."""

    task: str  # "mlp" or "cnn"
    trials: int
    epochs: int
    seed: int
    batches: tuple[int, ...]  # of the batch sizes
    data: Path
    out: int  # the file descriptor of what was standard output

    def load(self) -> Data:
        with np.load(self.data) as file:
            return dict(file)


def tell(out: int, **told: Any) -> None:
    """A line, whole even where processes of a contender share the descriptor."""
    os.write(out, (json.dumps(told) + "\n").encode())


def better(setting: Setting, values: Mapping[str, Any], validation: float) -> None:
    """Tell a recipe that is better than those before, by its accuracy on validation."""
    tell(setting.out, recipe=dict(values), validation=float(validation))
