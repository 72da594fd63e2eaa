"""One contract for every row of the table, and the promise that an index costs no bits."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hyperjax as hj
from hyperjax import activations, random

NAMES = tuple(activations.TABLE)
POINTS = np.array([-1e4, -30.0, -3.0, -0.5, -0.0, 0.0, 0.3, 2.0, 30.0, 1e4])


def reference(name, x):
    """Closed forms in NumPy's float64."""
    sigmoid = 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    normal = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in np.ravel(x)]).reshape(np.shape(x))
    falling = np.expm1(np.minimum(x, 0))
    return {
        "leaky_relu": np.where(x > 0, x, 0.01 * x),
        "elu": np.where(x > 0, x, falling),
        "selu": 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * falling),
        "gelu_exact": x * normal,
        "mish": x * np.tanh(np.logaddexp(x, 0)),
        "softplus": np.logaddexp(x, 0),
        "hard_swish": x * np.clip(x + 3, 0, 6) / 6,
        "relu": np.maximum(x, 0),
        "tanh": np.tanh(x),
        "gelu": x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "swish": x * sigmoid,
        "sigmoid": sigmoid,
        "identity": x,
    }[name]


def test_follows_pytorch():
    stored = json.loads((Path(__file__).parent / "references" / "activations.json").read_text("utf-8"))
    ours = {name: function for name, function in activations.TABLE.items() if name != "identity"} | {
        "leaky_relu, 0.3": lambda x: activations.leaky_relu(x, 0.3),
        "elu, 1.7": lambda x: activations.elu(x, 1.7),
        "softmax": activations.softmax,
    }
    assert set(ours) == set(stored["functions"])
    with jax.enable_x64(True):
        x = jnp.array(stored["points"])
        for name, function in ours.items():
            values, gradient = jax.jit(lambda x, f=function: (f(x), jax.grad(lambda x: (f(x) ** 2).sum())(x)))(x)
            expected = stored["functions"][name]
            np.testing.assert_allclose(values, expected["values"], rtol=1e-10, atol=1e-14, err_msg=name)
            np.testing.assert_allclose(gradient, expected["gradient"], rtol=1e-9, atol=1e-13, err_msg=name)


NUMBERS = {
    activations.leaky_relu: lambda x, n: np.where(x > 0, x, n * x),
    activations.elu: lambda x, n: np.where(x > 0, x, n * np.expm1(np.minimum(x, 0))),
    activations.swish: lambda x, n: x / (1 + np.exp(-n * x)),
    activations.softmax: lambda x, n: np.exp(x / n) / np.exp(x / n).sum(),
}


@pytest.mark.parametrize("function", NUMBERS)
def test_their_numbers_may_be_traced_vmapped_and_differentiated(function):
    x, numbers = np.array([-2.0, -0.5, 0.3, 1.5]), np.array([0.2, 0.7, 1.3])
    with jax.enable_x64(True):
        values = jax.jit(jax.vmap(lambda n: function(jnp.asarray(x), n)))(numbers)
        slopes = jax.jit(jax.vmap(jax.jacrev(lambda n: function(jnp.asarray(x), n))))(numbers)
    for row, slope, n in zip(values, slopes, numbers, strict=True):
        np.testing.assert_allclose(row, NUMBERS[function](x, n), rtol=1e-12)
        numeric = (NUMBERS[function](x, n + 1e-6) - NUMBERS[function](x, n - 1e-6)) / 2e-6
        np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-9)
    assert function(jnp.ones(3, jnp.bfloat16), jnp.float32(0.5)).dtype == jnp.bfloat16


def test_softmax_is_near_one_hot_when_cold_and_even_when_hot():
    x = jnp.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(activations.softmax(x, 1e-3), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(activations.softmax(x, 1e6), np.full(3, 1 / 3), atol=1e-5)
    assert np.all(np.isfinite(activations.softmax(jnp.array([1e4, -1e4]))))
    with pytest.raises(ValueError, match="temperature"):
        activations.softmax(x, 0.0)


def test_gain_keeps_the_variance_through_layers():
    known = {"identity": 1.0, "relu": np.sqrt(2), "leaky_relu": np.sqrt(2 / (1 + 1e-4)), "selu": 1.0, "tanh": 1.5925374}
    for name, expected in known.items():
        assert activations.gain(name) == pytest.approx(expected, rel=1e-4), name
    assert activations.gain(lambda x: activations.leaky_relu(x, 0.5)) == pytest.approx(np.sqrt(2 / 1.25), rel=1e-5)
    x = jax.random.normal(random.key(0), (400, 400))
    kernel = jax.random.normal(random.key(1), (400, 400)) / 20
    for name in NAMES:
        behind = activations.TABLE[name](x) @ kernel * activations.gain(name)
        assert 0.9 < float(jnp.mean(behind**2)) < 1.1, name
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        activations.gain("rellu")


def test_values_slopes_and_curvatures_follow_the_closed_forms():
    """Forward, reverse and second order, alone and through the switch, against differences in float64."""
    with jax.enable_x64(True):
        x = jnp.array([-2.9, -0.7, -0.1, 0.2, 1.3, 4.0])
        tangent, step = jnp.ones_like(x), 1e-5

        def everything(f):
            forward = jax.jvp(f, (x,), (tangent,))
            reverse = jax.grad(lambda x: f(x).sum())
            over = jax.jvp(reverse, (x,), (tangent,))[1]
            twice = jax.grad(lambda x: reverse(x).sum())(x)
            return *forward, reverse(x), over, twice

        alone = jax.jit(lambda: [everything(activations.select(0, [name])) for name in NAMES])()
        mixed = jax.jit(lambda i: jax.lax.map(lambda j: everything(activations.select(j, NAMES)), i))(
            jnp.arange(len(NAMES))
        )
        batched = jax.jit(jax.vmap(lambda j: everything(activations.select(j, NAMES))))(jnp.arange(len(NAMES)))
        for number, name in enumerate(NAMES):
            value, slope, reverse, over, twice = alone[number]
            points = np.asarray(x)
            low, mid, high = (reference(name, points + d) for d in (-step, 0, step))
            np.testing.assert_allclose(value, mid, rtol=1e-9, atol=1e-13)
            np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(over, (high - 2 * mid + low) / step**2, rtol=1e-4, atol=2e-5)
            np.testing.assert_allclose(reverse, slope, rtol=1e-14)
            np.testing.assert_allclose(twice, over, rtol=1e-9, atol=1e-13)
            for part, (a, b, c) in enumerate(zip(alone[number], mixed, batched, strict=True)):
                np.testing.assert_allclose(b[number], a, rtol=1e-9, atol=1e-13, err_msg=f"{name} {part}")
                np.testing.assert_allclose(c[number], a, rtol=1e-9, atol=1e-13, err_msg=f"{name} {part}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_dtypes_are_kept_and_extremes_are_finite(dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(POINTS, dtype)
        pairs = jax.jit(
            lambda i, x: jax.lax.map(
                lambda j: jax.value_and_grad(
                    lambda x: (lambda y: (y.astype(jnp.float32).sum(), y))(activations.select(j, NAMES)(x)),
                    has_aux=True,
                )(x),
                i,
            )
        )
        (_, values), slopes = pairs(jnp.arange(len(NAMES)), x)
        assert values.dtype == slopes.dtype == x.dtype
        assert np.all(np.isfinite(np.asarray(values, np.float64)))
        assert np.all(np.isfinite(np.asarray(slopes, np.float64)))
        tolerance = {"float32": 1e-5, "bfloat16": 2e-2, "float64": 1e-12}[dtype]
        for name, row in zip(NAMES, np.asarray(values, np.float64), strict=True):
            expected = reference(name, np.asarray(x, np.float64))
            np.testing.assert_allclose(row, expected, rtol=tolerance, atol=tolerance, err_msg=name)
        assert np.asarray(slopes, np.float64)[NAMES.index("relu"), 4:6].tolist() == [0, 0]


def test_jit_vmap_and_a_plain_loop_agree_for_every_row():
    x = jnp.asarray(POINTS[1:-1], jnp.float32)
    for name, function in activations.TABLE.items():
        selected = activations.select(0, [name])
        loop = np.array([selected(v) for v in x])
        np.testing.assert_allclose(jax.jit(selected)(x), loop, rtol=2e-6, atol=1e-9)
        np.testing.assert_allclose(jax.vmap(selected)(x), loop, rtol=2e-6, atol=1e-9)
        np.testing.assert_allclose(function(x), loop, rtol=2e-6, atol=1e-9)


def _train(activation, rate, x, y, params):
    """Thirty steps of gradient descent; every loss and the last weights."""

    def loss(params):
        h = x
        for kernel, bias in params[:-1]:
            h = activation(h @ kernel + bias)
        logits = h @ params[-1][0] + params[-1][1]
        return jnp.mean(jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, y[:, None], 1)[:, 0])

    def step(params, _):
        value, grads = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), value

    return jax.lax.scan(step, params, None, length=30)


@pytest.mark.slow
def test_a_member_of_a_mixed_population_is_its_lone_run_bit_for_bit():
    # A 8-16-16-3 network, made once: what draws it would be compiled with each of the programs.
    x = jax.random.normal(random.key(1), (12, 8))
    y = jax.random.randint(random.key(2), (12,), 0, 3)
    shapes = [(8, 16), (16, 16), (16, 3)]
    kernels = [jax.random.normal(jax.random.fold_in(random.key(3), i), s) * 0.4 for i, s in enumerate(shapes)]
    given = x, y, [(kernel, jnp.zeros(kernel.shape[1])) for kernel in kernels]
    names = [name for name in NAMES if name != "identity"]

    @jax.jit
    def together(indices, rates, given):
        return jax.lax.map(lambda a: _train(activations.select(a[0], names), a[1], *given), (indices, rates))

    mixed = together(jnp.arange(len(names)), jnp.full(len(names), 0.3), given)
    for member, name in enumerate(names):
        # The lone run is a population of one, as the engine lays it out, and its rate is an argument as well.
        @jax.jit
        def lone(rates, given, name=name):
            return jax.lax.map(lambda rate: _train(activations.select(0, [name]), rate, *given), rates)

        for a, b in zip(jax.tree.leaves(lone(jnp.full(1, 0.3), given)), jax.tree.leaves(mixed), strict=True):
            np.testing.assert_array_equal(a[0], b[member], err_msg=name)


@pytest.mark.slow
def test_the_engine_gives_a_member_beside_others_its_lone_bits():
    """So narrow that a compiler, left free, would fuse a lone tanh in other ways than a branch."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 8)).astype(np.float32)
    y = x[:, :2].argmax(1).astype(np.int32)
    task = hj.Task(
        lambda rngs: hj.models.MLP(8, 2, (8,), rngs=rngs),
        {"train": (x[:80], y[:80]), "validation": (x[80:], y[80:])},
        loss="cross_entropy",
    )
    recipe = hj.Recipe(activation="tanh", epochs=2, batch_size=32)
    lone = hj.fit(task, recipe)
    member = hj.fit_population(task, [recipe, recipe.replace(activation="relu")])[0]
    np.testing.assert_array_equal(member.losses, lone.losses)
    np.testing.assert_array_equal(member.metrics["validation_loss"], lone.metrics["validation_loss"])


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_whole_numbers_give_what_their_floats_give(name):
    function = getattr(activations, name)
    for whole in (np.array([-2, 0, 3]), np.array([True, False])):
        values = function(whole)
        assert values.dtype == jnp.float32
        np.testing.assert_array_equal(values, function(whole.astype(np.float32)))
    if name in NAMES:
        np.testing.assert_array_equal(activations.select(0, [name])(whole), values)


def test_reverse_mode_keeps_one_number_per_element():
    for index, names in ((0, ["gelu"]), (jnp.int32(1), NAMES)):
        _, pull = jax.vjp(activations.select(index, names), jnp.ones(7))
        kept = [leaf for leaf in jax.tree.leaves(pull) if getattr(leaf, "size", 0) == 7]
        assert len(kept) == 1


@pytest.mark.parametrize(
    ("index", "names", "message"),
    [(0, ["rellu"], "did you mean 'relu'"), (0, [], "names must"), (2, ["relu", "tanh"], r"index must be in \[0, 2\)")],
)
def test_bad_arguments_are_named(index, names, message):
    with pytest.raises(ValueError, match=message):
        activations.select(index, names)


@pytest.mark.parametrize("value", [None, "a", np.ones(2), np.nan])
def test_what_is_no_number_is_named(value):
    for function, name in (("swish", "beta"), ("leaky_relu", "negative_slope"), ("elu", "alpha")):
        with pytest.raises(ValueError, match=f"{name} must be a number"):
            getattr(activations, function)(jnp.ones(2), value)
        with pytest.raises(ValueError, match=f"{name} must be a number"):
            activations.select(0, [function], {name: value})
    with pytest.raises(ValueError, match="temperature must be a number"):
        activations.softmax(jnp.ones(2), value)
