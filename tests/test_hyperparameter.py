"""Hyperparameters found by name, in modules and in states; the activation that is one of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hyperjax import activations, layers, random
from hyperjax.models import MLP


def net(**options):
    return MLP(6, 3, widths=(8, 8), rngs=nnx.Rngs(random.key(0)), **options)


def test_the_name_survives_split_merge_and_jit():
    rate = layers.Hyperparameter(0.5, name="dropout")
    assert (rate.name, rate.dtype, rate.shape) == ("dropout", jnp.float32, ())
    model = net(dropout=0.1)
    graph, hyper, _, rest = nnx.split(model, layers.Hyperparameter, nnx.Param, ...)
    assert layers.names(hyper) == layers.names(model) == ("activation", "dropout")
    assert layers.names(rest) == ()
    assert len(jax.tree.leaves(hyper)) == 4  # an index and a rate a hidden layer, and no parameter among them
    assert {type(v) for v in jax.tree.leaves(hyper, is_leaf=lambda v: isinstance(v, nnx.Variable))} == {
        layers.Hyperparameter,
        layers.Choice,
    }
    assert layers.names(nnx.merge(graph, hyper, nnx.state(model, nnx.Param), rest)) == ("activation", "dropout")
    names = nnx.jit(lambda model: jnp.zeros(len(layers.names(model))))(model)
    assert names.shape == (2,)


def test_binding_sets_every_occurrence_in_a_module():
    model = layers.bind(net(), {"dropout": 0.25})
    assert [float(layer.rate[...]) for layer in model.dropouts] == [0.25, 0.25]
    assert [int(layer.index[...]) for layer in model.activations] == [0, 0]


def test_binding_a_state_leaves_the_old_one_alone():
    model = net(dropout=0.5)
    state = nnx.state(model, layers.Hyperparameter)
    bound = jax.jit(lambda state, rate: layers.bind(state, {"dropout": rate}))(state, 0.125)
    assert [float(bound["dropouts"][i]["rate"][...]) for i in (0, 1)] == [0.125, 0.125]
    assert [float(state["dropouts"][i]["rate"][...]) for i in (0, 1)] == [0.5, 0.5]
    assert [float(layer.rate[...]) for layer in model.dropouts] == [0.5, 0.5]
    assert jax.tree.structure(bound) == jax.tree.structure(state)
    assert bound["dropouts"][0]["rate"].name == "dropout"


def test_a_shared_hyperparameter_is_one():
    rate = layers.Hyperparameter(0.5, name="noise")
    model = net(dropout=rate)
    assert model.dropouts[0].rate is model.dropouts[1].rate
    assert layers.names(layers.bind(model, {"noise": 0.1})) == ("activation", "noise")
    assert float(rate[...]) == pytest.approx(0.1)


def test_an_unknown_name_lists_the_known_ones():
    for target in (net(), nnx.state(net(), layers.Hyperparameter)):
        with pytest.raises(ValueError, match=r"activation, dropout; got 'droput'; did you mean 'dropout'\?"):
            layers.bind(target, {"droput": 0.1})
    with pytest.raises(ValueError, match="got 'activatoin'; did you mean 'activation'"):
        layers.set_choices(net(), "activatoin", ["relu"])
    with pytest.raises(ValueError, match="did you mean 'gelu'"):
        layers.set_choices(net(), "activation", ["geluu"])
    with pytest.raises(ValueError, match="choices must"):
        layers.set_choices(net(), "activation", [])
    with pytest.raises(ValueError, match="activation must be one of"):
        layers.Activation("step")


def test_choices_keep_the_activation_in_force_until_an_index_is_bound():
    layer, x = layers.Activation("tanh"), jnp.linspace(-2, 2, 9)
    layers.set_choices(layer, "activation", ["relu", "tanh", "gelu"])
    np.testing.assert_array_equal(layer(x), jnp.tanh(x))
    layers.set_choices(layer, "activation", ["tanh", "relu"])
    assert int(layer.index[...]) == 0
    layers.set_choices(layer, "activation", ["sigmoid", "swish"])
    assert int(layer.index[...]) == 0
    graph, state = nnx.split(layer)
    run = jax.jit(lambda i: nnx.merge(graph, layers.bind(state, {"activation": i}))(x))
    for index, name in enumerate(["sigmoid", "swish"]):
        np.testing.assert_allclose(run(index), activations.TABLE[name](x), rtol=1e-6)
    assert layers.Choice(2).dtype == jnp.int32


def test_double_precision_hyperparameters_where_it_is_on():
    with jax.enable_x64(True):
        assert layers.Hyperparameter(0.1).dtype == jnp.float64
        assert layers.Choice(1).dtype == jnp.int32
