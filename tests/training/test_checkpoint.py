"""Checkpoints: a training that ended anywhere goes on bit for bit, and what does not belong to it is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hyperjax as hj
from tests.training.made import classes
from tests.training.test_engine import compilations, same  # noqa: F401

RECIPE = hj.Recipe(
    optimizer="adamw",
    learning_rate=0.02,
    batch_size=8,
    batch_ramp={"epochs": (4,), "factor": 2},
    epochs=11,
    dropout=0.2,
    schedule="cosine_decay",
    average=0.9,
    early_stopping={"patience": 20},
)


class StoppedError(Exception):
    pass


def stopping_after(count):
    """A callback that interrupts what calls it the count-th time."""
    calls = []

    def callback(*_):
        calls.append(1)
        if len(calls) == count:
            raise StoppedError

    return callback


SEGMENTS = 12 + 11  # four epochs of six steps, then seven of three, in segments of two
STOPS = [int(stop) for stop in np.random.default_rng(0).permutation(np.arange(1, SEGMENTS))[:20]]


@pytest.fixture(scope="module")
def task():
    """One task, so that what trains the recipe above is compiled once."""
    return classes()


def goes_on(folder, stops, task):
    whole = hj.fit(task, RECIPE, seed=3, segment_steps=2)
    for stop in stops:
        with pytest.raises(StoppedError):
            hj.fit(task, RECIPE, 3, None, stopping_after(stop), segment_steps=2, checkpoint=folder / f"{stop}")
        seen = []
        same(hj.resume(folder / f"{stop}", task, on_segment=seen.append), whole)
        assert len(seen) == SEGMENTS - stop  # what was done is not done again


def test_a_run_stopped_at_a_segment_goes_on_bit_for_bit(tmp_path, task):
    goes_on(tmp_path, (3, 12, 19), task)  # in the first batch size, between the two, in the second


@pytest.mark.slow
def test_a_run_stopped_at_any_of_twenty_segments_goes_on_bit_for_bit(tmp_path, task):
    goes_on(tmp_path, STOPS, task)


@pytest.mark.slow
def test_the_same_call_goes_on_and_an_ended_one_is_read(tmp_path, task):
    whole = hj.fit(task, RECIPE)
    with pytest.raises(StoppedError):
        hj.fit(task, RECIPE, 0, None, stopping_after(2), checkpoint=tmp_path)
    same(hj.fit(task, RECIPE, checkpoint=tmp_path), whole)
    seen = []
    same(hj.fit(task, RECIPE, on_segment=seen.append, checkpoint=tmp_path), whole)
    assert len(seen) == 1 and seen[0].finished


@pytest.mark.slow
def test_every_counts_the_segments_between_checkpoints(tmp_path, task):
    seen = []
    with pytest.raises(StoppedError):
        hj.fit(task, RECIPE, 0, None, stopping_after(5), segment_steps=2, checkpoint=tmp_path, every=3)
    hj.resume(tmp_path, task, on_segment=seen.append)
    assert len(seen) == SEGMENTS - 3


@pytest.mark.slow
def test_a_population_goes_on_with_its_own_weights_and_targets(tmp_path):
    task = classes()
    recipes = [hj.Recipe(optimizer=name, learning_rate=0.05, epochs=e) for name in ("sgd", "adam") for e in (1, 3)]
    recipes.append(recipes[0].replace(batch_size=16))  # a group of its own
    rng = np.random.default_rng(0)
    own = {"example_weights": rng.uniform(0.5, 1.5, (10, 46)), "targets": rng.integers(0, 3, (10, 46))}
    whole = hj.fit_population(task, recipes, seeds=[0, 1], width=3, **own)
    with pytest.raises(StoppedError):
        hj.fit_population(task, recipes, seeds=[0, 1], width=3, checkpoint=tmp_path, progress=stopping_after(4), **own)
    for a, b in zip(hj.resume(tmp_path, task), whole, strict=True):
        same(a, b)
    with pytest.raises(ValueError, match="example_weights"):
        hj.fit_population(task, recipes, seeds=[0, 1], checkpoint=tmp_path)


def test_what_has_ended_is_read_and_nothing_is_compiled(tmp_path, compilations):  # noqa: F811
    recipes = [hj.Recipe(learning_rate=rate, epochs=1) for rate in (0.01, 0.1, 1.0)]
    whole = hj.fit_population(classes(), recipes, width=2, checkpoint=tmp_path)
    compilations.clear()
    read = hj.resume(tmp_path, classes()), hj.fit_population(classes(), recipes, checkpoint=tmp_path)
    for runs in read:
        for found, expected in zip(runs, whole, strict=True):
            same(found, expected)
        assert runs.conditions["compile_seconds"] == 0
    assert compilations == []
    shutil.rmtree(tmp_path / "group-0" / "chunk-1")  # the last member's
    same(hj.resume(tmp_path, classes())[2], whole[2])
    assert compilations == ["_start", "_advance"]


@pytest.mark.slow
def test_a_run_that_began_from_given_weights(tmp_path, monkeypatch):
    task, recipe = classes(), hj.Recipe(epochs=2)
    first = hj.fit(task, recipe)
    whole = hj.fit(task, recipe, init=first)
    same(hj.fit(task, recipe, init=first, checkpoint=tmp_path / "a"), whole)
    same(hj.resume(tmp_path / "a", task), whole)
    with pytest.raises(StoppedError):
        hj.fit(task, recipe, 0, first, stopping_after(1), checkpoint=tmp_path / "b", every=9)
    with pytest.raises(ValueError, match="call fit again with the same init"):
        hj.resume(tmp_path / "b", task)
    same(hj.fit(task, recipe, init=first, checkpoint=tmp_path / "b"), whole)


def test_what_does_not_belong_together_is_refused_with_the_difference(tmp_path):
    task, folder = classes(), tmp_path / "run"
    hj.fit(task, hj.Recipe(epochs=1), checkpoint=folder)
    with pytest.raises(ValueError, match=r"holds another training, recipe 0 is .*there and .*0\.1.*another folder"):
        hj.fit(task, hj.Recipe(epochs=1, learning_rate=0.1), checkpoint=folder)
    with pytest.raises(ValueError, match="its seeds is \\(0,\\) there and \\(1,\\) here"):
        hj.fit(task, hj.Recipe(epochs=1), seed=1, checkpoint=folder)
    with pytest.raises(ValueError, match="its data is"):
        hj.resume(folder, classes(examples=45))
    with pytest.raises(ValueError, match=r"weights\['float32'\] is float32\[1, \d+\] there and float32\[1, \d+\] here"):
        hj.resume(folder, classes(model=lambda rngs: task.model(rngs, width=9)))
    with pytest.raises(ValueError, match=r"task must be given.*'made'"):
        hj.resume(folder)
    with pytest.raises(ValueError, match="checkpoint must be a folder that fit"):
        hj.resume(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="new or empty folder"):
        hj.fit(task, checkpoint=tmp_path / "other" / "thesis.tex")
    with pytest.raises(ValueError, match="new or empty folder"):
        hj.fit(task, hj.Recipe(epochs=1), checkpoint=tmp_path / "other")
    with pytest.raises(ValueError, match="every must be"):
        hj.fit(task, hj.Recipe(epochs=1), checkpoint=tmp_path / "new", every=0)
    with pytest.raises(ValueError, match="public import path"):
        hj.fit(task, hj.Recipe(optimizer=lambda learning_rate: None, epochs=1), checkpoint=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_compiles(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("hyperjax.training.engine.Engine.compile", None)
    expected = r"checkpoint must be a folder that can be written, got .*file/run \(Not a directory\)"
    with pytest.raises(ValueError, match=expected):
        hj.fit(classes(), hj.Recipe(epochs=1), checkpoint=tmp_path / "file" / "run")


def test_a_plan_that_is_cut_or_of_another_format_is_refused(tmp_path):
    hj.fit(classes(), hj.Recipe(epochs=1), checkpoint=tmp_path)
    path = tmp_path / "plan.json"
    text = path.read_text()
    for changed in (text[:40], json.dumps(json.loads(text) | {"format": 99}), "[]", "{}", "3", "\udcff"):
        path.write_text(changed, errors="surrogateescape")
        with pytest.raises(ValueError, match="checkpoint must hold a plan"):
            hj.resume(tmp_path, classes())


@pytest.mark.parametrize("item", ["about", "arrays"])
def test_a_state_that_is_damaged_is_named_and_the_one_before_it_goes_on(item, tmp_path):
    run = hj.fit(classes(), hj.Recipe(epochs=4, batch_size=8), segment_steps=6, checkpoint=tmp_path)
    newest = tmp_path / "group-0" / "chunk-0" / "4"
    for path in (newest / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"states that are whole, got one in .*chunk-0/4 that cannot be read"):
        hj.resume(tmp_path, classes())
    shutil.rmtree(newest)
    same(hj.resume(tmp_path, classes()), run)


PROGRAM = """
import sys
import hyperjax as hj
from tests.training.made import classes
hj.fit(classes(), hj.Recipe(epochs=3000, dropout=0.1), segment_steps=12, checkpoint=sys.argv[1])
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_loses_no_more_than_what_was_not_kept(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], env=os.environ)
    chunk = folder / "group-0" / "chunk-0"
    deadline = time.monotonic() + 120
    while not (chunk / "20").exists() and time.monotonic() < deadline:  # twenty checkpoints are behind it
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    recipe, task = hj.Recipe(epochs=3000, dropout=0.1), classes()
    seen = []
    run = hj.resume(folder, task, on_segment=seen.append, every=100)
    assert seen[0].steps_done > 19 * 12
    same(run, hj.fit(task, recipe, segment_steps=12))
