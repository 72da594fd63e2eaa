"""A study is read from its storage as it stands: the same trials, while another has it, with nothing written or held."""

import json
import shutil
from dataclasses import replace

import optax
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

import hyperjax as hj
from hyperjax.reports import watching
from hyperjax.reports.folder import write_study
from hyperjax.reports.watching import watch, write_once
from hyperjax.studies.archive import ASKED
from hyperjax.studies.journal import Journal
from hyperjax.studies.reading import StudyReader
from hyperjax.studies.winner_record import keep_winner, told_of
from tests.studies.kept import alike, line, stopped

ASKED_FOR = {"trials": 24, "seeds": 2, "sampler": "tpe", "batch": 8}


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """A study that was stopped, and the folder of its journal."""
    folder = tmp_path_factory.mktemp("kept")
    return stopped(13, line(), storage=folder, **ASKED_FOR), folder


@pytest.fixture
def folder(part, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(part[1], tmp_path / "out")


def files(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_what_is_read_is_the_study_without_its_task(part, folder):
    study, _ = part
    before = files(folder)
    held = Journal(folder / "study.journal")  # by whoever trains
    try:
        found = StudyReader(str(folder)).read()
    finally:
        held.close()
    assert alike(found, study) and files(folder) == before
    for name in ("task", "space", "fixed", "metric", "direction", "seeds", "logs", "continuous", "ranges", "default"):
        assert getattr(found, name) == getattr(study, name), name
    assert found.conditions["asked_trials"] == 24 and found.conditions["last_trial"]
    assert found.effect("learning_rate") == study.effect("learning_rate")
    with pytest.raises(ValueError, match=r"in_force must be asked of a run whose task is known, got 'learning_rate'"):
        found.best.runs[0].in_force("learning_rate")


def test_a_database_is_read_as_a_journal_is(part, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    space = hj.space(optimizer=["momentum", "adam"], momentum=hj.uniform(0.5, 0.9), learning_rate=[0.1], epochs=2)
    study = stopped(5, line(), space, storage=url, **ASKED_FOR)
    assert {"momentum" in trial.values for trial in study.trials} == {True, False}  # Adam reads none
    with StudyReader(url) as reader:
        assert alike(reader.read(), study)
    with pytest.raises(ValueError, match="must be a database that is there"):
        StudyReader(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_it_grows_line_by_line_and_a_line_that_is_being_written_waits(part, folder):
    study, _ = part
    journal = folder / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    head = sum(b"create_trial" not in line and b'"trial"' not in line for line in lines[:6])
    journal.write_bytes(b"".join(lines[:head]))
    reader, counts = StudyReader(str(folder)), []
    for place, text in enumerate(lines[head:], head):
        for upto in (text[: len(text) // 2], text):
            journal.write_bytes(b"".join(lines[:place]) + upto)
            counts.append(len(reader.read().trials))
    assert counts == sorted(counts) and counts[0] == 0 and set(counts) == set(range(14))
    assert alike(reader.read(), study)


def test_a_journal_that_was_mended_meanwhile_is_read_anew(part, folder):
    journal = folder / "study.journal"
    reader = StudyReader(str(folder))
    first = reader.read()
    lines = journal.read_bytes().splitlines(keepends=True)
    beside = folder / "other"
    beside.write_bytes(b"".join([*lines[:-1], b"x" * len(lines[-1]), b"\n"]))
    beside.replace(journal)
    assert len(first.trials) == 13 and len(reader.read().trials) == 12


def test_functions_of_the_users_own_are_text(tmp_path):
    def own(learning_rate):
        return optax.sgd(learning_rate)

    study = hj.study(line(), hj.space(optimizer=[own], learning_rate=[0.1, 0.01], epochs=1), storage=tmp_path)
    found = StudyReader(str(tmp_path)).read()
    assert [trial.score for trial in found.trials] == [trial.score for trial in study.trials]
    assert [trial.values for trial in found.trials] == [trial.values for trial in study.trials]
    write_once(StudyReader(str(tmp_path)), tmp_path)
    assert "own" in (tmp_path / "report.html").read_text("utf-8").split('<script type="application/json"')[0]


def test_what_is_no_study_is_told(part, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.journal").write_text("once upon a time\n")
    backend = JournalFileBackend(str(tmp_path / "b.journal"), JournalFileOpenLock(str(tmp_path / "b.journal")))
    optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="hyperjax")
    for storage, name, message in (
        (tmp_path / "empty", "hyperjax", r"storage must be a study's journal, .*empty/study.journal': No such file"),
        (tmp_path / "text.journal", "hyperjax", "storage must be a journal of Optuna's, .*begins with b'once upon"),
        (folder, "night", r"name must be that of a study in the storage, got 'night' .*, which holds hyperjax"),
        (tmp_path / "b.journal", "hyperjax", "must hold a study of this program's, .*another one has written"),
    ):
        with pytest.raises(ValueError, match=message):
            StudyReader(str(storage), name)


def test_who_watches_writes_whenever_it_has_grown_and_ends_with_it(part, folder, monkeypatch):
    journal, said, pages, pauses = folder / "study.journal", [], [], []
    lines = journal.read_bytes().splitlines(keepends=True)
    left = lines[-4:]  # as if the last ones were yet to come
    asked = json.loads(next(line for line in lines if ASKED.encode() in line))
    asked["user_attr"] = {ASKED: 13}
    journal.write_bytes(b"".join([*lines[:-4], json.dumps(asked).encode() + b"\n"]))

    def sleep(seconds):
        pauses.append(seconds)
        pages.append((folder / "report.html").read_text("utf-8"))
        if len(pauses) > 1:  # the first time there is nothing new
            journal.write_bytes(journal.read_bytes() + left.pop(0))

    monkeypatch.setattr(watching.time, "sleep", sleep)
    watch(StudyReader(str(folder)), folder, 7.5, said.append)
    assert [text.split(": ")[1] for text in said] == [f"{n} of 13 trials." for n in (9, 10, 11, 12, 13)]
    assert len(pauses) == 5 and min(pauses) >= 7.5 and pages[0] == pages[1]
    assert "Running.</strong> 9 of 13 trials have ended" in pages[0] and '"reloads":7.5' in pages[0]
    last = (folder / "report.html").read_text("utf-8")
    assert "Running." not in last and '"reloads":null' in last and "Not complete." not in last


def test_ctrl_c_leaves_a_page_that_is_quiet(folder, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        watch(StudyReader(str(folder)), folder, 5.0, print)
    text = (folder / "report.html").read_text("utf-8")
    assert '"reloads":null' in text and "Not complete.</strong> 13 of 24 trials have ended" in text


def test_a_page_that_knows_more_is_left_as_it_is(part, folder):
    from hyperjax.reports.folder import write_study

    study, _ = part
    conditions = {**study.conditions, "storage": str(folder / "study.journal")}
    write_study(replace(study, conditions=conditions), folder)
    before = files(folder)
    reader = StudyReader(str(folder / "study.journal"))
    assert "is the study's own, of the same 13 trials: left as it is" in write_once(reader, folder)
    assert files(folder) == before
    (folder / "report.html").unlink()
    assert write_once(reader, folder).endswith("13 of 24 trials.")
    assert write_once(reader, folder).endswith("13 of 24 trials.")  # its own may be written again


def test_a_winner_that_was_kept_is_read_until_there_are_more_trials(part, folder):
    study, _ = part
    found = hj.studies.confirm(study, line(), top=2, seeds=2)
    keep_winner(found.winner, len(study.trials), folder)
    with StudyReader(str(folder)) as reader:
        read = reader.read()
    own, other = read.winner, found.winner
    assert own.trial is next(trial for trial in read.trials if trial.number == other.trial.number)
    for name in ("candidates", "default", "seeds", "claimed", "validation", "test", "gain", "part", "wins", "verdict"):
        assert getattr(own, name) == getattr(other, name), name
    assert [run.score for run in own.runs] == [run.score for run in other.runs]
    assert told_of(own, 13) == told_of(other, 13)
    assert "Winner" in write_study_page(read, folder)
    keep_winner(found.winner, len(study.trials) - 1, folder)  # of a study that has grown since
    assert StudyReader(str(folder)).read().winner is None
    with pytest.raises(ValueError, match="name must be that of a study in the storage, got 'other'"):
        keep_winner(found.winner, 13, folder, "other")


def write_study_page(study, folder):
    write_study(study, folder)
    return (folder / "report.html").read_text("utf-8")
