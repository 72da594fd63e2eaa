"""Where a curve leads, against closed forms and against running on."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.diagnostics import Curve, epochs_needed

EIGENVALUES = np.array([1.0, 0.1, 0.02])
RATE = 1.0


def quadratic():
    """Linear regression without noise whose Hessian has these eigenvalues: half the mean square of x times w - 1."""
    count = len(EIGENVALUES)
    x = np.sqrt(EIGENVALUES * count)[:, None] * np.eye(count)

    def objective(model, batch, key):
        inputs, targets = batch
        return 0.5 * (jnp.sum(inputs * model.weights, axis=1) - targets) ** 2

    class Weights(nnx.Module):
        def __init__(self, rngs):
            self.weights = nnx.Param(jnp.zeros(count))

    data = (x.astype(np.float32), x.sum(1).astype(np.float32))
    return hj.Task(Weights, {"train": data}, objective=objective, name="quadratic")


def exact_loss(t):
    """Sum of lambda / 2 (1 - rate lambda)^(2 t), from weights of 0 to weights of 1."""
    return (EIGENVALUES / 2 * (1 - RATE * EIGENVALUES) ** (2 * np.asarray(t, float)[..., None])).sum(-1)


def exact_epochs(worth, first):
    t = np.arange(first, 4000, 0.01)
    enough = exact_loss(t) - exact_loss(2 * t) < worth * (exact_loss(first) - exact_loss(t))
    return t[np.argmax(enough)]


def test_linear_regression_by_descent_on_a_known_quadratic():
    recipe = hj.Recipe(optimizer="sgd", learning_rate=RATE, batch_size="full", epochs=40)
    run = hj.fit(quadratic(), recipe)
    np.testing.assert_allclose(run.losses, exact_loss(np.arange(40)), rtol=1e-4)
    # The loss of a step is of the weights before it, and stands at its end: one later than in the formula.
    curve = Curve(np.arange(1, 40), run.losses[1:], unit="epoch")
    needed = epochs_needed(curve)
    truth = exact_epochs(0.01, 1.0)
    assert needed.epochs.mean == pytest.approx(truth, rel=0.05)
    assert needed.epochs.low * 0.95 <= truth <= needed.epochs.high * 1.05
    assert needed.loss.mean == pytest.approx(exact_loss(truth), abs=1e-4)
    assert needed.verdict == "go on"
    for times in (2, 4):
        assert needed.expected(40 * times).mean == pytest.approx(exact_loss(40 * times), abs=2e-4)
    long = epochs_needed(Curve(np.arange(1, 301), exact_loss(np.arange(1, 301)), unit="epoch"))
    assert long.verdict == "could have ended"
    assert long.epochs.mean == pytest.approx(truth, rel=0.05)


def test_noise_is_in_the_interval():
    """Curves of known falls, carried on to twice their length: the interval holds what is measured there."""
    held = []
    for seed in range(18):
        draw = np.random.default_rng(seed)
        t = np.arange(1, 81)
        fall = [np.exp(-t / 12), (1 + t / 5) ** -1.0, 0.7 * np.exp(-t / 4) + 0.3 * np.exp(-t / 30)][seed % 3]
        y = 0.3 + fall + 0.01 * draw.normal(size=80)
        expected = epochs_needed(Curve(t[:40], y[:40], unit="epoch")).expected(80)
        held.append(expected.low <= y[-1] <= expected.high)
    assert np.mean(held) >= 0.8, "95 % wanted; of 18 at 90 %, fewer than this are as rare as 1 in 30"


@pytest.mark.slow
def test_running_on_agrees():
    task = hj.tasks.digits()
    recipe = hj.Recipe(learning_rate=3e-4, dropout=0.3, epochs=24)
    short = hj.fit_population(task, [recipe], seeds=range(6, 12))
    long = hj.fit_population(task, [recipe.replace(epochs=48)], seeds=range(6, 12))
    held = 0
    for run, on in zip(short, long, strict=True):
        expected = epochs_needed(run).expected(48)
        held += expected.low <= on.metrics["validation_loss"][-1] <= expected.high
    assert held >= 5


def test_a_minimum_is_where_it_ends():
    t = np.arange(1, 61)
    validation = 0.5 + 2 * np.exp(-t / 4.0) + 0.015 * np.maximum(t - 20, 0)
    needed = epochs_needed(Curve(t, 2 * np.exp(-t / 6.0), validation, unit="epoch"))
    assert needed.verdict == "could have ended"
    assert 17 <= needed.epochs.mean <= 24
    assert needed.gain.mean < 0
    with pytest.raises(ValueError, match="goes on falling"):
        needed.expected(80)


def test_a_page_shows_where_it_leads(tmp_path):
    t = np.arange(1, 31)
    needed = epochs_needed(Curve(t, 1 + 2 * np.exp(-t / 8.0) + 0.01 * np.cos(7.0 * t), unit="epoch"))
    text = hj.report(needed, tmp_path / "page.html").read_text("utf-8")
    assert "Where the curve leads" in text
    assert needed.answer.split(":")[0] in text
    (figure,) = hj.reports.diagnostic_page.diagnostic_figures(needed).values()
    assert [trace.name for trace in figure.data] == ["training loss", "95 %", "carried on"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Curve(range(9), [2.0] * 8 + [np.inf]), "must not have diverged"),
        (Curve(range(5), [5.0, 4.0, 3.0, 2.0, 1.0]), "must have 8 losses or more, got 5"),
        (Curve(range(20), np.random.default_rng(0).normal(size=20)), "must have a training loss that falls"),
        (Curve(range(20), 0.8 ** np.arange(20), rate=np.linspace(1, 0, 20)), "a learning rate that lasts"),
        ("curve", "source must be a run or a Curve"),
    ],
)
def test_what_says_nothing_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        epochs_needed(given)
    with pytest.raises(ValueError, match="worth must be"):
        epochs_needed(Curve(range(9), 0.5 ** np.arange(9)), worth=1.0)
