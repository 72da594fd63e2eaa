"""Which of several workers races which batch, where a pruner judges each batch as a whole."""

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hyperjax.studies.pruning import Pruning
from hyperjax.studies.race import Race
from hyperjax.training.record import Run

if TYPE_CHECKING:
    from hyperjax.studies.archive import Archive


class Races:
    """The races of a study, each run by one worker: a verdict needs all that it compares.

    Args:
        pruning: what knows which races are over.
        archive: where workers find what others have trained; None: there is one worker, which keeps nothing.
        recalled: the runs of a trial as they are kept, None where it has not ended.
        wait: waits a moment, and looks at what others have written since.
    """

    def __init__(
        self,
        pruning: Pruning,
        archive: "Archive | None",
        recalled: Callable[[int], list[Run] | None],
        wait: Callable[[], None],
    ):
        self._pruning, self._archive, self._recalled, self._wait = pruning, archive, recalled, wait

    def own(self, trials: range, later: Callable[[], Iterable[range]]) -> range | None:
        """The batch that this worker is to race next; None when that of some trials is over, by whichever worker.

        Args:
            trials: of the batch that is waited for.
            later: batches behind it, to be raced while another worker has that one.
        """
        while not self._is_over(trials):
            found = next((each for each in itertools.chain([trials], later()) if self._is_free(each)), None)
            if found is not None:
                return found
            self._wait()
        return None

    def _is_over(self, trials: range) -> bool:
        """Whether a batch's race is over; one that is wholly kept is taken in."""
        if self._pruning.is_over(trials):
            return True
        return self.recall(trials) is not None

    def recall(self, trials: range) -> Race | None:
        """The race of a batch that is wholly kept, which is taken in; None of any other one."""
        recalled = [self._recalled(trial) for trial in trials]
        kept = [tuple(runs) for runs in recalled if runs is not None]
        if self._archive is None or len(kept) < len(trials):
            return None
        return self._pruning.recall(trials, kept, self._archive.pruned)

    def _is_free(self, trials: range) -> bool:
        """Whether a batch is still to be raced, and this worker has it."""
        return not self._is_over(trials) and (self._archive is None or self._archive.claims_all(trials))
