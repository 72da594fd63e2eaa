"""Which of several workers trains which trials, and what becomes of those of a worker that died."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

BEAT = 3.0  # seconds between two signs of life
GRACE = 20.0  # seconds without one, on the watch of whoever looks, after which a worker is taken for dead


class Claims:
    """A list of claims that all workers of a study write to: a study of Optuna's beside it, whose trials are claims.

    Optuna numbers trials one after another, whoever makes them: of two claims on one trial the earlier one holds.

    Args:
        storage: that the workers share.
        name: of their study.
        alone: held while the storage is used, by any thread.
    """

    def __init__(self, storage: BaseStorage, name: str, alone: Any):
        self._storage, self._alone, self._name = storage, alone, f"{name}: workers"
        self._worker = [socket.gethostname(), os.getpid()]
        self._mine: int | None = None
        self._seen: dict[int, tuple[int, float]] = {}  # of others' claims: signs of life, and since when so many
        self._ended = threading.Event()
        with alone:
            self._study = found_or_founded(storage, self._name, [StudyDirection.MINIMIZE])
        threading.Thread(target=self._live, name="hyperjax-claims", daemon=True).start()

    def take(self, wanted: Sequence[int], most: int) -> list[int]:
        """Claim some trials that nobody else has; none where there are none.

        Whoever held a trial has written it before the claim ended: so look for those that are written after this.
        """
        with self._alone:
            taken = {number for claim in self._others() for number in claim.user_attrs["trials"]}
            free = [number for number in wanted if number not in taken][:most]
            if not free:
                return []
            claim = create_trial(state=TrialState.RUNNING, user_attrs={"trials": free, "worker": self._worker})
            self._mine = self._storage.create_new_trial(self._study, claim)
            place = self._storage.get_trial(self._mine).number
            before = {n for other in self._others() if other.number < place for n in other.user_attrs["trials"]}
            return [number for number in free if number not in before]

    def release(self) -> None:
        """End the claim, when what was claimed is written."""
        with self._alone:
            if self._mine is not None and not self._storage.get_trial(self._mine).state.is_finished():
                self._storage.set_trial_state_values(self._mine, TrialState.COMPLETE, [0.0])
            self._mine = None

    def close(self) -> None:
        """End the claim and the signs of life."""
        self._ended.set()
        self.release()

    def _others(self) -> list[FrozenTrial]:
        """Claims of workers that live; those of the dead are ended."""
        living = []
        for claim in self._storage.get_all_trials(self._study, deepcopy=False, states=(TrialState.RUNNING,)):
            if claim._trial_id == self._mine:
                continue
            beats = int(claim.user_attrs.get("beats", 0))
            if self._seen.get(claim._trial_id, (-1, 0.0))[0] != beats:
                self._seen[claim._trial_id] = (beats, time.monotonic())
            silent = time.monotonic() - self._seen[claim._trial_id][1] > GRACE
            if silent or self._gone(*claim.user_attrs["worker"]):
                self._end(claim._trial_id)
            else:
                living.append(claim)
        return living

    def _end(self, claim: int) -> None:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # another worker has seen it too
            self._storage.set_trial_state_values(claim, TrialState.FAIL)

    def _gone(self, host: str, process: int) -> bool:
        """Whether a process of this machine is no more; of another machine, silence alone tells."""
        if host != self._worker[0]:
            return False
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def _live(self) -> None:
        beats = 0
        while not self._ended.wait(BEAT):
            beats += 1
            with self._alone:
                if self._mine is not None and not self._ended.is_set():
                    try:
                        self._storage.set_trial_user_attr(self._mine, "beats", beats)
                    except Exception:  # taken for dead meanwhile, or a database that is away: others take over
                        continue


def found_or_founded(storage: BaseStorage, name: str, ways: Sequence[StudyDirection]) -> int:
    """The number of a study by name, made where there is none; by whichever worker comes first."""
    with contextlib.suppress(KeyError):
        return storage.get_study_id_from_name(name)
    try:
        return storage.create_new_study(ways, name)
    except optuna.exceptions.DuplicatedStudyError:
        return storage.get_study_id_from_name(name)
