"""A rule widened to the union of all forms gives the bits of the lone rule, and costs only what it needs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hyperjax.optimizers import by_rule, rule
from tests.optimizers.rows import CASES, case_id, rate_of

DECAYED = [("sgd", {"weight_decay": 0.01}), ("momentum", {"l2": 0.01}), ("rmsprop", {"momentum": 0.9, "l2": 0.1})]
ALL = CASES + DECAYED


def network():
    """A small MLP whose leaves are no multiples of the vector width, and a leaf whose gradient is elementwise."""
    keys = jax.random.split(jax.random.key(0), 5)
    x, labels = jax.random.normal(keys[0], (16, 12)), jax.random.randint(keys[1], (16,), 0, 5)
    params = {
        "a": jax.random.normal(keys[2], (12, 19)) * 0.3,
        "b": jnp.zeros(19),
        "c": jax.random.normal(keys[3], (19, 5)) * 0.3,
        "d": jnp.zeros(5),
        "e": jax.random.normal(keys[4], (11,)),
    }

    def loss(p, data, step):
        x, labels = data
        logits = jax.nn.relu(x @ p["a"] + p["b"]) @ p["c"] + p["d"]
        apart = jnp.sum((p["e"] - 1.0) ** 2 * (1 + 0.1 * jnp.sin(1.0 * step)))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean() + apart

    return params, (x, labels), loss


def train(member, params, data, loss):
    rule_, rate = member
    transform = by_rule(rule_, rate)

    def step(carry, i):
        p, state = carry
        updates, state = transform.update(jax.grad(loss)(p, data, i), state, p)
        return (optax.apply_updates(p, updates), state), None

    return jax.lax.scan(step, (params, transform.init(params)), jnp.arange(50))[0]


def bits(tree):
    return np.concatenate([np.asarray(x, np.float32).ravel().view(np.uint32) for x in jax.tree.leaves(tree)])


@pytest.mark.slow
def test_widened_rules_give_the_bits_of_lone_ones():
    rules = [jax.tree.map(jnp.float32, rule(name, **arguments)) for name, arguments in ALL]
    rates = [jnp.float32(rate_of(name)) for name, _ in ALL]
    form = functools.reduce(lambda a, b: a.union(b), [r.form for r in rules])
    wide = jax.tree.map(lambda *x: jnp.stack([jnp.float32(v) for v in x]), *[r.widen(form) for r in rules])
    *given, loss = network()  # made once: what draws it would be compiled with each of the programs
    program = jax.jit(lambda member, *given: train(member, *given, loss))
    mapped = jax.jit(lambda members, *given: jax.lax.map(lambda member: train(member, *given, loss), members))
    together = mapped((wide, jnp.stack(rates)), *given)
    for i, (case, r, rate) in enumerate(zip(ALL, rules, rates, strict=True)):
        params, state = program((r, rate), *given)
        wide_params, wide_state = jax.tree.map(lambda x, i=i: x[i], together)
        assert np.isfinite(np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])).all(), case_id(case)
        np.testing.assert_array_equal(bits(params), bits(wide_params), err_msg=case_id(case))
        for lone, widened in zip(state[1:4], wide_state[1:4], strict=True):
            if lone is not None:
                np.testing.assert_array_equal(bits(lone), bits(widened), err_msg=case_id(case))
