"""The four trainings that `models.py` compares, each as arrays and numbers that every library can read.

All contenders build the same architecture with initial weights of the same distributions, train by Adam on batches of
the same size, shuffle anew each epoch, keep the smaller last batch and take the same number of steps. A contender is a
function `(name, workload, arrays) -> measure`, and `measure(seed)` trains its share of the rates.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]  # inputs, whole-numbered targets


class Workload(NamedTuple):
    """What is trained. `quick` ones are smaller: they show that everything runs."""

    label: str
    arrays: Callable[[int, bool], Arrays]  # of so many examples, quick or not
    examples: int
    batch: int
    epochs: int
    rates: tuple[float, ...]  # one trial each
    goal: float  # how many times ours should be faster than the best of the peers

    @property
    def steps(self) -> int:
        return self.epochs * -(-self.examples // self.batch)

    @property
    def few(self) -> tuple[float, ...]:
        """The rates that are trained where trials run one after another."""
        return self.rates[2::4]

    @property
    def shown(self) -> float:
        """The rate that all contenders train, whose loss is compared."""
        return self.few[len(self.few) // 2]


class Outcome(NamedTuple):
    seconds: float  # wall time of all trials
    trials: int
    loss: float  # at the rate that all train: mean over the last quarter of the steps


Measure = Callable[[int], Outcome]


def outcome(seconds: float, workload: Workload, losses: dict[float, np.ndarray]) -> Outcome:
    """Put together what was timed and the training losses, f[steps], of each rate."""
    shown = losses[workload.shown]
    return Outcome(seconds, len(losses), float(np.mean(shown[-max(len(shown) // 4, 1) :])))


# Architectures, which `quick` leaves as they are but for the sizes below.
CHANNELS = (16, 32)  # of the convolutional network
WIDTHS = (16, 32, 64)  # of the residual network's stages, one block each
WIDTH, LAYERS, HEADS, VOCABULARY = 128, 4, 4, 100  # of the transformer
HIDDEN, FEATURES = 128, 28  # of the LSTM
CLASSES = 10


def digits(examples: int, quick: bool) -> Arrays:
    """scikit-learn's digits, f32[examples, 8, 8, 1]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images[:examples] / 16).astype(np.float32).reshape(-1, 8, 8, 1), labels[:examples].astype(np.int32)


def images(examples: int, quick: bool) -> Arrays:
    """Ten made pictures under noise, f32[examples, 32, 32, 3]."""
    draw, side = np.random.default_rng(0), 8 if quick else 32
    pictures = draw.standard_normal((CLASSES, side, side, 3))
    labels = draw.integers(0, CLASSES, examples).astype(np.int32)
    noise = draw.standard_normal((examples, side, side, 3))
    return (0.5 * pictures[labels] + noise).astype(np.float32), labels


def tokens(examples: int, quick: bool) -> Arrays:
    """Sequences in which a token decides most of the next, i32[examples, time]; targets are the tokens after each."""
    draw, time = np.random.default_rng(0), 16 if quick else 128
    rows = np.empty((examples, time + 1), np.int32)
    rows[:, 0] = draw.integers(0, VOCABULARY, examples)
    for t in range(time):
        stray = draw.random(examples) < 0.2
        rows[:, t + 1] = np.where(stray, draw.integers(0, VOCABULARY, examples), (7 * rows[:, t] + 3) % VOCABULARY)
    return rows[:, :-1], rows[:, 1:]


def sequences(examples: int, quick: bool) -> Arrays:
    """Ten made tracks under noise, f32[examples, time, features]."""
    draw, time = np.random.default_rng(0), 6 if quick else 64
    tracks = draw.standard_normal((CLASSES, time, FEATURES))
    labels = draw.integers(0, CLASSES, examples).astype(np.int32)
    return (0.3 * tracks[labels] + draw.standard_normal((examples, time, FEATURES))).astype(np.float32), labels


WORKLOADS = {
    "cnn": Workload(
        "CNN on digits, 3x3x16, 3x3x32, batch 64",
        digits,
        examples=1437,
        batch=64,
        epochs=2,
        rates=tuple(np.logspace(-3.5, -1.5, 16).tolist()),
        goal=1.3,
    ),
    "resnet": Workload(
        "ResNet-8 with batch norm, 32x32x3, batch 32",
        images,
        examples=256,
        batch=32,
        epochs=3,
        rates=(3e-4, 1e-3, 3e-3, 1e-2),
        goal=1.0,
    ),
    "transformer": Workload(
        "transformer, 4 layers of 128, 4 heads, context 128, batch 16",
        tokens,
        examples=96,
        batch=16,
        epochs=2,
        rates=(3e-4, 1e-3, 3e-3, 1e-2),
        goal=1.3,
    ),
    "lstm": Workload(
        "LSTM of 128 over 64 steps, batch 64",
        sequences,
        examples=768,
        batch=64,
        epochs=2,
        rates=(3e-4, 1e-3, 3e-3, 1e-2),
        goal=1.0,
    ),
}
QUICK = {"examples": 24, "batch": 16, "epochs": 2}


def find(name: str, quick: bool) -> tuple[Workload, Arrays]:
    """A workload by name, and its arrays."""
    workload = WORKLOADS[name]
    if quick:
        workload = workload._replace(rates=workload.rates[:4], **QUICK)
    return workload, workload.arrays(workload.examples, quick)
