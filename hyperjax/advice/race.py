"""Candidates that are trained with the same seeds, round by round: the better ones with more."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hyperjax.advice.clock import Clock
from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.training.engine import Engine
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

KEPT = 3  # of so many candidates one goes on to the next round
FEWEST = 4  # that another round is for
TOGETHER = 4  # members that chunks must suit


class Track:
    """Populations of the same few programs, one after another, and what they cost.

    Args:
        task: what is learnt.
        room: all recipes that may come.
        progress: called with the number of runs done.

    Attributes:
        seconds: of training, of all runs together, by batch size; epochs: that they had.
        runs: how many.
    """

    def __init__(self, task: Task, room: Sequence[Recipe], progress: Callable[[int], None] | None = None):
        self.task, self._room, self._progress = task, list(dict.fromkeys(room)), progress
        planned = Engine(task, self._room).groups  # one width for all, so that nothing is compiled twice
        self._width = min(group.trainer.width(TOGETHER) for group in planned)
        self.seconds: dict[int, float] = {}
        self.epochs: dict[int, float] = {}
        self.runs = 0

    def train(self, recipes: Sequence[Recipe], seeds: Sequence[int]) -> list[tuple[Run, ...]]:
        """Each recipe's runs, one a seed."""
        found: dict[Recipe, tuple[Run, ...]] = {}
        for size in dict.fromkeys(int(recipe.batch_size) for recipe in recipes):  # apart, to time them
            own = [recipe for recipe in recipes if recipe.batch_size == size]
            engine = Engine(self.task, own, seeds, also=self._room, width=self._width)
            engine.compile()
            runs = engine.run()
            for place, recipe in enumerate(own):
                found[recipe] = tuple(runs[place * len(seeds) : (place + 1) * len(seeds)])
            self.seconds[size] = self.seconds.get(size, 0.0) + float(runs.conditions["train_seconds"])
            self.epochs[size] = self.epochs.get(size, 0.0) + len(seeds) * sum(recipe.epochs for recipe in own)
            self.runs += len(runs)
            if self._progress is not None:
                self._progress(self.runs)
        return [found[recipe] for recipe in recipes]

    def extend(self, entries: "Sequence[Entry]", seeds: Sequence[int]) -> None:
        """Train entries with more seeds."""
        for entry, runs in zip(entries, self.train([entry.recipe for entry in entries], seeds), strict=True):
            entry.runs |= {run.seed: run for run in runs}

    def cost(self, recipe: Recipe) -> float:
        """Seconds of a run, by what runs have cost; 0 before any has."""
        size = int(recipe.batch_size)
        size = size if self.epochs.get(size) else next(iter(self.epochs), size)
        return recipe.epochs * self.seconds.get(size, 0.0) / max(self.epochs.get(size, 0.0), 1e-9)


@dataclass(eq=False)
class Entry:
    """A candidate, and its runs so far."""

    recipe: Recipe
    runs: dict[int, Run] = field(default_factory=dict)  # by seed

    @property
    def score(self) -> float:
        """Mean of the ranking metric, by validation; NaN when a run diverged."""
        return float(np.mean([run.score for run in self.runs.values()])) if self.runs else math.nan

    def over(self, seeds: Sequence[int]) -> "Entry":
        """The same with the runs of some seeds alone."""
        return Entry(self.recipe, {seed: self.runs[seed] for seed in seeds})

    def order(self, direction: str) -> tuple[float, float]:
        """Smaller for a better one; of equal scores the smaller validation loss counts."""
        sign = -1.0 if direction == "max" else 1.0
        losses = [run.metrics["validation_loss"] for run in self.runs.values()]
        loss = float(np.mean([each[-1] if len(each) else math.nan for each in losses])) if losses else math.nan
        return (_last(sign * self.score), _last(loss))

    def gain(self, other: "Entry", direction: str) -> Interval:
        """How much better it is than another with the seeds that both had, above 0 for better; NaN if one diverged."""
        sign = 1.0 if direction == "max" else -1.0
        both = [seed for seed in self.runs if seed in other.runs]
        gains = np.array([sign * (self.runs[seed].score - other.runs[seed].score) for seed in both])
        return mean_interval(gains) if np.isfinite(gains).all() else Interval(math.nan, math.nan, math.nan)


def race(
    track: Track, entries: Sequence[Entry], default: Entry, first: int, seeds: int, clock: Clock
) -> tuple[list[Entry], int]:
    """Train candidates with some seeds, the best third of them with as many more, until a few are left.

    Args:
        track: trains them.
        entries: the candidates; default: one of them, which takes part in every round.
        first: of the seeds; seeds: of each round.
        clock: of the advice; a round that would take more than half of what is left is not begun.
    Returns: those of the last round, best first by this race's seeds, and the first seed that none of them had.
    """
    going, begin = list(entries), first
    while True:
        track.extend(going, range(first, first + seeds))
        first += seeds
        ranked = best_first(going, track.task.direction, range(begin, first))
        kept = ranked[: len(going) // KEPT]
        if len(kept) <= FEWEST:
            return ranked, first
        going = [*kept, *([] if default in kept else [default])]
        if sum(track.cost(entry.recipe) for entry in going) * seeds > clock.left / 2:
            return ranked, first


def best_first(entries: Sequence[Entry], direction: str, seeds: Sequence[int] | None = None) -> list[Entry]:
    """Entries by their scores with some seeds, or all that each had; of equals the earlier one first.

    Whoever was chosen for its scores has luck in them: only with seeds that all had afterwards is it like the others.
    """
    return sorted(entries, key=lambda entry: (entry if seeds is None else entry.over(seeds)).order(direction))


def _last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
