"""Studies that are kept: stopped anywhere they go on to the same table, another study is refused, nothing is unpickled."""

import errno
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import urllib.request
import warnings
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
import optuna
import pytest

import hyperjax as hj
from hyperjax.studies import StudyInterrupted, StudyNotKept
from hyperjax.studies.journal import Journal, mend
from hyperjax.studies.pruners import median
from hyperjax.training.chunk import Block
from tests.studies.kept import SPACE, alike, line, rows, stopped, trials_of
from tests.training.made import classes

ASKED = {"trials": 24, "seeds": 2, "sampler": "tpe", "batch": 8}


@pytest.fixture(scope="module")
def task():
    return line()


@pytest.fixture(scope="module")
def plain(task):
    """The study that nothing disturbed and nobody kept."""
    found = hj.study(task, SPACE, **ASKED)
    gone = [trial.diverged > 0 for trial in found.trials]
    assert 3 < sum(gone) < 21 and not all(gone[:8])
    return found


@pytest.fixture(scope="module")
def journal(task, tmp_path_factory):
    """A journal of half of that study."""
    folder = tmp_path_factory.mktemp("kept")
    stopped(13, task, storage=folder, **ASKED)
    return folder


@pytest.fixture
def half(journal, tmp_path):
    """A copy of it."""
    return shutil.copytree(journal, tmp_path / "half")


@pytest.mark.parametrize(("count", "url"), [(1, False), (8, False), (13, False), (13, True)])
def test_a_study_that_was_stopped_goes_on_to_the_same_table(task, plain, tmp_path, count, url):
    storage = f"sqlite:///{tmp_path}/study.db" if url else tmp_path
    part = stopped(count, task, storage=storage, **ASKED)
    assert set(map(repr, rows(part))) <= set(map(repr, rows(plain)))
    seen = []
    whole = hj.study(task, SPACE, storage=storage, progress=lambda *done: seen.append(done), **ASKED)
    assert seen == [(done, 24) for done in range(len(part.trials), 25)] and len(part.trials) >= count
    assert alike(whole, plain) and whole.test == plain.test != {}
    assert whole.conditions["trials_kept_before"] == len(part.trials)
    assert sorted(trial.user_attrs["trial"] for trial in trials_of(storage)) == list(range(24))
    again = hj.study(task, SPACE, storage=storage, **ASKED)
    assert alike(again, plain) and again.test == plain.test and again.conditions["programs"] == 0


@pytest.mark.parametrize("pruner", ["successive_halving", median(warmup=1, least=2)], ids=["halving", "median"])
def test_a_pruned_study_goes_on_round_by_round(task, tmp_path, pruner):
    """A verdict compares a whole round, so a round that was cut short is raced again."""
    asked = {"trials": 18, "seeds": 2, "sampler": "tpe", "batch": 6, "pruner": pruner}
    plain = hj.study(task, SPACE, **asked)
    told = {trial.number: trial.pruned_at for trial in plain.trials}
    assert None in told.values() and set(told.values()) - {None}
    stopped(12, task, storage=tmp_path, **asked)
    kept = {t.user_attrs["trial"]: (t.user_attrs["pruned_at"], t.state.name) for t in trials_of(tmp_path)}
    assert kept == {n: (told[n], "COMPLETE" if told[n] is None else "PRUNED") for n in range(6)}
    for before, programs in [(6, 1), (18, 0)]:
        again = hj.study(task, SPACE, storage=tmp_path, **asked)
        assert alike(again, plain) and again.test == plain.test
        assert {trial.number: trial.pruned_at for trial in again.trials} == told
        assert (again.conditions["trials_kept_before"], again.conditions["programs"]) == (before, programs)
    with pytest.raises(ValueError, match="must have pruned trials whose states were kept to be revived"):
        again.revive()
    with pytest.raises(ValueError, match=r"which holds another: pruner is .* there and None here"):
        hj.study(task, SPACE, storage=tmp_path, **{**asked, "pruner": None})


def test_more_trials_than_were_compared_are_another_study(task, tmp_path):
    hj.study(task, SPACE, 4, storage=tmp_path, pruner="successive_halving")
    with pytest.raises(ValueError, match="trials is 4 there and 5 here"):
        hj.study(task, SPACE, 5, storage=tmp_path, pruner="successive_halving")
    with pytest.raises(
        ValueError, match="pruner must be one that judges a batch by itself where workers share a study"
    ):
        hj.study(task, SPACE, 4, storage=tmp_path, pruner="median", shared=True)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"sampler": "tpe", "batch": 12}], ids=["one round", "rounds"])
def test_chunks_keep_their_width_when_a_part_is_left(tmp_path, asked, monkeypatch):
    """Under vmap the width decides the last bits; what is left of a round would have another one by itself."""
    monkeypatch.setattr(
        "hyperjax.studies.trained_models.MOST", 1
    )  # which are trained again when their weights are lost
    task, asked = classes(), {"trials": 24, "layout": "vmap", **asked}
    space = hj.space(learning_rate=hj.log_uniform(1e-3, 0.1), optimizer=["sgd", "adam"], batch_size=10, epochs=2)
    plain = hj.study(task, space, storage=tmp_path, **asked)
    narrow = hj.study(task, space, width=1, **asked)
    differing = [a[0] for a, b in zip(rows(plain), rows(narrow), strict=True) if repr(a) != repr(b)]
    other = next(number for number in differing if number != plain.best.number)
    journal = tmp_path / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(text for text in lines if f'"trial":{other},'.encode() not in text))
    again = hj.study(task, space, storage=tmp_path, **asked)
    assert alike(again, plain) and again.conditions["trials_kept_before"] == 23


def test_what_was_kept_of_a_trial_comes_back_exactly(task, plain, half):
    found = hj.study(task, SPACE, storage=half, **ASKED | {"trials": 8})
    assert repr(rows(found)) == repr(rows(plain)[:8])
    for trial in found.trials:
        assert not any(len(array) for run in trial.runs for array in (run.losses, run.steps, run.gradient_norms))
        assert trial.runs[0].in_force("learning_rate").shape == (0,)
        with pytest.raises(ValueError, match=r"name must be one of learning_rate, .* got 'rate'"):
            trial.runs[0].in_force("rate")
    page = hj.report(found, half / "report.html").read_text()
    assert "8 trials" in page and "validation_error" in page


def test_the_best_have_their_models_and_the_rest_say_that_they_have_none(task, plain, half):
    found = hj.study(task, SPACE, storage=half, **ASKED)
    best = found.ranking[:8]
    assert [trial.number for trial in best] == [trial.number for trial in plain.ranking[:8]]
    assert {path.name for path in (half / "study.arrays").iterdir()} == {f"trial-{trial.number}.npz" for trial in best}
    again = hj.study(task, SPACE, storage=half, **ASKED)
    for here, there in zip(again.ranking, plain.ranking, strict=True):
        for run, original in zip(here.runs, there.runs, strict=True):
            if here.number in {trial.number for trial in best}:
                assert run.model(np.ones((1, 1), np.float32)) == original.model(np.ones((1, 1), np.float32))
                continue
            assert not run.has_model
            with pytest.raises(ValueError, match="model must be that of a run whose weights were kept, got one of whi"):
                _ = run.model
    (half / "study.arrays" / f"trial-{best[0].number}.npz").unlink()  # as if a kill had come before it was written
    healed = hj.study(task, SPACE, storage=half, **ASKED)
    assert alike(healed, plain) and healed.test == plain.test and len(trials_of(half)) == 24
    (half / "study.arrays" / f"trial-{best[0].number}.npz").write_bytes(b"no arrays")
    with pytest.raises(ValueError, match=r"weights must be in a file of arrays, got '.*npz'"):
        hj.study(task, SPACE, storage=half, **ASKED)


def test_more_trials_than_the_first_time_go_on_where_it_stopped(task, plain, tmp_path):
    hj.study(task, SPACE, storage=tmp_path / "night.journal", **ASKED | {"trials": 12})
    assert (tmp_path / "night.journal").is_file()
    longer = hj.study(task, SPACE, storage=tmp_path / "night.journal", trials=24, seeds=2, sampler="tpe")
    assert alike(longer, plain) and longer.conditions["trials_kept_before"] == 12  # batches of 8, as it began


def test_an_object_of_optunas_goes_on_with_what_it_draws_anew(task, tmp_path):
    def asked():
        return {"trials": 12, "batch": 4, "sampler": optuna.samplers.RandomSampler(), "storage": tmp_path}

    part = stopped(6, task, **asked())
    whole = hj.study(task, SPACE, **asked())
    known = {repr(row) for row in rows(whole)}
    assert len(whole.trials) == 12 and set(map(repr, rows(part))) <= known
    assert alike(hj.study(task, SPACE, **asked()), whole)


def test_a_whole_grid_does_not_begin_with_a_part_of_it(task, tmp_path):
    grid = hj.space(learning_rate=[0.1, 0.2, 0.3, 0.4], optimizer=["sgd", "adam"], epochs=2)
    part = hj.study(task, grid, trials=3, storage=tmp_path)
    with pytest.raises(ValueError, match=r"whose trial \d has .* a whole grid has another order than a part of it"):
        hj.study(task, grid, storage=tmp_path)
    assert len(part.trials) == len(hj.study(task, grid, trials=3, storage=tmp_path).trials) == 3


OTHERS = [
    ({"seeds": 1}, r"seeds is \[0, 1\] there and \[0\] here"),
    ({"seed": 1}, "seed is 0 there and 1 here"),
    ({"sampler": "cmaes"}, "sampler is tpe there and cmaes here"),
    ({"batch": 6}, "batch is 8 there and 6 here"),
    ({"recipe": hj.Recipe(momentum=0.5, optimizer="momentum")}, "recipe is {} there and {.*0.5.* here"),
    ({"layout": "vmap"}, "layout is auto there and vmap here"),
]


@pytest.mark.parametrize(("changes", "message"), OTHERS, ids=[next(iter(changes)) for changes, _ in OTHERS])
def test_another_study_is_refused_and_says_what_differs(task, journal, changes, message):
    before = (journal / "study.journal").read_bytes()
    with pytest.raises(ValueError, match=f"storage must hold this study or none, got .* another: {message}; give"):
        hj.study(task, SPACE, storage=journal, **ASKED | changes)
    assert (journal / "study.journal").read_bytes() == before


def test_another_space_or_task_is_refused_by_name(task, journal):
    other = hj.space(
        learning_rate=hj.log_uniform(1e-3, 1e30), optimizer=["adam", "sgd"], warmup=0, epochs=[2, 3], l2=[0, 1]
    )
    with pytest.raises(ValueError, match="storage must hold this study") as refused:
        hj.study(task, other, storage=journal, **ASKED)
    assert "optimizer is sgd, adam there and adam, sgd here" in str(refused.value)
    assert "warmup is 0, fraction(0.1) there and 0 here; l2 is not searched there and 0, 1 here" in str(refused.value)
    assert "learning_rate is" not in str(refused.value) and "epochs is" not in str(refused.value)
    with pytest.raises(ValueError, match="task is line there and curve here; data is"):
        hj.study(line(2.0, "curve"), SPACE, storage=journal, **ASKED)


def test_a_study_of_another_program_is_refused_unless_named_otherwise(task, tmp_path):
    url = f"sqlite:///{tmp_path}/all.db"
    optuna.create_study(storage=url, study_name="hyperjax").add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(ValueError, match="storage must hold no study named hyperjax but one of this kind"):
        hj.study(task, SPACE, storage=url, **ASKED)
    assert len(hj.study(task, SPACE, storage=url, name="mine", **ASKED | {"trials": 2}).trials) == 2
    assert {s.study_name for s in optuna.get_all_study_summaries(url)} == {"hyperjax", "mine"}


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("nosuch://me:secret@host/x", r"a database that can be opened, got 'nosuch://me:\*\*\*@host/x': Can't load"),
        ("sqlite:////nowhere/at/all.db", "a database that can be opened, got .*: unable to open database file"),
        ("/proc/nowhere/study.journal", "a journal that can be written, got '/proc/nowhere/study.journal': No such"),
        (3, "a path of a journal, a folder for one, or a URL of a database, got 3"),
    ],
)
def test_what_is_no_storage_is_refused(task, storage, message):
    with pytest.raises(ValueError, match=f"storage must be {message}"):
        hj.study(task, SPACE, storage=storage, **ASKED)


def test_a_file_that_is_no_journal_is_left_alone(task, tmp_path):
    (tmp_path / "notes.txt").write_text("mine\n")
    with pytest.raises(
        ValueError, match=r"storage must be a journal of Optuna's, got '.*notes.txt', which begins with"
    ):
        hj.study(task, SPACE, storage=tmp_path / "notes.txt", **ASKED)
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


def test_a_journal_is_held_by_one_process(task, plain, half):
    journal = Journal(half / "study.journal")
    with pytest.raises(
        ValueError, match=r"storage must be a journal that no other process holds, got .*study.journal'"
    ):
        hj.study(task, SPACE, storage=half, **ASKED)
    journal.close()
    assert alike(hj.study(task, SPACE, storage=half, **ASKED), plain)
    journal = Journal(half / "study.journal")  # and every study lets go of it
    journal.close()


@pytest.mark.slow
def test_the_lock_of_a_process_that_was_killed_is_taken_over(task, plain, half):
    os.symlink("study.journal", half / "study.journal.lock")  # as Optuna leaves it
    assert alike(hj.study(task, SPACE, storage=half, **ASKED), plain)
    assert not (half / "study.journal.lock").exists()


@pytest.mark.parametrize("cut", [1, 40, 900])
def test_a_line_that_was_cut_is_mended_with_a_warning(task, plain, half, cut):
    path = half / "study.journal"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    if cut == 1:  # all of the line but its end
        found = hj.study(task, SPACE, storage=half, **ASKED)
        assert found.conditions["trials_kept_before"] >= 13
    else:
        with pytest.warns(UserWarning, match=r"study.journal ended in the middle of a line, which was cut off"):
            found = hj.study(task, SPACE, storage=half, **ASKED)
    assert alike(found, plain) and len(trials_of(half)) == 24


def test_what_others_wrote_behind_a_cut_line_is_kept(half):
    path = half / "study.journal"
    *lines, last, end = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines, last[:200] + last, lines[-1], end]))
    with pytest.raises(json.JSONDecodeError):
        trials_of(half)
    with pytest.warns(UserWarning, match="study.journal had 1 broken lines, which were left out"):
        mend(path)
    assert path.read_bytes() == b"\n".join([*lines, last, lines[-1], end])


def test_a_disk_that_fills_up_loses_nothing(task, plain, tmp_path, monkeypatch):
    """Half of a line is written, then nothing more; `os.write` stands for the disk."""
    write, left = os.write, [10_000]

    def limited(file, text):
        count = write(file, text[: left[0]])
        left[0] -= count
        if count < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return count

    with monkeypatch.context() as patch:
        patch.setattr("hyperjax.studies.journal.os.write", limited)
        with pytest.raises(StudyNotKept, match=r"No space left on device: '.*study.journal'") as caught:
            hj.study(task, SPACE, storage=tmp_path, **ASKED)
    trained = caught.value.study
    written = len(trials_of(tmp_path))
    assert 0 < written <= len(trained.trials) and set(map(repr, rows(trained))) <= set(map(repr, rows(plain)))
    found = hj.study(task, SPACE, storage=tmp_path, **ASKED)  # no warning: what was half written had been taken back
    assert alike(found, plain) and found.conditions["trials_kept_before"] == written


def test_nothing_that_others_wrote_is_unpickled(task, tmp_path):
    """CMA-ES keeps its state as a pickle among a trial's attributes, and Optuna reads it from any storage."""
    asked = {"trials": 8, "batch": 4, "sampler": "cmaes", "storage": tmp_path}
    space = hj.space(learning_rate=hj.log_uniform(1e-3, 0.1), l2=hj.uniform(0, 1), epochs=2)
    plain = hj.study(task, space, **asked)

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "study.journal"
    attributes = {"cma:optimizer": pickle.dumps(Bomb()).hex(), "cma:generation": 0}
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    for entry in lines:
        entry |= {"system_attrs": attributes} if entry["op_code"] == 4 else {}
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines[:-3]))
    assert alike(hj.study(task, space, **asked), plain)
    np.savez(tmp_path / "study.arrays" / f"trial-{plain.best.number}.npz", **{"0/step": np.array([Bomb()])})
    with pytest.raises(ValueError, match=r"weights must be in a file of arrays, got .*allow_pickle=False"):
        hj.study(task, space, **asked)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(bytes.fromhex(attributes["cma:optimizer"]))
    assert (tmp_path / "exploded").exists()  # it would have


@pytest.mark.parametrize("url", [False, True], ids=["journal", "sqlite"])
def test_the_dashboard_shows_it_as_any_other_study(task, plain, half, url):
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard")
    storage = f"sqlite:///{half}/study.db" if url else str(half / "study.journal")
    hj.study(task, SPACE, storage=storage, folder=half, **ASKED)

    class Silent(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = make_server("127.0.0.1", 0, dashboard.wsgi(storage), handler_class=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{path}", timeout=60) as answer:
            return answer.read().decode()

    try:
        (listed,) = json.loads(get("api/studies"))["study_summaries"]
        assert listed["study_name"] == "hyperjax"
        told = json.loads(get(f"api/studies/{listed['study_id']}"))
        shown = {int(attribute(trial, "trial")): trial for trial in told["trials"]}
        assert sorted(shown) == list(range(24)) and {trial["state"] for trial in shown.values()} == {"Complete"}
        for trial in plain.trials:
            value = "inf" if trial.diverged else pytest.approx(trial.score, rel=1e-12)
            assert shown[trial.number]["values"] == [value]
            steps = [entry["step"] for entry in shown[trial.number]["intermediate_values"]]
            assert steps == list(range(1, len(steps) + 1)) and (trial.diverged or len(steps) == trial.recipe.epochs)
        importances = json.loads(get(f"api/studies/{listed['study_id']}/param_importances"))["param_importances"]
        assert {entry["name"] for entry in importances[0]} == set(SPACE.searched)
        assert len(get(f"csv/{listed['study_id']}").splitlines()) == 25
    finally:
        server.shutdown()
        server.server_close()


def attribute(trial, name):
    return next(entry["value"] for entry in trial["user_attrs"] if entry["key"] == name)


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing_and_change_nothing():
    command = [sys.executable, "-m", "tests.studies.kills", "--kills", "10", "--writes", "4"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    at_random, in_writes = done.stdout.splitlines()
    assert at_random.startswith("10 kills at random over ") and in_writes.startswith("4 kills in a write over ")


@pytest.mark.slow
def test_a_real_disk_that_fills_up(task, plain, tmp_path):
    """Five times, with a little more room each time; then with enough."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root alone, where that is allowed")
    try:
        written = 0
        for size in (32, 40, 48, 56, 64):
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
            with pytest.raises(StudyNotKept, match=r"No space left on device: '.*/disk/") as caught:
                hj.study(task, SPACE, storage=disk, **ASKED)
            assert set(map(repr, rows(caught.value.study))) <= set(map(repr, rows(plain)))
            before, written = written, len(trials_of(disk))
            assert before <= written <= len(caught.value.study.trials)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        found = hj.study(task, SPACE, storage=disk, **ASKED)
        assert alike(found, plain) and 0 < written == found.conditions["trials_kept_before"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_population_that_trains_for_long_goes_on_from_its_states(tmp_path, monkeypatch):
    """Here of 5 epochs, a segment each, in chunks of 2; stopped in the middle of them all, in a second round."""
    monkeypatch.setattr("hyperjax.training.trainer.SECONDS_PER_SEGMENT", 1e-9)
    monkeypatch.setattr("hyperjax.studies.rounds.MOST_AT_STAKE", 0)
    monkeypatch.setattr("hyperjax.studies.rounds.SEGMENTS_KEPT", 1)
    task, advance, count, most = line(), Block.advance, itertools.count(1), [sys.maxsize]

    def counted(block, *rest, **named):
        if next(count) > most[0]:
            raise KeyboardInterrupt
        return advance(block, *rest, **named)

    def ended():
        """Segments since the last time."""
        nonlocal count
        segments, count = next(count) - 1, itertools.count(1)
        return segments

    monkeypatch.setattr(Block, "advance", counted)
    space = hj.space(learning_rate=hj.log_uniform(1e-3, 1.0), optimizer=["sgd", "adam"], epochs=5)
    asked = {"trials": 16, "sampler": "tpe", "batch": 8, "width": 2}
    plain = hj.study(task, space, **asked)
    whole = ended()
    assert whole == 8 * 5
    most[0] = 20 + 7
    with pytest.raises(StudyInterrupted) as caught:
        hj.study(task, space, storage=tmp_path, **asked)
    most[0] = sys.maxsize
    states, before = tmp_path / "study.arrays" / "rounds", ended()
    assert [path.name for path in states.iterdir()] == ["8-15"] and len(caught.value.study.trials) < 16
    assert alike(hj.study(task, space, storage=tmp_path, **asked), plain) and not states.exists()
    assert ended() <= whole - 20 - 7 + 4  # what two threads had in hand, and had not saved
    assert before < whole
