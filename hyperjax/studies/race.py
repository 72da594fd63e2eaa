"""A race: a batch of trials on its way from verdict to verdict."""

import math
import time
from collections.abc import Sequence

from hyperjax.training.cohort_store import CohortStore
from hyperjax.training.record import Run


class Race:
    """Where a batch of trials stands.

    Args:
        trials: their numbers.
        known: verdicts up to this epoch are known already: all, where another process has trained them, or those before
            a state that was kept.
        store: where the states are kept between segments; None: nowhere.

    Attributes:
        epoch: that those have come to which are still in it, counted from the beginning of the race.
        left: the others, with the epochs at which they were pruned or had ended.
        kept_at: when its states were kept last, or it began, by a clock that decides no result.
    """

    def __init__(self, trials: range, known: float = 0, store: CohortStore | None = None):
        self.trials, self.known, self.store = trials, known, store
        self.epoch, self.left = 0, dict[int, int]()
        self.kept_at = time.monotonic()

    @property
    def is_recalled(self) -> bool:
        """Whether it is gone through again from its records, and nothing is trained."""
        return self.known == math.inf

    @property
    def racing(self) -> list[int]:
        """The trials that are still in it, as far as it has come."""
        return [trial for trial in self.trials if trial not in self.left]

    @property
    def over(self) -> bool:
        """Whether all have left."""
        return len(self.left) == len(self.trials)


def ended_at(runs: Sequence[Run], segment_epochs: int) -> int:
    """The epoch at which a trial that was not pruned has left its race: the end of its last segment.

    It follows from what is kept of a run, so that a race that is gone through again from its records takes as long.
    """
    validations = max(len(run.epochs) + run.diverged for run in runs)
    return math.ceil(validations / segment_epochs) * segment_epochs
