"""Trials from Optuna's samplers: ask for a batch, tell its scores, ask for the next.

Every name of a space is drawn in every trial, also where it cannot matter (a momentum beside Adam), and what cannot
matter is left out of the recipe afterwards. Drawn by need instead, such a name would be missing from some trials, and
the multivariate TPE, CMA-ES, the Gaussian process and quasi-random sequences model only names that all trials have:
they would draw it at random for ever. A number that nothing read adds noise to what a sampler learns of it, no bias.
"""

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hyperjax.studies.distributions import Label, from_params, to_optuna, to_params
from hyperjax.studies.space import Space

COMPLETE_ALONE = ("gp", "nsga2")  # learn nothing from trials that were pruned
MOST_REFUSED = 20  # samples in a row that break a constraint, before one is drawn at random


class Asked:
    """A study's trials from a sampler of Optuna's, over a study in memory.

    A sampler given by name is made anew for each batch, from the seed and the batch's number. So the trials follow from
    the seed, the batch's size and the scores alone, and a study can be gone through again from its table.

    Args:
        sampler: a name of `SAMPLERS`, or an object of `optuna.samplers`, used as it is.
        space, seed: as in `study`.
        total: trials in all.
        batch: trials that are asked for together.
        direction: "max" or "min", whichever score is better; of several metrics, one each.
        known: trials that an object need not be asked for, since it was before: their values in Optuna's words, by
            number. A sampler by name gives them again.
        turns: values of some names that trials take in turn, whatever the sampler would give them; none: it gives all.

    >>> from hyperjax.studies.ranges import uniform
    >>> from hyperjax.studies.space import space
    >>> source = Asked("tpe", space(dropout=uniform(0.0, 0.5)), 24, 8, 0, "min")
    >>> while batch := source.ask():
    ...     first = len(source.told)
    ...     source.tell({first + n: (values["dropout"] - 0.3) ** 2 for n, values in enumerate(batch)})
    >>> len(source.told), bool(min(score for _, score in source.told) < 0.001)
    (24, True)
    """

    def __init__(
        self,
        sampler: str | BaseSampler,
        space: Space,
        total: int,
        batch: int,
        seed: int,
        direction: str | Sequence[str],
        known: Mapping[int, Mapping[str, Label]] | None = None,
        turns: Sequence[Mapping[str, Any]] = (),
    ):
        self.total, self.told = total, list[tuple[dict[str, Any], Any]]()
        self._sampler, self._space, self._batch, self._seed = sampler, space, batch, seed
        self._known = {} if known is None or isinstance(sampler, str) else known
        self._turns = turns or ({},)
        self._worst = [-math.inf if way == "max" else math.inf for way in each(direction)]
        self._distributions = to_optuna(space)
        self._open: dict[int, tuple[optuna.Trial, dict[str, Any]]] = {}  # trials that are not told, the oldest first
        self._standing: Mapping[int, tuple[float, int]] = {}  # those of them that have come as far
        self._batches = self._asked = 0
        self._direction, self._study = direction, study_in_memory(direction)

    def ask(self) -> list[dict[str, Any]]:
        """The values of the next batch; none when all trials were asked for or the sampler has stopped."""
        count = 0 if self._study.stopped else min(self._batch, self.total - self._asked)
        rng = np.random.default_rng([self._seed, self._batches])
        sampler = self._sampler
        numbers = range(self._asked, self._asked + count)
        with quiet():
            self._study.sampler = self._built(sampler) if isinstance(sampler, str) else sampler
            seen = self._as_it_stands() if self._standing and sampler == "tpe" else self._study
            batch = [
                self._again(number) if number in self._known else self._one(rng, number, seen) for number in numbers
            ]
        self._batches, self._asked = self._batches + 1, self._asked + count
        self._open |= zip(numbers, batch, strict=True)
        return [values for _, values in batch]

    def tell(
        self,
        scores: Mapping[int, float | Sequence[float]],
        pruned: Mapping[int, int] | None = None,
        standing: Mapping[int, tuple[float, int]] | None = None,
    ) -> None:
        """What became of some trials.

        What diverged is told as infinitely bad, not as failed: TPE passes failed trials over, and would go on where
        training blows up; CMA-ES and NSGA-II wait until a generation is full of trials that did not fail. What was
        pruned is told as such, which TPE ranks behind the rest, later ones first; whoever passes those over hears of it
        as of any other.

        Args:
            scores, pruned: as in `Source`.
            standing: as there. Optuna's TPE takes whatever goes on to be bad, and those are the ones that no verdict
                found so: it sees them as pruned where they are.
        """
        ended = pruned or {}
        with quiet():
            for number, score in scores.items():
                trial, values = self._open.pop(number)
                given = list(np.atleast_1d(score).astype(float))
                values_told = self._worst if any(map(math.isnan, given)) else given
                if number not in ended or self._sampler in COMPLETE_ALONE:
                    self._study.tell(trial, values_told)
                else:
                    trial.report(values_told[0], ended[number])
                    self._study.tell(trial, state=TrialState.PRUNED)
                self.told.append((values, score))
        self._standing = standing or {}

    def _as_it_stands(self) -> optuna.Study:
        """The study with trials that go on as if they had been pruned where they are, to draw from."""
        there = {self._open[number][0].number: place for number, place in self._standing.items()}

        def shown(trial: FrozenTrial) -> FrozenTrial:
            if trial.number not in there:
                return trial
            score, epoch = there[trial.number]
            own: dict[str, Any] = {"params": trial.params, "distributions": trial.distributions}
            return create_trial(state=TrialState.PRUNED, intermediate_values={epoch: score}, value=score, **own)

        seen = study_in_memory(self._direction)
        seen.add_trials([shown(trial) for trial in self._study.get_trials(deepcopy=False)])
        seen.sampler, self._study.sampler = self._study.sampler, optuna.samplers.RandomSampler(0)
        return seen

    def _again(self, number: int) -> tuple[optuna.Trial, dict[str, Any]]:
        """A trial that is known."""
        trial = self._same(self._known[number])
        return trial, from_params(self._space, trial.params)

    def _one(self, rng: np.random.Generator, number: int, seen: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
        """A trial that keeps the constraints, drawn from what is `seen` of the study.

        One that breaks them has failed, which no sampler learns from: so the rest is what it would draw within them.
        """
        given = self._turns[number % len(self._turns)]
        for _ in range(MOST_REFUSED):
            if given:
                seen.enqueue_trial(to_params(self._space, given))
            trial = seen.ask(self._distributions)
            values = from_params(self._space, trial.params)
            if self._space.constraints.broken(values) is None:
                return (trial if seen is self._study else self._same(trial.params)), values
            seen.tell(trial, state=TrialState.FAIL)
        values = self._space.sample(rng, given)
        return self._same(to_params(self._space, values)), values

    def _same(self, params: Mapping[str, Label]) -> optuna.Trial:
        """A trial of the study with parameters that are known."""
        self._study.enqueue_trial(dict(params))
        return self._study.ask(self._distributions)

    def _built(self, name: str) -> BaseSampler:
        """A sampler for this batch; where there are generations, one is a batch."""
        own, seed = (int(np.random.SeedSequence([self._seed, n]).generate_state(1)[0]) for n in (self._batches, 0))
        samplers, size = optuna.samplers, max(self._batch, 4)
        if name == "quasi_random":
            return samplers.QMCSampler(scramble=True, seed=seed)  # one sequence: a trial's number says where it is
        if name == "gp":
            return samplers.GPSampler(seed=own)
        if name == "nsga2":
            return samplers.NSGAIISampler(population_size=size, seed=own)
        tpe = samplers.TPESampler(seed=own, multivariate=name == "tpe", constant_liar=True)
        if name == "cmaes":  # which knows numbers alone: choices are left to TPE
            rest: dict[str, Any] = {"independent_sampler": tpe, "warn_independent_sampling": False}
            rest["consider_pruned_trials"] = True
            return samplers.CmaEsSampler(popsize=size, seed=own, **rest)
        return tpe


class _Stopping(optuna.Study):
    """A study that remembers when its sampler, as a grid does, has nothing left."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


def study_in_memory(direction: str | Sequence[str], pruner: BasePruner | None = None) -> _Stopping:
    """A study of Optuna's that is kept nowhere."""
    storage = optuna.storages.InMemoryStorage()
    with quiet():
        storage.create_new_study(ways(direction), "hyperjax")
    return _Stopping("hyperjax", storage, pruner=pruner or optuna.pruners.NopPruner())


def each(direction: str | Sequence[str]) -> Sequence[str]:
    """The directions of one metric or several."""
    return [direction] if isinstance(direction, str) else direction


def ways(direction: str | Sequence[str]) -> list[StudyDirection]:
    """Directions in Optuna's words."""
    return [StudyDirection.MAXIMIZE if way == "max" else StudyDirection.MINIMIZE for way in each(direction)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing: its log of studies in memory, and its warnings of what was chosen here with open eyes."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "Clip non-finite values")  # as the Gaussian process takes what diverged
            yield
    finally:
        logger.setLevel(level)
