"""Batches in parts: the batch size is a number of a program, and an epoch's last batch may be padded."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.training.cohort import Cohort, Copy
from hyperjax.training.engine import Engine
from hyperjax.training.gradient import _padded
from hyperjax.training.lowering import lower_together, stepwise
from hyperjax.training.parts import part_of
from hyperjax.training.run_json import about, recalled
from hyperjax.training.structure import Structure
from tests.training.made import classes
from tests.training.test_engine import same, weights

BASE = hj.Recipe(learning_rate=0.02, micro_batch_size=8, epochs=3)
SIZES = (8, 16, 24, 40)


def close(run, other, rtol=1e-5):
    np.testing.assert_allclose(run.losses, other.losses, rtol=rtol, atol=1e-6)
    np.testing.assert_allclose(run.gradient_norms, other.gradient_norms, rtol=10 * rtol, atol=1e-6)
    np.testing.assert_allclose(run.update_norms, other.update_norms, rtol=10 * rtol, atol=1e-6)
    np.testing.assert_array_equal(run.epochs, other.epochs)
    assert run.metrics.keys() == other.metrics.keys()
    for name in run.metrics:
        np.testing.assert_allclose(run.metrics[name], other.metrics[name], rtol=rtol, atol=1e-5, err_msg=name)
    assert (run.total_steps, run.steps_done, run.diverged_at) == (
        other.total_steps,
        other.steps_done,
        other.diverged_at,
    )
    for a, b in zip(jax.tree.leaves(weights(run)), jax.tree.leaves(weights(other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=1e-5)


def whole(recipe):
    return recipe.replace(micro_batch_size=None)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "sgd", "epochs": 2.6},
        {"schedule": "cosine_decay", "warmup": hj.epochs(1), "clip_norm": 0.5, "weight_decay": 0.1},
        pytest.param({"class_weights": "balanced", "average": 0.9, "l2": 1e-3}, marks=pytest.mark.slow),
        pytest.param(
            {"plateau": {"patience": 2}, "early_stopping": {"patience": 1}, "epochs": 5}, marks=pytest.mark.slow
        ),
    ],
)
def test_batches_of_all_sizes_share_a_program_and_train_as_whole_ones(change):
    task = classes()
    recipes = [BASE.replace(batch_size=size, **change) for size in SIZES]
    runs = hj.fit_population(task, recipes, seeds=[0, 3])
    assert runs.conditions["programs"] == 1
    for run in [*runs[2:4], *runs[7:]]:  # of 16 examples with each seed, and of 40 with one
        other = hj.fit(task, whole(run.recipe), run.seed)
        close(run, other)
        np.testing.assert_allclose(run.in_force("learning_rate"), other.in_force("learning_rate"), rtol=1e-5)


def test_a_member_is_its_lone_run_bit_for_bit_and_side_by_side_to_rounding():
    task = classes()
    recipes = [BASE.replace(batch_size=size, dropout=0.3) for size in SIZES]
    runs = hj.fit_population(task, recipes)
    for run in runs:
        same(run, hj.fit(task, run.recipe, run.seed))
    for run, other in zip(runs, hj.fit_population(task, recipes, layout="vmap"), strict=True):
        close(run, other)


@pytest.mark.parametrize("size", [8, 24])
def test_masks_are_those_of_micro_batches(size):
    task, recipe = classes(), BASE.replace(batch_size=size, dropout=0.4)
    assert stepwise(recipe).micro_batches == size // 8
    run, other = hj.fit(task, recipe), hj.fit(task, stepwise(recipe))
    first = 46 // size  # steps of an epoch before its last, in which parts may be cut otherwise
    np.testing.assert_allclose(run.losses[:first], other.losses[:first], rtol=1e-5)


@pytest.mark.slow
def test_where_examples_meet_they_do_within_a_part_alone():
    class Normed(nnx.Module):
        def __init__(self, rngs):
            self.norm, self.out = nnx.BatchNorm(4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(self.norm(x))

    task = classes(model=Normed)
    for size in (8, 24):
        recipe = BASE.replace(batch_size=size, epochs=2)
        close(hj.fit(task, recipe), hj.fit(task, stepwise(recipe)))


def test_one_that_diverges_ends_at_its_step_and_touches_no_neighbour():
    task = classes()
    bad = BASE.replace(optimizer="sgd", learning_rate=1e30, activation="relu", batch_size=24)
    runs = hj.fit_population(task, [BASE.replace(batch_size=16), bad])
    assert runs[1].diverged_at == hj.fit(task, whole(bad)).diverged_at is not None
    same(runs[0], hj.fit(task, runs[0].recipe))


@pytest.mark.slow
def test_sampling_with_replacement_and_by_class_sees_as_many():
    task = classes()
    for sampling in ("replacement", "balanced"):
        run = hj.fit(task, BASE.replace(batch_size=24, sampling=sampling))
        assert run.total_steps == len(run.losses) == 6 and np.isfinite(run.losses).all()


def test_a_checkpoint_goes_on_and_a_fork_does_too(tmp_path):
    task, recipe = classes(), BASE.replace(batch_size=24, epochs=4, dropout=0.2)
    run = hj.fit(task, recipe)
    seen = []

    def stop(part):
        seen.append(part.steps_done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hj.fit(task, recipe, checkpoint=tmp_path, on_segment=stop)
    again = hj.fit(task, recipe, checkpoint=tmp_path)
    np.testing.assert_array_equal(again.losses, run.losses)
    assert seen == [2, 4]
    forked = hj.fork(run, 3, [recipe, recipe.replace(learning_rate=0.1)], seeds=[0])
    np.testing.assert_array_equal(forked.runs[0].losses, run.losses)
    assert (forked.runs[1].losses[:3] == run.losses[:3]).all() and (forked.runs[1].losses[4:] != run.losses[4:]).all()
    with pytest.raises(ValueError, match="recipes must share a program"):
        hj.fork(run, 3, [recipe.replace(batch_size=16)])


def test_a_cohort_tells_epochs_and_refuses_copies_between_batch_sizes():
    task = classes()
    engine = Engine(task, [BASE.replace(batch_size=size) for size in (8, 24, 24)], segment_epochs=1)
    cohort = Cohort(engine)
    cohort.advance(1)
    assert [cohort.epoch(member) for member in range(3)] == [1, 1, 1]
    assert [run.steps_done for run in cohort.runs] == [6, 2, 2]
    assert cohort.scores([0, 1]).shape == (2, 1)
    cohort.copy([Copy(1, 2, engine.recipes[2].replace(learning_rate=0.1))])
    with pytest.raises(ValueError, match="recipe must be one that the members' program has room for"):
        cohort.copy([Copy(0, 2, engine.recipes[2])])
    cohort.advance()
    same(cohort.run(0), hj.fit(task, engine.recipes[0]))


def test_numbers_in_force_are_known_of_a_run_that_was_kept():
    task, recipe = classes(), BASE.replace(batch_size=24, schedule="linear")
    run = hj.fit(task, recipe)
    again = recalled(task, recipe, about(run), None)
    np.testing.assert_allclose(
        dataclasses.replace(again, steps=run.steps).in_force("learning_rate"), run.in_force("learning_rate"), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"micro_batch_size": 5}, "micro_batch_size must be a whole number that divides batch_size, 32, got 5"),
        ({"micro_batch_size": 0}, "micro_batch_size must be a whole number"),
        ({"micro_batch_size": 8, "batch_size": "full"}, "divides batch_size, 'full'"),
        (
            {"micro_batch_size": 8, "micro_batches": 2},
            "micro_batches must be left out beside micro_batch_size=8, got 2",
        ),
        ({"micro_batch_size": 8, "sam": 0.1}, "sam must be left out"),
        ({"micro_batch_size": 8, "batch_ramp": {"epochs": [2]}}, "batch_ramp must be left out"),
        ({"micro_batch_size": 8, "optimizer": lambda learning_rate: None}, "optimizer must be a name beside"),
    ],
)
def test_what_needs_a_whole_batch_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        hj.Recipe(**change)


@pytest.mark.parametrize("examples", [1, 7, 8, 46, 64])
@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_parts_of_an_epoch_are_those_of_its_batches(examples, parts):
    structure = Structure(examples=examples, batch_size=8, gathers=True)
    member, turns = structure.member(parts), structure.steps_per_epoch
    shares, step, ends = np.zeros(member.steps_per_epoch), 0, []
    for counter in range(2 * turns):
        part = part_of(structure, jnp.int32(parts), counter)
        assert bool(part.first) == (int(part.number) == 0)
        shares[step % member.steps_per_epoch] += float(part.share)
        if part.last:
            ends.append(counter)
            step += 1
    assert step == 2 * member.steps_per_epoch
    np.testing.assert_allclose(shares, 2.0, rtol=1e-6)
    assert structure.turn_ends(parts, 2 * turns).tolist() == ends
    assert [int(structure.turns(parts, steps)) - 1 for steps in range(1, step + 1)] == ends or parts * 8 > examples
    assert structure.turns(parts, step) == 2 * turns


PADDED = [
    {},
    {"dropout": 0.3},
    {"micro_batches": 2, "optimizer": "sgd"},
    pytest.param({"class_weights": "balanced", "sam": 0.05}, marks=pytest.mark.slow),
    pytest.param({"epochs": 1.3, "precision": "bfloat16"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("change", PADDED)
def test_a_padded_batch_says_what_the_smaller_one_does(change, monkeypatch):
    recipe = hj.Recipe(batch_size=8, learning_rate=0.02, **{"epochs": 3, **change})
    assert lower_together([recipe], classes())[1].pads_little  # two of 46 examples
    padded = hj.fit(classes(), recipe)
    monkeypatch.setattr(Structure, "pads_little", False)
    close(padded, hj.fit(classes(), recipe), 1e-2 if "precision" in change else 1e-5)


def test_a_padded_program_has_one_size_of_batch():
    """Batches of 8 of 46 are padded; of 40 too many are lacking, and a model in which examples meet needs its own."""

    def sizes(task, batch):
        engine = Engine(task, [hj.Recipe(batch_size=batch, epochs=1)])
        engine.compile()
        text = str(engine.groups[0].trainer.advance.lower(*_arguments(engine.groups[0])).as_text())
        return {size for size in (46 % batch, batch) if f"tensor<{size}x8xf32>" in text}

    assert sizes(classes(), 8) == {8}
    assert sizes(classes(), 40) == {6, 40}

    class Meeting(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            hidden = self.first(x)
            return self.second(hidden - hidden.mean(0))

    assert sizes(classes(model=Meeting), 8) == {6, 8}


def _arguments(group):
    settings, roots = group.trainer.shapes(group.width)
    return group.trainer.carry(group.width), settings, roots, group.trainer.data, np.int32(0)


def test_what_pads_a_batch_is_of_the_batch_itself():
    """No other example, whose loss may not be finite; and it counts for nothing."""
    arrays = (jnp.arange(10.0), jnp.arange(10))
    (settings,), _ = lower_together([hj.Recipe(batch_size=8)], classes())
    batch = _padded(arrays, settings, jnp.array([4, 2, 7, 9]), jnp.array([True, True, True, False]))
    assert batch.arrays[0].tolist() == [4.0, 2.0, 7.0, 4.0]
    np.testing.assert_allclose(batch.counted, [4 / 3, 4 / 3, 4 / 3, 0.0])
