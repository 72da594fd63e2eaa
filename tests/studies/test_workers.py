"""Workers that share a study: every trial trained once, the dead replaced, the table that of one worker."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import optuna
import pytest

import hyperjax as hj
from hyperjax.studies import claims
from hyperjax.studies.claims import Claims
from hyperjax.studies.journal import Journal
from hyperjax.studies.rounds import Rounds
from tests.studies.kept import SPACE, alike, line, rows, stopped, trials_of
from tests.studies.postgres import server
from tests.studies.workers import worked


@pytest.fixture
def storage(tmp_path):
    """Two views of one journal, as two workers have them."""
    backends = [Journal(tmp_path / "study.journal", shared=True) for _ in range(2)]
    yield [optuna.storages.JournalStorage(backend) for backend in backends]
    for backend in backends:
        backend.close()


@pytest.fixture
def workers(storage):
    both = [Claims(view, "night", threading.RLock()) for view in storage]
    yield both
    for worker in both:
        worker.close()


def test_two_workers_never_have_the_same_trial(workers):
    first, second = workers
    assert first.take(range(10), 4) == [0, 1, 2, 3]
    assert second.take(range(10), 4) == [4, 5, 6, 7]
    first.release()
    assert first.take([8, 9, 0], 4) == [8, 9, 0]  # what was given back is free, written or not
    second.release()
    assert second.take([8, 9], 4) == []


def test_of_two_claims_at_once_the_earlier_one_holds(workers, monkeypatch):
    """Both have looked before either has claimed."""
    first, second = workers
    looks = iter([list, second._others])
    monkeypatch.setattr(second, "_others", lambda: next(looks)())
    assert first.take(range(6), 4) == [0, 1, 2, 3]
    assert second.take(range(6), 6) == [4, 5]


def test_what_a_dead_worker_had_is_free(workers, monkeypatch):
    first, second = workers
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    first._worker = [first._worker[0], child.pid]  # a process of this machine that is no more
    assert first.take(range(4), 4) == second.take(range(4), 4) == [0, 1, 2, 3]
    second.release()
    first._worker = ["elsewhere", 1]
    first._ended.set()  # no more signs of life
    assert first.take(range(4), 4) == [0, 1, 2, 3] and second.take(range(4), 4) == []
    monkeypatch.setattr(claims, "GRACE", 0.0)
    time.sleep(0.01)
    assert second.take(range(4), 4) == [0, 1, 2, 3]


def test_a_study_alone_and_a_shared_one_keep_apart(tmp_path):
    part = stopped(3, line(), trials=6, storage=tmp_path, shared=True)
    shared = Journal(tmp_path / "study.journal", shared=True)
    with pytest.raises(ValueError, match="storage must be a journal that no other process holds"):
        hj.study(line(), SPACE, trials=6, storage=tmp_path)
    whole = hj.study(line(), SPACE, trials=6, storage=tmp_path, shared=True)
    shared.close()
    assert rows(part) and repr(rows(hj.study(line(), SPACE, trials=6))) == repr(rows(whole))
    for asked in ({}, {"storage": tmp_path, "sampler": optuna.samplers.RandomSampler()}):
        with pytest.raises(ValueError, match="shared must be False without a storage or with a sampler object"):
            hj.study(line(), SPACE, trials=6, shared=True, **asked)


def test_what_a_worker_has_half_written_is_cut_off_by_the_next(storage, tmp_path):
    first, second = storage
    first.create_new_study([optuna.study.StudyDirection.MINIMIZE], "a")
    with (tmp_path / "study.journal").open("ab") as file:
        file.write(b'{"op_code":0,"worker_id":"x","stu')  # killed here
    second.create_new_study([optuna.study.StudyDirection.MINIMIZE], "b")
    assert [study.study_name for study in first.get_all_studies()] == ["a", "b"]


@contextlib.contextmanager
def started(storage, folder, count, trials, way):
    """Processes, each on a core of its own, that are at one study."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", "tests.studies.workers", str(storage)]
    own = [[str(folder / f"table-{core}"), str(core), str(trials), way] for core in range(count)]
    running = [subprocess.Popen([*command, *more], env=environment, stderr=subprocess.PIPE, text=True) for more in own]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def numbers(url):
    """Of the trials that are kept, in order."""
    return sorted(trial.user_attrs["trial"] for trial in trials_of(url))


def shared_by_two_of_which_one_is_killed(url, folder, trials, way):
    whole = "\n".join(map(repr, rows(worked(None, trials, way))))
    with started(url, folder, 2, trials, way) as (first, second):
        deadline = time.monotonic() + 120
        while len(numbers(url)) < trials // 4 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert first.poll() is None and second.poll() is None
        time.sleep(random.Random(trials).random() / 2)
        first.send_signal(signal.SIGKILL)
        left = len(numbers(url))
        _, errors = second.communicate(timeout=240)
        assert second.returncode == 0, errors
    assert left < trials and numbers(url) == list(range(trials))  # none is lost, none is there twice
    assert (folder / "table-1").read_text() == whole


@pytest.mark.slow
@pytest.mark.parametrize(("way", "trials"), [("tpe", 96), ("pruned", 320), ("pruned ahead", 160)])
def test_two_workers_on_a_journal_and_one_is_killed(tmp_path, way, trials):
    shared_by_two_of_which_one_is_killed(str(tmp_path / "all.journal"), tmp_path, trials, way)


@pytest.mark.parametrize(
    ("way", "order"),
    [
        ({}, [4, 8, 0]),  # at random all batches are known
        ({"sampler": "tpe", "ahead": True}, [4, 0, 8]),  # the third is drawn by the scores of the first
        ({"sampler": "tpe"}, [0, 4, 8]),
    ],
)
def test_batches_are_raced_by_one_worker_each_and_later_ones_while_another_has_the_first(
    way, order, tmp_path, monkeypatch
):
    asked = {"trials": 12, "batch": 4, "pruner": "successive_halving", **way}
    begun = []
    monkeypatch.setattr(Rounds, "_race_here", noted(Rounds._race_here, begun))
    alone = hj.study(line(), SPACE, **asked)
    assert begun == [0, 4, 8] and alone.pruned
    begun.clear()
    other = Journal(tmp_path / "study.journal", shared=True)
    first = Claims(optuna.storages.JournalStorage(other), "hyperjax", threading.RLock())
    assert first.take(range(4), 4) == [0, 1, 2, 3]
    waiting = threading.Timer(0.5, lambda: None if begun else first.release())  # who has nothing to race meanwhile
    waiting.start()

    def progress(done, _):
        if done == 4 * order.index(0):
            first.release()

    found = hj.study(line(), SPACE, storage=tmp_path, shared=True, progress=progress, **asked)
    waiting.join()
    first.close()
    other.close()
    assert begun == order and alike(found, alone)
    again = hj.study(line(), SPACE, storage=tmp_path, shared=True, **asked)
    assert begun == order and alike(again, alone)


def noted(race, begun):
    """A worker's race that says where the batch begins."""

    def raced(rounds, trials, *others):
        begun.append(trials.start)
        race(rounds, trials, *others)

    return raced


@pytest.fixture
def postgres():
    with server() as url:
        yield url


@pytest.mark.slow
def test_two_workers_on_postgresql_and_one_is_killed(postgres, tmp_path):
    shared_by_two_of_which_one_is_killed(postgres, tmp_path, 256, "random")
