"""A study's trials as a pruner sees them: batches train to an epoch, the losers are held, the rest goes on."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hyperjax.studies.pruners import RULES, Standing, is_optunas, pruner_of
from hyperjax.studies.ranges import Range
from hyperjax.studies.space import Space
from hyperjax.training.cohort import Cohort
from hyperjax.training.cohort_store import CohortStore
from hyperjax.training.engine import Engine
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

SECONDS_BETWEEN_STATES = 30.0  # of a race, where they are kept
STATES_KEPT = 2**30  # bytes for the states of pruned trials, unless somebody says otherwise


class Pruning:
    """The trials that a pruner judges, those of this process all in one cohort.

    What it decides follows from the scores alone: a batch is judged when all of it has reached an epoch. A trial of
    several seeds is judged by their mean and goes as a whole; one of which a seed diverged is out at the next verdict.
    Those that are pruned keep their states, the best of them, as far as there is memory for them.

    Args:
        pruner: as in `study`, but None.
        epochs: of the longest trial that there may be.
        seeds: runs a trial.
        direction: "max" or "min", whichever score is better.
        kept: bytes for the states of pruned trials; None: a GiB.
    """

    def __init__(self, pruner: Any, epochs: int, seeds: int, direction: str, kept: int | None = None):
        self._pruner, self._given = pruner_of(pruner, direction), pruner
        self.rungs = [epoch for epoch in self._pruner.rungs(epochs) if epoch < epochs]
        self.segment_epochs = math.gcd(*self.rungs) or epochs
        self.pruned: dict[int, int] = {}  # trial -> epoch
        self.dropped: list[int] = []  # trials whose states there was no memory for, the first that went first
        self._kept = STATES_KEPT if kept is None else kept
        self._epochs, self._seeds = epochs, seeds
        self._sign = 1.0 if direction == "max" else -1.0
        self._cohort: Cohort | None = None
        self._members: dict[int, range] = {}  # of the cohort, by trial
        self._recalled: dict[int, tuple[Run, ...]] = {}  # trials that another process has trained
        self._before: dict[int, np.ndarray] = {}  # scores of the trials of batches that are over

    @property
    def conditions(self) -> dict[str, Any]:
        """The rule, and how many pruned trials there was no memory for."""
        given = self._given
        shown = repr(given) if isinstance(given, RULES) else given if isinstance(given, str) else type(given).__name__
        return {"pruner": shown, "states_dropped": len(self.dropped)}

    @property
    def cohort(self) -> Cohort:
        """The runs of all trials that were trained here."""
        assert self._cohort is not None
        return self._cohort

    def recall(self, trials: range, runs: Sequence[tuple[Run, ...]], pruned: Mapping[int, int]) -> None:
        """Take in a batch whose race is over, in another process.

        Args:
            trials: their numbers; runs: of each, one a seed.
            pruned: the epochs at which they, and perhaps others, were pruned.
        """
        self._recalled |= zip(trials, runs, strict=True)
        self.pruned |= {trial: epoch for trial, epoch in pruned.items() if trial in trials}
        rows = [run.metrics[run.metric][: self._epochs] for own in runs for run in own]
        found = np.full((len(rows), self._epochs), np.nan)
        for whole, row in zip(found, rows, strict=True):
            whole[: len(row)] = row
        ended = [run.finished and not run.diverged for own in runs for run in own]
        self._before |= zip(trials, self._means(trials, found, ended, self._epochs), strict=True)

    def race(
        self, engine: Engine, trials: range, on_end: Callable[[int], None], store: CohortStore | None = None
    ) -> dict[str, Any]:
        """Train the trials of a batch, as far as they get.

        Args:
            engine: with the batch's recipes, made with our `segment_epochs`.
            trials: their numbers.
            on_end: called with how many trials have ended or were pruned since it was called last.
            store: where the batch is kept between its segments, and goes on from; None: nowhere. A pruner of Optuna's
                remembers what it was told, so its races are kept nowhere.
        Returns: how it was done.
        """
        engine.compile()
        begin = time.perf_counter()
        if self._cohort is None:
            self._cohort = Cohort(engine)
            members = range(len(self._cohort))
        else:
            members = self._cohort.add(engine)
        firsts = range(members.start, members.stop, self._seeds)
        self._members |= {trial: range(at, at + self._seeds) for trial, at in zip(trials, firsts, strict=True)}
        racing = list(trials)
        store = None if is_optunas(self._given) else store
        judged = 0 if store is None else self._go_on(store, trials, members)
        kept = time.monotonic()

        def look() -> None:
            before = len(racing)
            racing[:] = [trial for trial in racing if self._racing(trial)]
            if len(racing) < before:
                on_end(before - len(racing))

        def keep() -> None:
            nonlocal kept
            if store is not None and time.monotonic() - kept > SECONDS_BETWEEN_STATES:  # when it is changes no result
                told = {str(trial): self.pruned[trial] for trial in trials if trial in self.pruned}
                store.save(self.cohort, members, {"judged": judged, "pruned": told})
                kept = time.monotonic()

        def advance(begin: int, end: float) -> None:
            stops = range(begin + self.segment_epochs, int(min(end, self._epochs)), self.segment_epochs)
            for epoch in stops if store is not None else ():
                self.cohort.advance(epoch)
                keep()
            self.cohort.advance(end)

        look()
        for epoch in self.rungs:
            if epoch <= judged:
                continue
            advance(judged, epoch)
            look()
            if racing:
                self._judge(trials, racing, epoch)
                look()
            judged = epoch
            keep()
        advance(judged, math.inf)
        look()
        self._before |= zip(trials, self._scores(trials, self._epochs), strict=True)
        self._make_room()
        return engine.conditions(time.perf_counter() - begin)

    def _go_on(self, store: CohortStore, trials: range, members: range) -> int:
        """Put a batch where its store has it; the epoch at which it was judged last."""
        told = store.load(self.cohort, members)
        if told is None:
            return 0
        self.pruned |= {int(trial): epoch for trial, epoch in told["pruned"].items()}
        self.cohort.hold([m for trial in trials if trial in self.pruned for m in self.members(trial)])
        return int(told["judged"])

    def runs_of(self, trial: int) -> tuple[Run, ...] | None:
        """A trial's runs, one a seed; None while it races."""
        if trial in self._recalled:
            return self._recalled[trial]
        if trial not in self._members or self._racing(trial):
            return None
        return tuple(self.cohort.run(member) for member in self.members(trial))

    def is_over(self, trials: range) -> bool:
        """Whether a batch's race is over, here or as it was taken in."""
        return all(trial in self._before for trial in trials)

    @property
    def count(self) -> int:
        """Trials whose races are over."""
        return len(self._before)

    def members(self, trial: int) -> range:
        """A trial's runs among the cohort's members."""
        return self._members[trial]

    def has_state(self, trial: int) -> bool:
        """Whether a trial can be trained on."""
        return trial in self._members and trial not in self.dropped

    def _racing(self, trial: int) -> bool:
        return trial not in self.pruned and bool(self.cohort.moving(self.members(trial)))

    def _judge(self, trials: range, racing: Sequence[int], epoch: int) -> None:
        rows = self._before | dict(zip(trials, self._scores(trials, epoch), strict=True))
        scores = np.full((trials.stop, epoch), np.nan)
        for trial in range(trials.stop):  # where others train batches before this one, those are no numbers
            own = rows.get(trial, scores[trial])[:epoch]
            scores[trial, : len(own)] = own
        numbers = np.arange(trials.stop)
        standing = Standing(
            epoch,
            self._epochs,
            scores,
            self._sign,
            batch=numbers >= trials.start,
            racing=np.isin(numbers, racing),
            pruned=np.isin(numbers, list(self.pruned)),
        )
        lost = self._pruner.losers(standing) | self._diverged(trials)
        out = [int(trial) for trial in np.flatnonzero(lost & standing.racing)]
        self.pruned |= dict.fromkeys(out, epoch)
        self.cohort.hold([member for trial in out for member in self.members(trial)])

    def _diverged(self, trials: range) -> np.ndarray:
        """bool[all trials], those of a batch of which a run diverged."""
        found = np.zeros(trials.stop, bool)
        for trial in trials:
            found[trial] = any(self.cohort.diverged(member) for member in self.members(trial))
        return found

    def _scores(self, trials: range, epochs: int) -> np.ndarray:
        """f64[trials, epochs], means over seeds; a run that has ended stays at its last, one that diverged has none."""
        members = [member for trial in trials for member in self.members(trial)]
        moving = set(self.cohort.moving(members))
        ended = [member not in moving and not self.cohort.diverged(member) for member in members]
        return self._means(trials, self.cohort.scores(members)[:, :epochs], ended, epochs)

    def _means(self, trials: range, scores: np.ndarray, ended: Sequence[bool], epochs: int) -> np.ndarray:
        """f64[trials, epochs] of scores [runs, at most so many epochs]; `ended` by themselves, without diverging."""
        found = np.pad(scores, ((0, 0), (0, epochs - scores.shape[1])), constant_values=np.nan)
        for place, row in enumerate(found):
            seen = np.flatnonzero(np.isfinite(row))
            if (end := self.pruned.get(trials[place // self._seeds])) is not None:
                row[end:] = np.nan
            elif ended[place] and len(seen):
                row[seen[-1] + 1 :] = row[seen[-1]]
        means: np.ndarray = found.reshape(len(trials), self._seeds, epochs).mean(1)
        return means

    def _make_room(self) -> None:
        """Drop the worst of the pruned trials that have a state, until the rest fits."""
        cohort = self.cohort
        here = [trial for trial in self.pruned if trial in self._members]
        need = {trial: sum(map(cohort.bytes, self.members(trial))) for trial in here}
        held = [trial for trial in here if need[trial]]
        total = sum(need.values())

        def worst(trial: int) -> tuple[bool, float, int]:
            score = self._sign * float(np.mean([cohort.run(member).score for member in self.members(trial)]))
            return (False, 0.0, -trial) if math.isnan(score) else (True, score, -trial)

        for trial in sorted(held, key=worst) if total > self._kept else []:
            if total <= self._kept:
                break
            cohort.drop(self.members(trial))
            self.dropped.append(trial)
            total -= need[trial]


def longest(space: Space, base: Recipe | None) -> int:
    """Epochs of the longest trial that a space may give, whole ones."""
    entry = space.entries.get("epochs", (base or Recipe()).epochs)
    most = entry.high if isinstance(entry, Range) else max(entry) if isinstance(entry, list) else entry
    return math.ceil(most)
