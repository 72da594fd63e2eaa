"""The moments of a run are states that the run itself passed through."""

import dataclasses

import jax
import numpy as np
import pytest

import hyperjax as hj
from hyperjax.diagnostics import Diagnostic, Moments, Table
from tests.training.made import classes


def test_they_are_the_states_of_the_run():
    task = classes()
    recipe = hj.Recipe(learning_rate=0.02, batch_size=8, epochs=3, schedule="cosine_decay", dropout=0.2)
    moments = Moments(task, recipe, seed=3, points=4)
    each = list(moments)
    assert [moment.step for moment in each] == [0, 6, 12, 18]
    run = hj.fit(task, recipe, seed=3, segment_steps=6)
    losses = np.concatenate([moment.records.loss for moment in each[1:]])
    assert np.array_equal(losses, run.losses)
    ended = moments.program.unpacked(each[-1].carry.weights)
    assert all(map(np.array_equal, jax.tree.leaves(ended), jax.tree.leaves(run._trained().weights)))
    loss = moments.loss(each[-1].carry.weights, each[-1].carry, task.arrays["validation"])
    np.testing.assert_allclose(loss, run.metrics["validation_loss"][-1], rtol=1e-6)


@pytest.mark.slow
def test_left_early_they_follow_the_schedule_of_the_whole_run():
    task = classes()
    recipe = hj.Recipe(learning_rate=0.02, batch_size=8, epochs=3, schedule="cosine_decay")
    *_, last = Moments(task, hj.fit(task, recipe, seed=1), points=2, steps=7)
    run = hj.fit(task, recipe, seed=1, segment_steps=7)
    assert last.step == 7
    assert np.array_equal(last.records.loss, run.losses[:7])


def test_one_that_diverges_ends_there():
    each = list(Moments(classes(), hj.Recipe(optimizer="sgd", learning_rate=1e38, batch_size=8, epochs=3), points=6))
    assert each[-1].step < 18
    assert int(each[-1].carry.diverged_at) >= 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"points": 1}, "points must be at least 2, got 1"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
        ({"source": "adam"}, "source must be a recipe or a run, got a str"),
        ({"source": hj.Recipe(batch_size=8, batch_ramp={"epochs": (1,)})}, "recipe must have one batch size"),
    ],
)
def test_what_cannot_be_followed_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Moments(classes(), **({"source": hj.Recipe(batch_size=8, epochs=2)} | given))


@dataclasses.dataclass(frozen=True)
class Made(Diagnostic):
    title = "Made"
    values: np.ndarray
    spread: float
    _hidden: object = None

    @property
    def answer(self):
        return "All is well <here>."

    @property
    def table(self):
        return Table(("step", "value"), ((1, 0.123456789), (2, float("nan"))))


def test_a_result_is_data_and_a_page(tmp_path):
    made = Made(np.array([1.0, np.inf]), float("nan"), object())
    assert made.to_json() == {"answer": "All is well <here>.", "values": [1.0, None], "spread": None}
    text = hj.report(made, tmp_path / "page.html").read_text("utf-8")
    assert "<h1>Made</h1>" in text
    assert "All is well &lt;here&gt;." in text
    assert "0.123" in text
    with pytest.raises(ValueError, match="x must be"):
        hj.plot(made)
