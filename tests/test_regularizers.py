"""Penalties against scikit-learn's solutions, finite differences and hand-worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import ElasticNet

import hyperjax as hj
from hyperjax import regularizers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 8))
TRUE = np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])  # five inputs do not matter
Y = X @ TRUE + 0.3 * RNG.normal(size=200)


def solve(l1, l2, steps=1500, rate=0.3):
    """Proximal gradient descent on half the mean squared error."""
    transform = optax.chain(hj.optimizers.sgd(rate), regularizers.proximal_elastic_net(rate, l1, l2))

    def step(carry, _):
        w, state = carry
        gradient = X.T @ (X @ w - Y) / len(Y)
        updates, state = transform.update(gradient, state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.zeros(8, jnp.result_type(float))
    return jax.lax.scan(step, (w, transform.init(w)), None, length=steps)[0][0]


def test_the_proximal_solution_is_that_of_scikit_learn():
    settings = [(0.1, 1.0), (0.3, 0.5), (0.05, 0.2), (1.0, 0.9), (5.0, 1.0)]
    strengths = np.array([(alpha * ratio, alpha * (1 - ratio)) for alpha, ratio in settings])
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(jax.vmap(lambda s: solve(s[0], s[1])))(strengths))
    for w, (alpha, ratio) in zip(found, settings, strict=True):
        model = ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y)
        np.testing.assert_allclose(w, model.coef_, atol=1e-6)
        np.testing.assert_array_equal(w == 0, model.coef_ == 0)
    assert np.all(found[-1] == 0)


def test_along_the_path_inputs_that_do_not_matter_leave_first():
    with jax.enable_x64(True):
        path = np.asarray(jax.jit(jax.vmap(lambda l1: solve(l1, 0.0)))(np.array([1e-4, 0.1, 0.7, 1.5])))
    kept = path != 0
    assert kept[0].all()  # hardly any penalty: noise is fitted too
    assert kept[1].tolist() == [True] * 3 + [False] * 5
    assert kept[2].tolist() == [True, True] + [False] * 6
    assert kept[3].tolist() == [True] + [False] * 7


def test_the_penalty_and_its_gradient():
    params = {"w": jnp.array([[1.0, -2.0], [0.0, 3.0]]), "b": jnp.array([-1.0])}
    np.testing.assert_allclose(regularizers.elastic_net(params, 0.5, 0.2), 0.5 * 7 + 0.1 * 15, rtol=1e-6)
    by_hand = jax.grad(lambda p: regularizers.elastic_net(p, 0.5, 0.2))(params)
    transform = regularizers.add_elastic_net(0.5, 0.2)
    added, _ = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), added, by_hand)
    np.testing.assert_allclose(by_hand["w"], [[0.7, -0.9], [0.0, 1.1]], rtol=1e-6)
    theirs = optax.add_decayed_weights(0.2)
    ours = regularizers.add_elastic_net(0.0, 0.2)
    expected, _ = theirs.update(params, theirs.init(params), params)
    found, _ = ours.update(params, ours.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_l2_is_decoupled_decay_under_sgd_and_not_under_adam():
    """Under Adam an L2 gradient is divided by the root of its own second moment: large gradients are decayed less."""
    params, gradient = jnp.array([1.0, 1.0]), jnp.array([10.0, 0.1])

    def shrinkage(coupled, decoupled):
        """What the penalty alone does to each weight in one step."""
        found = []
        for transform in (coupled, decoupled):
            with_penalty, _ = transform(0.1).update(gradient, transform(0.1).init(params), params)
            without, _ = transform(0.0).update(gradient, transform(0.0).init(params), params)
            found.append(np.asarray(without - with_penalty))
        return found

    rate = 0.01
    by_sgd = shrinkage(
        lambda s: optax.chain(regularizers.add_elastic_net(0.0, s), hj.optimizers.sgd(rate)),
        lambda s: optax.chain(optax.add_decayed_weights(s), hj.optimizers.sgd(rate)),
    )
    np.testing.assert_allclose(*by_sgd, rtol=1e-4)
    coupled, decoupled = shrinkage(
        lambda s: optax.chain(regularizers.add_elastic_net(0.0, s), hj.optimizers.adam(rate, eps=1.0)),
        lambda s: hj.optimizers.adamw(rate, eps=1.0, weight_decay=s),
    )
    np.testing.assert_allclose(decoupled, rate * 0.1, rtol=1e-3)
    assert coupled[0] < 0.02 * decoupled[0]
    assert coupled[1] > 0.5 * decoupled[1]


def test_max_norm_bounds_each_unit_and_leaves_biases():
    transform = optax.chain(hj.optimizers.sgd(0.1), regularizers.max_norm(2.0))
    params = {"kernel": jnp.asarray(RNG.normal(size=(6, 4)) * [3, 0.1, 3, 0.1], jnp.float32), "bias": jnp.full(4, 9.0)}
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = jax.jit(transform.update)(gradient, transform.init(params), params)
    moved = optax.apply_updates(params, updates)
    plain = jax.tree.map(lambda p: p - 0.1, params)
    norms = np.linalg.norm(plain["kernel"], axis=0)
    expected = plain["kernel"] * np.minimum(1, 2 / norms)
    np.testing.assert_allclose(moved["kernel"], expected, rtol=1e-5, atol=1e-6)
    assert (norms > 2).tolist() == [True, False, True, False]
    np.testing.assert_allclose(moved["bias"], plain["bias"], rtol=1e-6)


MAKERS = {
    "add_elastic_net": lambda s: regularizers.add_elastic_net(s, 0.5 * s),
    "proximal_elastic_net": lambda s: regularizers.proximal_elastic_net(0.5, s, 0.5 * s),
    "max_norm": lambda s: regularizers.max_norm(s),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_contract(name):
    """jit, vmap and scan agree with a loop; numbers traced or scheduled; masks, structure and dtypes kept."""
    params = {"a": jnp.asarray(RNG.normal(size=(3, 2)), jnp.bfloat16), "b": jnp.asarray(RNG.normal(size=(2, 2)))}
    updates = jax.tree.map(lambda p: 0.1 * jnp.ones_like(p), params)

    def run(strength, steps=3):
        transform = MAKERS[name](strength)

        def step(carry, _):
            w, state = carry
            u, state = transform.update(updates, state, w)
            return (optax.apply_updates(w, u), state), u

        return jax.lax.scan(step, (params, transform.init(params)), None, length=steps)

    strengths = jnp.array([0.1, 0.4, 1.5])
    together = jax.jit(jax.vmap(run))(strengths)
    for row, strength in enumerate((0.1, 0.4, 1.5)):
        transform, w = MAKERS[name](strength), params
        state = transform.init(params)
        for number in range(3):
            u, state = transform.update(updates, state, w)
            w = optax.apply_updates(w, u)
            assert jax.tree.map(lambda x: x.dtype, u) == jax.tree.map(lambda x: x.dtype, params)
            for key in params:
                ours = np.asarray(together[1][key][row, number], np.float32)
                np.testing.assert_allclose(ours, np.asarray(u[key], np.float32), rtol=1e-2, atol=1e-3)
    gradient = jax.grad(lambda s: sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in jax.tree.leaves(run(s)[0][0])))(0.4)
    assert np.isfinite(gradient)
    masked = {"add_elastic_net": lambda m: regularizers.add_elastic_net(0.4, mask=m),
              "proximal_elastic_net": lambda m: regularizers.proximal_elastic_net(0.5, 0.4, mask=m),
              "max_norm": lambda m: regularizers.max_norm(0.4, mask=m)}[name]  # fmt: skip
    u, _ = masked({"a": False, "b": True}).update(updates, MAKERS[name](0.4).init(params), params)
    np.testing.assert_array_equal(u["a"], updates["a"])
    assert np.any(u["b"] != updates["b"])
    with pytest.raises(ValueError, match="params must be given"):
        MAKERS[name](0.4).update(updates, MAKERS[name](0.4).init(params))


def test_strengths_may_be_schedules():
    transform = regularizers.add_elastic_net(hj.schedules.linear(0.0, 1.0, 2), lambda step: 10.0 * step)
    params = jnp.array([2.0, -3.0])
    state = transform.init(params)
    for expected in ([0.0, 0.0], [20.5, -30.5], [41.0, -61.0]):
        updates, state = jax.jit(transform.update)(jnp.zeros(2), state, params)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 4), (3, 3, 2, 4), (2, 3, 2, 3, 4)])
def test_max_norm_takes_all_axes_but_the_last_as_a_units_weights(shape):
    """Dense kernels, and convolutions of one to three dimensions, as Flax lays them out."""
    params = {"kernel": jnp.asarray(RNG.normal(size=shape), jnp.float32), "bias": jnp.full(4, 9.0)}
    transform = regularizers.max_norm(0.1)
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
    moved = optax.apply_updates(params, updates)
    units = np.asarray(moved["kernel"]).reshape(-1, 4)
    np.testing.assert_allclose(np.linalg.norm(units, axis=0), 0.1, rtol=1e-5)
    before = np.asarray(params["kernel"]).reshape(-1, 4)
    np.testing.assert_allclose(units, 0.1 * before / np.linalg.norm(before, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(moved["bias"], 9.0)


def test_max_norm_over_an_axis_of_ones_choice():
    params = jnp.array([[3.0, 4.0], [0.1, 0.1]])
    transform = regularizers.max_norm(1.0, axis=-1)
    updates, _ = transform.update(jnp.zeros((2, 2)), transform.init(params), params)
    np.testing.assert_allclose(params + updates, [[0.6, 0.8], [0.1, 0.1]], rtol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_a_missing_gradient_stays_missing(name):
    params = {"a": {"w": jnp.ones((2, 2)), "v": jnp.ones(2)}, "b": jnp.full((2, 2), 2.0)}
    transform = MAKERS[name](0.5)
    state = transform.init(params)
    for missing in (None, {"w": None, "v": None}):
        updates, _ = transform.update({"a": missing, "b": jnp.ones((2, 2))}, state, params)
        assert updates["a"] == missing
        whole, _ = transform.update(jax.tree.map(jnp.ones_like, params), state, params)
        np.testing.assert_array_equal(updates["b"], whole["b"])


def _step(transform):
    params = jnp.ones((2, 2))
    return transform.update(params, transform.init(params), params)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: regularizers.elastic_net({}, -1.0), "l1"),
        (lambda: regularizers.add_elastic_net(0.1, -1.0), "l2"),
        (lambda: regularizers.proximal_elastic_net(0.1, -1.0), "l1"),
        (lambda: regularizers.proximal_elastic_net(-0.1, 1.0), "learning_rate"),
        (lambda: regularizers.max_norm(0.0), "limit"),
        (lambda: _step(regularizers.max_norm(1.0, axis=5)), r"axis must be in \[-2, 2\) .* got 5"),
        (lambda: _step(regularizers.max_norm(1.0, axis=(0, -3))), r"axis must be .*\(0, -3\)"),
    ],
)
def test_names_the_bad_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()
