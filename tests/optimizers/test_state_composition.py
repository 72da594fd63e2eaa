"""Ours inside what optax and Flax wrap around an optimizer: the weights that come out, not only that something does."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from hyperjax import optimizers

# With weight decay, a moment in each slot, and with numbers that are not the defaults.
MADE = {
    "sgd": lambda rate: optimizers.sgd(rate),
    "nesterov": lambda rate: optimizers.nesterov(rate, momentum=0.8),
    "adamw": lambda rate: optimizers.adamw(rate, b1=0.8, weight_decay=0.1),
    "rmsprop": lambda rate: optimizers.rmsprop(rate, centered=True, momentum=0.7, eps=1e-3),
    "adadelta": lambda rate: optimizers.adadelta(rate, rho=0.8, eps=1e-3),
    "lion": lambda rate: optimizers.lion(rate, weight_decay=0.1),
}
each = pytest.mark.parametrize("make", MADE.values(), ids=MADE)
RATE = 0.05
STEPS = 5


def start():
    return {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.5, -1.5])}


def gradient(params, step):
    """Of a bowl whose bottom moves with the step, elementwise: leaves do not meet."""
    return jax.tree.map(lambda p: 1.5 * p - 0.4 * jnp.cos(1.0 * step + p.ndim), params)


def trained(transform, params=None, steps=STEPS):
    """Weights after some steps, and the last state."""

    def step(carry, i):
        params, state = carry
        updates, state = transform.update(gradient(params, i), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = start() if params is None else params
    return jax.jit(lambda p: jax.lax.scan(step, (p, transform.init(p)), jnp.arange(steps))[0])(params)


def close(ours, theirs, rtol=1e-5):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), ours, theirs)


@each
def test_in_a_chain(make):
    """Scaled gradients in front and scaled updates behind, as a loop does both by hand."""
    ours, _ = trained(optax.chain(optax.scale(3.0), make(RATE), optax.scale(0.5)))
    transform, params = make(RATE), start()
    state = transform.init(params)
    for i in range(STEPS):
        tripled = jax.tree.map(lambda g: 3.0 * g, gradient(params, i))
        updates, state = transform.update(tripled, state, params)
        params = jax.tree.map(lambda p, u: p + 0.5 * u, params, updates)
    close(ours, params)


@each
def test_in_multi_transform_each_group_is_trained_as_if_alone(make):
    """Beside another of ours, which has other slots and another rate."""
    parts = {"matrices": make(RATE), "vectors": optimizers.adam(0.2)}
    ours, _ = trained(optax.multi_transform(parts, {"w": "matrices", "b": "vectors"}))
    matrix, _ = trained(make(RATE), {"w": start()["w"]})
    vector, _ = trained(optimizers.adam(0.2), {"b": start()["b"]})
    close(ours, matrix | vector)


@each
def test_multi_steps_equal_a_large_batch(make):
    """Four micro-batches of a regression, whose mean gradient is that of the whole."""
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32)
    slope = jax.jit(jax.grad(lambda p, x, y: jnp.mean((x @ p - y) ** 2)))
    small, large = optax.MultiSteps(make(RATE), every_k_schedule=4), make(RATE)
    update, update_large = jax.jit(small.update), jax.jit(large.update)
    params = whole = jnp.array([0.3, 0.3, 0.3])
    state, state_large = small.init(params), large.init(whole)
    for _ in range(3):
        for k in range(4):
            part = slice(2 * k, 2 * k + 2)
            updates, state = update(slope(params, x[part], y[part]), state, params)
            assert bool(jnp.any(updates != 0)) == (k == 3)
            params = optax.apply_updates(params, updates)
        updates, state_large = update_large(slope(whole, x, y), state_large, whole)
        whole = optax.apply_updates(whole, updates)
        np.testing.assert_allclose(params, whole, rtol=1e-4, atol=1e-6)
    assert int(state.inner_opt_state.count) == int(state_large.count) == 3


@each
def test_injected_hyperparameters_can_be_changed_between_steps(make):
    """A rate set from outside at each step is what a schedule of the same rates gives."""
    rates = np.array([0.1, 0.05, 0.2, 0.0, 0.01], np.float32)
    injected = optax.inject_hyperparams(lambda learning_rate: make(learning_rate))(learning_rate=0.5)
    update = jax.jit(injected.update)
    params = start()
    state = injected.init(params)
    for i, rate in enumerate(rates):
        state.hyperparams["learning_rate"] = jnp.asarray(rate)
        updates, state = update(gradient(params, i), state, params)
        params = optax.apply_updates(params, updates)
    scheduled, last = trained(make(lambda count: jnp.asarray(rates)[count]))
    close(params, scheduled)
    close(state.inner_state, last)


def test_an_injected_schedule_is_evaluated_at_the_count_before_the_step():
    rate, b1 = optax.linear_schedule(0.2, 0.0, 5), optax.linear_schedule(0.5, 0.9, 5)
    ours, state = trained(optax.inject_hyperparams(optimizers.adam)(learning_rate=rate, b1=b1))
    theirs, _ = trained(optax.inject_hyperparams(optax.adam)(learning_rate=rate, b1=b1))
    close(ours, theirs)
    np.testing.assert_allclose(state.hyperparams["learning_rate"], 0.2 * (1 - 4 / 5), rtol=1e-5)


@each
def test_masked_leaves_are_left_to_the_caller_and_have_no_slots(make):
    transform = optax.masked(make(RATE), {"w": True, "b": False})
    params, state = start(), transform.init(start())
    updates, state = transform.update(gradient(params, 0), state, params)
    np.testing.assert_array_equal(updates["b"], gradient(params, 0)["b"])  # as it came
    sizes = [leaf.size for leaf in jax.tree.leaves(state)]
    assert set(sizes) <= {1, params["w"].size}
    trained_alone, _ = trained(make(RATE), {"w": params["w"]})
    ours, _ = trained(optax.chain(transform, optax.masked(optax.set_to_zero(), {"w": False, "b": True})))
    close(ours, trained_alone | {"b": params["b"]})


@each
def test_in_an_nnx_optimizer(make):
    """The model's weights are those of a loop over its parameters as plain arrays."""
    x = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    params = {"kernel": model.kernel[...], "bias": model.bias[...]}
    optimizer = nnx.Optimizer(model, make(RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda m: jnp.mean((m(x) - 1.0) ** 2))(model))

    transform = make(RATE)
    slope = jax.grad(lambda p: jnp.mean((x @ p["kernel"] + p["bias"] - 1.0) ** 2))
    update = jax.jit(lambda p, state: transform.update(slope(p), state, p))
    state = transform.init(params)
    for i in range(STEPS):
        step(model, optimizer)
        updates, state = update(params, state)
        params = optax.apply_updates(params, updates)
        assert int(optimizer.step[...]) == i + 1
    close({"kernel": model.kernel[...], "bias": model.bias[...]}, params)


@each
def test_in_a_train_state_also_after_a_checkpoint(make):
    """Saved as bytes and read back in the middle, the run goes on as if nothing had been."""
    state = TrainState.create(apply_fn=None, params=start(), tx=make(RATE))
    step = jax.jit(lambda state: state.apply_gradients(grads=gradient(state.params, state.step)))
    for i in range(STEPS):
        if i == 2:
            fresh = TrainState.create(apply_fn=None, params=jax.tree.map(jnp.zeros_like, start()), tx=state.tx)
            state = flax.serialization.from_bytes(fresh, flax.serialization.to_bytes(state))
        state = step(state)
    assert int(state.step) == STEPS
    params, last = trained(make(RATE))
    close(state.params, params)
    close(state.opt_state, last)
