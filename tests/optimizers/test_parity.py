"""The rules follow optax: update by update from optax's own states, and along whole trajectories."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hyperjax.optimizers import RuleState, by_rule, numbers, rule
from tests.optimizers.rows import FOLLOWING_OPTAX, case_id, rate_of, reference

STEPS = 60
LIMIT = {"float32": 1e-6, "float64": 1e-12}


def problem(dtype):
    keys = jax.random.split(jax.random.key(1), 4)
    x = jax.random.normal(keys[0], (32, 6), dtype)
    y = jnp.sin(x.sum(1))
    params = {
        "a": jax.random.normal(keys[1], (6, 9), dtype) * 0.4,
        "b": jnp.zeros(9, dtype),
        "c": jax.random.normal(keys[2], (9,), dtype) * 0.4,
    }

    def gradient(p, step):
        weights = 1 + jnp.sin(step + jnp.arange(32.0, dtype=dtype))  # another batch at each step
        return jax.grad(lambda p: jnp.mean(weights * (jnp.tanh(x @ p["a"] + p["b"]) @ p["c"] - y) ** 2))(p)

    return params, gradient


def traced(name, arguments, dtype):
    """The row's numbers as arrays, so that neither side folds constants."""
    values = {key: row.default for key, row in numbers(name).items() if row.default is not None and key != "l2"}
    if name not in ("adamw", "lion", "nadamw"):
        values.pop("weight_decay", None)
    if name in ("adamw", "lion", "nadamw") and arguments.get("weight_decay") == 0.0:
        values.pop("weight_decay")
    values |= {key: value for key, value in arguments.items() if not isinstance(value, bool)}
    choices = {key: value for key, value in arguments.items() if isinstance(value, bool)}
    return {key: jnp.asarray(value, dtype) for key, value in values.items()}, choices


def record(name, values, choices, rate, params, gradient):
    """Optax's run: at each step what went in and what came out."""
    transform = reference(name, values | choices, rate)

    def step(carry, i):
        p, state = carry
        grads = gradient(p, i)
        updates, new = transform.update(grads, state, p)
        p_new = optax.apply_updates(p, updates)
        return (p_new, new), (grads, p, state, updates, new)

    return jax.lax.scan(step, (params, transform.init(params)), jnp.arange(STEPS))[1]


def slots(name, state, choices):
    """(first, second, third) of an optax state; None where optax keeps nothing."""
    found = {"mu": None, "nu": None, "trace": None, "sum_of_squares": None, "e_g": None, "e_x": None}
    for part in state:
        for key in found:
            if isinstance(part, tuple) and hasattr(part, key):
                found[key] = getattr(part, key)
    if name == "rmsprop":
        return found["trace"], found["nu"], found["mu"]
    first = found["trace"] if found["trace"] is not None else found["mu"]
    second = next((found[key] for key in ("nu", "sum_of_squares", "e_g") if found[key] is not None), None)
    return first, second, found["e_x"]


def ours_from(rule_, rate, name, choices, recorded):
    """Our update from each of optax's states: the updates and the new slots."""
    form = rule_.form

    def one(count, grads, p, state):
        held = [s if s is not None else jax.tree.map(jnp.zeros_like, p) for s in slots(name, state, choices)]
        mine = [s if kept else None for s, kept in zip(held, form.slots, strict=True)]
        products = [jnp.ones(()) if form.may(f) else None for f in ("b1_scheduled", "b2_scheduled")]
        updates, new = by_rule(rule_, rate).update(grads, RuleState(count, *mine, *products), p)
        return updates, new[1:4]

    grads, p, state, _, _ = recorded
    return jax.lax.map(lambda a: one(*a), (jnp.arange(STEPS, dtype=jnp.int32), grads, p, state))


def difference(ours, theirs):
    """The largest relative difference (in the norm of a leaf at a step) between two stacked trees."""

    def worst(a, b):
        a, b = (z.reshape(STEPS, -1) for z in (a, b))
        return jnp.max(jnp.linalg.norm(a - b, axis=1) / jnp.maximum(jnp.linalg.norm(b, axis=1), 1e-30))

    return functools.reduce(jnp.maximum, jax.tree.leaves(jax.tree.map(worst, ours, theirs)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_update_from_optax_states_alone_and_widened(dtype):
    with jax.enable_x64(dtype == "float64"):
        params, gradient = problem(dtype)
        items = [traced(name, arguments, dtype) for name, arguments in FOLLOWING_OPTAX]
        rates = [jnp.asarray(rate_of(name), dtype) for name, _ in FOLLOWING_OPTAX]
        lone = [
            rule(name, **values, **choices) for (name, _), (values, choices) in zip(FOLLOWING_OPTAX, items, strict=True)
        ]
        form = functools.reduce(lambda a, b: a.union(b), [r.form for r in lone])

        @jax.jit
        def theirs(items, rates):
            return [
                record(name, values, choices, rate, params, gradient)
                for (name, _), values, (_, choices), rate in zip(FOLLOWING_OPTAX, items, static, rates, strict=True)
            ]

        static = [({}, choices) for _, choices in items]
        recorded = theirs([values for values, _ in items], rates)

        def compare(r, rate, name, choices, rec):
            updates, new = ours_from(r, rate, name, choices, rec)
            expected = slots(name, rec[4], choices)
            pairs = [(updates, rec[3])] + [(a, b) for a, b in zip(new, expected, strict=True) if b is not None]
            return functools.reduce(jnp.maximum, [difference(a, b) for a, b in pairs])

        @jax.jit
        def alone(rules, rates, recorded):
            return [
                compare(r, rate, name, choices, rec)
                for r, rate, (name, _), (_, choices), rec in zip(
                    rules, rates, FOLLOWING_OPTAX, items, recorded, strict=True
                )
            ]

        for case, gap in zip(FOLLOWING_OPTAX, alone(lone, rates, recorded), strict=True):
            assert gap < LIMIT[dtype], f"{case_id(case)}: {gap}"

        @jax.jit
        def together(rules, rates, grads, p, states):
            def one(r, rate, grads, p, state):
                def at(a):
                    count, g, q, held = a
                    updates, new = by_rule(r, rate).update(g, RuleState(count, *held, None, None), q)
                    return updates, new[1:4]

                return jax.lax.map(at, (jnp.arange(STEPS, dtype=jnp.int32), grads, p, state))

            return jax.vmap(one)(rules, rates, grads, p, states)

        stack = lambda trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)  # noqa: E731
        cast = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
        held = [
            [s if s is not None else jax.tree.map(jnp.zeros_like, rec[1]) for s in slots(name, rec[2], None)]
            for (name, _), rec in zip(FOLLOWING_OPTAX, recorded, strict=True)
        ]
        updates, new = together(
            stack([cast(r.widen(form)) for r in lone]),
            jnp.stack(rates),
            stack([rec[0] for rec in recorded]),
            stack([rec[1] for rec in recorded]),
            stack(held),
        )
        for i, (case, rec) in enumerate(zip(FOLLOWING_OPTAX, recorded, strict=True)):
            mine = [jax.tree.map(operator.itemgetter(i), tree) for tree in (updates, *new)]
            pairs = [(mine[0], rec[3])]
            pairs += [(a, b) for a, b in zip(mine[1:], slots(case[0], rec[4], None), strict=True) if b is not None]
            gap = max(float(difference(a, b)) for a, b in pairs)
            assert gap < LIMIT[dtype], f"{case_id(case)} widened: {gap}"


def test_whole_trajectories_on_a_well_conditioned_problem():
    def run(transform):
        scale, target = jnp.linspace(1.0, 2.0, 5), jnp.arange(1.0, 6.0)

        def step(carry, _):
            p, state = carry
            updates, state = transform.update(scale * (p - target), state, p)
            p = optax.apply_updates(p, updates)
            return (p, state), p

        return jax.lax.scan(step, (jnp.zeros(5), transform.init(jnp.zeros(5))), None, length=100)[1]

    with jax.enable_x64(True):
        both = jax.jit(
            lambda: [
                (run(by_rule(rule(n, **a), rate_of(n))), run(reference(n, a, rate_of(n)))) for n, a in FOLLOWING_OPTAX
            ]
        )()
        for case, (ours, theirs) in zip(FOLLOWING_OPTAX, both, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=case_id(case))
