"""Forms, rows and transformations: what is absent, what is refused, and what they compose with."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hyperjax import optimizers
from hyperjax.optimizers import Form, by_rule, numbers, rule


def params():
    return {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array([0.5])}


def test_a_lone_sgd_keeps_no_moments():
    transform = optimizers.sgd(0.1)
    state = transform.init(params())
    assert state.count.shape == ()
    assert jax.tree.leaves(state._replace(count=None)) == []
    jaxpr = jax.make_jaxpr(lambda g, s: transform.update(g, s))(params(), state)
    assert "sqrt" not in str(jaxpr)
    assert "div" not in str(jaxpr)


def test_absent_slots_are_none():
    slots = {name: rule(name).form.slots for name in optimizers.names()}
    assert slots["momentum"] == slots["lion"] == (True, False, False)
    assert slots["adam"] == (True, True, False)
    assert slots["rmsprop"] == slots["adagrad"] == (False, True, False)
    assert slots["adadelta"] == (False, True, True)
    state = optimizers.adam(0.1).init(params())
    assert state.third is state.b1_product is state.b2_product is None


@pytest.mark.parametrize(
    "name",
    ["momentum", "adagrad", "rmsprop", "adam", "adamw", "adadelta", "nadam", "nadamw", "radam", "lion", "sign_sgd"],
)
def test_arguments_order_and_defaults_are_those_of_optax(name):
    ours = inspect.signature(getattr(optimizers, name)).parameters
    theirs = inspect.signature(optax.sgd if name == "momentum" else getattr(optax, name))
    wanted = [(p.name, p.default) for p in theirs.parameters.values()]
    if name in ("nadam", "nadamw"):
        wanted.append(("momentum_decay", None))  # PyTorch's, behind them
    if name == "momentum":
        wanted = [("learning_rate", inspect.Parameter.empty), ("momentum", 0.9), ("accumulator_dtype", None)]
    assert [(p.name, p.default) for p in ours.values()] == wanted


def test_union_and_widening_give_one_structure():
    a, b = rule("adam", weight_decay=0.1), rule("lion", weight_decay=0.0)
    form = a.form.union(b.form)
    assert (form.moment, form.sign, form.rectify) == ("always", "mixed", "never")
    assert jax.tree.structure(a.widen(form)) == jax.tree.structure(b.widen(form))
    assert a.widen(form).widen(form) == a.widen(form)
    assert form.holds(a.form)
    assert not a.form.holds(form)
    with pytest.raises(ValueError, match="moment"):
        a.widen(Form())
    with pytest.raises(ValueError, match="moment must be one of"):
        Form(moment="sometimes")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adan", {}, "did you mean 'adam'"),
        ("adagrad", {"momentum": 0.9}, "adagrad takes .* got 'momentum'"),
        ("adam", {"eps_rot": 0.9}, "did you mean 'eps_root'"),
        ("adam", {"b1": 1.0}, r"b1 must be a number in \[0, 1\), got 1.0"),
        ("adam", {"b1": -0.1}, "b1 must be a number"),
        ("adam", {"eps": "small"}, "eps must be a number"),
        ("adam", {"nesterov": 1}, "nesterov must be True or False, got 1"),
        ("radam", {"threshold": 3.0}, "threshold"),
        ("sgd", {"weight_decay": -1.0}, "weight_decay"),
        ("rmsprop", {"nesterov": True}, "nesterov needs a momentum"),
        ("nadam", {"nesterov": False, "momentum_decay": 0.1}, "momentum_decay must be None where nesterov is False"),
    ],
)
def test_bad_rows_are_refused_by_name(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(name, **arguments)


@pytest.mark.parametrize("name", optimizers.names())
def test_a_rate_that_is_no_number_of_at_least_0_is_refused(name):
    make = getattr(optimizers, name)
    for bad in (-0.1, np.nan, np.inf, "x", True, np.float32(-1.0), jnp.float32(-1.0)):
        with pytest.raises(ValueError, match=r"learning_rate must be a number in \[0, inf\), got"):
            make(bad)
    if name != "adadelta":  # where None means 1
        with pytest.raises(ValueError, match="learning_rate must be a number of at least 0 or a schedule, got None"):
            make(None)
    for good in (0.0, 1, np.float32(0.1), jnp.float32(0.1), lambda count: -0.1):
        make(good)
    jax.eval_shape(lambda rate: make(rate).init(params()), jnp.float32(-0.1))


def test_adadelta_without_a_rate_keeps_the_sign_as_in_optax():
    transform, theirs = optimizers.adadelta(), optax.adadelta()
    found = transform.update(params(), transform.init(params()), params())[0]
    expected = theirs.update(params(), theirs.init(params()), params())[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)
    with pytest.raises(ValueError, match="weight_decay must be"):
        optimizers.adadelta(1.0, weight_decay=-2.0)


@pytest.mark.parametrize("make", [optimizers.momentum, optimizers.adam, optimizers.adamw, optimizers.adadelta])
def test_a_gradient_of_another_shape_is_refused_by_name(make):
    p = {"layer": {"w": jnp.ones((2, 3))}, "b": jnp.ones(())}
    transform = make(0.1)
    match = r"updates must have the shape of the parameter at 'layer/w', \(2, 3\), got \(3, 2\)"
    with pytest.raises(ValueError, match=match):
        jax.jit(transform.update)({"layer": {"w": jnp.ones((3, 2))}, "b": 1.0}, transform.init(p), p)
    with pytest.raises(ValueError, match=r"of the parameter, \(3,\), got \(1,\)"):
        transform.update(jnp.ones(1), transform.init(jnp.ones(3)), jnp.ones(3))


@pytest.mark.parametrize("name", optimizers.names())
def test_every_number_is_checked_against_its_range(name):
    for number, (default, low, high) in numbers(name).items():
        assert default is None or low <= default <= high
        with pytest.raises(ValueError, match=number):
            rule(name, **{number: low - 1.0})
        with pytest.raises(ValueError, match=number):
            rule(name, **{number: float("nan")})


def test_decay_needs_parameters_and_obeys_its_mask():
    grads, p = jax.tree.map(jnp.zeros_like, params()), params()
    for decayed in (optimizers.adamw(0.1), by_rule(rule("sgd", l2=0.1), 0.1)):
        with pytest.raises(ValueError, match="params must be given"):
            decayed.update(grads, decayed.init(p))
    for mask in ({"w": True, "b": False}, lambda p: jax.tree.map(lambda x: x.ndim > 0 and x.size > 1, p)):
        for name in ("weight_decay", "l2"):
            transform = by_rule(rule("sgd", **{name: 0.5}), 0.1, mask=mask)
            updates, _ = transform.update(grads, transform.init(p), p)
            np.testing.assert_allclose(updates["w"], -0.05 * p["w"], rtol=1e-6)
            np.testing.assert_array_equal(updates["b"], 0.0)


def test_a_missing_gradient_leaves_its_slots_alone():
    transform = optimizers.adam(0.1)
    state = transform.init(params())
    updates, new = transform.update({"w": jnp.ones(3), "b": None}, state)
    assert updates["b"] is None
    np.testing.assert_array_equal(new.first["b"], state.first["b"])


def test_first_slot_takes_its_own_dtype():
    for transform in (
        optimizers.adam(0.1, mu_dtype="bfloat16"),
        optimizers.momentum(0.1, accumulator_dtype="bfloat16"),
    ):
        updates, state = transform.update(params(), transform.init(params()))
        assert state.first["w"].dtype == jnp.bfloat16
        assert updates["w"].dtype == jnp.float32


def test_an_infinite_gradient_is_not_hidden():
    for name in optimizers.names():
        transform = by_rule(rule(name, weight_decay=0.0), 0.1)
        updates, _ = transform.update(jnp.array([jnp.nan, 1.0]), transform.init(jnp.ones(2)), jnp.ones(2))
        assert not np.isfinite(updates[0]), name
        assert np.isfinite(updates[1]), name


def test_composes_with_optax():
    labels = {"w": "fast", "b": "slow"}
    transform = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform({"fast": optimizers.adamw(0.1), "slow": optimizers.sgd(0.01, momentum=0.9)}, labels),
    )
    wanted = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform({"fast": optax.adamw(0.1), "slow": optax.sgd(0.01, momentum=0.9)}, labels),
    )
    many, wanted_many = optax.MultiSteps(transform, 2), optax.MultiSteps(wanted, 2)
    state, wanted_state = many.init(params()), wanted_many.init(params())
    for i in range(4):
        grads = jax.tree.map(lambda x, i=i: x + i, params())
        updates, state = many.update(grads, state, params())
        expected, wanted_state = wanted_many.update(grads, wanted_state, params())
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), updates, expected)
    injected = optax.inject_hyperparams(optimizers.adam)(learning_rate=0.1, b1=0.8)
    updates, _ = injected.update(params(), injected.init(params()))
    expected, _ = optax.adam(0.1, b1=0.8).update(params(), optax.adam(0.1, b1=0.8).init(params()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)


def test_trains_a_flax_model():
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optimizers.adam(0.05), wrt=nnx.Param)
    x = jnp.eye(3)

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(lambda m: jnp.mean((m(x) - 1.0) ** 2))(model)
        optimizer.update(model, grads)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(60)]
    assert losses[-1] < 0.05 * losses[0]


def test_gradients_that_are_no_arrays_of_floats_and_a_rate_of_zero():
    for name in ("sgd", "momentum", "adam", "lion"):
        still = getattr(optimizers, name)(0.0)
        weights = jnp.ones(2)
        updates = still.update(jnp.ones(2), still.init(weights), weights)[0]
        assert (updates == 0).all() and updates.dtype == jnp.float32
        moves = getattr(optimizers, name)(0.1)
        whole = moves.update(jnp.array([1, -2]), moves.init(weights), weights)[0]
        floats = moves.update(np.array([1.0, -2.0]), moves.init(weights), weights)[0]
        np.testing.assert_array_equal(whole, floats)
        assert whole.dtype == floats.dtype == jnp.float32


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match="split_real_and_imaginary"):
        optimizers.adam(0.1).init(jnp.ones(2, jnp.complex64))
