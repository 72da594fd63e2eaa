"""The perceptron, alone in ordinary Flax code and inside one program of many settings."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hyperjax import layers, random
from hyperjax.models import MLP


def test_the_output_is_the_hand_written_network():
    model = MLP(12, 3, widths=(5, 4), activation="tanh", rngs=nnx.Rngs(random.key(0)))
    x = np.asarray(jax.random.normal(random.key(1), (7, 3, 4)))
    h = x.reshape(7, 12)
    for layer in model.layers:
        assert not layer.bias[...].any()
        layer.bias[...] = jnp.arange(layer.out_features) * 0.1
        h = np.tanh(h @ np.asarray(layer.kernel[...]) + np.arange(layer.out_features) * 0.1)
    np.testing.assert_allclose(model(x), h @ np.asarray(model.output.kernel[...]), rtol=1e-5, atol=1e-6)
    assert MLP(4, 2, widths=(), rngs=nnx.Rngs(0))(jnp.ones((3, 4))).shape == (3, 2)


def test_initial_kernels_have_he_variance():
    model = MLP(200, 300, widths=(400,), rngs=nnx.Rngs(random.key(2)))
    for layer, fan_in in ((model.layers[0], 200), (model.output, 400)):
        kernel = np.asarray(layer.kernel[...])
        assert kernel.var() == pytest.approx(2 / fan_in, rel=5 * np.sqrt(2 / kernel.size))


def test_it_trains_in_an_ordinary_flax_loop():
    model = MLP(8, 2, widths=(32,), dropout=0.2, rngs=nnx.Rngs(random.key(3)))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    x = jax.random.normal(random.key(4), (64, 8))
    y = (x[:, 0] * x[:, 1] > 0).astype(jnp.int32)

    def loss(model, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    @nnx.jit
    def step(model, optimizer, x, y):
        value, grads = nnx.value_and_grad(loss)(model, x, y)
        optimizer.update(model, grads)
        return value

    values = [float(step(model, optimizer, x, y)) for _ in range(200)]
    model.eval()
    assert float(loss(model, x, y)) < 0.3 * values[0]
    assert float(jnp.mean(jnp.argmax(model(x), 1) == y)) > 0.95
    assert float(model.dropouts[0].rate[...]) == pytest.approx(0.2)  # trained parameters only


@pytest.mark.slow
def test_one_program_holds_every_setting():
    """Rates and activations of four members by map and by vmap equal four separate models."""
    settings = [("relu", 0.0), ("tanh", 0.5), ("gelu", 0.2), ("relu", 0.9)]
    x, choices = jax.random.normal(random.key(5), (10, 6)), ("relu", "tanh", "gelu")

    def make(activation="relu", dropout=0.0):
        return MLP(6, 3, widths=(16, 16), activation=activation, dropout=dropout, rngs=nnx.Rngs(random.key(6)))

    model = make()
    layers.set_choices(model, "activation", choices)
    graph, hyper, rest = nnx.split(model, layers.Hyperparameter, ...)

    def member(values):
        return nnx.merge(graph, layers.bind(hyper, values), rest, copy=True)(x)

    indices = jnp.array([choices.index(name) for name, _ in settings])
    stacked = {"activation": indices, "dropout": jnp.array([rate for _, rate in settings])}
    mapped = jax.jit(lambda v: jax.lax.map(member, v))(stacked)
    batched = jax.jit(jax.vmap(member))(stacked)
    for number, (name, rate) in enumerate(settings):
        lone = nnx.jit(lambda model: model(x))(make(name, rate))
        np.testing.assert_allclose(mapped[number], lone, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batched[number], lone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_training_step_lowers_for_accelerators(platform):
    model = MLP(6, 3, widths=(8,), dropout=0.5, rngs=nnx.Rngs(random.key(0)))
    layers.set_choices(model, "activation", ["relu", "gelu"])
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    gradient = jax.grad(lambda params, x: nnx.merge(graph, params, rest, copy=True)(x).sum())
    jax.jit(gradient).trace(params, jnp.ones((2, 6))).lower(lowering_platforms=(platform,))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"inputs": 0}, "inputs"),
        ({"outputs": -5}, "outputs"),
        ({"widths": (8, 0)}, "widths"),
        ({"dropout": 2.0}, "rate"),
        ({"activation": "relue"}, "activation"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=f"{named} must"):
        MLP(**({"inputs": 4, "outputs": 2, "rngs": nnx.Rngs(0)} | arguments))
