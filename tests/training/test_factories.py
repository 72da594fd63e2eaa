"""Factories of optax in a recipe: each is compared with a plain optax loop from the same weights, on the same batches."""

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from optax import contrib

import hyperjax as hj

STEPS = 6


class Case(NamedTuple):
    """A factory, a rate that it learns with, and numbers of its own that are not its defaults."""

    factory: Any
    learning_rate: float
    arguments: dict[str, Any]
    rtol: float = 2e-4


CASES = {
    "muon": Case(contrib.muon, 0.02, {"beta": 0.9, "weight_decay": 0.01}),
    "schedule_free_adamw": Case(contrib.schedule_free_adamw, 0.05, {"b1": 0.8, "weight_decay": 0.01}),
    "adafactor": Case(optax.adafactor, 0.05, {"decay_rate": 0.7, "clipping_threshold": 0.5}),
    "prodigy": Case(contrib.prodigy, 1.0, {"estim_lr0": 0.01, "weight_decay": 0.01}),
    "lbfgs": Case(optax.lbfgs, 0.9, {}, rtol=2e-3),  # each line search magnifies what the last one rounded
    "lamb": Case(optax.lamb, 0.05, {"b1": 0.8, "weight_decay": 0.01}),
}
# Arguments that a factory branches on, or that are shapes: no tracer can take their place.
STRUCTURED = {
    "muon": Case(contrib.muon, 0.02, {"nesterov": False, "ns_steps": 3}),
    "schedule_free_adamw": Case(contrib.schedule_free_adamw, 0.05, {"warmup_steps": 4}),
    "adafactor": Case(optax.adafactor, 0.05, {"min_dim_size_to_factor": 4, "multiply_by_parameter_scale": False}),
    "prodigy": Case(contrib.prodigy, 1.0, {"estim_lr0": 0.01, "safeguard_warmup": True}),
    "lbfgs": Case(optax.lbfgs, 0.9, {"memory_size": 1}, rtol=2e-3),
    "sgd": Case(optax.sgd, 0.05, {"momentum": 0.9, "nesterov": True}),
    "adam": Case(optax.adam, 0.05, {"mu_dtype": "bfloat16"}),
}
factories = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Net(nnx.Module):
    """4-8-1, its kernels matrices."""

    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


def squares(predictions, targets):
    return jnp.sum((predictions - targets) ** 2, axis=-1)


@pytest.fixture(scope="module")
def task():
    x = np.random.default_rng(0).normal(size=(36, 4)).astype(np.float32)
    y = np.sin(x @ np.array([[1.0], [-0.5], [0.3], [0.8]], np.float32))
    parts = {"train": (x[:24], y[:24]), "validation": (x[24:], y[24:])}
    return hj.Task(Net, parts, loss=squares, name="sine")


def recipe(case, **changes):
    given = {"learning_rate": case.learning_rate, "optimizer_arguments": case.arguments, "epochs": STEPS}
    return hj.Recipe(optimizer=case.factory, batch_size="full", **(given | changes))


def by_hand(task, case):
    """Losses of a plain loop: on the batch of each step, and on the validation set behind each step."""
    still = hj.fit(task, hj.Recipe(optimizer="sgd", learning_rate=0.0, batch_size="full", epochs=1))
    graph, weights, rest = nnx.split(still.model, nnx.Param, ...)
    transform = optax.with_extra_args_support(case.factory(learning_rate=case.learning_rate, **case.arguments))

    def loss_on(part):
        x, y = task.data[part]
        return lambda weights: squares(nnx.merge(graph, weights, rest)(x), y).mean()

    @jax.jit
    def step(weights, state):
        value, gradient = jax.value_and_grad(loss_on("train"))(weights)
        extra = {"value": value, "grad": gradient, "value_fn": loss_on("train")}
        updates, state = transform.update(gradient, state, weights, **extra)
        weights = optax.apply_updates(weights, updates)
        judged = weights
        if isinstance(state, contrib.ScheduleFreeState):
            judged = contrib.schedule_free_eval_params(state, weights)
        return weights, state, value, loss_on("validation")(judged)

    state, losses, validations = transform.init(weights), [], []
    for _ in range(STEPS):
        weights, state, loss, validation = step(weights, state)
        losses.append(loss)
        validations.append(validation)
    return np.array(losses), np.array(validations)


@factories
def test_follows_a_plain_optax_loop(task, case):
    losses, validations = by_hand(task, case)
    assert losses[-1] < 0.9 * losses[0] and len(set(losses.tolist())) == STEPS
    run = hj.fit(task, recipe(case))
    np.testing.assert_allclose(run.losses, losses, rtol=case.rtol)
    np.testing.assert_allclose(run.metrics["validation_loss"], validations, rtol=case.rtol)


@pytest.mark.slow
@pytest.mark.parametrize("case", STRUCTURED.values(), ids=STRUCTURED)
def test_arguments_that_are_no_numbers_are_structure(task, case):
    plain, _ = by_hand(task, case._replace(arguments={}))
    losses, validations = by_hand(task, case)
    assert not np.allclose(losses, plain, rtol=2 * case.rtol)  # the arguments matter
    run = hj.fit(task, recipe(case))
    np.testing.assert_allclose(run.losses, losses, rtol=case.rtol)
    np.testing.assert_allclose(run.metrics["validation_loss"], validations, rtol=case.rtol)
    assert hj.Recipe.from_json(run.recipe.to_json()) == run.recipe


@factories
def test_the_model_given_back_is_the_one_that_was_judged(task, case):
    run = hj.fit(task, recipe(case))
    x, y = task.data["validation"]
    assert float(squares(run.model(x), y).mean()) == pytest.approx(run.metrics["validation_loss"][-1], rel=1e-5)


@pytest.mark.slow
@factories
def test_the_numbers_are_data(task, case):
    """Members with other rates and other numbers share a program and equal their lone runs to the last bit."""
    scaled = {name: 0.9 * value for name, value in case.arguments.items()}
    recipes = [
        recipe(case),
        recipe(case, learning_rate=0.5 * case.learning_rate),
        recipe(case, optimizer_arguments=scaled),
    ]
    runs = hj.fit_population(task, recipes, layout="map")
    assert runs.conditions["programs"] == 1
    assert len({run.losses[-1] for run in runs}) == (3 if case.arguments else 2)
    for each, run in zip(recipes, runs, strict=True):
        lone = hj.fit(task, each)
        np.testing.assert_array_equal(run.losses, lone.losses)
        np.testing.assert_array_equal(run.metrics["validation_loss"], lone.metrics["validation_loss"])


@factories
def test_travels_as_json(case):
    written = recipe(case, epochs=2)
    again = hj.Recipe.from_json(written.to_json())
    assert again == written
    assert again.optimizer is case.factory
    assert set(again.optimizer_arguments) <= set(inspect.signature(case.factory).parameters)


def test_schedule_free_is_judged_elsewhere_than_it_learns(task):
    """The test of the plain loop would be empty if both places were one."""
    case = CASES["schedule_free_adamw"]
    transform = case.factory(learning_rate=case.learning_rate, **case.arguments)
    weights = jnp.array([1.0, 2.0])
    state = transform.init(weights)
    for _ in range(2):
        updates, state = transform.update(weights, state, weights)
        weights = optax.apply_updates(weights, updates)
    assert np.all(np.abs(contrib.schedule_free_eval_params(state, weights) - weights) > 1e-3)
