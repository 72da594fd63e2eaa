"""Pruned trials that are trained on, to see whether the verdict came too early."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from hyperjax.studies.pruning import Pruning
from hyperjax.studies.study import Study, Trial


class Held(NamedTuple):
    """What a study needs to go on with the trials that were pruned."""

    pruning: Pruning
    test: Callable[[tuple[Trial, ...]], Mapping[str, float]]  # metrics of the best trial on the test set

    def revive(self, study: Study, count: int) -> Study:
        """As `Study.revive`; a trial that an earlier call has trained on is not trained again."""
        kept = [trial for trial in study.pruned if self.pruning.has_state(trial.number)][:count]
        if not kept:
            gone = f", of {len(study.pruned)} pruned ones none" if study.pruned else ", got no pruned one"
            raise ValueError(f"study must have pruned trials whose states were kept to be revived{gone}")
        cohort = self.pruning.cohort
        members = [member for trial in kept for member in self.pruning.members(trial.number)]
        cohort.hold(set(cohort.moving(range(len(cohort)))) - set(members))  # also what Ctrl-C left in the middle
        cohort.release(members)
        cohort.advance()
        numbers = {trial.number for trial in kept}

        def after(trial: Trial) -> Trial:
            if trial.number not in numbers:
                return trial
            runs = tuple(cohort.run(member) for member in self.pruning.members(trial.number))
            return replace(trial, runs=runs, pruned_at=None, revived_at=trial.pruned_at)

        trials = tuple(after(trial) for trial in study.trials)
        return replace(study, trials=trials, test=self.test(trials))
