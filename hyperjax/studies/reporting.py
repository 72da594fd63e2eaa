"""A pruner of Optuna's: it sees a study in memory, to which every epoch's scores are reported."""

import math

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from hyperjax.studies.asking import quiet, study_in_memory
from hyperjax.studies.pruners import Standing


class Reported:
    """Trials that a pruner of Optuna's judges, one after another, as if a process trained each of them in step.

    A trial's number there is its number here, and its steps are epochs, from 1. A batch is complete only when the next
    one begins: so a pruner that compares with complete trials, as the median does, prunes nothing in the first.

    Args:
        pruner: an object of `optuna.pruners`.
        direction: "max" or "min", whichever score is better.
    """

    def __init__(self, pruner: BasePruner, direction: str):
        self._study = study_in_memory(direction, pruner)
        self._trials: list[optuna.Trial] = []
        self._told: set[int] = set()

    def rungs(self, epochs: int) -> list[int]:
        """As in `Pruner`: every epoch but the last."""
        return list(range(1, epochs))

    def losers(self, standing: Standing) -> np.ndarray:
        """As in `Pruner`."""
        found = np.zeros(len(standing.racing), bool)
        with quiet():
            while len(self._trials) < len(standing.racing):
                self._trials.append(self._study.ask())
            for trial in np.flatnonzero(~standing.racing).tolist():
                self._end(trial, standing)
            for trial in np.flatnonzero(standing.racing).tolist():
                handle = self._trials[trial]
                handle.report(float(standing.scores[trial, -1]), standing.epoch)
                found[trial] = handle.should_prune()
                if found[trial]:
                    self._told.add(trial)
                    self._study.tell(handle, state=TrialState.PRUNED)
        return found

    def _end(self, trial: int, standing: Standing) -> None:
        """A trial that goes on no longer is told to the study, once."""
        if trial in self._told:
            return
        self._told.add(trial)
        scores = standing.scores[trial][np.isfinite(standing.scores[trial])]
        whole = len(scores) == standing.scores.shape[1] and not standing.pruned[trial]
        if whole and math.isfinite(scores[-1]):
            self._study.tell(self._trials[trial], float(scores[-1]))
        else:
            self._study.tell(self._trials[trial], state=TrialState.FAIL)
