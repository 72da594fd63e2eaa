"""What every row promises: loops agree, numbers are data, dtypes are kept, derivatives are finite and right."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from hyperjax.optimizers import by_rule, numbers, rule
from tests.optimizers.rows import CASES, case_id, rate_of

cases = pytest.mark.parametrize("case", CASES, ids=case_id)
names = pytest.mark.parametrize("name", [name for name, arguments in CASES if not arguments])


def start(dtype=np.float32):
    return {"w": jnp.asarray(np.linspace(-1.0, 2.1, 6).reshape(2, 3), dtype), "dead": jnp.ones(2, dtype)}


def gradient(p, step=0):
    """Of a quadratic, tilted with the step; the leaf `dead` always gets exactly 0."""
    return {"w": 1.5 * p["w"] - 0.3 + 0.1 * step, "dead": 0.0 * p["dead"]}


def run(transform, params, steps=5, loop=False):
    def step(carry, i):
        p, state = carry
        updates, state = transform.update(gradient(p, i.astype(p["w"].dtype)), state, p)
        return (optax.apply_updates(p, updates), state), None

    carry = (params, transform.init(params))
    if loop:
        for i in range(steps):
            carry, _ = step(carry, jnp.int32(i))
        return carry[0]
    return jax.lax.scan(step, carry, jnp.arange(steps, dtype=jnp.int32))[0][0]


@cases
def test_scan_and_vmap_agree_with_a_plain_loop_for_every_number_at_once(case):
    name, arguments = case
    row = rule(name, **({"weight_decay": 0.02, "l2": 0.03} | arguments))
    base = {key: jnp.float32(value) for key, value in row.numbers.items()}
    members = [{key: 0.98 * value if i else value for key, value in base.items()} for i in range(2)]
    rates = jnp.array([rate_of(name), 0.5 * rate_of(name)])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)

    def train(values, rate):
        return run(by_rule(type(row)(row.form, values), rate), start())

    together = jax.jit(jax.vmap(train))(stacked, rates)
    for i, values in enumerate(members):
        apart = run(by_rule(type(row)(row.form, values), rates[i]), start(), loop=True)
        for key, value in apart.items():
            np.testing.assert_allclose(together[key][i], value, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_dtypes_and_structure_are_kept(dtype):
    with jax.enable_x64(dtype == "float64"):
        params = {"w": jnp.ones((2, 3), dtype), "nested": (jnp.ones(2, dtype), None)}
        for name, arguments in CASES:
            values = {k: jnp.float32(v.default) for k, v in numbers(name).items() if v.default}
            transform = by_rule(rule(name, **(values | arguments)), jnp.float32(0.1))
            state = transform.init(params)
            shapes = jax.eval_shape(transform.update, params, state, params)
            for new, old in zip(shapes, (params, state), strict=True):
                assert jax.tree.structure(new) == jax.tree.structure(old), name
                assert [x.dtype for x in jax.tree.leaves(new)] == [x.dtype for x in jax.tree.leaves(old)], name


def rows(dtype, **given):
    """All cases as lone rules with decay, the same stacked in one form, and their rates; `given` where a row takes it."""
    lone = [
        rule(name, **({"weight_decay": 0.02} | arguments | {k: v for k, v in given.items() if k in numbers(name)}))
        for name, arguments in CASES
    ]
    form = functools.reduce(lambda a, b: a.union(b), [r.form for r in lone], rule("sgd").form)
    cast = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
    wide = jax.tree.map(lambda *x: jnp.stack(x), *[cast(r.widen(form)) for r in lone])
    return [cast(r) for r in lone], wide, jnp.asarray([rate_of(name) for name, _ in CASES], dtype)


def final(rule_, rate, w):
    """A number that depends on every entry, three steps later; the leaf `dead` has a gradient of exactly 0."""
    end = run(by_rule(rule_, rate), start(w.dtype) | {"w": w}, 3)
    return jnp.sum(jnp.sin(end["w"])) + jnp.sum(end["dead"])


@pytest.mark.slow
def test_derivatives_agree_with_finite_differences():
    """With respect to every number, the rate and the parameters, in reverse and forward mode, for all rows at once."""
    with jax.enable_x64(True):
        _, wide, rates = rows("float64", eps=1e-2)
        # a second moment that starts at 0 is a kink that a difference of finite length steps over
        wide.numbers["initial_second"] = 0.05 * jnp.ones_like(rates)
        h = 1e-6

        def three(values, flags, rate):
            flat, unravel = ravel_pytree((values, rate, start("float64")["w"]))

            def f(x):
                values, rate, w = unravel(x)
                return final(type(wide)(wide.form, values, flags), rate, w)

            apart = jax.vmap(lambda e: (f(flat + e) - f(flat - e)) / (2 * h))(h * jnp.eye(flat.size))
            return jax.grad(f)(flat), jax.jacfwd(f)(flat), apart

        for case, *both, apart in zip(CASES, *jax.jit(jax.vmap(three))(wide.numbers, wide.flags, rates), strict=True):
            for mode in both:
                np.testing.assert_allclose(mode, apart, rtol=1e-5, atol=1e-7, err_msg=case_id(case))


@pytest.mark.slow
def test_derivatives_are_finite_at_zero_gradients_alone_and_widened():
    slope = jax.grad(final, argnums=(0, 1, 2))
    w = start()["w"]
    alone = jax.jit(lambda rules, rates: [slope(r, rate, w) for r, rate in zip(rules, rates, strict=True)])
    reverse = jax.jit(jax.vmap(slope, in_axes=(0, 0, None)))
    forward = jax.jit(jax.vmap(jax.jacfwd(final, argnums=(0, 1, 2)), in_axes=(0, 0, None)))
    for given in ({}, {"eps": 0.0, "initial_accumulator_value": 0.0}):
        lone, wide, rates = rows("float32", **given)
        together = reverse(wide, rates, w)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves((together, forward(wide, rates, w)))), given
        for i, (case, (own, rate, _)) in enumerate(zip(CASES, alone(lone, list(rates)), strict=True)):
            assert all(np.isfinite(x) for x in jax.tree.leaves((own, rate))), (case_id(case), given)
            np.testing.assert_allclose(together[1][i], rate, rtol=1e-3, atol=1e-5, err_msg=case_id(case))
            for key, value in own.numbers.items():
                mine = together[0].numbers[key][i]
                np.testing.assert_allclose(mine, value, rtol=1e-3, atol=1e-5, err_msg=f"{case_id(case)} {key}")


@names
def test_a_schedule_is_accepted_for_every_number_and_the_rate(name):
    """Schedules that stay constant give what the constants give; the products of decays then equal the powers."""
    values = {key: row.default for key, row in numbers(name).items() if row.default is not None}
    values |= {"l2": 0.01, "weight_decay": 0.02}
    held = {key: functools.partial(lambda count, v: jnp.float32(v), v=value) for key, value in values.items()}
    scheduled = jax.jit(lambda: run(by_rule(rule(name, **held), lambda count: jnp.float32(rate_of(name))), start()))()
    constant = jax.jit(lambda values: run(by_rule(rule(name, **values), rate_of(name)), start()))(
        {key: jnp.float32(value) for key, value in values.items()}
    )
    for key, value in constant.items():
        # products and powers of the decays differ by rounding, which one minus them magnifies (0.999 most)
        np.testing.assert_allclose(scheduled[key], value, rtol=1e-3, atol=1e-5)


def test_scheduled_numbers_follow_the_count_before_the_update():
    rate, momentum = (lambda count: 0.1 * (count + 1)), (lambda count: 0.5 + 0.1 * count)
    transform = by_rule(rule("momentum", momentum=momentum), rate)
    state, buffer = transform.init(jnp.zeros(())), 0.0
    for count in range(4):
        update, state = transform.update(jnp.array(1.0 + count), state)
        buffer = (0.5 + 0.1 * count) * buffer + 1.0 + count
        np.testing.assert_allclose(update, -0.1 * (count + 1) * buffer, rtol=1e-6)


def test_scheduled_decays_are_debiased_by_their_product():
    """A constant gradient is averaged to itself whatever the decays were, so Adam's steps have the rate's length."""
    b1, b2 = (lambda count: 0.5 + 0.1 * count), (lambda count: 0.9 + 0.02 * count)
    for name in ("adam", "nadam"):
        transform = by_rule(rule(name, b1=b1, b2=b2, eps=0.0), 1.0)
        state = transform.init(jnp.zeros(()))
        for count in range(4):
            update, state = transform.update(jnp.array(3.0), state)
            if name == "adam":
                np.testing.assert_allclose(update, -1.0, rtol=1e-5)
            else:  # g * b1 * (1 - P) / (1 - P * b1') + (1 - b1) / (1 - P), P the product so far, b1' the next decay
                p, now, after = np.prod([b1(i) for i in range(count + 1)]), b1(count), b1(count + 1)
                expected = now * (1 - p) / (1 - p * after) + (1 - now) / (1 - p)
                np.testing.assert_allclose(update, -expected, rtol=1e-5)
        np.testing.assert_allclose(state.b1_product, 0.5 * 0.6 * 0.7 * 0.8, rtol=1e-6)
