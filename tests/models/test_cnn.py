"""The convolutional network: the hand-written one, its norms, and BatchNorm's statistics in the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers, random
from hyperjax.models import CNN, NORMS
from hyperjax.models.cnn import Convolution


def convolved(x, kernel, stride=1):
    """A 3x3 convolution with zeros around, as its definition reads; x is [examples, height, width, channels]."""
    height, width = (-(-size // stride) for size in x.shape[1:3])
    extra = [max((n - 1) * stride + 3 - size, 0) for n, size in zip((height, width), x.shape[1:3], strict=True)]
    x = np.pad(x, ((0, 0), *((e // 2, e - e // 2) for e in extra), (0, 0)))
    out = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            window = x[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            out[:, i, j] = np.einsum("nhwc,hwco->no", window, kernel)
    return out


@pytest.mark.parametrize("strides", [1, (1, 2)])
def test_the_output_is_the_hand_written_network(strides):
    model = CNN((5, 6, 2), 3, channels=(4, 5), strides=strides, activation="tanh", rngs=nnx.Rngs(random.key(0)))
    x = np.asarray(jax.random.normal(random.key(1), (3, 5, 6, 2)))
    h = x
    for block, stride in zip(model.blocks, np.broadcast_to(strides, 2), strict=True):
        bias = np.linspace(-1, 1, block.convolution.out_features)
        block.convolution.bias[...] = jnp.asarray(bias, jnp.float32)
        h = np.tanh(convolved(h, np.asarray(block.convolution.kernel[...]), stride) + bias)
    expected = h.mean((1, 2)) @ np.asarray(model.output.kernel[...])
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_images_come_flat_or_with_channels_or_without():
    model = CNN((8, 8), 10, rngs=nnx.Rngs(random.key(0)))
    x = jax.random.normal(random.key(1), (3, 8, 8))
    np.testing.assert_array_equal(model(x), model(x[..., None]))
    np.testing.assert_array_equal(model(x), model(x.reshape(3, 64)))


def test_initial_kernels_have_he_variance():
    model = CNN((8, 8, 30), 10, channels=(40, 50), rngs=nnx.Rngs(random.key(2)))
    for block, inputs in zip(model.blocks, (30, 40), strict=True):
        kernel = np.asarray(block.convolution.kernel[...])
        assert kernel.var() == pytest.approx(2 / (9 * inputs), rel=5 * np.sqrt(2 / kernel.size))


@pytest.mark.parametrize(
    ("norm", "axes"),
    [("batch", (0, 1, 2)), ("group", (1, 2, 4)), ("layer", (3, 4))],  # of [examples, height, width, groups, channels]
)
def test_norms_take_their_means_where_they_say(norm, axes):
    block = Convolution(2, 24, norm=norm, activation=None, rngs=nnx.Rngs(random.key(0)))
    x = np.asarray(jax.random.normal(random.key(1), (4, 3, 5, 2)))
    h = convolved(x, np.asarray(block.convolution.kernel[...])).reshape(4, 3, 5, 8, 3)
    expected = (h - h.mean(axes, keepdims=True)) / np.sqrt(h.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(block(x), expected.reshape(4, 3, 5, 24), rtol=1e-3, atol=1e-4)
    assert block.convolution.bias is None
    assert set(NORMS) == {"batch", "group", "layer"}


def digits(**arguments):
    """Digits as images, for a small network."""
    small = hj.tasks.digits()
    data = {part: (x[:200].reshape(-1, 8, 8), y[:200]) for part, (x, y) in small.data.items() if part != "test"}

    def model(rngs):
        return CNN((8, 8), 10, channels=(6, 12), rngs=rngs, **arguments)

    return hj.Task(model, data, loss="cross_entropy", metrics={"accuracy": hj.metrics.accuracy})


RECIPES = [
    hj.Recipe(learning_rate=rate, batch_size=40, epochs=8, dropout=dropout, activation=activation)
    for rate, dropout, activation in ((3e-2, 0.1, "tanh"), (1e-2, 0.0, "relu"))
]


@pytest.fixture(scope="module")
def alone():
    """A network with BatchNorm, trained alone."""
    return hj.fit(digits(norm="batch"), RECIPES[0], seed=1)


def test_batch_norm_trains_its_statistics_and_is_evaluated_with_them(alone):
    assert alone.metrics["validation_accuracy"][-1] > 0.5  # chance is 0.1
    data = digits().data
    model, (x, y) = alone.model, data["validation"]
    first = model.blocks[0]
    mean = np.asarray(jnp.mean(first.convolution(data["train"][0][..., None]), (0, 1, 2)))
    np.testing.assert_allclose(first.norm.mean[...], mean, atol=0.2)  # it follows with some delay
    assert np.abs(mean).max() > 0.4  # and began at 0

    model.eval()
    logits = model(x)
    assert float(jnp.mean(jnp.argmax(logits, 1) == y)) == pytest.approx(alone.metrics["validation_accuracy"][-1])
    np.testing.assert_allclose(model(x[:1]), logits[:1], rtol=1e-4, atol=1e-4)  # no matter what else is in the batch
    model.train()
    assert np.abs(model(x[:1]) - logits[:1]).max() > 0.1


def same(run, alone):
    for name in ("losses", "gradient_norms", "update_norms"):
        np.testing.assert_array_equal(getattr(run, name), getattr(alone, name))
    np.testing.assert_array_equal(run.metrics["validation_loss"], alone.metrics["validation_loss"])
    leaves = [jax.tree.leaves(nnx.state(r.model, (nnx.Param, nnx.BatchStat))) for r in (run, alone)]
    assert len(leaves[0]) >= 6
    for mine, theirs in zip(*leaves, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_member_of_a_mixed_population_is_its_lone_run(alone):
    assert len(jax.tree.leaves(nnx.state(alone.model, nnx.BatchStat))) == 4
    same(hj.fit_population(digits(norm="batch"), RECIPES, seeds=[0, 1])[1], alone)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [None, "group"])
def test_so_it_is_with_other_norms(norm):
    task = digits(norm=norm)
    same(hj.fit_population(task, RECIPES, seeds=[0, 1])[1], hj.fit(task, RECIPES[0], seed=1))


def test_its_hyperparameters_are_bound_by_name():
    model = CNN((8, 8), 10, dropout=0.5, rngs=nnx.Rngs(random.key(0)))
    assert layers.names(model) == ("activation", "dropout")
    x = jax.random.normal(random.key(1), (3, 8, 8))
    layers.bind(model, {"dropout": 1.0})
    np.testing.assert_array_equal(model(x), jnp.zeros((3, 10)))  # all features dropped, and the bias begins at 0


def test_training_lowers_to_native_convolutions_elsewhere():
    model = CNN((8, 8), 10, channels=(4, 4), norm="batch", rngs=nnx.Rngs(random.key(0)))
    graph, weights, rest = nnx.split(model, nnx.Param, ...)

    def loss(weights, rest, x):
        return nnx.merge(graph, weights, rest, copy=True)(x).sum()

    traced = jax.jit(jax.grad(loss)).trace(weights, rest, jnp.ones((2, 8, 8)))
    for platform, native in (("cpu", False), ("cuda", True), ("tpu", True)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == native


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (8,)}, r"shape must be \(height, width\) or \(height, width, channels\), got \(8,\)"),
        ({"shape": (8, 0)}, "shape must be a whole number of at least 1, got 0"),
        ({"channels": ()}, "channels must name at least one convolution, got none"),
        ({"channels": (4, -1)}, "channels must be a whole number of at least 1, got -1"),
        ({"strides": (1, 2, 1)}, r"strides must be 2 numbers, got \(1, 2, 1\)"),
        ({"strides": 0}, "strides must be a whole number of at least 1, got 0"),
        ({"norm": "bach"}, "norm must be one of batch, group, layer, got 'bach'; did you mean 'batch'?"),
        ({"outputs": 0}, "outputs must be a whole number of at least 1, got 0"),
        ({"dropout": 1.5}, r"rate must be a number in \[0, 1\], got 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CNN(**({"shape": (8, 8), "outputs": 10, "rngs": nnx.Rngs(0)} | arguments))


@pytest.mark.parametrize(("shape", "given"), [((8, 8), (2, 8, 9)), ((8, 8, 3), (2, 8, 8)), ((8, 8), (8, 8))])
def test_a_batch_of_another_shape_is_refused(shape, given):
    with pytest.raises(ValueError, match=r"a batch must hold examples of shape \(8, 8, \d\) or .*, got an array of"):
        CNN(shape, 10, rngs=nnx.Rngs(0))(jnp.ones(given))
