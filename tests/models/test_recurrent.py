"""GRU and LSTM: PyTorch's numbers, what an output may know, and training in the engine."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers, random
from hyperjax.models import GRU, LSTM
from tests.models.alone import a_member_equals_its_lone_run

STORED = json.loads((Path(__file__).parent.parent / "references" / "recurrent.json").read_text("utf-8"))


def named(kind, layers):
    """The arrays of a model's layers, or of their gradients, by PyTorch's names."""
    for number, layer in enumerate(layers):
        cell = layer.cell
        yield f"weight_ih_l{number}", cell.dense_i.kernel
        yield f"weight_hh_l{number}", cell.dense_h.kernel
        yield f"bias_ih_l{number}", cell.dense_i.bias if kind is GRU else cell.dense_h.bias


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_outputs_and_gradients_are_those_of_pytorch(kind):
    stored = STORED[kind.__name__]
    model = kind(3, 3, width=3, layers=2, outputs_at="each", rngs=nnx.Rngs(0))
    model.output.kernel[...] = jnp.eye(3)
    for name, variable in named(kind, model.layers):
        variable[...] = jnp.asarray(stored["weights"][name], jnp.float32).T
    x = jnp.asarray(stored["x"], jnp.float32)
    graph, weights, rest = nnx.split(model, nnx.Param, ...)

    def squares(weights):
        outputs = nnx.merge(graph, weights, rest, copy=True)(x)
        return jnp.square(outputs).sum(), outputs

    gradients, outputs = jax.jit(jax.grad(squares, has_aux=True))(weights)
    np.testing.assert_allclose(outputs, stored["outputs"], rtol=1e-5, atol=1e-6)
    found = dict(named(kind, nnx.merge(graph, gradients, rest).layers))
    assert found.keys() == stored["gradients"].keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient[...].T, stored["gradients"][name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_tokens_are_embedded_and_an_output_knows_the_steps_before_it(kind):
    def make(outputs_at):
        return kind(4, 3, width=5, vocabulary=7, outputs_at=outputs_at, rngs=nnx.Rngs(random.key(0)))

    tokens = np.array([[1, 6, 2, 3], [0, 0, 5, 4]])
    each = make("each")(tokens)
    assert each.shape == (2, 4, 3)
    np.testing.assert_allclose(make("last")(tokens), each[:, -1], rtol=1e-5, atol=1e-6)
    changed = tokens.copy()
    changed[:, 2] += 1
    after = make("each")(changed)
    np.testing.assert_array_equal(after[:, :2], each[:, :2])
    assert np.abs(after[:, 2:] - each[:, 2:]).max((0, 2)).min() > 1e-4
    by_hand = kind(4, 3, width=5, outputs_at="each", rngs=nnx.Rngs(0))
    by_hand.layers, by_hand.output = make("each").layers, make("each").output
    given = make("each").embedding.embedding[...][tokens]
    np.testing.assert_allclose(by_hand(given), each, rtol=1e-5, atol=1e-6)


def test_the_cell_remembers_at_first():
    model = LSTM(2, 1, width=3, rngs=nnx.Rngs(0))
    assert model.layers[0].cell.dense_h.bias[...].tolist() == [0] * 3 + [1] * 3 + [0] * 6


def test_dropout_stands_behind_every_layer():
    model = GRU(2, 3, width=4, layers=2, dropout=0.5, rngs=nnx.Rngs(random.key(0)))
    assert layers.names(model) == ("dropout",) and len(model.dropouts) == 2
    x = jax.random.normal(random.key(1), (3, 5, 2))
    outputs = nnx.jit(lambda model: model(x))
    for alone in (0, 1):
        model.train()
        model.dropouts[alone].eval()
        assert not np.array_equal(outputs(model), outputs(model))
    model.eval()
    np.testing.assert_array_equal(outputs(model), outputs(model))


def first_of_sequence(kind):
    """Tell which of two values came first; the last step alone knows nothing of it."""
    x = np.random.default_rng(0).normal(size=(96, 6, 2)).astype(np.float32)
    y = (x[:, 0, 0] > 0).astype(np.int32)
    data = {"train": (x[:64], y[:64]), "validation": (x[64:], y[64:])}
    return hj.Task(lambda rngs: kind(2, 2, width=8, layers=2, rngs=rngs), data, loss="cross_entropy")


@pytest.mark.parametrize("kind", [GRU, pytest.param(LSTM, marks=pytest.mark.slow)])
def test_it_trains_in_the_engine(kind):
    recipe = hj.Recipe(learning_rate=0.03, batch_size=32, epochs=40, dropout=0.0)
    runs = a_member_equals_its_lone_run(first_of_sequence(kind), [recipe, recipe.replace(dropout=0.2)])
    assert runs[0].losses[0] > 0.5
    assert runs[0].losses[-1] < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": 0}, "inputs must be a whole number of at least 1, got 0"),
        ({"outputs": 0}, "outputs must be a whole number of at least 1, got 0"),
        ({"width": 1.5}, "width must be a whole number of at least 1, got 1.5"),
        ({"layers": 0}, "layers must be a whole number of at least 1, got 0"),
        ({"vocabulary": 0}, "vocabulary must be a whole number of at least 1, got 0"),
        ({"outputs_at": "all"}, "outputs_at must be one of last, each, got 'all'"),
        ({"dropout": 2.0}, r"rate must be a number in \[0, 1\], got 2.0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GRU(**({"inputs": 2, "outputs": 2, "rngs": nnx.Rngs(0)} | arguments))


def test_sequences_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"x must have 3 axes, the second one time, got \(3, 2\)"):
        GRU(2, 2, rngs=nnx.Rngs(0))(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"x must have 2 axes, the second one time, got \(3, 0\)"):
        GRU(2, 2, vocabulary=4, rngs=nnx.Rngs(0))(jnp.ones((3, 0), jnp.int32))
