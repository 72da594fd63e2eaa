"""Batch sizes that share a program: when they do, that a trial is its lone run, and what a kept study goes on with."""

import numpy as np
import optax
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.studies import plan, search
from hyperjax.studies.sharing import shared_size
from tests.studies.kept import rows
from tests.training.made import classes

SPACE = hj.space(
    learning_rate=hj.log_uniform(1e-3, 0.1),
    batch_size=[16, 32],
    optimizer=["sgd", "adam"],
    dropout=[0.0, 0.2],
    epochs=2,
)


class Normed(nnx.Module):
    def __init__(self, rngs):
        self.norm, self.out = nnx.BatchNorm(4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.norm(x))


def sgd_of_mine(learning_rate):
    return optax.sgd(learning_rate)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"batch_size": [16, 32]}, 16),
        ({"batch_size": [32, 48]}, 16),
        ({"batch_size": [32]}, None),  # one program anyhow
        ({"batch_size": [20, 30]}, None),  # parts of 10
        ({"batch_size": [16, 160]}, None),  # ten parts
        ({"batch_size": [16, "full"]}, None),
        ({"batch_size": hj.integer(16, 32)}, None),
        ({"batch_size": 32}, None),
        ({"batch_size": [16, 32], "sam": [None, 0.1]}, None),
        ({"batch_size": [16, 32], "micro_batches": [1, 2]}, None),
        ({"batch_size": [16, 32], "model.width": [4, 8]}, 16),
        ({"batch_size": [16, 32], "model.width": list(range(4, 13))}, None),  # too many to look at each
    ],
)
def test_when_batch_sizes_share_a_program(entries, expected):
    space = hj.space({"epochs": 2, **entries})
    assert shared_size(classes(200), space, hj.Recipe(batch_size=16)) == expected


def test_what_needs_whole_batches_keeps_them():
    space, task = hj.space(batch_size=[16, 32], epochs=2), classes(200)
    assert shared_size(task, space) == 16
    assert shared_size(task, space, layout="vmap") is None
    assert shared_size(classes(200, model=Normed), space) is None
    for base in ({"micro_batches": 2}, {"sam": 0.1}, {"batch_ramp": {"epochs": [1]}}, {"optimizer": sgd_of_mine}):
        assert shared_size(task, space, hj.Recipe(**base)) is None
    assert str(plan(space, task)) == "1 program"
    ranged = hj.space(
        batch_size=[16, 32], epochs=2, learning_rate=hj.log_uniform(1e-3, 0.1)
    )  # no grid, which ends itself
    for long in ({"trials": 10**6}, {"trials": 2000, "seeds": 500}, {"budget": "1h"}, {"budget": "1000000 epochs"}):
        assert (
            str(plan(ranged, task, **long)) == "2 programs: batch_size 16, 32"
        )  # which cost less than slower training
    for short in ({"trials": 100}, {"budget": "5s"}, {"budget": "100 epochs"}):
        assert str(plan(ranged, task, **short)) == "1 program"
    assert str(plan(space, task, layout="vmap")) == "2 programs: batch_size 16, 32"


def test_a_trial_is_its_recipes_lone_run_and_the_default_has_its_program(monkeypatch):
    task = classes(200)
    found = hj.study(task, SPACE, trials=8, recipe=hj.Recipe(batch_size=32, dropout=0.0))  # of the form of the space
    assert found.conditions["programs"] == 1
    assert {trial.recipe.batch_size for trial in found.trials} == {16, 32}
    for trial in found.trials[:3]:
        lone = hj.fit(task, trial.recipe, 0)
        np.testing.assert_array_equal(lone.losses, trial.runs[0].losses)
    assert found.default.micro_batch_size == 16
    before = len(task.trainers)
    hj.studies.confirm(found, task, 2, 2)
    assert len(task.trainers) == before
    odd = hj.study(task, SPACE, trials=2, recipe=hj.Recipe(batch_size=20))
    assert odd.default == hj.Recipe(batch_size=20, epochs=2)
    monkeypatch.setattr(search, "shared_size", lambda *_: None)
    apart = hj.study(task, SPACE, trials=8)
    assert apart.conditions["programs"] == 2
    plain = [(a, b) for a, b in zip(found.trials, apart.trials, strict=True) if a.values["dropout"] == 0]
    for a, b in plain:  # masks are others
        np.testing.assert_allclose(a.runs[0].losses, b.runs[0].losses, rtol=1e-4)
    assert plain


def test_a_kept_study_goes_on_as_it_was_begun(tmp_path, monkeypatch):
    task, ways = classes(200), {"sampler": "tpe", "batch": 4}
    whole = hj.study(task, SPACE, trials=8, **ways)
    hj.study(task, SPACE, trials=4, storage=tmp_path / "a", **ways)
    again = hj.study(task, SPACE, trials=8, storage=tmp_path / "a", **ways)
    assert rows(again) == rows(whole) and again.best.recipe.micro_batch_size == 16
    monkeypatch.setattr(search, "shared_size", lambda *_: None)  # as before there was such a thing
    earlier = hj.study(task, SPACE, trials=8, **ways)
    hj.study(task, SPACE, trials=4, storage=tmp_path / "b", **ways)
    monkeypatch.undo()
    forget(tmp_path / "b" / "study.journal")
    again = hj.study(task, SPACE, trials=8, storage=tmp_path / "b", **ways)
    assert rows(again) == rows(earlier) and again.best.recipe.micro_batch_size is None


def forget(journal):
    """Make a journal one that was written by a version that knew of no parts."""
    lines = journal.read_text().splitlines()
    assert sum('"micro_batch_size": null' in line or '"micro_batch_size":null' in line for line in lines) == 1
    kept = [line.replace('"micro_batch_size": null, ', "").replace('"micro_batch_size":null,', "") for line in lines]
    journal.write_text("\n".join(kept) + "\n")


def test_a_pruned_study_shares_too():
    task = classes(200)
    found = hj.study(task, hj.space({**SPACE.entries, "epochs": 6}), trials=12, pruner="hyperband", sampler="tpe")
    assert found.conditions["programs"] == 1 and found.pruned
    trial = found.trials[found.pruned[0]] if isinstance(found.pruned[0], int) else found.pruned[0]
    lone = hj.fit(task, trial.recipe, 0)
    np.testing.assert_array_equal(trial.runs[0].losses, lone.losses[: len(trial.runs[0].losses)])
