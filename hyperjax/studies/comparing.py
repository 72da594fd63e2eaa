"""Two trials of a study, seed by seed: every recipe has the same seeds, so what a seed does to both cancels."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.statistics import Interval, count_needed, mean_interval

if TYPE_CHECKING:
    from hyperjax.studies.study import Study, Trial


@dataclass(frozen=True)
class Comparison:
    """How far one trial is from another.

    Attributes:
        first, second: numbers of the trials.
        metric, direction: what was measured, and whether "max" or "min" is better.
        seeds: those that both trials have.
        differences: f64[seeds], second - first in the metric's unit, NaN where one of the two diverged.
        interval: mean of the differences with its 95 % Student interval; NaN when any is, unbounded for one seed.
        seeds_needed: how many seeds would leave 0 out of that interval with a probability of 80 %, if mean and
            deviation are what was seen: NaN for one seed, which shows no deviation; infinite for a mean of 0.
    """

    first: int
    second: int
    metric: str
    direction: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    interval: Interval
    seeds_needed: float

    @property
    def better(self) -> int | None:
        """The trial that is shown to be better; None where 0 is inside the interval."""
        _, low, high = self.interval
        if not (low > 0 or high < 0):
            return None
        return self.second if (low > 0) == (self.direction == "max") else self.first

    def __str__(self) -> str:
        mean, low, high = self.interval
        both = f"trials {self.first} and {self.second}"
        if math.isnan(mean):
            return f"No difference can be given of {both}: a seed has no score, since a run diverged."
        if len(self.seeds) == 1:
            return f"One seed cannot tell {both} apart: they are {abs(mean):.3g} apart, by luck or not."
        measured = (
            f"{abs(mean):.3g} over {len(self.seeds)} seeds (95 % interval of the difference {low:.3g} to {high:.3g})"
        )
        if self.better is not None:
            worse = self.first if self.better == self.second else self.second
            return f"Trial {self.better} is better than trial {worse} by {measured}."
        if math.isinf(self.seeds_needed):
            return f"There is no difference between {both} over {len(self.seeds)} seeds."
        return f"Not told apart are {both}, {measured}: it would take about {self.seeds_needed} seeds."


def compare(study: "Study", first: int, second: int) -> Comparison:
    """Two trials, by number; see `Study.compare`."""
    one, other = (_scores(_trial(study, name, number)) for name, number in (("a", first), ("b", second)))
    if first == second:
        raise ValueError(f"b must be another trial than a, got {second} twice")
    seeds = tuple(seed for seed in one if seed in other)
    if not seeds:
        raise ValueError(f"a and b must have a seed in common, got seeds {list(one)} and {list(other)}")
    differences = np.array([other[seed] - one[seed] for seed in seeds])
    whole = bool(np.isfinite(differences).all())
    interval = mean_interval(differences) if whole else Interval(math.nan, math.nan, math.nan)
    deviation = float(differences.std(ddof=1)) if len(seeds) > 1 else math.nan
    needed = count_needed(interval.mean, deviation)
    return Comparison(
        first, second, study.metric, study.direction, seeds, tuple(differences.tolist()), interval, needed
    )


def _scores(trial: "Trial") -> dict[int, float]:
    return {run.seed: run.score for run in trial.runs}


def _trial(study: "Study", name: str, number: int) -> "Trial":
    for trial in study.trials:
        if trial.number == number:
            return trial
    known = f"0 to {len(study.trials) - 1}" if study.trials else "none, as the study has no trial"
    raise ValueError(f"{name} must be the number of a trial, {known}, got {number!r}")
