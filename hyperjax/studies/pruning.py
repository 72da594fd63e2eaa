"""A study's trials as a pruner sees them: batches train to an epoch, the losers are held, the rest goes on."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hyperjax.studies.pruners import RULES, Standing, is_optunas, pruner_of
from hyperjax.studies.race import Race, ended_at
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
        self._states: dict[int, tuple[int, float]] = {}  # of the pruned ones that have one: its bytes, and the gain

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

    def recall(self, trials: range, runs: Sequence[tuple[Run, ...]], pruned: Mapping[int, int]) -> Race:
        """Take in a batch whose race is over, in another process; the race, to be gone through again.

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
        lengths = [len(run.epochs) if run.finished and not run.diverged else None for own in runs for run in own]
        self._before |= zip(trials, self._means(trials, found, lengths, self._epochs), strict=True)
        return Race(trials, known=math.inf)

    def begin(self, engine: Engine, trials: range, store: CohortStore | None = None) -> Race:
        """A race of the trials of a batch.

        Args:
            engine: with the batch's recipes, compiled, made with our `segment_epochs`.
            trials: their numbers.
            store: where the batch is kept between its segments, and goes on from; None: nowhere. A pruner of Optuna's
                remembers what it was told, so its races are kept nowhere.
        """
        if self._cohort is None:
            self._cohort = Cohort(engine)
            members = range(len(self._cohort))
        else:
            members = self._cohort.add(engine)
        firsts = range(members.start, members.stop, self._seeds)
        self._members |= {trial: range(at, at + self._seeds) for trial, at in zip(trials, firsts, strict=True)}
        store = None if is_optunas(self._given) else store
        return Race(trials, 0 if store is None else self._go_on(store, trials, members), store)

    def advance(self, races: Sequence[Race], epochs: int | None = None) -> list[int]:
        """Train all that race, side by side, and judge those of whom a verdict is due; which trials have left by then.

        Args:
            races: that are not over.
            epochs: for as many, a multiple of our `segment_epochs`; None: until a verdict is due or a race ends, or
                for a segment where one is kept.
        """
        if epochs is None:
            kept = any(race.store is not None for race in races)
            epochs = self.segment_epochs if kept else min(self._stop(race.epoch) - race.epoch for race in races)
        here = {trial: race.epoch + epochs for race in races for trial in race.racing if trial in self._members}
        if here:
            self.cohort.advance({member: epoch for trial, epoch in here.items() for member in self.members(trial)})
        left: list[int] = []
        for race in races:
            race.epoch += epochs
            own = self._look(race)
            if race.epoch in self.rungs and race.epoch > race.known and not race.over:
                self._judge(race)
                own += self._look(race)
            if race.over and not race.is_recalled:
                self._before |= zip(race.trials, self._scores(race.trials, self._epochs), strict=True)
            if race.store is not None and not race.over:
                self._keep(race)
            elif not race.is_recalled:  # what is kept elsewhere is kept whole
                self._make_room(race.left)
            left += own
        return sorted(left)

    def standing(self, race: Race) -> dict[int, tuple[float, int]]:
        """The scores of trials that are still in a race, and the epoch at which they have them."""
        racing, epoch = race.racing, race.epoch
        if not racing or epoch == 0:
            return {}
        rows = self._before if race.is_recalled else dict(zip(racing, self._scores(racing, epoch), strict=True))
        found = {trial: float(rows[trial][epoch - 1]) for trial in racing}
        return {trial: (score, epoch) for trial, score in found.items() if math.isfinite(score)}

    def _stop(self, epoch: int) -> int:
        """The next epoch at which a race that has come to one is judged or ends."""
        end = math.ceil(self._epochs / self.segment_epochs) * self.segment_epochs
        return min((rung for rung in self.rungs if rung > epoch), default=max(end, epoch + self.segment_epochs))

    def _look(self, race: Race) -> list[int]:
        """Who has left a race since it was looked at last."""
        left: dict[int, int] = {}
        for trial in race.racing:
            epoch = self.pruned.get(trial)
            if epoch is None and not self._racing(trial):
                runs = self.runs_of(trial)
                assert runs is not None
                epoch = ended_at(runs, self.segment_epochs)
            if epoch is not None and epoch <= race.epoch:
                left[trial] = epoch
        race.left |= left
        return list(left)

    def _go_on(self, store: CohortStore, trials: range, members: range) -> int:
        """Put a batch where its store has it; the epoch at which it was judged last."""
        told = store.load(self.cohort, members)
        if told is None:
            return 0
        self.pruned |= {int(trial): epoch for trial, epoch in told["pruned"].items()}
        self.cohort.hold([m for trial in trials if trial in self.pruned for m in self.members(trial)])
        return int(told["judged"])

    def _keep(self, race: Race) -> None:
        """Keep the states of a batch, now and then; when it is changes no result."""
        assert race.store is not None
        if time.monotonic() - race.kept_at > SECONDS_BETWEEN_STATES:
            told = {str(trial): self.pruned[trial] for trial in race.trials if trial in self.pruned}
            members = range(self.members(race.trials[0]).start, self.members(race.trials[-1]).stop)
            judged = max((rung for rung in self.rungs if rung <= race.epoch), default=0)
            race.store.save(self.cohort, members, {"judged": max(judged, race.known), "pruned": told})
            race.kept_at = time.monotonic()

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

    def is_trained_here(self, trial: int) -> bool:
        """Whether this process trains a trial, or has, and did not take it in as another one left it."""
        return trial in self._members

    def has_state(self, trial: int) -> bool:
        """Whether a trial can be trained on."""
        return self.is_trained_here(trial) and trial not in self.dropped

    def _racing(self, trial: int) -> bool:
        """Whether a trial that is trained here would go on."""
        here = self.is_trained_here(trial) and trial not in self.pruned
        return here and bool(self.cohort.moving(self.members(trial)))

    def _judge(self, race: Race) -> None:
        trials, epoch = race.trials, race.epoch
        racing = [trial for trial in race.racing if self._racing(trial)]
        if not racing:
            return
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

    def _scores(self, trials: Sequence[int], epochs: int) -> np.ndarray:
        """f64[trials, epochs], means over seeds; a run that has ended stays at its last, one that diverged has none."""
        members = [member for trial in trials for member in self.members(trial)]
        cohort, moving = self.cohort, set(self.cohort.moving(members))
        ended = [member not in moving and not cohort.diverged(member) for member in members]
        lengths = [cohort.validations(m) if over else None for m, over in zip(members, ended, strict=True)]
        return self._means(trials, cohort.scores(members)[:, :epochs], lengths, epochs)

    def _means(
        self, trials: Sequence[int], scores: np.ndarray, lengths: Sequence[int | None], epochs: int
    ) -> np.ndarray:
        """f64[trials, epochs] of scores [runs, at most so many epochs]; `lengths` of runs that came to an end."""
        found = np.pad(scores, ((0, 0), (0, epochs - scores.shape[1])), constant_values=np.nan)
        for place, row in enumerate(found):
            length = lengths[place]
            if (end := self.pruned.get(trials[place // self._seeds])) is not None:
                row[end:] = np.nan
            elif length:
                row[length:] = row[min(length, epochs) - 1]
        means: np.ndarray = found.reshape(len(trials), self._seeds, epochs).mean(1)
        return means

    def _make_room(self, trials: Iterable[int]) -> None:
        """Count the states of those of some trials that were pruned, and drop the worst of all until the rest fits."""
        cohort, states = self.cohort, self._states
        for trial in trials:
            if trial in self.pruned and trial not in states and trial not in self.dropped:
                members = self.members(trial)
                score = self._sign * float(np.mean([cohort.run(member).score for member in members]))
                states[trial] = sum(map(cohort.bytes, members)), -math.inf if math.isnan(score) else score
        total = sum(size for size, _ in states.values())
        for trial in sorted(states, key=lambda trial: (states[trial][1], -trial)) if total > self._kept else []:
            if total <= self._kept:
                break
            cohort.drop(self.members(trial))
            self.dropped.append(trial)
            total -= states.pop(trial)[0]


def longest(space: Space, base: Recipe | None) -> int:
    """Epochs of the longest trial that a space may give, whole ones."""
    entry = space.entries.get("epochs", (base or Recipe()).epochs)
    most = entry.high if isinstance(entry, Range) else max(entry) if isinstance(entry, list) else entry
    return math.ceil(most)
