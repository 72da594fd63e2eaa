"""A study in a storage: what is there already, and finished trials written beside the training, many at a time."""

import contextlib
import errno
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from hyperjax.studies.asking import quiet, ways
from hyperjax.studies.bulk import NewTrials, write
from hyperjax.studies.claims import Claims, found_or_founded
from hyperjax.studies.distributions import to_optuna, to_params
from hyperjax.studies.identity import differences, versions
from hyperjax.studies.space import Space
from hyperjax.studies.storage import cause, folder_of, let_go, opened, shown
from hyperjax.studies.structural import structural
from hyperjax.studies.study import Trial
from hyperjax.studies.trained_models import TrainedModels
from hyperjax.studies.trial_record import Kept, kept, record
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run
from hyperjax.training.run_json import recalled

MOST_TOGETHER = 32  # trials that are written with one wait for the disk, and lost with it
GATHERING = 0.5  # seconds that the first of them waits for others: ten statements and a commit are for all of them
STUDY = "hyperjax:study"  # the attribute that says what a study is
ASKED = "hyperjax:asked"  # and the one that says how many trials were asked for last


class _Finished(NamedTuple):
    trial: Trial
    values: Mapping[str, Any]  # with those that do not matter


class Archive:
    """A study's place in a storage.

    Args:
        storage, name, folder: as in `study`.
        metrics: name -> "max" or "min", the one that ranks first.
        space: of the study.
        identity: what the study is; see `identity`.
        left: parts of it that the caller leaves open: what they are to be, given what is there; None: a new study.
        layout: "map" or "vmap", how members are laid out here.
        shared: whether several workers are at the study.
    Attributes:
        place: the storage for a reader, without a password.
        identity: as it is in the storage.
        kept: the finished trials by number, as they were found.
        widths: members in a chunk by structure, and by "" of any other one, as they were decided first.
    Raises: ValueError as `opened` does, and for a storage that holds another study of that name, saying what differs.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str],
        name: str,
        folder: str | os.PathLike[str] | None,
        metrics: Mapping[str, str],
        space: Space,
        identity: Mapping[str, Any],
        left: Mapping[str, Callable[[Mapping[str, Any] | None], Any]],
        layout: str,
        shared: bool = False,
    ):
        self.shared, self._one_at_a_time = shared, threading.RLock()
        self.place, self._name, self._metrics, self._space = shown(storage), name, metrics, space
        self._distributions, self._widths = to_optuna(space), f"hyperjax:widths:{layout}"
        self._versions = ", ".join(f"{package} {number}" for package, number in versions().items())
        self.identity, self.kept, self.widths = dict(identity), dict[int, Kept](), dict[str, int]()
        self._known_widths = dict[str, int]()
        self._storage, self._journal = opened(storage, shared)
        try:
            self._find(identity, left)
            with self._told(), quiet():
                self._claims = Claims(self._storage, name, self._one_at_a_time) if shared else None
        except BaseException:
            self._let_go()
            raise
        own = folder_of(storage, folder)
        self._states = None if own is None else own / "rounds"
        scores = {number: found.score for number, found in self.kept.items() if found.pruned_at is None}
        self._models = None if own is None else TrainedModels(own, next(iter(metrics.values())), scores)
        self._queue: queue.SimpleQueue[_Finished | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._writer: threading.Thread | None = None

    def recall(self, task: Task, recipe: Recipe, number: int, values: Mapping[str, Any]) -> list[Run] | None:
        """The runs of a trial that had finished; None where it had not, or is to have its model and lacks it.

        Args:
            recipe, values: what the sampler gives for that number now.
        Raises: ValueError where it had other values.
        """
        found, params = self.kept.get(number), to_params(self._space, values)
        if found is None:
            return None
        if found.params != params:
            names = [name for name in params if found.params.get(name) != params[name]]
            there, here = ({name: given.get(name) for name in names} for given in (found.params, params))
            raise ValueError(
                f"storage must hold trials that this study begins with, got {self.place!r}, whose trial {number} has "
                f"{there} where the sampler gives {here}; a whole grid has another order than a part of it, and "
                "another version of Optuna or NumPy may draw otherwise"
            )
        seeds = [told["seed"] for told in found.runs]
        if self._models is not None and number in self._models.lacking and not self.shared:
            return None
        arrays: Sequence[Any] = [None] * len(seeds) if self._models is None else self._models.of(number, seeds)
        return [recalled(task, recipe, told, own) for told, own in zip(found.runs, arrays, strict=True)]

    @property
    def known(self) -> dict[int, Mapping[str, Any]]:
        """The values of the trials that were found, in Optuna's words."""
        return {number: found.params for number, found in self.kept.items()}

    @property
    def pruned(self) -> dict[int, int]:
        """The epochs at which trials that were found had been pruned."""
        return {number: found.pruned_at for number, found in self.kept.items() if found.pruned_at is not None}

    def put(self, trial: Trial, values: Mapping[str, Any]) -> None:
        """Have a finished trial written, or what is not there of it yet; returns before it is.

        Args:
            values: all that were sampled, those that do not matter among them.
        Raises: OSError when a trial before it could not be written.
        """
        self._complain()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="hyperjax-archive", daemon=True)
            self._writer.start()
        self._queue.put(_Finished(trial, values))

    def put_widths(self, widths: Mapping[str, int]) -> None:
        """Keep how chunks are cut, before anything is trained so."""
        if dict(widths) != self._known_widths:
            with self._told(), self._one_at_a_time:
                self._storage.set_study_user_attr(self._study, self._widths, dict(widths))
            self._known_widths = dict(widths)

    def put_asked(self, trials: int) -> None:
        """Tell whoever looks on how many trials are to come in all."""
        with self._told(), self._one_at_a_time:
            if self._storage.get_study_user_attrs(self._study).get(ASKED) != trials:
                self._storage.set_study_user_attr(self._study, ASKED, trials)

    def states(self, trials: range) -> Path | None:
        """Folder for the states of a batch while it trains; None where there is none."""
        return None if self._states is None or self.shared else self._states / f"{trials[0]}-{trials[-1]}"

    def forget_states(self, trials: range) -> None:
        """Delete what is kept of a batch's states, once all trials are written."""
        states = self.states(trials)
        if states is not None and states.exists():
            self._end()
            shutil.rmtree(states, ignore_errors=True)
            with contextlib.suppress(OSError):  # those of others are beside it
                states.parent.rmdir()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until everything is written, and let go of the storage.

        Raises: OSError when something could not be.
        """
        try:
            self._end()
            if self._claims is not None:
                self._claims.close()
        finally:
            self._let_go()

    def _end(self) -> None:
        """Wait until everything is written."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        self._complain()

    def _let_go(self) -> None:
        let_go(self._storage)
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _find(self, identity: Mapping[str, Any], left: Mapping[str, Callable[[Mapping[str, Any] | None], Any]]) -> None:
        with self._told(), quiet():
            self._study = found_or_founded(self._storage, self._name, ways(list(self._metrics.values())))
            attributes = self._storage.get_study_user_attrs(self._study)
            self._new = NewTrials(self._storage, self._study)
            trials = self._new.read()
        there = attributes.get(STUDY)
        new = STUDY not in attributes and not trials  # or its beginning was cut short
        if new or isinstance(there, dict):
            identity = {**identity, **{name: decide(there) for name, decide in left.items()}}
        with self._told(), quiet():
            if new:
                if len(self._metrics) > 1:  # for the axes of Optuna's figures and its dashboard
                    own = optuna.load_study(study_name=self._name, storage=self._storage)
                    own.set_metric_names(list(self._metrics))
                self._storage.set_study_user_attr(self._study, STUDY, identity)
                there = identity
        self.identity = self._same(there, identity)
        self.widths = dict(attributes.get(self._widths, {}))
        self._known_widths = dict(self.widths)
        self._take_in(trials)

    def _take_in(self, trials: Sequence[FrozenTrial]) -> None:
        for found in map(kept, trials):
            if found is not None:
                self.kept.setdefault(found.number, found)

    def claimed(self, missing: Sequence[int]) -> list[int]:
        """Trials that this worker is to train now: all that are missing where it is alone, none where others have them.

        A quarter of what is left at a time, so that all workers end together, and at least enough for every core.
        """
        if self._claims is None:
            return list(missing)
        with self._told():
            own = self._claims.take(missing, max(len(missing) // 4, os.cpu_count() or 1))
            self.look()
            own = [number for number in own if number not in self.kept]
            if not own:
                self._claims.release()
        return own

    def claims_all(self, trials: Sequence[int]) -> bool:
        """Whether this worker is to train a batch that is trained as a whole, by one of them."""
        if self._claims is None:
            return True

        def are_lacking() -> bool:
            self.look()
            return any(number not in self.kept for number in trials)

        with self._told():
            if not are_lacking():
                return False
            own = self._claims.take(trials, len(trials))
            mine = len(own) == len(trials) and are_lacking()  # whoever had them before may have just written them
            if not mine:
                self._claims.release()
        return mine

    def look(self) -> None:
        """Take in what others have written."""
        with self._told(), self._one_at_a_time:
            self._take_in(self._new.read())

    def release(self) -> None:
        """Let others see what was claimed, once all of it is written."""
        if self._claims is not None:
            self._end()
            with self._told():
                self._claims.release()

    def _same(self, there: Any, here: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(there, dict):
            raise ValueError(
                f"storage must hold no study named {self._name} but one of this kind, got {self.place!r}, where "
                "another program has written one; give another name"
            )
        found = differences(there, here)
        if found:
            raise ValueError(
                f"storage must hold this study or none, got {self.place!r}, which holds another: {'; '.join(found)}; "
                "give another storage or name, or see --overwrite"
            )
        return there

    def _write(self) -> None:
        """Gather what finishes, and write it with one wait for the disk, until there is a None."""
        ended = False
        while not ended:
            taken, begin = [self._queue.get()], time.monotonic()
            with contextlib.suppress(queue.Empty):
                while taken[-1] is not None and len(taken) < MOST_TOGETHER:
                    taken.append(self._queue.get(timeout=max(GATHERING - (time.monotonic() - begin), 0.0)))
            ended = taken[-1] is None
            finished = [one for one in taken if one is not None]
            if finished and self._failure is None:
                try:
                    self._write_all(finished)
                except Exception as error:
                    self._failure = error

    def _write_all(self, finished: Sequence[_Finished]) -> None:
        with self._one_at_a_time:
            new = [self._record(*one) for one in finished if one.trial.number not in self.kept]
            if isinstance(self._storage, RDBStorage):
                write(self._storage, self._study, new)
            else:
                with nullcontext() if self._journal is None else self._journal.together():
                    for made in new:
                        self._storage.create_new_trial(self._study, made)
        if self._models is not None:
            self._models.keep([one.trial for one in finished if one.trial.pruned_at is None])

    def _record(self, trial: Trial, values: Mapping[str, Any]) -> FrozenTrial:
        told: dict[str, Any] = {"group": structural(values), "versions": self._versions}
        return record(trial, to_params(self._space, values), self._distributions, self._metrics, **told)

    def _complain(self) -> None:
        if self._failure is not None:
            with self._told():
                raise self._failure

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong in a storage as OSErrors of one form."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, error.filename or self.place) from error
        except ValueError:
            raise
        except Exception as error:  # of SQLAlchemy's and each driver's many
            raise OSError(errno.EIO, cause(error), self.place) from error
