"""Layers that disturb inputs, branches and kernels: what each does, and the contract that all share with Dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import hyperjax as hj
from hyperjax import layers, random


def linear(dtype=jnp.float32):
    return nnx.Linear(6, 5, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(random.key(7)))


MAKERS = {
    "spatial_dropout": lambda number, **given: layers.SpatialDropout(number, **given),
    "stochastic_depth": lambda number, **given: layers.StochasticDepth(number, **given),
    "drop_connect": lambda number, **given: layers.DropConnect(linear(), number, **given),
    "noise": lambda number, **given: layers.GaussianNoise(number, **given),
    "weight_noise": lambda number, **given: layers.WeightNoise(linear(), number, **given),
}
EVERY = pytest.mark.parametrize("kind", MAKERS)
X = np.random.default_rng(0).normal(size=(8, 3, 6)).astype(np.float32)
X[0, 0, 0] = -0.0  # which a sum with 0 would change


def undisturbed(kind):
    """What the layer computes where nothing is dropped or added."""
    return linear() if kind in ("drop_connect", "weight_noise") else lambda x: x


def bits(x):
    return np.asarray(x).view(np.uint32)


def bound_name(kind):
    return "dropout" if kind == "spatial_dropout" else kind


def test_spatial_dropout_takes_whole_channels_as_flax_does():
    x = jax.random.normal(random.key(1), (16, 5, 4, 8))
    ours = layers.SpatialDropout(0.4, rngs=nnx.Rngs(random.key(2)))
    theirs = nnx.Dropout(0.4, broadcast_dims=(1, 2), rngs=nnx.Rngs(random.key(2)))
    for _ in range(2):
        out = np.asarray(ours(x))
        np.testing.assert_allclose(out, theirs(x), rtol=1e-6)
        dropped = (out == 0).all((1, 2))
        assert np.all(dropped | (out != 0).all((1, 2)))
        assert 0.25 < dropped.mean() < 0.55
    plain = layers.Dropout(0.4, rngs=nnx.Rngs(random.key(2)))(x[:, 0, 0])
    np.testing.assert_array_equal(layers.SpatialDropout(0.4, rngs=nnx.Rngs(random.key(2)))(x[:, 0, 0]), plain)
    with pytest.raises(ValueError, match=r"x must be \[batch, ..., channels\], got shape \(3,\)"):
        ours(jnp.ones(3))


def test_stochastic_depth_takes_whole_examples_as_flax_does():
    x = jax.random.normal(random.key(1), (4000, 2, 3))
    out = np.asarray(layers.StochasticDepth(0.3, rngs=nnx.Rngs(random.key(2)))(x))
    theirs = nnx.Dropout(0.3, broadcast_dims=(1, 2), rngs=nnx.Rngs(random.key(2)))
    np.testing.assert_allclose(out, theirs(x), rtol=1e-6)
    dropped = (out == 0).all((1, 2))
    assert np.all(dropped | (out != 0).all((1, 2)))
    assert abs(dropped.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 4000)


def test_one_bound_rate_gives_each_block_its_share():
    """The linear rule of the paper: block l of L is dropped at the rate times l / L."""
    x = jnp.ones((4000, 2))
    blocks = nnx.List([layers.StochasticDepth(0.0, share=l / 4, rngs=nnx.Rngs(random.key(l))) for l in range(5)])  # noqa: E741
    for rate in (0.0, 0.8):
        model = layers.bind(nnx.Sequential(*blocks), {"stochastic_depth": rate})
        for number, block in enumerate(model.layers):
            out, own = np.asarray(block(x)), rate * number / 4
            assert abs((out == 0).mean() - own) <= 4 * np.sqrt(own * (1 - own) / 4000)
            np.testing.assert_allclose(out[out != 0], 1 / (1 - own), rtol=1e-6)
    with pytest.raises(ValueError, match="share must be a number in"):
        layers.StochasticDepth(0.5, share=1.5)


def test_the_mean_over_drop_connect_masks_is_the_output_in_evaluation():
    """10,000 masks; the variance of one output is r / (1 - r) sum_i (x_i W_ij)^2, hence the standard error.

    All terms have one sign, so that a standard error is 0.08 % of the mean and a wrong scale cannot hide in it.
    """
    rate, count, x = 0.4, 10_000, jnp.linspace(0.5, 1.5, 128)
    positive = nnx.Linear(128, 5, kernel_init=nnx.initializers.uniform(1.0), rngs=nnx.Rngs(random.key(7)))
    layer = layers.DropConnect(positive, rate)
    keys = jax.random.split(random.key(3), count)
    outputs = np.asarray(jax.jit(jax.vmap(lambda key: layer(x, rngs=key)))(keys), np.float64)
    layer.eval()
    kernel = np.asarray(layer.layer.kernel[...], np.float64)
    variance = rate / (1 - rate) * np.square(np.asarray(x)[:, None] * kernel).sum(0)
    errors = (outputs.mean(0) - np.asarray(layer(x))) / np.sqrt(variance / count)
    assert np.sqrt(variance / count).max() < 1e-3 * outputs.mean()
    assert np.abs(errors).max() < 3.5, errors  # standard errors; 5 outputs
    np.testing.assert_allclose(outputs.var(0), variance, rtol=0.06)  # its own error is about sqrt(2 / count)


def test_weight_noise_has_the_variance_of_its_closed_form():
    std, count, x = 0.3, 10_000, jnp.asarray(X[1, 0])
    layer = layers.WeightNoise(linear(), std)
    keys = jax.random.split(random.key(4), count)
    added = np.asarray(jax.jit(jax.vmap(lambda key: layer(x, rngs=key)))(keys), np.float64) - linear()(x)
    scale = std * np.linalg.norm(x)
    assert np.abs(added.mean(0)).max() < 3.5 * scale / np.sqrt(count)
    # The least of five p-values: over 200 keys they are uniform (1 of 1000 below 1e-3), and this key has that one.
    assert min(stats.kstest(column / scale, "norm").pvalue for column in added.T) > 1e-4
    np.testing.assert_allclose(np.corrcoef(added.T), np.eye(5), atol=4 / np.sqrt(count))


def test_gaussian_noise_is_gaussian_independent_and_new_at_each_call():
    layer = layers.GaussianNoise(0.5, rngs=nnx.Rngs(random.key(5)))
    x = jnp.full((100, 200), 3.0)
    first, second = (np.asarray(layer(x) - x, np.float64).ravel() / 0.5 for _ in range(2))
    for noise in (first, second):
        assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
    half = np.asarray(layer(jnp.zeros((100, 200), jnp.bfloat16)), np.float64).ravel()
    assert abs(half.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * half.size)
    assert np.abs(half).max() > 3.5 * 0.5  # the tails that draws in half precision lack
    with pytest.raises(ValueError, match="x must be of a floating dtype, got int32"):
        layer(jnp.ones(3, jnp.int32))


@pytest.mark.parametrize("spatial", [False, True])
def test_only_the_kernel_is_masked_and_it_alone_gets_the_masked_gradient(spatial):
    """Against Flax's own dropout of the kernel under the same key, and a gradient by hand."""

    def made():
        if spatial:
            return nnx.Conv(2, 3, (2, 2), bias_init=nnx.initializers.ones, rngs=nnx.Rngs(random.key(8)))
        return nnx.Linear(2, 3, bias_init=nnx.initializers.ones, rngs=nnx.Rngs(random.key(8)))

    inner, by_hand, key = made(), made(), random.key(9)
    layer, x = layers.DropConnect(inner, 0.5), jax.random.normal(random.key(10), (4, 3, 3, 2))
    before = np.asarray(inner.kernel[...])
    mask = np.asarray(nnx.Dropout(0.5)(jnp.ones_like(inner.kernel[...]), rngs=key))
    assert 0 < (mask == 0).sum() < mask.size
    by_hand.kernel.set_value(by_hand.kernel.get_value() * mask)
    np.testing.assert_allclose(layer(x, rngs=key), by_hand(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(inner.kernel[...], before)
    ours = nnx.grad(lambda model: jnp.sum(model(x, rngs=key) ** 2))(layer)["layer"]
    theirs = nnx.grad(lambda model: jnp.sum(model(x) ** 2))(by_hand)
    np.testing.assert_allclose(ours["kernel"][...], theirs["kernel"][...] * mask, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours["bias"][...], theirs["bias"][...], rtol=1e-4)


@EVERY
def test_a_population_by_vmap_equals_map_a_loop_and_a_scan(kind):
    layer = MAKERS[kind](0.5, rngs=nnx.Rngs(random.key(3)))
    graph, hyper, rest = nnx.split(layer, layers.Hyperparameter, ...)
    assert layers.names(layer) == (bound_name(kind),)
    numbers = jnp.array([0.0, 0.25, 1.0])

    def member(number):
        return nnx.merge(graph, layers.bind(hyper, {bound_name(kind): number}), rest, copy=True)(X)

    together = jax.jit(lambda n: (jax.lax.map(member, n), jax.vmap(member)(n)))
    mapped, stacked = (np.asarray(out) for out in together(numbers))
    scanned = jax.lax.scan(lambda carry, number: (carry, member(number)), 0, numbers)[1]
    apart = np.stack([member(number) for number in (0.0, 0.25, 1.0)])
    for out in (stacked, scanned, apart):
        np.testing.assert_allclose(out, mapped, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(bits(apart[0]), bits(undisturbed(kind)(X)))
    if kind not in ("drop_connect", "weight_noise"):  # a matrix product has other bits in another layout
        np.testing.assert_array_equal(bits(stacked[0]), bits(X))
    assert len({out.tobytes() for out in mapped}) == 3


@EVERY
def test_outputs_and_gradients_are_finite_at_both_ends(kind):
    def loss(x, number):
        return jnp.sum(MAKERS[kind](number)(x, rngs=random.key(6)) ** 2)

    values = jax.jit(lambda n: jax.lax.map(lambda number: jax.value_and_grad(loss, (0, 1))(X, number), n))
    out, (by_x, by_number) = values(jnp.array([0.0, 0.4, 1.0]))
    assert all(np.all(np.isfinite(value)) for value in (out, by_x, by_number))
    np.testing.assert_allclose(by_x[0], jax.grad(lambda x: jnp.sum(undisturbed(kind)(x) ** 2))(X), rtol=1e-5)
    if "noise" not in kind:
        assert not by_x[2].any()  # all is dropped
    step = 1e-3  # the draws stay as they are within it: noise is linear in std, and masks do not change
    ahead, behind = (np.float64(values(jnp.full(3, 0.4 + sign * step))[0][0]) for sign in (1, -1))
    np.testing.assert_allclose(by_number[1], (ahead - behind) / (2 * step), rtol=0.02)


@EVERY
def test_evaluation_draws_nothing_and_the_stream_moves_on_at_every_number(kind):
    layer = MAKERS[kind](0.0, rngs=nnx.Rngs(0))
    stream = (layer.noise if hasattr(layer, "noise") else layer).rngs
    layer.eval()
    np.testing.assert_array_equal(bits(layer(X)), bits(undisturbed(kind)(X)))
    assert int(stream.count[...]) == 0
    layer.train()
    layer(X)
    assert int(stream.count[...]) == 1
    layers.bind(layer, {bound_name(kind): 0.5})
    assert np.any(np.asarray(layer(X)) != np.asarray(layer(X)))
    np.testing.assert_array_equal(layer(X, deterministic=True), undisturbed(kind)(X))


@EVERY
def test_at_zero_the_draw_is_inside_a_branch(kind):
    jaxpr = jax.make_jaxpr(lambda number: MAKERS[kind](number)(X, rngs=random.key(0)))(0.5)
    outside = {equation.primitive.name for equation in jaxpr.eqns}
    assert "cond" in outside
    assert "random_bits" not in outside
    fixed = MAKERS[kind](0.0, name=None)
    assert layers.names(fixed) == ()
    assert "random_bits" not in str(jax.make_jaxpr(lambda x: fixed(x, rngs=random.key(0)))(X))
    np.testing.assert_array_equal(bits(fixed(X, rngs=random.key(0))), bits(undisturbed(kind)(X)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_are_kept(dtype):
    made = [MAKERS[kind](0.5) for kind in ("spatial_dropout", "stochastic_depth", "noise")]
    made += [layers.DropConnect(linear(dtype), 0.5), layers.WeightNoise(linear(dtype), 0.5)]
    for layer in made:
        assert layer(jnp.asarray(X, dtype), rngs=random.key(0)).dtype == dtype
        (number,) = jax.tree.leaves(nnx.state(layer, layers.Hyperparameter))
        assert number.dtype == jnp.float32


@EVERY
def test_bad_numbers_are_named(kind):
    named = "std must be a number in" if "noise" in kind else "rate must be a number in"
    for bad in (-0.1, float("nan"), "half", layers.Hyperparameter(np.float32(-1))):
        with pytest.raises(ValueError, match=named):
            MAKERS[kind](bad)
    if "noise" not in kind:
        with pytest.raises(ValueError, match=named):
            MAKERS[kind](1.5)
    with pytest.raises(ValueError, match="rngs must be given"):
        MAKERS[kind](0.5)(X)


def test_a_layer_without_a_kernel_is_refused():
    for wrapper in (layers.DropConnect, layers.WeightNoise):
        with pytest.raises(ValueError, match=r"layer must hold its weights as `kernel`.*got Dropout"):
            wrapper(layers.Dropout(0.5), 0.5)


class Block(nnx.Module):
    """Every layer of this file in one small network."""

    def __init__(self, rngs):
        self.noise = layers.GaussianNoise(0.0, rngs=rngs)
        self.first = layers.DropConnect(nnx.Linear(4, 8, rngs=rngs), 0.0, rngs=rngs)
        self.channels = layers.SpatialDropout(0.0, rngs=rngs)
        self.branch = layers.WeightNoise(nnx.Linear(8, 8, rngs=rngs), 0.0, rngs=rngs)
        self.depth = layers.StochasticDepth(0.0, rngs=rngs)
        self.last = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        x = self.channels(jnp.tanh(self.first(self.noise(x))))
        return self.last(x + self.depth(jnp.tanh(self.branch(x))))


@pytest.mark.slow
def test_a_recipe_binds_each_and_a_population_varies_them():
    x = X.reshape(-1, 4)[:32]
    y = x[:, :1] - x[:, 1:2]
    task = hj.Task(Block, {"train": (x, y), "validation": (x, y)}, loss="squared_error")
    names = ("drop_connect", "noise", "stochastic_depth", "weight_noise")
    settings = [dict.fromkeys(names, 0.0), *({**dict.fromkeys(names, 0.0), name: 0.4} for name in names)]
    common = {"learning_rate": 0.02, "epochs": 12, "batch_size": 16}
    recipes = [hj.Recipe(hyperparameters=given, dropout=0.0, **common) for given in settings]
    recipes.append(hj.Recipe(hyperparameters=settings[0], dropout=0.4, **common))
    runs = hj.fit_population(task, recipes)
    assert runs.conditions["programs"] == 1
    assert len({run.losses.tobytes() for run in runs}) == len(recipes)  # each of them has its effect
    assert all(run.losses[-1] < run.losses[0] for run in runs)
    plain = hj.fit(task, hj.Recipe(hyperparameters=settings[0], dropout=0.0, **common))
    np.testing.assert_array_equal(plain.losses, runs[0].losses)
