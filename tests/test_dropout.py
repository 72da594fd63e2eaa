"""Dropout at rates that are values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hyperjax import layers, random


def test_the_mean_is_kept_and_so_is_each_survivor():
    layer = layers.Dropout(0.3, rngs=nnx.Rngs(random.key(0)))
    x = jnp.full((200, 500), 2.0)
    out = np.asarray(layer(x))
    assert abs(out.mean() - 2.0) < 5 * 2 * np.sqrt(0.3 / 0.7 / x.size)
    np.testing.assert_allclose(np.unique(out), [0.0, 2.0 / 0.7], rtol=1e-6)
    assert np.any(out != np.asarray(layer(x)))  # the stream moves on


def test_agrees_with_flax_under_the_same_key():
    x = jax.random.normal(random.key(1), (16, 32))
    ours, theirs = (kind(0.4, rngs=nnx.Rngs(random.key(2))) for kind in (layers.Dropout, nnx.Dropout))
    for _ in range(2):
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-6)
    ours, theirs = (
        kind(0.4, broadcast_dims=(0,), rng_collection="noise", rngs=nnx.Rngs(noise=random.key(2)))
        for kind in (layers.Dropout, nnx.Dropout)
    )
    out = np.asarray(ours(x))
    np.testing.assert_allclose(out, theirs(x), rtol=1e-6)
    assert np.all((out == 0).all(0) | (out != 0).all(0))


def test_rates_differ_between_members_of_one_program():
    """Traced rates under vmap and map, rate 0 exactly off, all with the mask of one key: a higher rate drops more."""
    layer = layers.Dropout(0.5, rngs=nnx.Rngs(random.key(3)))
    graph, hyper, rest = nnx.split(layer, layers.Hyperparameter, ...)
    x = jax.random.normal(random.key(4), (64, 64))
    rates = jnp.array([0.0, 0.25, 0.75, 1.0])

    def member(rate):
        return nnx.merge(graph, layers.bind(hyper, {"dropout": rate}), rest, copy=True)(x)

    mapped = np.asarray(jax.jit(lambda r: jax.lax.map(member, r))(rates))
    np.testing.assert_allclose(jax.jit(jax.vmap(member))(rates), mapped, rtol=1e-6)
    np.testing.assert_array_equal(mapped[0], x)
    assert not mapped[3].any()
    for rate, out in zip(rates[1:3], mapped[1:3], strict=True):
        kept = out != 0
        assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(0.25 * 0.75 / x.size)
        np.testing.assert_allclose(out[kept], np.asarray(x)[kept] / (1 - rate), rtol=1e-6)
    assert not np.any((mapped[2] != 0) & (mapped[1] == 0))


def test_gradients_are_finite_at_both_ends_and_right_between():
    x, key = jax.random.normal(random.key(5), (8, 8)), random.key(6)

    def loss(x, rate):
        return jnp.sum(layers.Dropout(rate)(x, rngs=key) ** 2)

    values = jax.jit(lambda r: jax.lax.map(lambda rate: (jax.grad(loss, (0, 1))(x, rate), loss(x, rate)), r))
    (by_x, by_rate), totals = values(jnp.array([0.0, 0.4, 1.0]))
    assert np.all(np.isfinite(by_x))
    assert np.all(np.isfinite(by_rate))
    np.testing.assert_allclose(by_x[0], 2 * x, rtol=1e-6)
    assert not by_x[2].any()
    # sum (x m / (1 - r))^2 has the derivatives 2 y m / (1 - r) and, with the mask held, 2 / (1 - r) times itself
    np.testing.assert_allclose(by_rate[1], 2 / 0.6 * totals[1], rtol=1e-5)
    out = layers.Dropout(0.4)(x, rngs=key)
    np.testing.assert_allclose(by_x[1], 2 * out / 0.6 * (out != 0), rtol=1e-5)
    forward = jax.jvp(lambda x: loss(x, 0.4), (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(forward, by_x[1].sum(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_dtype_is_kept(dtype):
    with jax.enable_x64(dtype == "float64"):
        layer = layers.Dropout(0.5, rngs=nnx.Rngs(random.key(0)))
        out = layer(jnp.ones((4, 4), dtype))
        assert out.dtype == dtype
        assert set(np.asarray(out, np.float64).ravel()) == {0.0, 2.0}


def test_evaluation_is_the_identity_and_draws_nothing():
    model = nnx.Sequential(layers.Dropout(0.9, rngs=nnx.Rngs(0)))
    x = jnp.ones((5, 5))
    model.eval()
    np.testing.assert_array_equal(model(x), x)
    assert int(model.layers[0].rngs.count[...]) == 0
    model.train()
    assert (model(x) == 0).any()
    np.testing.assert_array_equal(model.layers[0](x, deterministic=True), x)


def test_the_stream_moves_on_at_every_rate():
    """So that a member's later masks do not depend on whether it dropped anything before."""
    layer = layers.Dropout(0.0, rngs=nnx.Rngs(0))
    layer(jnp.ones(3))
    assert int(layer.rngs.count[...]) == 1


def test_at_rate_zero_the_mask_is_inside_a_branch():
    jaxpr = jax.make_jaxpr(lambda rate, x: layers.Dropout(rate)(x, rngs=random.key(0)))(0.5, jnp.ones(3))
    outside = {equation.primitive.name for equation in jaxpr.eqns}
    assert "cond" in outside
    assert "random_bits" not in outside
    fixed = layers.Dropout(0.0, name=None)
    assert "random_bits" not in str(jax.make_jaxpr(lambda x: fixed(x, rngs=random.key(0)))(jnp.ones(3)))


def test_a_fixed_rate_cannot_be_bound():
    fixed = layers.Dropout(0.5, name=None, rngs=nnx.Rngs(0))
    assert layers.names(fixed) == ()
    assert sorted(set(fixed(jnp.ones(50)).tolist())) == [0.0, 2.0]
    with pytest.raises(ValueError, match="none in this model"):
        layers.bind(fixed, {"dropout": 0.1})


@pytest.mark.parametrize("rate", [2.0, -0.1, float("nan"), "half", layers.Hyperparameter(np.float32(1.5))])
def test_bad_rates_are_named(rate):
    with pytest.raises(ValueError, match="rate must be a number in"):
        layers.Dropout(rate)


def test_no_randomness_is_an_error():
    with pytest.raises(ValueError, match="rngs must be given"):
        layers.Dropout(0.5)(jnp.ones(3))
