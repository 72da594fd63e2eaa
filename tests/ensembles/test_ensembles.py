"""Bagging and boosting: better than their members, and by the book where the book has a number."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.linear_model import LinearRegression

import hyperjax as hj
from hyperjax.ensembles import bagging, boosting
from hyperjax.training import predict
from hyperjax.training.mapping import Population
from tests.training.made import classes

DIGITS, DIABETES = hj.tasks.digits(widths=(32,)), hj.tasks.diabetes()


class Flat(nnx.Module):
    """A linear model without an axis for its only output."""

    def __init__(self, rngs, outputs):
        self.linear = nnx.Linear(4, outputs, rngs=rngs)

    def __call__(self, x):
        y = self.linear(x)
        return y[:, 0] if y.shape[1] == 1 else y


def gains(make, task):
    """What an ensemble gains over its mean and its first member on the test set, for 5 seeds, larger being better."""
    sign = 1 if task.direction == "max" else -1
    ensembles = [make(seed) for seed in range(5)]
    members = np.stack([e.member_scores("test") for e in ensembles])
    scores = np.array([e.score("test") for e in ensembles])
    return sign * (scores - members.mean(1)), sign * (scores - members[:, 0])


def beats_by_more_than_its_interval(gain):
    half = 2.776 * gain.std(ddof=1) / np.sqrt(5)  # Student's t, 4 degrees of freedom, 95 %
    return gain.mean() > half


@pytest.mark.parametrize(
    ("task", "recipe", "combine"),
    [
        pytest.param(DIGITS, hj.Recipe(epochs=4), "mean", marks=pytest.mark.slow),
        pytest.param(DIGITS, hj.Recipe(epochs=4), "vote", marks=pytest.mark.slow),
        (DIABETES, hj.Recipe(epochs=15), "mean"),
    ],
)
def test_bagging_beats_its_mean_member(task, recipe, combine):
    mean, _ = gains(lambda seed: bagging(task, recipe, members=8, seed=seed, combine=combine), task)
    assert beats_by_more_than_its_interval(mean)


@pytest.mark.slow
def test_boosting_beats_its_mean_and_its_first_member():
    weak = hj.tasks.digits(widths=(4,))
    recipe = hj.Recipe(epochs=20, learning_rate=1e-2)
    for gain in gains(lambda seed: boosting(weak, recipe, members=10, seed=seed), weak):
        assert beats_by_more_than_its_interval(gain)
    small = hj.Recipe(epochs=10, learning_rate=3e-3, model={"widths": (8,)})
    for gain in gains(lambda seed: boosting(DIABETES, small, members=20, seed=seed, learning_rate=0.1), DIABETES):
        assert beats_by_more_than_its_interval(gain)


@pytest.mark.slow
def test_members_are_one_population_and_rounds_one_program(monkeypatch):
    compiled, compile_piece = [], Population._compile_piece

    def count(self, piece):
        compiled.append(self.fn.__name__)
        return compile_piece(self, piece)

    monkeypatch.setattr(Population, "_compile_piece", count)
    bagging(classes(), hj.Recipe(epochs=1, batch_size=12), members=4)
    assert compiled == ["_start", "_advance"]
    compiled.clear()
    x = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
    mean = {"error": hj.metrics.mean_squared_error}
    line = hj.Task(lambda rngs: hj.models.MLP(1, 1, (4,), rngs=rngs), {"train": (x, x**2)}, "squared_error", mean)
    boosting(line, hj.Recipe(epochs=1, batch_size=12), members=4)
    assert compiled == ["_start", "_advance"]


@functools.cache
def of_kind(kind):
    """A task with targets of a kind; one for all tests, which compiles once."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)

    def model(rngs):
        return Flat(rngs, outputs=3 if kind == "mask" else 1)

    y = x[:, :3] if kind == "mask" else x[:, 0]
    y = y if kind == "real" else (y > 0).astype(np.int32)
    loss = {"real": "squared_error", "binary": "binary_cross_entropy", "mask": "dice"}[kind]
    measure = hj.metrics.mean_absolute_error if kind == "real" else lambda p, t: ((p > 0) == (t > 0)).mean()
    data = {"train": (x[:48], y[:48]), "test": (x[48:], y[48:])}
    return hj.Task(model, data, loss=loss, metrics={"score": measure})


@pytest.mark.parametrize("kind", ["real", "binary", "mask"])
@pytest.mark.parametrize("combine", ["mean", "vote"])
def test_targets_of_every_shape_and_kind_are_combined(kind, combine):
    task = of_kind(kind)
    x, y = task.data["test"]
    ensemble = bagging(task, hj.Recipe(epochs=4, learning_rate=0.05), members=3, combine=combine)
    outputs = np.stack([predict(run.model, x) for run in ensemble.members]).astype(np.float64)
    joint = ensemble.predict(x)
    if kind == "real":
        expected = outputs.mean(0)
    elif combine == "vote":
        share = (outputs > 0).mean(0)
        assert ((joint > 0) == (share > 0.5)).all()  # three members: no tie
        return
    else:
        share = (1 / (1 + np.exp(-outputs))).mean(0)
        expected = np.log(share / (1 - share))
    np.testing.assert_allclose(joint, expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(ensemble.out_of_bag) and joint.shape == y.shape


def test_bootstrap_counts_are_what_the_losses_are_multiplied_by():
    task = classes()
    counts = np.zeros((2, 46))
    counts[0, :5], counts[1] = 46 / 5, 1.0
    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.1, batch_size="full", epochs=3)
    few, all_of_them = hj.fit_population(task, [recipe], [0, 0], example_weights=counts)
    np.testing.assert_array_equal(all_of_them.losses, hj.fit(task, recipe).losses)
    x, y = task.data["train"]
    alone = classes(data={"train": (x[:5], y[:5])})
    np.testing.assert_allclose(few.losses, hj.fit(alone, recipe).losses, rtol=1e-5)


def test_targets_of_a_run_s_own_are_what_it_learns():
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    task = hj.Task(lambda rngs: hj.models.MLP(1, 1, (), rngs=rngs), {"train": (x, x)}, loss="squared_error")
    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.5, batch_size="full", epochs=60)
    runs = hj.fit_population(task, [recipe], [0, 1], targets=np.stack([3 * x, x - 1]))
    for run, (slope, bias) in zip(runs, [(3, 0), (1, -1)], strict=True):
        np.testing.assert_allclose(predict(run.model, x), slope * x + bias, atol=1e-2)


def test_out_of_bag_judges_each_example_by_members_that_never_saw_it():
    x = np.eye(30, dtype=np.float32)  # a linear model knows exactly the examples that it was trained on
    y = np.arange(30, dtype=np.int32) % 3
    task = hj.Task(
        lambda rngs: hj.models.MLP(30, 3, (), rngs=rngs),
        {"train": (x, y), "test": (x, y)},
        loss="cross_entropy",
        metrics={"accuracy": hj.metrics.accuracy},
    )
    ensemble = bagging(task, hj.Recipe(learning_rate=0.1, epochs=30, batch_size="full"), members=12)
    assert ensemble.score("test") == 1.0
    assert ensemble.out_of_bag < 0.7


def test_samme_follows_its_algorithm():
    task = hj.tasks.digits(widths=(4,))
    recipe = hj.Recipe(epochs=2, learning_rate=3e-3)
    ensemble = boosting(task, recipe, members=3, seed=5)
    x, y = task.data["train"]
    shares = np.full(len(y), 1 / len(y))
    votes = np.zeros((len(y), 10))
    for run, weight in zip(ensemble.members, ensemble.weights, strict=True):
        chosen = np.asarray(run.model(jnp.asarray(x))).argmax(-1)
        error = shares[chosen != y].sum()
        expected = np.log((1 - error) / error) + np.log(9)
        assert weight == pytest.approx(expected, rel=1e-6)
        votes[np.arange(len(y)), chosen] += expected
        shares = shares * np.exp(expected * (chosen != y))
        shares /= shares.sum()
    assert (ensemble.predict(x).argmax(-1) == votes.argmax(-1)).all()
    np.testing.assert_allclose(np.exp(ensemble.predict(x)), votes / votes.sum(1, keepdims=True), atol=1e-6)


def test_a_member_without_errors_ends_boosting():
    x = np.repeat(np.eye(3, dtype=np.float32), 4, 0)
    y = np.repeat(np.arange(3, dtype=np.int32), 4)
    task = hj.Task(
        lambda rngs: hj.models.MLP(3, 3, (), rngs=rngs), {"train": (x, y)}, "cross_entropy", {"a": hj.metrics.accuracy}
    )
    assert len(boosting(task, hj.Recipe(learning_rate=0.3, epochs=40, batch_size="full"), members=5).members) == 1


def test_diabetes_is_the_task_that_its_docstring_says():
    x, y = DIABETES.data["train"]
    np.testing.assert_allclose([x.mean(), x.std(), y.mean(), y.std()], [0, 1, 0, 1], atol=1e-5)
    linear = LinearRegression().fit(x, y)
    scores = {p: np.mean((linear.predict(a) - b) ** 2) for p, (a, b) in DIABETES.data.items()}
    assert scores["validation"] == pytest.approx(0.52, abs=0.005)
    assert scores["test"] == pytest.approx(0.53, abs=0.005)
    run = hj.fit(DIABETES, hj.Recipe(epochs=20, dropout=0.2))
    assert hj.training.evaluate(DIABETES, run.model, "test")["mean_squared_error"] < 0.6


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: bagging(classes(metrics={})), "task must have a metric"),
        (lambda: bagging(classes(), members=0), "members"),
        (lambda: bagging(classes(), combine="mode"), "combine"),
        (lambda: boosting(classes(), learning_rate=0.0), "learning_rate"),
        (lambda: boosting(DIABETES, hj.Recipe(loss="huber")), "squared_error"),
        (lambda: bagging(classes()).score("tests"), "did you mean 'test'"),
        (lambda: hj.fit_population(classes(), [hj.Recipe()], example_weights=np.ones(46)), r"shape \(1, 46\)"),
        (lambda: hj.fit_population(classes(), [hj.Recipe()], example_weights=-np.ones((1, 46))), "at least 0"),
        (lambda: hj.fit_population(classes(), [hj.Recipe()], targets=np.ones((2, 46))), "targets"),
    ],
)
def test_bad_input_names_the_argument(make, match):
    with pytest.raises(ValueError, match=match):
        make()
