"""Noise scales against a quadratic whose noise is known, and gradients against a plain loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.diagnostics import Moments, NoiseScale, noise_scale
from hyperjax.diagnostics.batch_tradeoff import critical_batch, tradeoff
from hyperjax.diagnostics.gradient_noise import Estimate, Products, noise_scale_of
from hyperjax.diagnostics.unit_gradients import UnitGradients, examples_meet, layout_of
from hyperjax.statistics import Interval
from tests.training.made import classes

SIZE = 32
CURVATURE = np.linspace(1.0, 3.0, SIZE)  # mean of each weight's, over examples
BENT = 0.3  # its deviation, as a share
NOISE = np.linspace(6.0, 3.0, SIZE)  # deviation of each gradient
START = 0.5

SLOPE = CURVATURE * START  # G
COVARIANCE = NOISE**2 + (BENT * CURVATURE * START) ** 2
TRUE = {
    "simple": COVARIANCE.sum() / np.square(SLOPE).sum(),
    "with_hessian": (CURVATURE * COVARIANCE).sum() / (CURVATURE * np.square(SLOPE)).sum(),
}


class Point(nnx.Module):
    """A point in SIZE dimensions."""

    def __init__(self, rngs):
        self.at = nnx.Param(jnp.full(SIZE, START))


def bowl(model, batch, key):
    """Each example is a bowl with curvatures and a slope of its own: its Hessian is diag(curvatures)."""
    curvatures, slopes = batch
    w = model.at[...]
    return jnp.sum(curvatures * w**2 / 2 + slopes * w, 1)


def drawn(rng, *shape):
    bent = CURVATURE * (1 + BENT * rng.normal(size=(*shape, SIZE)))
    return bent.astype(np.float32), (NOISE * rng.normal(size=(*shape, SIZE))).astype(np.float32)


@functools.cache
def quadratic(examples):
    return hj.Task(Point, {"train": drawn(np.random.default_rng(3), examples)}, objective=bowl, name="bowl")


RECIPE = hj.Recipe(optimizer="sgd", learning_rate=1e-6, batch_size=16, epochs=1)


@pytest.mark.parametrize("method", ["auto", "two_batches"])
def test_of_a_noisy_quadratic_it_is_the_known_one(method):
    found = noise_scale(quadratic(8192), RECIPE, points=2, steps=2, method=method, examples=8192)
    assert found.method == ("per_example" if method == "auto" else method)
    assert found.unit == (1 if method == "auto" else 16)
    for name, true in TRUE.items():
        for each in getattr(found, name):  # the rate is tiny: both moments are the same place
            assert each.mean == pytest.approx(true, rel=0.1)
            assert each.low < true < each.high
    np.testing.assert_allclose(found.variance, COVARIANCE.sum(), rtol=0.1)


@pytest.mark.parametrize(("examples", "size"), [(400, 1), (640, 8)])
def test_its_interval_covers_the_truth_as_often_as_it_says(examples, size):
    """200 repeats of the whole measurement, each with data of its own, as one program."""
    moments = Moments(quadratic(examples), RECIPE, points=2, steps=2)
    measure = UnitGradients(moments, layout_of(examples, size, SIZE, hessian=True))
    start = next(iter(moments)).carry
    arrays = drawn(np.random.default_rng(11), 200, examples)
    repeat = jax.vmap(measure._products, (None, None, None, None, 0))
    plain, curved = jax.jit(repeat)(start.weights, start, moments.settings, moments.streams, arrays)
    cut = measure.layout
    group = cut.size * cut.pieces * cut.together
    found = {"simple": noise_scale_of(Products(*plain), size), "with_hessian": noise_scale_of(Products(*curved), group)}
    for name, each in found.items():
        covered = np.mean((each.low <= TRUE[name]) & (TRUE[name] <= each.high))
        assert 0.9 <= covered <= 0.99, name
        assert np.median(each.value) == pytest.approx(TRUE[name], rel=0.1)
        assert np.isfinite(each.high).mean() > 0.9


def test_where_the_gradient_is_nothing_the_interval_has_no_upper_end():
    gradients = np.random.default_rng(0).normal(size=(200, 128, 20))
    own, sums = np.square(gradients).sum(-1), np.einsum("rnp,rmp->rn", gradients, gradients)
    found = noise_scale_of(Products(own[..., None], sums[..., None]))
    assert np.mean(np.isinf(found.high)) > 0.9
    assert np.all(found.low > 10)
    assert np.all((found.low <= found.value) & (found.value <= found.high))


@pytest.mark.parametrize("bend", ["both ways", "down along the noise", "down along the gradient"])
def test_where_curvature_goes_down_nothing_is_known(bend):
    gradients = np.array([3.0, 0.0]) + np.random.default_rng(0).normal(size=(100, 2)) * [0.1, 1.0]
    curvature = {
        "both ways": [0.11, -1.0],
        "down along the noise": [1.0, -1.0],
        "down along the gradient": [-1.0, 20.0],
    }
    own = np.square(gradients) @ curvature[bend]
    sums = gradients @ (curvature[bend] * gradients.sum(0))
    found = noise_scale_of(Products(*(np.stack([each, each], 1) for each in (own, sums))))
    assert np.isnan(found.value) and (found.low, found.high) == (0, np.inf)


def test_products_are_those_of_a_plain_loop(monkeypatch):
    task, recipe = classes(), hj.Recipe(learning_rate=0.02, batch_size=8, epochs=3, class_weights="balanced")
    moments = Moments(task, recipe, points=2, steps=4)
    *_, moment = moments
    monkeypatch.setattr("hyperjax.diagnostics.unit_gradients.GROUPS", 20)
    monkeypatch.setattr("hyperjax.diagnostics.unit_gradients.GRADIENTS_TOGETHER", 80)  # one example at a time
    cut = layout_of(46, 1, moments.program.packing.elements, hessian=True)
    assert (cut.groups, cut.pieces, cut.together, cut.sets, cut.width) == (19, 2, 1, 8, 1)
    measure = UnitGradients(moments, cut)
    plain, curved = measure(moment)
    index = np.asarray(measure._drawn(jax.random.fold_in(jax.random.fold_in(moments.streams.order, 0x6E6F6973), 4)))
    assert len(set(index.tolist())) == len(index) == 46
    inputs, labels = map(np.asarray, task.data["train"])
    weights, treedef = jax.tree.flatten(moment.carry.weights)
    assert len(weights) == 1
    counts = np.bincount(labels)
    shares = (len(labels) / (len(counts) * counts))[labels]

    def loss(vector, place):
        model, rest = jax.tree.unflatten(treedef, [vector]), moment.carry
        batch = (inputs[place][None], labels[place][None])
        return shares[place] * moments.loss(model, rest, batch, training=True)

    labels, inputs, shares = map(jnp.asarray, (labels, inputs, shares))
    slope, bend = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
    each = np.stack([slope(weights[0], place) for place in index[:38]])
    np.testing.assert_allclose(plain.own[:, 0], np.square(each).sum(1), rtol=1e-4)
    np.testing.assert_allclose(plain.sums[:, 0], each @ each.sum(0), rtol=1e-3, atol=1e-4)
    groups = each.reshape(19, 2, -1).mean(1)
    hessians = np.stack([bend(weights[0], place) for place in index[38:]])
    np.testing.assert_allclose(curved.own, np.einsum("gi,sij,gj->gs", groups, hessians, groups), rtol=1e-3, atol=1e-5)
    together = np.einsum("gi,sij,j->gs", groups, hessians, groups.sum(0))
    np.testing.assert_allclose(curved.sums, together, rtol=1e-3, atol=1e-4)


class Normed(nnx.Module):
    """BatchNorm behind whose last layer nothing is to be seen at first."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.last = nnx.Linear(4, 3, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x):
        return self.last(self.norm(x))


def contrastive(model, batch, key):
    """A mean of the whole batch, which tells no example apart."""
    return jnp.mean(jnp.square(model(batch[0])))


@pytest.mark.parametrize(
    ("changes", "recipe", "meet"),
    [({}, {"dropout": 0.5}, False), ({"model": Normed}, {}, True),
     ({"objective": contrastive, "loss": None, "metrics": {}}, {}, True)],
)  # fmt: skip
def test_examples_that_meet_in_a_batch_are_found(changes, recipe, meet):
    moments = Moments(classes(**changes), hj.Recipe(batch_size=8, epochs=1, **recipe), points=2)
    assert examples_meet(moments, next(iter(moments)).carry) is meet


def test_another_batch_size_needs_what_the_critical_one_says():
    """S = S_min (1 + c / B), E = E_min (1 + B / c), worked by hand for c = 64."""
    found = tradeoff(Interval(64.0, 32.0, np.inf), 32, 64)
    assert found.steps.mean == pytest.approx((1 + 64 / 64) / (1 + 64 / 32))
    assert found.examples.mean == pytest.approx((1 + 64 / 64) / (1 + 32 / 64))
    assert found.steps[1:] == pytest.approx((0.5, (1 + 32 / 64) / (1 + 32 / 32)))
    assert (found.steps.mean * 3 - 1) * (found.examples.mean * 1.5 - 1) == pytest.approx(1)


@pytest.mark.parametrize("size", [4, 16, 64])
def test_the_best_step_of_sgd_gains_as_much_as_the_form_with_the_hessian_says(size):
    """Along w - rate g the loss falls by rate g.G - rate^2 g'Hg / 2; the gain of the best rate, with many batches."""
    rng = np.random.default_rng(size)

    def gain(size):
        gradients = SLOPE + np.sqrt(COVARIANCE / size) * rng.normal(size=(20_000, SIZE))
        return np.square((gradients @ SLOPE).mean()) / (2 * (np.square(gradients) @ CURVATURE).mean())

    true = TRUE["with_hessian"]
    predicted = tradeoff(Interval(true, true, true), size, 2 * size)
    assert gain(size) / gain(2 * size) == pytest.approx(predicted.steps.mean, rel=0.02)


def test_a_run_has_the_critical_size_of_where_it_makes_progress():
    """Two moments one step apart: (E1 + E2) / (S1 + S2) with what each needs at least, S = 1 / (1 + b / B), E = S b."""
    scale = np.array([10.0, np.inf])
    found = critical_batch([0, 1], Estimate(scale, scale, scale), 10)
    along = np.interp(np.log1p(np.linspace(0, 1, 100_001)), [0, np.log(2)], [0.5, 0.0]).mean()
    assert found.mean == pytest.approx(10 * (1 - along) / along, rel=1e-3)
    unknown = Estimate(*np.array([[np.nan, 30.0], [0.0, 20.0], [np.inf, 40.0]]))
    assert critical_batch([0, 1], unknown, 10) == pytest.approx((30.0, 20.0, 40.0))


def measured(critical, size, sizes, simple=None):
    simple = simple or (critical,)
    tradeoffs = tuple(tradeoff(critical, size, other) for other in sizes)
    steps, variance = tuple(range(len(simple))), (1.0,) * len(simple)
    return NoiseScale("wine", steps, simple, (), variance, size, critical, None, tradeoffs, "", 1, 130, None)


@pytest.mark.parametrize(
    ("critical", "size", "where", "neighbour"),
    [
        (Interval(500.0, 400.0, 600.0), 130, "which is below it", None),  # twice as many are more than there are
        (Interval(500.0, 400.0, 600.0), 65, "which is below it", "Batches of 130"),
        (Interval(0.4, 0.3, 0.5), 1, "which is above it", None),
        (Interval(20.0, 10.0, 30.0), 65, "which is above it", "Batches of 32"),
        (Interval(100.0, 60.0, 150.0), 65, "which cannot be told from it", None),
    ],
)
def test_the_answer_says_where_the_batch_size_lies_whatever_its_neighbours(critical, size, where, neighbour):
    sizes = [each for each in (size // 2, size, 2 * size) if 1 <= each <= 130]
    answer = measured(critical, size, sizes).answer
    assert where in answer
    assert ("Batches of" in answer) == (neighbour is not None)
    assert neighbour is None or neighbour in answer


def test_a_gradient_that_is_not_a_number_is_not_one_of_0():
    critical, nothing = Interval(9.0, 8.0, 10.0), Interval(np.nan, 0.0, np.inf)
    assert "cannot be told from 0" not in measured(critical, 9, [9], (critical, nothing)).answer
    told = measured(critical, 9, [9], (Interval(70.0, 50.0, np.inf), nothing, Interval(np.inf, 90.0, np.inf))).answer
    assert "At 2 of 3 moments the true gradient cannot be told from 0" in told


def test_a_task_of_few_examples_is_named():
    with pytest.raises(ValueError, match="task must have at least 32 training examples for a noise scale, got 24"):
        noise_scale(classes(24), hj.Recipe(batch_size=8, epochs=1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "both"}, "method must be one of auto, per_example, two_batches, got 'both'"),
        ({"examples": 47}, "examples must be at most the 46 training examples of made, got 47"),
        ({"examples": 31}, "examples must be at least 32, got 31"),
        ({"confidence": 1.0}, r"confidence must be a number in \(0, 1\), got 1.0"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        noise_scale(classes(), hj.Recipe(batch_size=8, epochs=1), **({"method": "per_example"} | given))
