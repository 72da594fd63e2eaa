"""A run continued under several recipes: what came before is its own, what comes behind is compared batch by batch."""

import numpy as np
import pytest

import hyperjax as hj
from tests.training.made import classes
from tests.training.test_engine import same

RECIPE = hj.Recipe(
    optimizer="momentum", learning_rate=0.05, batch_size=8, epochs=4, dropout=0.2, schedule="cosine_decay", average=0.9
)


@pytest.mark.parametrize(
    "step", [pytest.param(2, marks=pytest.mark.slow), 6, pytest.param(9, marks=pytest.mark.slow), 24]
)  # at an epoch's end (6), between two, at the run's end
def test_the_same_recipe_gives_the_run_itself(step):
    run = hj.fit(classes(), RECIPE, seed=3)
    again = hj.fork(run, step, [RECIPE])
    same(again.runs[0], run)
    assert again.seeds == (3, 4, 5, 6, 7) and len(again.runs) == 5
    if step < 24:
        for other in again.runs[1:]:
            np.testing.assert_array_equal(other.losses[:step], run.losses[:step])
            assert (other.losses[step:] != run.losses[step:]).all()


def test_a_changed_rate_acts_behind_the_step_alone_and_is_compared_seed_by_seed():
    task = classes()
    run = hj.fit(task, RECIPE)
    stopped = RECIPE.replace(learning_rate=0.0)
    fork = hj.fork(run, 9, [RECIPE, stopped, RECIPE.replace(optimizer="adam")], seeds=[0, 1, 2])
    same(fork.runs[0], run)
    frozen = fork.runs[3]
    assert (frozen.update_norms[9:] == 0).all() and (frozen.update_norms[:9] == run.update_norms[:9]).all()
    np.testing.assert_array_equal(frozen.in_force("learning_rate")[:9], run.in_force("learning_rate")[:9])
    assert (frozen.in_force("learning_rate")[9:] == 0).all()
    for seed in range(3):  # the same batches: where nothing moved yet, the losses are equal
        assert fork.runs[seed].losses[9] == fork.runs[3 + seed].losses[9] == fork.runs[6 + seed].losses[9]
    final = fork.final("validation_loss")
    assert final.shape == (3, 3)
    first = fork.compare("validation_loss")[0]
    gains = final[1] - final[0]
    assert (first.first, first.second) == (0, 1) and first.interval.mean == pytest.approx(gains.mean())
    half = 4.302653 * gains.std(ddof=1) / 3**0.5  # Student's t of two degrees
    assert first.interval.high == pytest.approx(gains.mean() + half, rel=1e-5)
    assert [(d.first, d.second) for d in fork.compare()] == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.slow
def test_a_fork_may_go_on_longer_than_the_run():
    run = hj.fit(classes(), RECIPE.replace(schedule="constant"))
    longer = hj.fork(run, 24, [RECIPE.replace(schedule="constant", epochs=6)], seeds=[0]).runs[0]
    same(longer, hj.fit(classes(), RECIPE.replace(schedule="constant", epochs=6)))


@pytest.mark.slow
def test_what_cannot_be_continued_is_refused():
    run = hj.fit(classes(), RECIPE)
    for step in (0, 1, 25, 9.5, "9", None):
        with pytest.raises(ValueError, match="step must be from 2 to the 24 steps"):
            hj.fork(run, step, [RECIPE])
    with pytest.raises(ValueError, match="recipes must share a program"):
        hj.fork(run, 6, [RECIPE.replace(batch_size=16)])
    with pytest.raises(ValueError, match="recipes must go on behind step 12"):
        hj.fork(run, 12, [RECIPE.replace(epochs=1)])
    with pytest.raises(ValueError, match="recipes must hold"):
        hj.fork(run, 6, [])
    with pytest.raises(ValueError, match="seeds must hold"):
        hj.fork(run, 6, [RECIPE], seeds=[])
    with pytest.raises(ValueError, match="seeds must hold at least one whole number, got 3"):
        hj.fork(run, 6, [RECIPE], seeds=3)
    grown = hj.fit(classes(), RECIPE.replace(batch_ramp={"epochs": (2,)}))
    with pytest.raises(ValueError, match="run must have one batch size"):
        hj.fork(grown, 6, [RECIPE])
    with pytest.raises(ValueError, match="metric must be one of"):
        hj.fork(run, 6, [RECIPE], seeds=[0]).final("accuracy")
