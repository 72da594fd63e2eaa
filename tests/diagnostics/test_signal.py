"""Planted faults are found by layer with the right share; what is measured is what plain NumPy says."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import hyperjax as hj
from hyperjax.diagnostics import Moments, signal
from hyperjax.diagnostics.examples import examples_of
from hyperjax.diagnostics.faults import faults
from hyperjax.diagnostics.interception import watched
from hyperjax.diagnostics.layer_statistics import Statistics
from hyperjax.diagnostics.layers import Layer, Layers
from hyperjax.diagnostics.recognizing import sites
from tests.training.made import classes

DEAD, UNITS = 3, 8


class Deep(nnx.Module):
    """What people write: activations that are functions, one layer inside a transformation of its own."""

    def __init__(self, rngs):
        widths = [(4, 8), (8, UNITS), (UNITS, 8), (8, 8), (4, 4)]
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in widths])
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.output = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.jit(lambda layer, x: layer(x))(self.layers[4], x) + x
        x = jax.nn.relu(self.layers[0](x))
        x = self.drop(jax.nn.relu(self.layers[1](x)))
        x = jnp.tanh(self.layers[2](x))
        x = jax.nn.sigmoid(self.layers[3](x))
        return self.output(x)


@pytest.fixture(scope="module")
def planted():
    model = Deep(nnx.Rngs(0))
    dead, tanh = model.layers[1], model.layers[2]
    dead.bias[...] = jnp.where(jnp.arange(UNITS) < DEAD, -1e3, 0.5)
    tanh.kernel[...] *= 100
    task = classes()
    reached = np.sort(by_hand(model, task.data["train"][0])[0][0][:, 0])
    model.layers[0].bias[0] -= reached[-2:].mean()  # alive at one example of one block
    return task, model, signal(task, model, block=20)  # two blocks, and six examples left


def by_hand(model, x):
    """What each layer writes and what follows it, in NumPy."""
    weights = [(np.asarray(a.kernel[...], np.float64), np.asarray(a.bias[...], np.float64)) for a in model.layers]
    functions = [lambda z: np.maximum(z, 0), lambda z: np.maximum(z, 0), np.tanh, lambda z: 1 / (1 + np.exp(-z))]
    x = x @ weights[4][0] + weights[4][1] + x
    found = []
    for (kernel, bias), function in zip(weights, functions, strict=False):
        z = x @ kernel + bias
        x = function(z)
        found.append((z, x))
    return found


def test_what_is_planted_is_found_by_layer_with_its_share(planted):
    task, model, found = planted
    assert found.layers == ("layers/0", "layers/1", "layers/2", "layers/3", "output", "layers/4")
    assert found.kinds == ("Linear",) * 5 + ("",)
    assert found.activations == ("relu", "relu", "tanh", "sigmoid", None, None)
    hand = by_hand(model, np.asarray(task.data["train"][0], np.float64))
    for place, (z, a) in enumerate(hand):
        assert found.mean[0, place] == pytest.approx(z.mean(), rel=1e-4, abs=1e-6)
        assert found.variance[0, place] == pytest.approx(z.var(), rel=1e-4)
        assert found.activation_mean[0, place] == pytest.approx(a.mean(), rel=1e-4)
        assert found.activation_variance[0, place] == pytest.approx(a.var(), rel=1e-4)
        assert found.zeros[0, place] == pytest.approx((a == 0).mean(), abs=1e-6)
    assert (hand[0][1][:, 0] > 0).sum() == 1
    assert found.dead[0, 0] == (hand[0][1] == 0).all(0).mean()
    assert found.dead[0, 1] == DEAD / UNITS == (hand[1][1] == 0).all(0).mean()
    slope = 1 - np.tanh(hand[2][0]) ** 2
    assert found.saturated[0, 2] == pytest.approx((slope < 0.05).mean(), abs=1e-6)
    assert found.saturated[0, 2] > 0.8
    assert found.saturated[0, 3] == 0
    assert np.isnan(found.saturated[0, :2]).all()
    assert np.isnan(found.variance[0, 5])


def test_gradients_are_those_of_the_plain_model(planted):
    task, model, found = planted
    x, y = map(jnp.asarray, task.data["train"])
    model.eval()

    def loss(model):
        return -jnp.mean(jax.nn.log_softmax(model(x))[jnp.arange(len(y)), y])

    gradients = nnx.jit(nnx.grad(loss))(model)
    for name, gradient in [
        ("output", gradients["output"]),
        *((f"layers/{i}", gradients["layers"][i]) for i in range(5)),
    ]:
        norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
        assert found.gradient_norm[0, found.layers.index(name)] == pytest.approx(norm, rel=1e-4), name
    assert np.isnan(found.update_share).all()


def test_the_answer_names_layer_share_and_blame(planted):
    _, _, found = planted
    assert [(fault.name, fault.layer) for fault in found.faults][:2] == [
        ("dead units", "layers/1"),
        ("saturated", "layers/2"),
    ]
    assert (
        "38% of the relu units behind layers/1 pass nothing on at any example, 38% from the beginning" in found.answer
    )
    assert "To blame: the initial weights and biases" in found.answer
    assert "What passes through layers/4 cannot be seen." in found.answer
    assert found.table.rows[1][:2] == ("layers/1", "relu")
    assert found.table.rows[1][3] == "38%"
    assert type(Deep(nnx.Rngs(0)).layers[0]) is nnx.Linear  # nobody else's class has changed


def test_what_happens_inside_a_transformation_is_not_brought_out():
    model, x = Deep(nnx.Rngs(0)), jnp.ones((2, 4))
    inside, outside = watched(model, lambda: model.layers[0](jax.jit(lambda x: model.layers[4](x))(x)))
    assert (inside.path, inside.read, inside.wrote) == (("layers", "4"), None, None)
    assert outside.path == ("layers", "0")
    np.testing.assert_array_equal(outside.wrote, model.layers[0](outside.read))
    assert [site.kind for site in sites([inside, outside])] == ["", "Linear"]


class LinenDeep(nn.Module):
    """The same in Linen; pooling behind its rectifier, whose zeros alone show it."""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Dense(8)(x))
        x = nn.relu(nn.Dense(UNITS, name="hidden")(x)).reshape(len(x), 1, UNITS)
        return nn.Dense(3)(jnp.concatenate([x, x], 1).mean(1) * 2.0)


def test_linen_and_what_only_zeros_show():
    module, task = LinenDeep(), classes()
    variables = module.init(jax.random.key(0), task.data["train"][0][:1])
    bias = np.where(np.arange(UNITS) < DEAD, -1e3, 0.5).astype(np.float32)
    variables["params"]["hidden"]["bias"] = bias
    found = signal(task, module.bind(variables), examples=16)
    assert found.layers == ("Dense_0", "hidden", "Dense_1")
    assert found.activations == ("tanh", "some rectifier", None)
    assert found.dead[0].tolist()[:2] == [0.0, DEAD / UNITS]
    assert "16 of 46 training examples" in found.answer


def test_updates_are_those_of_the_run():
    task = classes(model=lambda rngs: nnx.Linear(4, 3, rngs=rngs))
    recipe = hj.Recipe(learning_rate=0.02, batch_size=8, epochs=2, clip_norm=0.1, schedule="cosine_decay")
    moments = Moments(task, recipe, seed=3, points=4)
    layers = Layers(moments, examples_of(moments, 10, 10), 0.05, updates=True)
    seen = [(moment, layers.at(moment.carry)) for moment in moments]
    assert [moment.step for moment, _ in seen] == [0, 4, 8, 12]
    for (_, rows), (after, _) in itertools.pairwise(seen):
        whole = np.sqrt(sum(layer.update_norm**2 for layer in rows))
        assert whole == pytest.approx(after.records.update_norm[0], rel=1e-4)
    assert all(np.isnan(layer.update_norm) for layer in seen[-1][1])  # the schedule has ended: no step has a rate


def layer(function="relu", variance=1.0, flat=0.3, dead=0.0, update=0.01, path="a"):
    return Layer((path,), "Linear", function, Statistics(0.0, variance, 0.3, 0.3, 0.3, flat, dead), 1.0, 1.0, update)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ([layer(), layer()], [layer(), layer()], []),
        ([layer(), layer()], [layer(dead=0.1), layer(dead=0.6)], [("dead units", "learning rate")]),
        ([layer(dead=0.5)], [layer(dead=0.6)], [("dead units", "initial weights and biases")]),
        ([layer("tanh", 900, 0.9)], [layer("tanh", 900, 0.9)], [("saturated", "initial scale")]),
        ([layer("sigmoid", 1, 0.0)], [layer("sigmoid", 900, 0.9)], [("saturated", "learning rate")]),
        ([layer("relu", 1, 0.9)], [layer("relu", 1, 0.9)], []),  # a rectifier is flat where it should be
        ([layer(variance=0.1**i) for i in range(4)], [layer()] * 4, [("shrinking", "initial scale")]),
        ([layer(variance=9.0**i) for i in range(3)], [layer()] * 3, [("growing", "initial scale")]),
        ([layer(variance=1.5**i) for i in range(8)], [layer()] * 8, []),
        ([layer(None, 1e-4), layer(None, 1.0), layer()], [layer()] * 3, []),  # an embedding has a size of its own
        ([layer()], [layer(update=2.0)], [("large updates", "learning rate")]),
        ([layer()], [layer(update=np.inf)], [("large updates", "learning rate")]),
        ([layer(update=1e-8)], [layer(update=1e-8)], [("small updates", "learning rate")]),
        ([layer(update=0.1)], [layer(update=1e-8)], []),  # a schedule's end
        ([layer(update=np.nan)], [layer(update=np.nan)], []),  # a warm-up's beginning, and an end at 0
    ],
)
def test_faults_are_told_from_what_is_sound(first, last, told):
    assert [(fault.name, fault.cause) for fault in faults(first, last)] == told


def test_names_the_bad_argument():
    with pytest.raises(ValueError, match="flat must be a number in"):
        signal(classes(), hj.Recipe(epochs=1), flat=1.0)
    with pytest.raises(ValueError, match="model must be a Flax module"):
        signal(classes(), "adam")
