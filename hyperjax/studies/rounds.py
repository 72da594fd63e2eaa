"""Rounds of a study: a batch of trials is asked for, trained as one population, and its scores told."""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from hyperjax.studies.plan import plan
from hyperjax.studies.pruning import Pruning
from hyperjax.studies.samplers import Source
from hyperjax.studies.space import Space
from hyperjax.tasks import Task
from hyperjax.training.engine import Engine
from hyperjax.training.mapping import resolved
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

LEAST_ROUNDS = 16  # of a sampler that learns from the scores


class Rounds:
    """The trials of a study as they are trained.

    Args:
        task, space: as in `study`.
        base: what everything outside the space is.
        source: where trials come from.
        seeds: each recipe's.
        batch: trials of a round.
        layout, width: as in `study`.
        pruning: what prunes the trials, if anything does.
    """

    def __init__(
        self,
        task: Task,
        space: Space,
        base: Recipe | None,
        source: Source,
        seeds: Sequence[int],
        batch: int,
        layout: str = "auto",
        width: int | None = None,
        pruning: Pruning | None = None,
    ):
        self.values: list[dict[str, Any]] = []
        self.recipes: list[Recipe] = []
        self.runs: dict[int, Run] = {}  # by place: trials slowest, seeds fastest
        self.conditions: dict[str, Any] = {"programs": 0, "sampling_seconds": 0.0}
        self._task, self._space, self._base, self._source = task, space, base, source
        self._seeds, self._batch, self._layout, self._width = seeds, batch, layout, width
        self.width: int | None = None  # of the narrowest chunks that are compiled
        self._pruning = pruning
        self._programs: set[int] = set()
        self._room: dict[str, list[Recipe]] = {}  # what the programs of a structure must hold beside what was drawn

    def run(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Train until the source is dry; `progress` as in `study`."""
        while asked := self._ask():
            first = len(self.recipes) - asked
            engine = self._engine(first)
            self._programs |= {id(group.trainer) for group in engine.groups}
            self.conditions["programs"] = len(self._programs)
            engine.compile()
            self.width = min(group.width for group in engine.groups)
            if progress is not None and first == 0:
                progress(0, self._source.total)

            def gather(place: int, run: Run, before: int = len(self.runs)) -> None:
                self.runs[before + place] = run
                if progress is not None and len(self.runs) % len(self._seeds) == 0:
                    progress(len(self.runs) // len(self._seeds), self._source.total)

            if self._pruning is not None:
                self._add(self._pruning.race(engine, self._counted(first, progress)))
            else:
                self._add(engine.run(on_run=gather).conditions)
            trials = range(first, len(self.recipes))
            self._source.tell([self._score(trial) for trial in trials], [self.pruned_at(trial) for trial in trials])

    def of_trial(self, trial: int) -> tuple[Run, ...] | None:
        """A trial's runs, one a seed; None when one has not ended."""
        if self._pruning is not None:
            return self._pruning.runs_of(trial)
        places = range(trial * len(self._seeds), (trial + 1) * len(self._seeds))
        return tuple(self.runs[place] for place in places) if all(place in self.runs for place in places) else None

    @property
    def room(self) -> tuple[Recipe, ...]:
        """What the programs must hold: with it and the width, what comes later finds them compiled."""
        return tuple(recipe for recipes in self._room.values() for recipe in recipes)

    def pruned_at(self, trial: int) -> int | None:
        """The epoch at which a trial was pruned."""
        return None if self._pruning is None else self._pruning.pruned.get(trial)

    def _counted(self, done: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
        """What counts trials as they end, and tells `progress`."""
        counted = [done]

        def count(ended: int) -> None:
            counted[0] += ended
            if progress is not None:
                progress(counted[0], self._source.total)

        return count

    def _ask(self) -> int:
        begin = time.perf_counter()
        drawn = self._source.ask()
        self.conditions["sampling_seconds"] += time.perf_counter() - begin
        self.values += drawn
        self.recipes += [self._space.recipe(values, self._base) for values in drawn]
        return len(drawn)

    def _engine(self, first: int) -> Engine:
        """The population of the trials from `first` on.

        All rounds have chunks of one width, so that nothing is compiled twice, and a run's last bits do not depend on
        the round that it was in; a lone round those that suit it.
        """
        recipes = self.recipes[first:]
        structures = {self._space.structure(values): values for values in self.values[first:]}
        for name in structures.keys() - self._room.keys():
            self._room[name] = self._space.room([structures[name]], self._base)
        room = [recipe for name in structures for recipe in self._room[name]]
        ways: dict[str, Any] = {"also": room, "layout": self._layout}
        if self._pruning is not None:
            ways["segment_epochs"] = self._pruning.segment_epochs
        engine = Engine(self._task, recipes, self._seeds, width=self._width, **ways)
        if self._width is not None or len(recipes) >= self._source.total:
            return engine
        programs = plan(self._space, self._task, self._base).programs
        share = max(math.ceil(self._batch * len(self._seeds) / max(programs, 1)), 1)
        self._width = min(group.trainer.width(share) for group in engine.groups)
        return Engine(self._task, recipes, self._seeds, width=self._width, **ways)

    def _add(self, conditions: dict[str, Any]) -> None:
        """Those of a round: seconds add up, and the rest are alike in all."""
        for name in ("compile_seconds", "train_seconds"):
            conditions[name] += self.conditions.get(name, 0.0)
        self.conditions = {**conditions, **{name: self.conditions[name] for name in ("programs", "sampling_seconds")}}

    def _score(self, trial: int) -> float:
        """Mean of a trial's seeds; NaN when one diverged."""
        return float(np.mean([run.score for run in self.of_trial(trial) or ()]))


def batch_for(trials: int, layout: str) -> int:
    """Trials of a round that keep this machine busy, and at least a sixteenth of all.

    Planning a round takes a tenth of a second, so there are not many small ones.
    """
    cores, devices = (os.cpu_count() or 1) * jax.process_count(), len(jax.devices())
    return max(8 * cores if resolved(layout) == "map" else 64 * devices, -(-trials // LEAST_ROUNDS))
