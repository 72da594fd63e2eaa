"""Counts of parameters and operations against those worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import hyperjax as hj
from hyperjax.models import CNN, MLP, ResNet, describe, pure


def test_a_perceptron_by_hand():
    model = MLP(64, 10, widths=(128,), rngs=nnx.Rngs(0))
    found = describe(model, jnp.ones((1, 64)))
    assert found.parts == {"layers": 64 * 128 + 128, "output": 128 * 10 + 10}
    assert found.parameters == 9610
    products, sums, maxima = 64 * 128 + 128 * 10, 64 * 128 + 128 * 10 + 128 + 10, 128
    assert found.flops == pytest.approx(products + sums + maxima, rel=1e-3)
    assert (found.examples, found.unbounded_loops) == (1, 0)
    batch = describe(model, jax.ShapeDtypeStruct((32, 8, 8), jnp.float32))
    assert batch.flops == pytest.approx(32 * found.flops, rel=1e-3)
    assert batch.examples == 32


def test_a_convolutional_network_by_hand():
    found = describe(CNN((8, 8), 10, channels=(16, 32), rngs=nnx.Rngs(0)), jnp.ones((1, 8, 8)))
    assert found.parts == {"blocks": (9 * 16 + 16) + (9 * 16 * 32 + 32), "output": 32 * 10 + 10}
    products = 64 * 9 * 16 + 64 * 9 * 16 * 32 + 32 * 10
    assert found.flops == pytest.approx(2 * products, rel=0.02)


def test_resnet_20_as_its_paper_counts():
    model = nnx.eval_shape(lambda: ResNet((32, 32, 3), 10, blocks=3, rngs=nnx.Rngs(0)))
    found = describe(model, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    assert found.parameters == 272_474
    assert found.flops == pytest.approx(2 * 40_813_184, rel=0.03)  # 9 products a tap and channel, norms apart


class Looping(nnx.Module):
    """One matrix product in each turn of nested loops."""

    def __init__(self, rngs, turns=5, unbounded=False):
        self.linear = nnx.Linear(8, 8, use_bias=False, rngs=rngs)
        self.turns, self.unbounded = turns, unbounded
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        kernel = self.linear.kernel[...]

        def turn(x, _):
            return lax.scan(lambda x, _: (x @ kernel, None), x, None, length=3)[0], None

        if self.unbounded:
            return lax.while_loop(lambda x: x.sum() < 100, lambda x: turn(x, None)[0], x)
        return self.dropout(lax.scan(turn, x @ kernel, None, length=self.turns)[0])


def test_bodies_of_loops_count_as_often_as_they_run():
    product = 2 * 4 * 8 * 8
    found = describe(Looping(nnx.Rngs(0)), jnp.ones((4, 8)))
    assert found.flops == pytest.approx(product * (1 + 5 * 3), rel=0.02)
    open_ended = describe(Looping(nnx.Rngs(0), unbounded=True), jnp.ones((4, 8)))
    assert open_ended.unbounded_loops == 1
    assert open_ended.flops == pytest.approx(3 * product, rel=0.05)
    assert "at least" in str(open_ended)
    assert "at least" not in str(found)


def test_the_model_is_left_as_it_was():
    model = Looping(nnx.Rngs(0))
    before = jax.tree.leaves(nnx.state(model, nnx.Param))
    describe(model, jnp.ones((4, 8)))
    assert not model.dropout.deterministic
    for mine, theirs in zip(jax.tree.leaves(nnx.state(model, nnx.Param)), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_shared_weight_counts_once_and_a_statistic_never():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(8, use_scale=False, use_bias=False, rngs=rngs)
            self.first = nnx.Linear(8, 8, rngs=rngs)
            self.second = nnx.Linear(8, 8, use_bias=False, rngs=rngs)
            self.second.kernel = self.first.kernel

        def __call__(self, x):
            return self.second(self.first(self.norm(x)))

    found = describe(Tied(nnx.Rngs(0)), jnp.ones((1, 8)))
    assert found.parts == {"first": 8 * 8 + 8}
    assert found.table() == [("first", 72), ("total", 72)]


class Linear(nnx.Module):
    def __init__(self, rngs, width=16):
        self.hidden, self.out = nnx.Linear(8, width, rngs=rngs), nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x, is_training):
        assert not is_training
        return self.out(nnx.relu(self.hidden(x)))


class Dense(nn.Module):
    """The same in Linen."""

    width: int = 16

    @nn.compact
    def __call__(self, x, train=False):
        rate = self.variable("hyperparameters", "dropout", lambda: 0.0)
        x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(3)(hj.layers.Dropout(rate.value)(x, deterministic=not train))


def init(key, x):
    return {"hidden": jnp.ones((x.shape[-1], 16)), "bias": [jnp.ones(16), jnp.ones(3)], "out": jnp.ones((16, 3))}


def apply(params, x):
    return jax.nn.relu(x @ params["hidden"] + params["bias"][0]) @ params["out"] + params["bias"][1]


def test_a_model_of_any_kind_is_counted_alike():
    x = jnp.ones((4, 8))
    expected = describe(Linear(nnx.Rngs(0)), x)
    parts = {"Dense_0": 8 * 16 + 16, "Dense_1": 16 * 3 + 3}
    own = {"hidden": 8 * 16, "bias": 16 + 3, "out": 16 * 3}
    bound = Dense().bind(Dense().init(jax.random.key(0), x))
    trained = pure(init, apply, x).build(nnx.Rngs(0)).native()
    kinds = {
        "factory": (Linear, {"hidden": 8 * 16 + 16, "out": 16 * 3 + 3}),
        "linen": (Dense(), parts),
        "bound": (bound, parts),
        "factory of linen": (lambda rngs: Dense(), parts),
        "pair": ((init, apply), own),
        "trained": (trained, own),
    }
    for kind, (model, by_part) in kinds.items():
        for given in (x, jax.ShapeDtypeStruct((4, 8), jnp.float32)):
            found = describe(model, given)
            assert (found.parameters, found.flops, found.examples) == (195, expected.flops, 4), kind
            assert found.parts == by_part, kind
    with pytest.raises(ValueError, match=r"model must be a Flax module .*got int"):
        describe(3, x)


def test_it_prints_as_a_table():
    lines = str(describe(MLP(2, 1, widths=(3,), rngs=nnx.Rngs(0)), jnp.ones((1, 2)))).splitlines()
    assert lines[:4] == ["part    parameters", "layers           9", "output           4", "total           13"]
    assert lines[4].startswith("forward pass of 1: ")
