"""What all contenders share: digits, MLP 64-128-128-10 with ReLU, Adam, batches of 64, one learning rate a trial.

A contender is a function `(data, epochs) -> measure`, and `measure(seed)` trains its share of the rates and returns an
`Outcome`. All start from He-normal weights (scikit-learn only knows its own, Glorot's), shuffle anew each epoch, keep
the smaller last batch and see the same arrays. What differs is how a person would write it with that library.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

RATES = np.logspace(-4, -1, 64)  # the whole population, which ours trains
EVERY_FOURTH, EVERY_EIGHTH = tuple(range(2, 64, 4)), tuple(range(2, 64, 8))  # what slower contenders train of it
NEAR_BEST = (26, 34, 42)  # 1.7e-3, 4.2e-3, 1e-2: trained by all, their accuracies are compared
WIDTHS, BATCH = (64, 128, 128, 10), 64
Data = dict[str, np.ndarray]  # train_x f32[m, 64], train_y i64[m], and the same for validation and test
Score = tuple[float, float]  # accuracy on validation, on test


class Outcome(NamedTuple):
    seconds: float  # wall time of all trials
    trials: int
    validation: float  # mean accuracy over the rates near the best
    test: float


Measure = Callable[[int], Outcome]


def outcome(seconds: float, indices: Sequence[int], scores: Iterable[Score]) -> Outcome:
    """Put together what was timed and the accuracies of the rates that all contenders train."""
    near = [score for index, score in zip(indices, scores, strict=True) if index in NEAR_BEST]
    validation, test = np.mean(near, axis=0)
    return Outcome(seconds, len(indices), float(validation), float(test))


def cores_available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
