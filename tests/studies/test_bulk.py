"""Trials written to a database and read from it by the kind of row are those that Optuna writes and reads one by one."""

import datetime
import gc
import threading

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy import inspect, text

from hyperjax.studies import bulk
from hyperjax.studies.storage import database, let_go
from tests.studies.postgres import server

SPACE = {
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "width": IntDistribution(1, 64),
    "optimizer": CategoricalDistribution(["sgd", "adam", None]),
}
BOTH = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]


def made(count, values=(1.0,)):
    """Trials with numbers of every kind that there is."""
    ways = [[np.inf, -np.inf, np.nan, 0.1 + at][: at % 5] for at in range(count)]
    return [
        create_trial(
            state=TrialState.PRUNED if at % 3 == 1 else TrialState.COMPLETE,
            values=[value * (at + 0.1) for value in values],
            params={"rate": 10.0 ** -(at % 5), "width": 1 + at % 64, "optimizer": ["sgd", "adam", None][at % 3]},
            distributions=SPACE,
            user_attrs={"trial": at, "runs": [{"seed": 0, "losses": [0.1, None]}], "text": 'a "quoted" ü'},
            intermediate_values=dict(enumerate(ways[at], 1)),
        )
        for at in range(count)
    ]


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """Two new ones of SQLite's."""
    folder = tmp_path_factory.mktemp("databases")
    both = [optuna.storages.RDBStorage(f"sqlite:///{folder}/{name}.db") for name in "ab"]
    yield both
    for storage in both:
        let_go(storage)


def told(trials):
    """All of trials but what Optuna calls its rows, and the order of their names."""

    def sorted_in(value):
        return dict(sorted(value.items())) if isinstance(value, dict) else value

    return repr([{k: sorted_in(v) for k, v in sorted(vars(one).items()) if k != "_trial_id"} for one in trials])


def tables(storage):
    """All rows of trials as the database holds them, without their own numbers."""
    found = {}
    with storage.engine.connect() as connection:
        for name in inspect(storage.engine).get_table_names():
            if name.startswith("trial") and "heartbeat" not in name:
                rows = connection.execute(text(f"select * from {name}")).mappings()
                hidden = f"{name.removesuffix('s')}_id" if name != "trials" else "study_id"
                found[name] = sorted(repr({k: v for k, v in row.items() if k != hidden}) for row in rows)
    return found


def same_as_optunas(ours, theirs, values=(1.0,), directions=BOTH[:1]):
    trials = made(12, values)
    for one in trials:
        one.datetime_start = one.datetime_complete = datetime.datetime(2026, 3, 4, 5, 6, 7, 89)
    studies = [storage.create_new_study(directions) for storage in (ours, theirs)]
    for storage, study in zip((ours, theirs), studies, strict=True):
        storage.create_new_trial(study, trials[0])
    bulk.write(ours, studies[0], trials[1:6])
    bulk.write(ours, studies[0], trials[6:])
    for one in trials[1:]:
        theirs.create_new_trial(studies[1], one)
    assert told(ours.get_all_trials(studies[0])) == told(theirs.get_all_trials(studies[1]))
    assert tables(ours) == tables(theirs)


@pytest.mark.parametrize(("values", "directions"), [((1.0,), BOTH[:1]), ((np.inf,), BOTH[:1]), ((-np.inf, 2.0), BOTH)])
def test_rows_are_those_of_optuna(databases, values, directions):
    same_as_optunas(*databases, values, directions)


def test_rows_on_postgresql_are_those_of_optuna(tmp_path_factory):
    with server() as url:
        ours = optuna.storages.RDBStorage(url)
        theirs = optuna.storages.RDBStorage(f"sqlite:///{tmp_path_factory.mktemp('db')}/theirs.db")
        trials = made(12, (1.0,))
        studies = [storage.create_new_study(BOTH[:1]) for storage in (ours, theirs)]
        bulk.write(ours, studies[0], trials)
        for one in trials:
            theirs.create_new_trial(studies[1], one)
        assert told(ours.get_all_trials(studies[0])) == told(theirs.get_all_trials(studies[1]))
        assert told(bulk.read(ours, studies[0])) == told(read_as_optuna(theirs, studies[1]))
        assert_numbered(ours)
        for storage in (ours, theirs):
            let_go(storage)


def read_as_optuna(storage, study, after=-1):
    """What Optuna reads of the finished ones, without what they reached on the way."""
    found = storage.get_all_trials(study, states=(TrialState.COMPLETE, TrialState.PRUNED))
    for one in found:
        one.intermediate_values = {}
    return [one for one in found if one._trial_id > after]


def test_what_is_read_is_what_optuna_reads(databases):
    storage = databases[0]
    study, other = (storage.create_new_study(BOTH) for _ in range(2))
    assert bulk.read(storage, study) == []
    bulk.write(storage, study, made(5, (1.0, -np.inf)))
    bulk.write(storage, other, made(3, (1.0, 2.0)))
    storage.create_new_trial(study)  # still running
    bulk.write(storage, study, made(4, (3.0, 2.0)))
    found = bulk.read(storage, study)
    assert len(found) == 9 and told(found) == told(read_as_optuna(storage, study))
    last = found[6]._trial_id
    assert told(bulk.read(storage, study, last)) == told(read_as_optuna(storage, study, last)) == told(found[7:])


def assert_numbered(storage):
    """Threads that write to one study at once number its trials one after another."""
    study = storage.create_new_study(BOTH[:1])

    def work():
        for size in (1, 7, 3):
            bulk.write(storage, study, made(size))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = storage.get_all_trials(study)
    assert [one.number for one in found] == list(range(44))
    assert all(one.params for one in found)


def test_those_who_write_at_once_number_their_trials_one_after_another(tmp_path):
    patient = {"connect_args": {"timeout": 60}}
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/many.db", engine_kwargs=patient)
    assert_numbered(storage)
    let_go(storage)


def open_at_once(url, count=6):
    """A new database, opened by as many at the same moment: each finds it or makes it."""
    ready, found = threading.Barrier(count), []

    def work():
        ready.wait()
        found.append(database(url))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for storage in found:
        let_go(storage)
    assert len(found) == count


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_workers_that_begin_together_make_a_database_together(tmp_path):
    for number in range(3):
        open_at_once(f"sqlite:///{tmp_path}/{number}.db")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Optuna leaves connections behind
def test_workers_that_begin_together_make_a_database_of_postgresql_together():
    with server() as url:
        open_at_once(url)
        gc.collect()


def test_what_fails_half_way_leaves_nothing(databases):
    storage = databases[0]
    study = storage.create_new_study(BOTH[:1])
    bulk.write(storage, study, made(2))
    broken = made(3)
    broken[2].intermediate_values = {None: 1.0}  # which no row may have
    with pytest.raises(Exception, match="NOT NULL"):
        bulk.write(storage, study, broken)
    assert len(storage.get_all_trials(study)) == len(bulk.read(storage, study)) == 2
    bulk.write(storage, study, made(1))
    assert [one.number for one in storage.get_all_trials(study)] == [0, 1, 2]


def test_where_optuna_has_other_tables_it_is_asked_to_write_and_read(databases, monkeypatch):
    from optuna.storages._rdb import models

    storage, others = databases[0], []
    study = storage.create_new_study(BOTH[:1])
    bulk.write(storage, study, made(3))
    monkeypatch.setattr(storage, "create_new_trial", lambda *one: others.append(one))
    monkeypatch.setattr(storage, "get_all_trials", lambda *_, **__: made(4))
    monkeypatch.delattr(models.TrialValueModel, "value_to_stored_repr")
    bulk.write(storage, study, made(3))
    assert len(others) == 3 and len(bulk.read(storage, study)) == 3
    monkeypatch.delattr(models.TrialValueModel, "stored_repr_to_value")
    assert len(bulk.read(storage, study, -2)) == 4  # made trials have no row, which is -1 to Optuna
