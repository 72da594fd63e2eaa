"""A tiny study that is stopped and goes on: one line to learn, many of whose rates diverge."""

import os

import numpy as np
import optuna
from flax import nnx
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

import hyperjax as hj
from hyperjax.studies import StudyInterrupted
from hyperjax.studies.storage import journal_of

SPACE = hj.space(
    learning_rate=hj.log_uniform(1e-3, 1e30), optimizer=["sgd", "adam"], warmup=[0, hj.fraction(0.1)], epochs=[2, 3]
)


def line(slope=3.0, name="line", examples=64):
    """The task of learning a slope."""
    x = np.linspace(-1, 1, examples, dtype=np.float32)[:, None]
    data = dict.fromkeys(["train", "validation", "test"], (x, np.float32(slope) * x))
    return hj.Task(
        lambda rngs: nnx.Linear(1, 1, rngs=rngs),
        data,
        "squared_error",
        {"error": hj.metrics.mean_absolute_error},
        name=name,
    )


def rows(study):
    """All of a study that its page and its table show of the trials."""

    def told(run):
        ended = (run.seed, run.diverged_at, run.finished, run.steps_done, run.total_steps, run.best, run.layout)
        metrics = [(name, values.dtype, values.tolist()) for name, values in run.metrics.items()]
        return (*ended, run.epochs.tolist(), metrics)

    return [(t.number, t.values, t.recipe, t.score, *map(told, t.runs)) for t in study.trials]


def alike(one, other):
    """Whether two studies have the same table, bit for bit."""
    return repr(rows(one)) == repr(rows(other)) and repr(one.table) == repr(other.table)


def stopped(count, task, space=SPACE, **asked):
    """What is left of a study that Ctrl-C ends after so many trials, or the first after them that end together."""

    def stop(done, _):
        if done >= count:
            raise KeyboardInterrupt

    try:
        hj.study(task, space, progress=stop, **asked)
    except StudyInterrupted as end:
        return end.study
    raise AssertionError(f"the study ended before {count} trials")


def trials_of(storage):
    """What Optuna reads from a journal, by its path or that of its folder, or from a database."""
    if "://" in str(storage):
        database = optuna.storages.RDBStorage(str(storage))
        try:
            return _of_study(database)
        finally:
            database.remove_session()
            database.engine.dispose()
    path = str(journal_of(storage))
    lock = JournalFileOpenLock(path)
    return _of_study(optuna.storages.JournalStorage(JournalFileBackend(path, lock))) if os.path.exists(path) else []


def _of_study(storage):
    try:
        return storage.get_all_trials(storage.get_study_id_from_name("hyperjax"))
    except KeyError:
        return []
