"""What goes around a rule: averages, lookahead, perturbed and centralized gradients, groups, effective rates."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hyperjax import optimizers
from hyperjax.optimizers import by_rule, rule
from hyperjax.optimizers.groups import path_of

PARAMS = {"layer": {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0]]), "bias": jnp.array([0.3, -0.1])}}


def loss(params):
    layer = params["layer"]
    return jnp.sum(jnp.array([[1.0, 2.0], [3.0, 0.5], [1.0, 1.0]]) * layer["kernel"] ** 2) + jnp.sum(
        jnp.cosh(layer["bias"])
    )


def path(transform, steps, params=PARAMS):
    """Weights and states after each of some steps of a transformation."""

    def step(carry, _):
        params, state = carry
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    return jax.lax.scan(step, (params, transform.init(params)), None, length=steps)[1]


TRANSFORMS = {  # name -> one number -> transformation, two values of the number
    "average": (lambda n: optax.chain(optimizers.sgd(0.05), optimizers.average_weights(n)), (0.5, 1.0)),
    "average's start": (lambda n: optax.chain(optimizers.sgd(0.05), optimizers.average_weights(0.9, n)), (0, 3)),
    "lookahead": (lambda n: optax.chain(optimizers.sgd(0.05), optimizers.lookahead(3, n)), (0.2, 0.9)),
    "lookahead's period": (lambda n: optax.chain(optimizers.sgd(0.05), optimizers.lookahead(n, 0.5)), (2, 5)),
    "groups": (lambda n: optax.chain(optimizers.sgd(0.05), optimizers.scale_by_group({"layer/bias": n})), (0.0, 3.0)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_jit_vmap_and_scan_equal_a_plain_loop(name):
    make, values = TRANSFORMS[name]
    together = jax.jit(jax.vmap(lambda n: path(make(n), 7)))(jnp.asarray(values))
    for member, value in enumerate(values):
        transform = make(value)
        params, state = PARAMS, transform.init(PARAMS)
        for step in range(7):
            updates, state = transform.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
            here = jax.tree.map(lambda leaf, m=member, s=step: leaf[m, s], together)
            chex.assert_trees_all_close(here, (params, state), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_dtypes_and_structure_are_kept(name):
    make, values = TRANSFORMS[name]
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    transform = make(values[0])
    state = transform.init(narrow)
    updates, new = transform.update(narrow, state, narrow)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, narrow)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)


def test_an_exponential_average_by_hand_and_the_mean_of_the_weights():
    weights = path(optimizers.sgd(0.05), 6)[0]["layer"]["bias"]
    ema = path(TRANSFORMS["average"][0](0.5), 6)[1][1].average["layer"]["bias"]
    expected = weights[0]
    for i in range(1, 6):
        expected = 0.5 * expected + 0.5 * weights[i]
    np.testing.assert_allclose(ema[-1], expected, rtol=1e-6)
    mean = path(TRANSFORMS["average"][0](1.0), 6)[1][1].average["layer"]["bias"]
    np.testing.assert_allclose(mean[-1], weights.mean(0), rtol=1e-6)
    late = path(optax.chain(optimizers.sgd(0.05), optimizers.average_weights(1.0, start=2)), 6)[1][1].average
    np.testing.assert_allclose(late["layer"]["bias"][1], weights[1], rtol=1e-6)
    np.testing.assert_allclose(late["layer"]["bias"][-1], weights[2:].mean(0), rtol=1e-6)


def test_an_average_of_narrow_weights_moves_and_is_given_back_in_their_type():
    transform = optimizers.average_weights(0.999)
    w = {"w": jnp.array(1.0, jnp.bfloat16)}

    def step(state, move):
        return transform.update({"w": move}, state, w)[1], None

    moves = jnp.concatenate([jnp.zeros(1), jnp.ones(2000)]).astype(jnp.bfloat16)  # at 1, then 2000 times at 2
    state = jax.lax.scan(step, transform.init(w), moves)[0]
    np.testing.assert_allclose(state.average["w"], 2 - 0.999**2000, rtol=1e-4)
    assert state.average["w"].dtype == jnp.float32
    assert state.like(w)["w"] == jnp.bfloat16(2 - 0.999**2000) and state.like(w)["w"].dtype == jnp.bfloat16


def test_slow_weights_of_narrow_ones_move():
    transform = optimizers.lookahead(1, 0.001)
    w = jnp.array(1.0, jnp.bfloat16)
    state = transform.init(w)
    for _ in range(10):  # 0.001 is less than half the distance of 1 to the next number in bfloat16
        _, state = transform.update(jnp.array(1.0, jnp.bfloat16), state, w)
    slow = 1.0
    for _ in range(10):
        slow += 0.001 * (2.0 - slow)
    np.testing.assert_allclose(state.slow, slow, rtol=1e-6)
    assert state.like(w) == jnp.bfloat16(slow) and state.like(w).dtype == jnp.bfloat16


def test_traced_counts_that_are_not_whole_are_rounded_up():
    for make, count in ((optimizers.lookahead, 2.5), (lambda n: optimizers.average_weights(1.0, n), 1.5)):
        around = jax.jit(lambda n, make=make: path(optax.chain(optimizers.sgd(0.05), make(n)), 7))(count)
        chex.assert_trees_all_close(around, path(optax.chain(optimizers.sgd(0.05), make(np.ceil(count))), 7), rtol=1e-6)


def test_a_missing_gradient_stays_missing_and_its_slot_as_it_was():
    params = {"a": jnp.ones(2), "b": jnp.full(2, 2.0)}
    missing, whole = {"a": None, "b": jnp.ones(2)}, {"a": jnp.ones(2), "b": jnp.ones(2)}
    for transform, slot in (
        (optimizers.average_weights(0.5), "average"),
        (optimizers.lookahead(1, 0.25), "slow"),
        (optimizers.centralize(), None),
        (optimizers.scale_by_group({"a": 2.0, "b": 3.0}), None),
        (optax.chain(optimizers.adam(0.1), optimizers.lookahead(1), optimizers.average_weights()), None),
    ):
        state = transform.init(params)
        updates, new = transform.update(missing, state, params)
        expected, expected_state = transform.update(whole, state, params)
        assert updates["a"] is None
        np.testing.assert_array_equal(updates["b"], expected["b"])
        assert jax.tree.structure(new) == jax.tree.structure(state)
        if slot is not None:
            np.testing.assert_array_equal(getattr(new, slot)["a"], getattr(state, slot)["a"])
            np.testing.assert_array_equal(getattr(new, slot)["b"], getattr(expected_state, slot)["b"])
    seen = optimizers.sharpness_aware(lambda p: {"a": None, "b": p["b"]}, params, 1.0)
    assert seen["a"] is None
    np.testing.assert_allclose(seen["b"], 2 + 0.5**0.5, rtol=1e-6)
    noisy = optimizers.gradient_noise(jax.random.key(0), missing, 0.1)
    assert noisy["a"] is None and np.any(noisy["b"] != 1)


def test_lookahead_follows_optax():
    theirs = optax.lookahead(optax.adam(0.1), sync_period=3, slow_step_size=0.4)
    params = optax.LookaheadParams.init_synced(PARAMS)
    state = theirs.init(params)
    ours, states = path(optax.chain(optimizers.adam(0.1), optimizers.lookahead(3, 0.4)), 10)
    for step in range(10):
        updates, state = theirs.update(jax.grad(loss)(params.fast), state, params)
        params = optax.apply_updates(params, updates)
        here = jax.tree.map(lambda leaf, s=step: leaf[s], (ours, states[1].slow))
        chex.assert_trees_all_close(here, (params.fast, params.slow), rtol=1e-5, atol=1e-6)


def test_sharpness_aware_follows_optax():
    radius = 0.3
    theirs = optax.contrib.sam(
        optax.sgd(0.05), optax.chain(optax.contrib.normalize(), optax.sgd(radius)), sync_period=2, opaque_mode=True
    )
    params, state, ours = PARAMS, theirs.init(PARAMS), PARAMS
    for _ in range(5):
        updates, state = theirs.update(jax.grad(loss)(params), state, params, grad_fn=lambda p, _: jax.grad(loss)(p))
        params = optax.apply_updates(params, updates)
        gradient = optimizers.sharpness_aware(jax.grad(loss), ours, radius)
        ours = jax.tree.map(lambda w, g: w - 0.05 * g, ours, gradient)
    chex.assert_trees_all_close(ours, params, rtol=1e-5)


def test_sharpness_aware_is_finite_at_a_minimum():
    at_zero = {"w": jnp.zeros(3)}
    gradient = optimizers.sharpness_aware(jax.grad(lambda p: jnp.sum(p["w"] ** 2)), at_zero, 0.1)
    chex.assert_trees_all_equal(gradient, at_zero)


def test_centralized_gradients_equal_those_of_optax_on_kernels_laid_out_the_other_way():
    ours = optimizers.centralize().update(PARAMS, optax.EmptyState())[0]
    turned = jax.tree.map(lambda leaf: leaf.T, PARAMS)
    theirs = optax.centralize().update(turned, optax.EmptyState())[0]
    chex.assert_trees_all_close(ours, jax.tree.map(lambda leaf: leaf.T, theirs))
    np.testing.assert_allclose(ours["layer"]["kernel"].mean(0), 0.0, atol=1e-6)
    four = jax.random.normal(jax.random.key(0), (3, 3, 4, 5))
    np.testing.assert_allclose(optimizers.centralize().update(four, None)[0].mean((0, 1, 2)), 0.0, atol=1e-6)


def test_gradient_noise_has_its_deviation_and_none_at_zero():
    zeros = {"a": jnp.zeros((100, 200)), "b": jnp.zeros(20_000, jnp.bfloat16)}
    noisy = optimizers.gradient_noise(jax.random.key(1), zeros, 0.3)
    chex.assert_trees_all_equal_shapes_and_dtypes(noisy, zeros)
    a, b = noisy["a"].ravel(), noisy["b"].astype(jnp.float32)
    assert abs(float(a.std()) - 0.3) < 0.01 and abs(float(a.mean())) < 0.01
    assert abs(float(b.std()) - 0.3) < 0.01
    assert abs(float(jnp.corrcoef(a, b)[0, 1])) < 0.03  # leaves have noise of their own
    chex.assert_trees_all_equal(optimizers.gradient_noise(jax.random.key(1), PARAMS, 0.0), PARAMS)


def test_groups_scale_what_they_match_as_partition_would():
    multipliers = {"layer/kernel": 0.5, "*/bias": 2.0}
    ours = path(optax.chain(optimizers.adam(0.1), optimizers.scale_by_group(multipliers)), 5)[0]
    labels = {"layer": {"kernel": "k", "bias": "b"}}
    theirs = path(optax.partition({"k": optax.adam(0.05), "b": optax.adam(0.2)}, labels), 5)[0]
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_beginning_of_a_path_is_a_group_and_the_first_match_counts():
    tree = {"a": {"w": jnp.ones(1), "b": jnp.ones(1)}, "ab": jnp.ones(1)}
    scaled = optimizers.scale_by_group({"a/w": 3.0, "a": 2.0}).update(tree, None)[0]
    chex.assert_trees_all_equal(scaled, {"a": {"w": 3 * jnp.ones(1), "b": 2 * jnp.ones(1)}, "ab": jnp.ones(1)})


def test_masks_of_matrices_and_of_a_predicate():
    assert optimizers.matrices(PARAMS) == {"layer": {"kernel": True, "bias": False}}
    named = optimizers.matching(PARAMS, lambda path, array: path.endswith("bias") and array.ndim == 1)
    assert named == {"layer": {"kernel": False, "bias": True}}
    masked = optimizers.adamw(0.1, weight_decay=0.5, mask=optimizers.matrices)
    theirs = optax.adamw(0.1, weight_decay=0.5, mask=optimizers.matrices)
    chex.assert_trees_all_close(path(masked, 4)[0], path(theirs, 4)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sgd", {}),
        ("adagrad", {}),
        ("rmsprop", {}),
        ("rmsprop", {"centered": True, "eps_in_sqrt": False}),
        ("adam", {"b1": 0.0}),
        ("adam", {"b1": 0.0, "b2": optax.linear_schedule(0.9, 0.99, 5)}),
        ("adadelta", {}),
        ("radam", {"b1": 0.0, "b2": 0.5}),
        ("sign_sgd", {}),
    ],
)
def test_the_effective_rate_is_what_the_direction_was_multiplied_by(name, arguments):
    row = rule(name, **arguments)
    transform = by_rule(row, 0.1)
    gradients = jax.tree.map(lambda leaf: leaf * 0.7, PARAMS)
    state = transform.init(PARAMS)
    for scale in (1.0, 0.3, 2.0):
        gradient = jax.tree.map(lambda leaf, s=scale: s * leaf, gradients)
        update, state = transform.update(gradient, state, PARAMS)
    direction = jax.tree.map(jnp.sign, gradient) if name == "sign_sgd" else gradient
    rates = optimizers.effective_rate(state, row, 0.1, like=PARAMS)
    chex.assert_trees_all_equal_shapes(rates, PARAMS)
    if name == "adadelta":  # the accumulated update has moved on by one
        assert all(bool((leaf > 0).all()) for leaf in jax.tree.leaves(rates))
        return
    ratio = jax.tree.map(lambda u, d: -u / d, update, direction)
    rectified = jax.tree.leaves(jax.tree.map(lambda a, b: a / b, ratio, rates))
    np.testing.assert_allclose(np.concatenate([leaf.ravel() for leaf in rectified]), rectified[0].ravel()[0], rtol=1e-4)
    if name != "radam":  # whose factor is on the direction
        chex.assert_trees_all_close(ratio, rates, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: optimizers.average_weights(1.5), r"decay must be a number in \[0, 1\], got 1.5"),
        (lambda: optimizers.average_weights(0.9, -1), "start"),
        (lambda: optimizers.average_weights(0.9, 2.5), "start must be a whole number of at least 0, got 2.5"),
        (lambda: optimizers.lookahead(0), "sync_period"),
        (lambda: optimizers.lookahead(2.5), "sync_period must be a whole number of at least 1, got 2.5"),
        (lambda: optimizers.lookahead(5, 1.1), "slow_step_size"),
        (lambda: optimizers.gradient_noise(jax.random.key(0), PARAMS, -1.0), "deviation"),
        (lambda: optimizers.sharpness_aware(jax.grad(loss), PARAMS, -1.0), "radius"),
        (lambda: optimizers.scale_by_group({"a": -1.0}), "multipliers"),
        (lambda: optimizers.scale_by_group({"head": 1.0}).update(PARAMS, None), "layer/bias, layer/kernel; got 'head'"),
        (lambda: optimizers.nadam(0.1, momentum_decay=-1.0), "momentum_decay"),
        (lambda: optimizers.average_weights().update(PARAMS, optimizers.average_weights().init(PARAMS)), "params"),
        (lambda: optimizers.effective_rate(by_rule(rule("sgd"), 1.0).init(PARAMS), rule("sgd")), "like"),
    ],
)
def test_bad_input_names_the_argument(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_path_keeps_a_layer_that_is_called_value():
    attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=nnx.Rngs(0))
    paths = [path_of(keys) for keys, _ in jax.tree.leaves_with_path(nnx.state(attention, nnx.Param))]
    assert "value/kernel" in paths and "query/kernel" in paths and not any(p.endswith("/value") for p in paths)
