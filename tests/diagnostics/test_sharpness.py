"""Curvature against dense Hessians and closed forms, and its limits against runs just below and just above them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

import hyperjax as hj
from hyperjax import optimizers
from hyperjax.diagnostics import Moments, Sharpness, sharpness
from hyperjax.diagnostics.curvature import Curvature
from hyperjax.diagnostics.edge import edge_of, kendall, sentences
from hyperjax.diagnostics.examples import examples_of
from hyperjax.diagnostics.stability import stability, steepest
from hyperjax.diagnostics.trace import trace
from hyperjax.optimizers.coefficients import coefficients
from tests.training.made import Net, classes

EIGENVALUES = np.array([4.0, 2.5, 2.0, 1.5, 1.0, 0.8])


def regression(examples=48):
    """A quadratic: a linear model without noise whose loss, mean((x w - y)^2), has the Hessian 2 X'X / n."""
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.normal(size=(examples, len(EIGENVALUES))))
    right, _ = np.linalg.qr(rng.normal(size=(len(EIGENVALUES),) * 2))
    x = np.sqrt(examples / 2) * left * np.sqrt(EIGENVALUES) @ right.T
    y = x @ rng.normal(size=(len(EIGENVALUES), 1))
    data = {"train": (x.astype(np.float32), y.astype(np.float32))}
    model = lambda rngs: nnx.Linear(len(EIGENVALUES), 1, use_bias=False, rngs=rngs)  # noqa: E731
    return hj.Task(model=model, data=data, loss="squared_error", name="quadratic")


RULES = {  # name, numbers, learning rate times eigenvalue at the limit; a huge eps is a preconditioner that stays
    "sgd": ("sgd", {}, 2.0),
    "heavy ball": ("momentum", {"momentum": 0.8}, 3.6),
    "nesterov": ("nesterov", {"momentum": 0.8}, 3.6 / 2.6),
    "adam": ("adam", {"eps": 1e9, "b1": 0.5}, 6.0),
    "nadam": ("nadam", {"eps": 1e9, "b1": 0.5}, 6.0 / 2.0),
    "rmsprop": ("rmsprop", {"eps": 1e9, "eps_in_sqrt": False}, 2.0),
    "rmsprop with momentum": ("rmsprop", {"eps": 1e9, "eps_in_sqrt": False, "momentum": 0.8}, 3.6),
}


def recipe_at(name, rate, **changes):
    optimizer, numbers, _ = RULES[name]
    numbers = dict(numbers)
    momentum = numbers.pop("momentum", None)
    given = {"batch_size": "full", "epochs": 400, "momentum": momentum, "optimizer_arguments": numbers}
    return hj.Recipe(optimizer=optimizer, learning_rate=rate, **(given | changes))


@pytest.mark.parametrize(
    ("optimizer", "numbers", "most"), [*RULES.values(), ("adamw", {}, 38.0), ("radam", {"b1": 0.8}, 18.0)]
)
def test_the_limit_is_the_closed_form(optimizer, numbers, most):
    late, one = jnp.asarray(10_000_000), jnp.ones(())
    found, _, _ = coefficients(optimizers.rule(optimizer, **numbers), 1.0, late, one, one)
    assert steepest(found) == pytest.approx(most, rel=1e-4)


def test_runs_fall_below_the_limit_and_grow_above_it():
    scale = {name: numbers.get("eps", 1.0) / EIGENVALUES.max() for name, (_, numbers, _) in RULES.items()}
    task = regression()
    recipes = [recipe_at(name, f * RULES[name][2] * scale[name]) for name in RULES for f in (0.97, 1.03)]
    runs = hj.fit_population(task, recipes)
    for (below, above), name in zip(np.split(runs.losses, len(RULES)), RULES, strict=True):
        assert below[-1] < 1e-2 * below[0], name
        assert not above[-1] < 10 * above[0], name


def test_a_quadratic_has_its_eigenvalue_its_trace_and_the_rules_limit():
    rate = 0.1
    recipe = recipe_at("heavy ball", rate, schedule="linear", schedule_arguments={"end_value": 0.5}, epochs=10, l2=0.25)
    found = sharpness(regression(), recipe, points=3, block=20)  # and eight examples left
    np.testing.assert_allclose(found.eigenvalue, EIGENVALUES.max() + 0.25, rtol=0.01)
    assert found.converged.all()
    whole = EIGENVALUES.sum() + 0.25 * len(EIGENVALUES)
    assert all(trace.low <= whole <= trace.high for trace in found.trace)
    np.testing.assert_allclose(found.limit, 3.6 / found.learning_rate)
    assert found.learning_rate[0] == pytest.approx(rate)
    assert found.learning_rate[-1] < 0.6 * rate
    assert found.edge.where == "below"
    np.testing.assert_allclose(found.largest_rate, 3.6 / found.eigenvalue, rtol=1e-6)
    assert found.to_json()["ratio"] == found.ratio.tolist()


@pytest.fixture(scope="module")
def net():
    """A small network in float64 after some steps of Adam: the moment, and its dense Hessian."""
    with jax.enable_x64(True):
        task = classes(model=lambda rngs: Net(rngs, width=5, param_dtype=np.float64))
        moments = Moments(task, hj.Recipe(learning_rate=0.02, batch_size=8, epochs=2), points=2)
        *_, moment = moments
        curvature = Curvature(moments, examples_of(moments, None, block=23))
        flat, unravel = ravel_pytree(moment.carry.weights)
        dense = jax.jit(jax.hessian(lambda w: moments.loss(unravel(w), moment.carry, moments.arrays)))(flat)
        yield moments, moment.carry, curvature, np.asarray(dense)


def test_a_network_has_the_eigenvalue_and_the_trace_of_its_dense_hessian(net):
    moments, carry, curvature, dense = net
    with jax.enable_x64(True):
        found = curvature.largest(carry, None, jax.random.key(0), 60, 1e-6)
        assert found.eigenvalue == pytest.approx(np.linalg.eigvalsh(dense)[-1], rel=1e-8)
        assert found.residual <= 1e-6 * found.eigenvalue
        few = curvature.largest(carry, None, jax.random.key(0), 3, 1e-6)
        assert few.residual > 1e-6 * few.eigenvalue  # and says so
        loss = moments.loss(carry.weights, carry, moments.arrays)
        assert curvature.loss(carry) == pytest.approx(float(loss), rel=1e-12)
        estimate = curvature.trace(carry, jax.random.key(1), 16)
        assert estimate.low <= np.trace(dense) <= estimate.high
        # What is repeated multiplies by the dense matrix, which is cheaper.
        matrix, keys = jnp.asarray(dense), jax.random.split(jax.random.key(2), 200)
        product = jax.jit(lambda v: matrix @ v)
        traces = [trace(product, matrix[0], key, 8) for key in keys]
    covered = np.mean([each.low <= np.trace(dense) <= each.high for each in traces])
    assert 0.9 <= covered <= 0.99
    assert np.mean([each.mean for each in traces]) == pytest.approx(np.trace(dense), rel=0.02)


def test_adam_sees_the_hessian_through_its_second_moment(net):
    moments, carry, curvature, dense = net
    with jax.enable_x64(True):
        allowed = stability(moments, carry)
        root = jnp.sqrt(ravel_pytree(allowed.scale)[0])
        found = curvature.largest(carry, root, jax.random.key(0), 100, 1e-6)
    step = int(carry.step)
    second, _ = ravel_pytree(carry.optimizer.second)
    by_hand = 1 / (np.sqrt(np.asarray(second) / (1 - 0.999**step)) + 1e-8)
    seen = np.sqrt(by_hand)[:, None] * dense * np.sqrt(by_hand)
    assert found.eigenvalue == pytest.approx(np.linalg.eigvalsh(seen)[-1], rel=1e-6)
    # At its end the run has made the step whose first moment is the last to be debiased.
    assert allowed.limit == pytest.approx(38 / 0.02 * (1 - 0.9**step), rel=1e-6)


def test_a_part_of_the_examples_is_said_and_so_is_what_is_not_known():
    recipe = hj.Recipe(optimizer="lion", epochs=2, batch_size="full", clip_norm=1.0)
    found = sharpness(regression(), recipe, points=2, examples=10)
    assert found.unknown.startswith("lion")
    assert np.isnan(found.limit).all()
    assert found.edge.where is None
    assert "10 of 48 training examples" in found.answer
    assert "No limit of stability is known for lion" in found.answer
    assert "0.001 is not in the matrix" in found.answer
    assert "clip_norm" in found.answer
    assert "limit" not in found.table.headings


def test_a_trend_and_an_edge_are_told_from_noise():
    rng, steps = np.random.default_rng(0), np.arange(12)
    flat = [kendall(rng.normal(size=8))[1] for _ in range(1000)]
    assert 0.02 < np.mean(np.array(flat) < 0.05) < 0.06
    limit, rate = np.full(12, 20.0), np.full(12, 0.1)
    hovers = np.concatenate([np.linspace(2, 18, 5), 20 + 0.6 * rng.normal(size=7)])
    for values, where, rises in (
        (hovers, "at", True),
        (hovers / 4, "below", True),
        (np.full(12, 4.0) + rng.normal(size=12) / 10, "below", False),
        (np.array([4, 5, 4.5, 5.2, 4.1, 5.1, 4.2, 5.3, 4.3, 5.05, 4.4, 4.9]), "below", False),  # tau 0.15
        (30 + rng.normal(size=12), "above", None),
        (20 + 15 * rng.normal(size=12), "unclear", None),
    ):
        found = edge_of(steps, values, values, limit, rate, limit * rate)
        assert (found.where, found.rises if rises is not None else None) == (where, rises)


def test_a_run_that_ends_early_is_above_or_not_known():
    steps, limit, rate = np.array([0, 4]), np.full(2, 1.0), np.full(2, 2.0)
    for values, where, largest in (
        ([8.0, np.nan], "above", 0.25),
        ([8.0, 4.0], "above", 0.5),
        ([0.5, 4.0], "unclear", 0.5),
    ):
        found = edge_of(steps, np.array(values), np.array(values), limit, rate, limit * rate)
        assert (found.where, found.largest_rate) == (where, largest)
        assert "interval" not in sentences(found, False, None)[1]
    nothing = edge_of(steps, np.full(2, np.nan), np.full(2, np.nan), limit, rate, limit * rate)
    assert sentences(nothing, False, None) == ["The curvature is not finite at any moment."]


def test_where_the_rate_is_0_the_largest_stable_one_is_known_all_the_same():
    moments = Moments(regression(), recipe_at("heavy ball", 0.1, warmup=5, epochs=10), points=2)
    allowed = stability(moments, next(iter(moments)).carry)  # before the warm-up
    assert (allowed.learning_rate, allowed.limit) == (0.0, np.inf)
    assert allowed.steepest == pytest.approx(3.6)
    steps, values, rate = np.arange(3), np.array([4.0, 4.0, 5.0]), np.array([0.0, 0.1, 0.0])
    limit, steepest = np.array([np.inf, 20.0, np.inf]), np.full(3, 2.0)
    edge = edge_of(steps, values, values, limit, rate, steepest)
    assert (edge.where, edge.largest_rate) == ("below", pytest.approx(2 / 5))
    assert "here the rate could be 0.4 before" in " ".join(sentences(edge, False, None))
    given = dict.fromkeys(("residual", "preconditioned_residual", "trace", "tolerance", "examples", "whole", "notes"))
    given |= {"optimizer": "sgd", "steps": steps, "loss": values, "eigenvalue": values, "preconditioned": values}
    given |= {"learning_rate": rate, "limit": limit, "steepest": steepest, "divides": False, "unknown": None}
    found = Sharpness(**given, diverged_at=None, edge=edge)
    assert found.largest_rate.tolist() == [0.5, 0.5, 0.4]
    assert found.ratio.tolist() == [0.0, 0.2, 0.0]
    bowl_upside_down = dataclasses.replace(found, preconditioned=np.array([-1.0, 0.0, np.nan]))
    np.testing.assert_array_equal(bowl_upside_down.largest_rate, [np.inf, np.inf, np.nan])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"probes": 1}, "probes must be at least 2, got 1"),
        ({"tolerance": 0.0}, "tolerance must be a number in"),
        ({"examples": 0}, "examples must be a whole number of at least 1, got 0"),
        ({"iterations": 2.5}, "iterations must be a whole number"),
    ],
)
def test_names_the_bad_argument(given, message):
    with pytest.raises(ValueError, match=message):
        sharpness(regression(), recipe_at("sgd", 0.1), points=2, **given)
