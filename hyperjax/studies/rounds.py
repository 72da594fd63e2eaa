"""Rounds of a study: a batch of trials is asked for, trained as one population, and its scores told."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hyperjax.studies.ending import BudgetSpent, Ending
from hyperjax.studies.measures import Measures
from hyperjax.studies.populations import Populations
from hyperjax.studies.pruning import Pruning
from hyperjax.studies.race import Race
from hyperjax.studies.races import Races
from hyperjax.studies.relay import relay
from hyperjax.studies.samplers import Drawn, Source
from hyperjax.studies.space import Space
from hyperjax.studies.study import Trial
from hyperjax.tasks import Task
from hyperjax.training.checkpoint import Checkpoint
from hyperjax.training.cohort_store import CohortStore
from hyperjax.training.engine import Engine
from hyperjax.training.mapping import resolved
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

if TYPE_CHECKING:
    from hyperjax.studies.archive import Archive

LEAST_ROUNDS = 16  # of a sampler that learns from the scores
MOST_AT_STAKE = 120  # seconds of training that a kill may cost; where it could cost more, states of chunks are kept
WAIT = 0.05  # seconds until a worker looks again whether the others have ended
SEGMENTS_KEPT = 10  # every so many segments, of two seconds or more


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
        archive: what there is of the study already, and where it is kept; None: nowhere.
        ending: what may end it before the source is dry; None: nothing.
        after: called after each batch; True ends it.
        ahead: whether a batch is drawn while the one before it trains.
        total: trials in all for `progress`, 0 where that is not known; None: the source's.
        measures: what the source is told; None: the metric that ranks.
        places: trials that race side by side: a batch begins as soon as so many places are free. None: each begins when
            the one before it is over.
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
        archive: "Archive | None" = None,
        ending: Ending | None = None,
        after: Callable[[], bool] | None = None,
        ahead: bool = False,
        total: int | None = None,
        measures: Measures | None = None,
        places: int | None = None,
    ):
        self.values: list[dict[str, Any]] = []
        self.recipes: list[Recipe] = []
        self.runs: dict[int, Run] = {}  # by place: trials slowest, seeds fastest
        self.conditions: dict[str, Any] = {"programs": 0, "sampling_seconds": 0.0}
        self._task, self._space, self._base, self._source = task, space, base, source
        self._seeds, self._batch, self._pruning = seeds, batch, pruning
        segment_epochs = None if pruning is None else pruning.segment_epochs
        widths = {} if archive is None else archive.widths
        self._populations = Populations(task, space, base, seeds, layout, width, segment_epochs, widths)
        self._archive, self._ending, self._after = archive, ending, after
        self._drawing = ThreadPoolExecutor(1, "hyperjax-sampler") if ahead else None
        self._drawn: Future[list[dict[str, Any]]] | None = None  # the next batch, while this one trains
        self._waiting: deque[range] = deque()  # batches that were asked for while others train the one before
        self._total = source.total if total is None else total
        self._measures = Measures(task) if measures is None else measures
        self._places = batch if places is None else places
        self._left: set[int] = set()  # trials of a relay that have ended or were pruned by now
        self._judged: dict[int, float] = {}  # scores of the trials of batches that are over

    def run(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Train until the source is dry, or something ends it; `progress` as in `study`."""
        with contextlib.suppress(BudgetSpent), self._drawing or contextlib.nullcontext():
            if self._pruning is not None and self._places > self._batch:
                self._relay(self._pruning, progress)
            else:
                self._run(progress)

    def _run(self, progress: Callable[[int, int], None] | None) -> None:
        compiled, ending = False, self._ending
        races = None if self._pruning is None else self._races(self._pruning)
        while self._has_more and not (ending is not None and ending.over) and (trials := self._next()):
            if races is None:
                trained = self._complete(trials, progress, not compiled)
            else:
                trained = self._race(races, trials, progress, not compiled)
            compiled = compiled or trained
            if self._ended(trials):
                del self.values[trials.stop :], self.recipes[trials.stop :]  # of batches behind it
                break
            self._tell(trials)
        if progress is not None and not compiled:  # all was there
            progress(len(self.recipes), self._total)

    def _races(self, pruning: Pruning) -> Races:
        return Races(pruning, self._archive, self._recalled, self._wait_for_others)

    def _relay(self, pruning: Pruning, progress: Callable[[int, int], None] | None) -> None:
        count, compiled, known = self._counted(0, progress), False, self._races(pruning)

        def begin() -> Race | None:
            nonlocal compiled
            if not self._has_more or (self._ending is not None and self._ending.over) or not (trials := self._next()):
                return None
            if (race := known.recall(trials)) is not None:
                return race
            engine = self._compiled(trials.start, trials)
            self._add(engine.conditions(0.0))
            if not compiled:
                compiled = True
                count(0)
            return pruning.begin(engine, trials, self._store(engine, trials))

        def advance(races: Sequence[Race]) -> None:
            start = time.perf_counter()
            left = pruning.advance(races, pruning.segment_epochs)
            if compiled:
                self.conditions["train_seconds"] += time.perf_counter() - start
            standing = {trial: place for race in races for trial, place in pruning.standing(race).items()}
            self._tell(left, standing)
            self._left.update(left)
            for trial in left:
                if pruning.is_trained_here(trial):
                    self._keep(trial)
            if self._ending is not None:
                self._ending.count([run for trial in left for run in self._runs(trial) or ()])
                self._ending.going = sum(race.epoch * len(race.racing) for race in races) * len(self._seeds)
            if left:
                count(len(left))

        relay(self._places, self._batch, begin, advance, lambda race: self._look_on(race.trials))

    def _tell(self, trials: Sequence[int], standing: Mapping[int, tuple[float, int]] | None = None) -> None:
        """Tell the source of trials that have ended or were pruned, and where others stand."""
        if self._drawn is not None:  # a source does one thing at a time
            wait([self._drawn])
        pruned = {trial: epoch for trial in trials if (epoch := self.pruned_at(trial)) is not None}
        self._source.tell({trial: self._scores(trial) for trial in trials}, pruned, standing)

    def _ended(self, trials: range) -> bool:
        """Whether a batch was the last, for whatever reason but a dry source."""
        if self._ending is not None:
            self._ending.count([run for trial in trials for run in self._runs(trial) or ()])
        self._look_on(trials)
        return self._ending is not None and self._ending.reason is not None

    def _look_on(self, trials: range) -> None:
        """See whether a batch that is over is the last."""
        if self._archive is not None:
            self._archive.forget_states(trials)
        if self._ending is not None and self._has_more:
            self._judged |= {trial: self._score(trial) for trial in trials}
            self._ending.judge([self._judged[trial] for trial in sorted(self._judged)])
        if self._after is not None and self._after() and self._ending is not None:
            self._ending.stop("a callback ended it")

    @property
    def _more(self) -> bool:
        return len(self.recipes) < self._source.total

    @property
    def _has_more(self) -> bool:
        """Whether there are trials behind this batch."""
        return self._more or bool(self._waiting)

    def trial(self, number: int) -> Trial | None:
        """A trial with its runs; None when one has not ended."""
        runs = self._runs(number)
        if runs is None:
            return None
        searched, values = self._space.searched, self._space.meaningful(self.values[number], self._base)
        return Trial(
            number=number,
            values={name: value for name, value in values.items() if name in searched},
            recipe=self.recipes[number],
            runs=runs,
            pruned_at=self.pruned_at(number),
            costs=self._measures.costs(self.recipes[number], runs),
        )

    def has_ended(self, number: int) -> bool:
        """Whether a trial has ended by now, as the study goes; one that is gone through again knows of later ones."""
        return self._places == self._batch or number in self._left

    @property
    def room(self) -> tuple[Recipe, ...]:
        """What the programs must hold: with it and the width, what comes later finds them compiled."""
        return self._populations.room

    @property
    def width(self) -> int | None:
        """Of the narrowest chunks that were compiled."""
        return self._populations.width

    def pruned_at(self, trial: int) -> int | None:
        """The epoch at which a trial was pruned."""
        return None if self._pruning is None else self._pruning.pruned.get(trial)

    def _runs(self, number: int) -> tuple[Run, ...] | None:
        """A trial's runs, one a seed; None when one has not ended."""
        if self._pruning is not None:
            return self._pruning.runs_of(number)
        places = range(number * len(self._seeds), (number + 1) * len(self._seeds))
        return tuple(self.runs[place] for place in places) if all(place in self.runs for place in places) else None

    def _counted(self, done: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
        """What counts trials as they end, and tells `progress`."""
        counted = [done]

        def count(ended: int) -> None:
            counted[0] += ended
            if progress is not None:
                progress(counted[0], self._total)
            if self._ending is not None:
                self._ending.look()

        return count

    def _next(self) -> range:
        """The next batch; an empty one where a budget pays for none."""
        trials = self._waiting.popleft() if self._waiting else self._ask()
        if self._drawing is not None and self._more and not self._waiting:
            self._drawn = self._drawing.submit(self._source.ask)
        return trials

    def _later(self) -> Iterator[range]:
        """Batches behind the one that others train: as many as are known beforehand, or the one that is drawn ahead."""
        yield from list(self._waiting)
        while self._more and (isinstance(self._source, Drawn) or (self._drawn is not None and not self._waiting)):
            self._waiting.append(self._ask())
            yield self._waiting[-1]

    def _ask(self) -> range:
        begin, first = time.perf_counter(), len(self.recipes)
        drawn = self._source.ask() if self._drawn is None else self._drawn.result()
        self._drawn = None
        self.conditions["sampling_seconds"] += time.perf_counter() - begin
        recipes = [self._space.recipe(values, self._base) for values in drawn]
        count = len(drawn)
        if self._ending is not None and self._pruning is None:  # what a race costs is known when it is over
            count = self._ending.affordable(recipes, len(self._seeds))
        self.values += drawn[:count]
        self.recipes += recipes[:count]
        return range(first, first + count)

    def _complete(self, trials: range, progress: Callable[[int, int], None] | None, announce: bool) -> bool:
        """Train what is lacking of a round; whether anything was."""
        trained = False
        while missing := [trial for trial in trials if not self._recall(trial)]:
            mine = missing if self._archive is None else self._archive.claimed(missing)
            if mine:
                self._train(trials.start, mine, progress, announce and not trained)
                trained = True
            else:  # the others have the rest
                self._wait_for_others()
        return trained

    def _wait_for_others(self) -> None:
        time.sleep(WAIT)
        if self._archive is not None:
            self._archive.look()
        if self._ending is not None:
            self._ending.look()

    def _race(self, races: Races, trials: range, progress: Callable[[int, int], None] | None, announce: bool) -> bool:
        """Have a round trained as far as a pruner lets it, by whichever worker; whether this one trained anything."""
        trained = False
        while (own := races.own(trials, self._later)) is not None:
            self._race_here(own, progress, announce and not trained)
            trained = True
        return trained

    def _race_here(self, trials: range, progress: Callable[[int, int], None] | None, announce: bool) -> None:
        pruning = self._pruning
        assert pruning is not None
        engine = self._compiled(trials.start, trials)
        done = pruning.count
        if progress is not None and announce:
            progress(done, self._total)
        begin, count = time.perf_counter(), self._counted(done, progress)
        race = pruning.begin(engine, trials, self._store(engine, trials))
        while not race.over:
            if left := pruning.advance([race]):
                count(len(left))
        self._add(engine.conditions(time.perf_counter() - begin))
        for trial in trials:
            self._keep(trial)
        if self._archive is not None:
            self._archive.release()

    def _store(self, engine: Engine, trials: range) -> CohortStore | None:
        """Where a race is kept, one that is long or was kept before."""
        states = None if self._archive is None else self._archive.states(trials)
        store = None if states is None else CohortStore(states)
        return store if store is not None and (store.exists() or self._at_stake(engine) > MOST_AT_STAKE) else None

    def _recall(self, number: int) -> bool:
        """Whether a trial's runs are here, or else in the archive, from which they are taken."""
        if (number + 1) * len(self._seeds) - 1 in self.runs and self._runs(number) is not None:
            return True
        runs = self._recalled(number)
        self.runs |= {number * len(self._seeds) + place: run for place, run in enumerate(runs or ())}
        return runs is not None

    def _recalled(self, number: int) -> list[Run] | None:
        if self._archive is None:
            return None
        return self._archive.recall(self._task, self.recipes[number], number, self.values[number])

    def _train(
        self, first: int, missing: list[int], progress: Callable[[int, int], None] | None, announce: bool
    ) -> None:
        """What a round lacks; or all of it where its chunks' states are kept, which go by the chunk."""
        whole = range(first, len(self.recipes))
        states = None if self._archive is None else self._archive.states(whole)
        trials = list(whole) if states is not None and states.exists() else missing
        shared = self._archive is not None and self._archive.shared
        values = [self.values[trial] for trial in whole]
        if shared and not all(map(self._populations.has_decided, values)):
            self._populations.decide(self._engine(first, whole), values)  # of the whole round, as if by one worker
        engine = self._compiled(first, trials)
        checkpoint = None
        if self._archive is not None:
            long = len(trials) == len(whole) and engine.seconds_at_stake > MOST_AT_STAKE
            if states is not None and (states.exists() or long):
                checkpoint = Checkpoint(states, SEGMENTS_KEPT)
        if progress is not None and announce:
            progress(len(self.runs) // len(self._seeds), self._total)

        def gather(place: int, run: Run) -> None:
            trial, seed = divmod(place, len(self._seeds))
            self.runs[trials[trial] * len(self._seeds) + seed] = run
            self._keep(trials[trial])
            if progress is not None and len(self.runs) % len(self._seeds) == 0:
                progress(len(self.runs) // len(self._seeds), self._total)
            if self._ending is not None:
                self._ending.look()

        self._add(engine.run(on_run=gather, checkpoint=checkpoint).conditions)
        if self._archive is not None:
            self._archive.release()

    def _compiled(self, first: int, trials: Sequence[int]) -> Engine:
        """The engine of some trials, with how its chunks are cut kept before anything is trained so."""
        engine = self._engine(first, trials)
        self._populations.compile(engine, [self.values[trial] for trial in trials])
        self.conditions["programs"] = self._populations.count
        if self._archive is not None:
            self._archive.put_widths(self._populations.widths)
        return engine

    def _engine(self, first: int, trials: Sequence[int]) -> Engine:
        """The population of some trials of the round that begins with the first."""
        lone = self._batch >= self._source.total <= len(self.recipes) - first
        together = None if lone else min(self._places, self._source.total)
        values, recipes = [self.values[trial] for trial in trials], [self.recipes[trial] for trial in trials]
        return self._populations.engine(values, recipes, together)

    @staticmethod
    def _at_stake(engine: Engine) -> float:
        """Seconds of a race that nobody loses, by its operations on one core."""
        return sum(group.trainer.seconds(one) for group in engine.groups for one in group.settings)

    def _keep(self, number: int) -> None:
        """Have a trial written that has just ended."""
        if self._archive is not None and (trial := self.trial(number)) is not None:
            self._archive.put(trial, self.values[number])

    def _add(self, conditions: dict[str, Any]) -> None:
        """Those of a round: seconds add up, and the rest are alike in all."""
        for name in ("compile_seconds", "train_seconds"):
            conditions[name] += self.conditions.get(name, 0.0)
        self.conditions = {**conditions, **{name: self.conditions[name] for name in ("programs", "sampling_seconds")}}

    def _scores(self, number: int) -> float | list[float]:
        """What the source is told of a trial."""
        trial = self.trial(number) if self._measures.further else None
        if trial is None:
            return self._score(number)
        return [trial.measured(name) for name in self._measures.metrics]

    def _score(self, trial: int) -> float:
        """Mean of a trial's seeds; NaN when one diverged."""
        return float(np.mean([run.score for run in self._runs(trial) or ()]))


def batch_for(trials: int, layout: str) -> int:
    """Trials of a round that keep this machine busy, and at least a sixteenth of all.

    Planning a round takes a tenth of a second, so there are not many small ones.
    """
    cores, devices = (os.cpu_count() or 1) * jax.process_count(), len(jax.devices())
    return max(8 * cores if resolved(layout) == "map" else 64 * devices, -(-trials // LEAST_ROUNDS))
