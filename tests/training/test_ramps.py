"""Batches that grow between epochs: what each step sees, what becomes of the rate, and that nothing else changes."""

import jax
import numpy as np
import pytest

import hyperjax as hj
from hyperjax.training.lowering import lower_together
from tests.training.made import classes
from tests.training.test_engine import same, weights

RAMP = {"epochs": (2, 3), "factor": 2}


def test_batches_grow_after_the_given_epochs_and_the_rate_with_them():
    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.05, batch_size=8, epochs=5, batch_ramp=RAMP)
    run = hj.fit(classes(), recipe)
    structure = lower_together([recipe], classes())[1]
    sizes = [8] * 5 + [6] + [8] * 5 + [6] + [16, 16, 14] + ([32, 14] * 2)  # 46 examples
    assert structure.batch_sizes(19).tolist() == sizes and sum(sizes) == 5 * 46
    assert run.total_steps == run.steps_done == len(run.losses) == 19
    np.testing.assert_allclose(run.in_force("learning_rate"), [0.05] * 12 + [0.1] * 3 + [0.2] * 4, rtol=1e-6)
    np.testing.assert_allclose(run.epochs, [1, 2, 3, 4, 5])
    assert run.finished and len(run.metrics["validation_loss"]) == 5


@pytest.mark.slow
def test_each_part_is_what_plain_runs_of_that_batch_size_do():
    task = classes()
    base = hj.Recipe(optimizer="sgd", learning_rate=0.05, batch_size=8)
    run = hj.fit(task, base.replace(epochs=4, batch_ramp={"epochs": (2,), "rate": "sqrt"}))
    first = hj.fit(task, base.replace(epochs=2))
    np.testing.assert_array_equal(run.losses[:12], first.losses)
    np.testing.assert_array_equal(run.metrics["validation_loss"][:2], first.metrics["validation_loss"])
    second = hj.fit(task, base.replace(batch_size=16, learning_rate=0.05 * 2**0.5, epochs=2), init=first)
    assert run.losses[12] != second.losses[0]  # another epoch's order
    full = base.replace(batch_size=23, epochs=3, batch_ramp={"epochs": (2,), "rate": "constant"})
    whole, before = hj.fit(task, full), hj.fit(task, base.replace(batch_size=23, epochs=2))
    after = hj.fit(task, base.replace(batch_size="full", epochs=1), init=before)
    np.testing.assert_allclose(whole.losses[4:], after.losses, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(weights(whole)), jax.tree.leaves(weights(after)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_state_of_the_optimizer_goes_on():
    task = classes()
    grown = hj.Recipe(
        optimizer="adam", learning_rate=0.01, batch_size=23, epochs=6, batch_ramp={"epochs": [3], "rate": "constant"}
    )
    run = hj.fit(task, grown)
    first = hj.fit(task, grown.replace(batch_ramp={}, epochs=3))
    reset = hj.fit(task, grown.replace(batch_size="full", batch_ramp={}, epochs=3), init=first)
    assert np.abs(run.losses[7:] - reset.losses[1:]).max() > 1e-4  # Adam's moments were kept


@pytest.mark.slow
def test_a_population_with_ramps_equals_lone_runs_and_lengths_in_epochs_follow():
    base = hj.Recipe(batch_size=8, batch_ramp=RAMP, learning_rate=0.02)
    recipes = [
        base.replace(optimizer="momentum", epochs=1),  # ends before the first change
        base.replace(optimizer="adam", epochs=2.5, warmup=hj.epochs(1)),
        base.replace(learning_rate=hj.schedules.step_decay(0.1, 0.5, hj.epochs(3)), epochs=5),
        base.replace(epochs=5, early_stopping={"patience": 1}, average=0.9),
        base.replace(epochs=4, learning_rate=1e20, optimizer="sgd"),
    ]
    runs = hj.fit_population(classes(), recipes)
    assert runs.conditions["programs"] == 1
    for run in runs:
        same(run, hj.fit(classes(), run.recipe))
    factors = np.repeat([1.0, 2.0, 4.0], [12, 3, 4])
    rate = np.where(np.arange(19) < 15, 0.1, 0.05) * factors
    np.testing.assert_allclose(runs[2].in_force("learning_rate"), rate, rtol=1e-6)
    assert runs[1].total_steps == 14 and runs[1].epochs[-1] == pytest.approx(2 + 2 / 3)
    assert runs[0].total_steps == 6


@pytest.mark.slow
def test_cutting_into_segments_does_not_matter_to_what_is_recorded():
    recipe = hj.Recipe(batch_size=8, batch_ramp=RAMP, epochs=5)
    whole, cut = hj.fit(classes(), recipe), hj.fit(classes(), recipe, segment_steps=4)
    assert len(cut.losses) == 19
    np.testing.assert_allclose(cut.losses, whole.losses, rtol=1e-5)
    np.testing.assert_allclose(cut.metrics["validation_loss"], whole.metrics["validation_loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("ramp", "match"),
    [
        ({"epochs": (3, 2)}, "epochs"),
        ({"epochs": 2}, "epochs"),
        ({}, None),
        ({"factor": 2}, "epochs"),
        ({"epochs": (1,), "factor": 1.5}, "factor"),
        ({"epochs": (1,), "rate": "cubic"}, "rate"),
        ({"epoch": (1,)}, "did you mean 'epochs'"),
    ],
)
def test_bad_input_names_the_argument(ramp, match):
    if match is None:
        assert hj.Recipe(batch_ramp=ramp) == hj.Recipe()
        return
    with pytest.raises(ValueError, match=match):
        hj.Recipe(batch_ramp=ramp)


def test_recipes_with_ramps_go_through_json():
    recipe = hj.Recipe(batch_ramp={"epochs": [2, 4], "rate": "sqrt"})
    assert hj.Recipe.from_json(recipe.to_json()) == recipe
