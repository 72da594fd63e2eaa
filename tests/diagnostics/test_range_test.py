"""The range test finds what is known of quadratics, and suggests nothing where nothing is known."""

import math
import types

import numpy as np
import optax
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.diagnostics import lr_range_test
from hyperjax.diagnostics.ramp import ramp, smoothed
from hyperjax.diagnostics.range_test import _reason
from hyperjax.diagnostics.rate_curve import RateCurve, beyond_noise, crossing
from hyperjax.diagnostics.rate_population import RatePopulation
from hyperjax.statistics import mean_interval
from tests.training.made import classes

EXAMPLES, INPUTS = 64, 5


def regression(targets=None):
    """Least squares without an intercept: a quadratic, whose largest eigenvalue comes with it."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(EXAMPLES, INPUTS)) * np.geomspace(1, 0.2, INPUTS)).astype(np.float32)
    y = x @ rng.normal(size=(INPUTS, 1)).astype(np.float32) if targets is None else targets
    model = lambda rngs: nnx.Linear(INPUTS, 1, use_bias=False, rngs=rngs)  # noqa: E731
    task = hj.Task(model, {"train": (x, y)}, loss="squared_error", name="regression")
    return task, float(np.linalg.eigvalsh(2 / EXAMPLES * x.T @ x)[-1])


@pytest.fixture(scope="module")
def quadratic():
    return regression()


SGD = hj.Recipe(optimizer="sgd", batch_size="full", schedule="cosine_decay", warmup=hj.fraction(0.1), epochs=7)


@pytest.fixture(scope="module")
def tested(quadratic):
    return lr_range_test(quadratic[0], SGD, low=1e-5, rates=32)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", pytest.param(optax.sgd, marks=pytest.mark.slow)])
def test_a_quadratic_blows_up_at_the_limit_of_stability(quadratic, tested, optimizer):
    task, largest = quadratic
    limit = (2 + 2 * 0.9 if optimizer == "momentum" else 2) / largest
    test = tested if optimizer == "sgd" else lr_range_test(task, SGD.replace(optimizer=optimizer), low=1e-5, rates=16)
    assert test.reason is None
    assert test.upper.mean == pytest.approx(limit, rel=0.05)
    assert test.upper.low <= test.upper.mean <= test.upper.high
    assert test.lower.low <= test.lower.mean < test.suggestion < test.upper.low


def test_progress_is_what_a_loop_makes(quadratic, tested):
    x, y = map(np.float64, quadratic[0].data["train"])
    place = int(np.argmin(abs(tested.rates - 0.01)))
    for seed in (0, 1):
        run = hj.fit(quadratic[0], SGD.replace(learning_rate=0.0, schedule="constant", warmup=0, epochs=1), seed=seed)
        weights, losses = np.float64(run.model.kernel.get_value()), []
        untrained = np.mean((x @ weights - y) ** 2)
        for _ in range(100):
            losses.append(np.mean((x @ weights - y) ** 2))
            weights = weights - tested.rates[place] * 2 / EXAMPLES * x.T @ (x @ weights - y)
        assert tested.untrained[seed] == pytest.approx(untrained, rel=1e-5)
        assert tested.progress[place, seed] == pytest.approx(untrained - np.mean(losses[75:]), rel=1e-4)
    assert np.isposinf(tested.loss[tested.diverged == 1]).all()


def test_it_is_data_a_table_and_a_figure(tested, tmp_path):
    data = tested.to_json()
    assert data["suggestion"] == tested.suggestion
    assert data["upper"]["mean"] == tested.upper.mean
    assert f"{tested.suggestion:.2g}" in data["answer"]
    assert 10 <= len(tested.table.rows) <= 13
    assert [row[0] for row in tested.table.rows if row[-1] == "suggested"] == [tested.suggestion]
    figure = hj.plot(tested)
    named = {trace.name: trace for trace in figure.data if trace.name}
    assert named["safe"].x[0] == pytest.approx(tested.lower.mean, rel=1e-3)
    (line,) = [trace for name, trace in named.items() if name.startswith("suggestion")]
    assert line.x[0] == pytest.approx(tested.suggestion, rel=1e-3)
    text = hj.report(tested, tmp_path / "page.html").read_text("utf-8")
    assert "Take a learning rate" in text


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"low": 1e5, "high": 1e8}, "diverged"),
        ({"low": 0.1, "high": 50.0}, "lowest"),
        ({"low": 1e-6, "high": 1e-3}, "highest"),
        ({"seeds": [3]}, "seeds"),
        ({"steps": 10}, "steps"),
    ],
)
def test_it_refuses_where_the_range_or_the_runs_do_not_do(quadratic, given, reason):
    test = lr_range_test(quadratic[0], SGD, **({"low": 1e-5, "rates": 8} | given))
    assert test.suggestion is None
    assert test.reason == reason
    assert test.answer.startswith("No rate is suggested: ")
    assert hj.plot(test).data
    if reason == "diverged":
        assert test.upper == (1e5, 0, 1e5)
        assert math.isnan(test.lower.mean)
    if reason == "highest":
        assert math.isinf(test.upper.high)


def test_it_refuses_where_nothing_is_to_be_learnt():
    constant = lr_range_test(regression(np.full((EXAMPLES, 1), 3, np.float32))[0], SGD, low=1e-4, rates=8)
    assert (constant.suggestion, constant.reason) == (None, "targets")
    rng = np.random.default_rng(0)
    labels = {"train": (rng.normal(size=(400, 4)).astype(np.float32), rng.integers(0, 3, 400).astype(np.int32))}
    noise = lr_range_test(classes(data=labels), hj.Recipe(), low=1e-5, rates=8)
    assert noise.suggestion is None
    assert noise.reason in ("noise", "targets")


def test_a_ramp_finds_a_rate_between_the_ends(quadratic, tested):
    test = lr_range_test(quadratic[0], SGD, low=1e-5, method="ramp", steps=200)
    assert test.reason is None
    assert len(test.rates) == 200
    assert tested.lower.mean < test.suggestion < tested.upper.mean
    assert test.upper.mean > tested.upper.mean  # a blow-up takes steps, in which the rate goes on rising


def test_the_parts_of_a_ramp():
    schedule = ramp(1e-3, 10.0, 9)
    np.testing.assert_allclose([schedule(step) for step in range(9)], np.geomspace(1e-3, 10.0, 9), rtol=1e-5)
    values = np.random.default_rng(0).normal(size=(2, 30))
    weights = 0.8 ** np.arange(30)[::-1]
    np.testing.assert_allclose(smoothed(values, 0.8)[:, -1], values @ weights / weights.sum())
    assert np.isnan(smoothed(np.array([1.0, np.nan, 1.0]), 0.8)[1:]).all()


def test_a_curve_is_left_where_each_seed_leaves_it():
    rates = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    progress = np.array([[0.1, 0.6, 1.0, 0.8, 0.4, 1.1], [0.2, 0.4, 1.0, 0.7, 0.6, -np.inf]]).T
    curve = RateCurve(rates, progress)
    assert curve.best == 2
    assert curve.brackets(0.5, upwards=True).tolist() == [[8.0, 16.0], [16.0, 32.0]]
    assert curve.brackets(0.5, upwards=False).tolist() == [[1.0, 2.0], [2.0, 4.0]]
    assert np.isnan(curve.brackets(0.05, upwards=False)).all()
    assert curve.reaching(0.7) == 3 - 1
    middle = mean_interval([np.log(8 * 16) / 2, np.log(16 * 32) / 2])
    found = crossing(curve.brackets(0.5, upwards=True), 32.0, upwards=True)
    np.testing.assert_allclose(np.log(found), middle)
    alike = crossing(np.array([[2.0, 8.0], [2.0, 8.0]]), 32.0, upwards=True)
    np.testing.assert_allclose(alike, (4.0, 2.0, 8.0))
    assert crossing(np.full((2, 2), np.nan), 32.0, upwards=True).high == math.inf
    assert crossing(np.full((2, 2), np.nan), 1.0, upwards=False).low == 0
    gains = np.array([1.0, 2.0, 3.0])  # Student's 95 % of the mean: 2 +- 2.48
    assert not beyond_noise(gains)
    assert beyond_noise(gains + 0.6)
    assert not beyond_noise(gains + 0.6, more=1.0)  # +- 4.97
    assert beyond_noise(gains + 3.1, more=1.0)
    assert not beyond_noise(gains[:1])


def test_a_seed_that_learns_nothing_leaves_nothing():
    rates = np.geomspace(1e-4, 10.0, 6)
    falling = -np.arange(1, 7) / 10
    for row in (falling, falling[::-1]):  # the most, which is a loss, at one end and at the other
        alone = RateCurve(rates, row[:, None])
        for upwards in (False, True):
            assert np.isnan(alone.brackets(0.5, upwards)).all()
    learns = np.array([0.1, 1.0, 0.8, 0.2, 0.1, 0.1])
    both = RateCurve(rates, np.stack([3 * learns, falling], 1)).brackets(0.5, upwards=True)
    np.testing.assert_array_equal(both, [rates[2:4], [np.nan] * 2])
    losing = RateCurve(rates, np.stack([falling[::-1]] * 2, 1))
    test = types.SimpleNamespace(curve=losing, above=0.5, untrained=np.ones(2))
    assert _reason(test, types.SimpleNamespace(steps=40, seeds=[0, 1])) == "noise"  # no reason to look higher


def test_a_loss_that_is_not_finite_from_the_start_is_no_flat_one():
    runs = types.SimpleNamespace(steps=40, seeds=[0, 1, 2])
    runs.losses = lambda rates: np.full((len(rates), 3, 40), np.nan)
    test = RatePopulation(runs, 1e-4, 10.0, 8)
    assert np.isneginf(test.curve.progress).all()
    assert _reason(test, runs) == "untrained"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "low must be below high"),
        ({"low": 0.0}, r"low must be a number in \(0, inf\), got 0.0"),
        ({"high": -1.0}, "high must be a number"),
        ({"high": math.nan}, "high must be a number"),
        ({"seeds": []}, "seeds must hold at least one"),
        ({"rates": 3}, "rates must be at least 8, got 3"),
        ({"steps": 5000}, r"steps must be in \[4, 4096\], got 5000"),
        ({"method": "slope"}, "method must be one of population, ramp"),
        ({"recipe": "adam"}, "recipe must be a Recipe or None, got 'adam'"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        lr_range_test(classes(), **given)


def test_bad_tasks_are_named():
    x = np.zeros((8, 4), np.float32)
    with pytest.raises(ValueError, match=r"task must have at least two classes to tell apart, got \[1\] alone"):
        lr_range_test(classes(data={"train": (x, np.ones(8, np.int32))}))
    stream = hj.tasks.Stream([(x, np.ones(8, np.int32))])
    with pytest.raises(ValueError, match="must be arrays for a range test"):
        lr_range_test(classes(data={"train": stream}))
