"""The residual network: the paper's size, a plain one's outputs, and training in the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import hyperjax as hj
from hyperjax import layers, random
from hyperjax.models import ResNet


def parameters(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def test_resnet_20_has_the_paper_s_parameters():
    model = nnx.eval_shape(lambda: ResNet((32, 32, 3), 10, blocks=3, rngs=nnx.Rngs(0)))
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    shortcuts, norms, linear = 16 * 32 + 32 * 64, 2 * (7 * 16 + 7 * 32 + 7 * 64), 64 * 10 + 10
    assert parameters(model) == convolutions + shortcuts + norms + linear == 272_474  # 0.27 M in its table 6
    assert len(model.blocks) == 9


def test_the_output_is_that_of_a_plain_network():
    model = ResNet((8, 6, 2), 3, widths=(3, 4), blocks=(1, 2), activation="tanh", rngs=nnx.Rngs(random.key(0)))
    x = jax.random.normal(random.key(1), (5, 8, 6, 2))

    def block(part, x, stride=1):
        """Native convolution, and BatchNorm of the batch."""
        kernel, axes = part.convolution.kernel[...], ("NHWC", "HWIO", "NHWC")
        h = lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=axes)
        return (h - h.mean((0, 1, 2))) / jnp.sqrt(h.var((0, 1, 2)) + 1e-5)

    @nnx.jit
    def plain(model, x):
        h = jnp.tanh(block(model.stem, x))
        for part, stride in zip(model.blocks, (1, 2, 1), strict=True):
            inner = block(part.second, jnp.tanh(block(part.first, h, stride)))
            kept = h if part.shortcut is None else block(part.shortcut, h, stride)
            h = jnp.tanh(kept + inner)
        assert h.shape == (5, 4, 3, 4)
        return h.mean((1, 2)) @ model.output.kernel[...]

    assert [part.shortcut is None for part in model.blocks] == [True, False, True]
    out = nnx.jit(lambda model, x: model(x))(model, x)
    np.testing.assert_allclose(out, plain(model, x), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_it_trains_with_batch_norm_in_a_population():
    small = hj.tasks.digits()
    data = {part: (x[:120], y[:120]) for part, (x, y) in small.data.items() if part != "test"}

    def model(rngs):
        return ResNet((8, 8), 10, widths=(4, 8), rngs=rngs)

    task = hj.Task(model, data, loss="cross_entropy", metrics={"accuracy": hj.metrics.accuracy})
    recipe = hj.Recipe(learning_rate=2e-2, batch_size=40, epochs=20, dropout=0.1)
    runs = hj.fit_population(task, [recipe], seeds=[0, 1])
    assert all(run.metrics["validation_accuracy"][-1] > 0.35 for run in runs)  # chance is 0.1
    alone = hj.fit(task, recipe, seed=1)
    np.testing.assert_array_equal(runs[1].losses, alone.losses)
    for statistic, begins in (("mean", 0), ("var", 1)):
        moved = np.asarray(getattr(alone.model.blocks[1].shortcut.norm, statistic)[...])
        np.testing.assert_array_equal(moved, getattr(runs[1].model.blocks[1].shortcut.norm, statistic)[...])
        assert np.all(moved != begins)


def test_group_norm_leaves_examples_alone():
    model = ResNet((8, 8), 3, widths=(4,), norm="group", rngs=nnx.Rngs(random.key(0)))
    x = jax.random.normal(random.key(1), (4, 64))
    np.testing.assert_allclose(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)
    assert not jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    assert layers.names(model) == ("activation", "dropout")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": ()}, "widths must name at least one stage, got none"),
        ({"blocks": (1, 2)}, r"blocks must be 3 numbers, one a stage, got \(1, 2\)"),
        ({"blocks": 0}, "blocks must be a whole number of at least 1, got 0"),
        ({"norm": None}, "norm must be one of batch, group, layer, got None"),
        ({"outputs": 1.5}, "outputs must be a whole number of at least 1, got 1.5"),
        ({"activation": "rely"}, "activation must be one of .*, got 'rely'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**({"shape": (8, 8), "outputs": 10, "rngs": nnx.Rngs(0)} | arguments))
