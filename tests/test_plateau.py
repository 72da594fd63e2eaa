"""`reduce_on_plateau` against optax's, value by value, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import reduce_on_plateau as theirs

from hyperjax.optimizers import adam
from hyperjax.schedules import reduce_on_plateau

VALUES = np.random.default_rng(0).normal(size=80).astype(np.float32) * 0.3 + np.exp(-np.arange(80) / 10) + 1
SETTINGS = [
    {},
    {"patience": 3, "factor": 0.5},
    {"patience": 1, "factor": 0.9, "min_scale": 0.3},
    {"patience": 2, "factor": 0.5, "cooldown": 4},
    {"patience": 2, "factor": 0.7, "accumulation_size": 3, "rtol": 0.05},
    {"patience": 4, "factor": 0.7, "rtol": 0.0, "atol": 0.2},
]


def scales(transform, values):
    """The scale in force at each value."""

    def step(state, value):
        update, state = transform.update(jnp.ones(()), state, value=value)
        return state, update

    return jax.lax.scan(step, transform.init(jnp.ones(())), jnp.asarray(values))


@pytest.mark.parametrize("numbers", SETTINGS)
def test_reduces_at_the_values_where_optax_does(numbers):
    state, ours = jax.jit(lambda values: scales(reduce_on_plateau(**numbers), values))(VALUES)
    expected_state, expected = jax.jit(lambda values: scales(theirs(**numbers), values))(VALUES)
    np.testing.assert_array_equal(ours, expected)
    for field in expected_state._fields:
        np.testing.assert_allclose(getattr(state, field), getattr(expected_state, field), rtol=1e-6, err_msg=field)
    assert len(np.unique(ours)) > 1  # else nothing was seen


def test_every_number_may_be_traced_and_vmapped():
    every = [{"factor": 0.1, "patience": 10, "rtol": 1e-4, "atol": 0.0, "cooldown": 0, "accumulation_size": 1,
              "min_scale": 0.0} | numbers for numbers in SETTINGS]  # fmt: skip
    stacked = {name: jnp.array([numbers[name] for numbers in every]) for name in every[0]}
    together = jax.jit(jax.vmap(lambda numbers: scales(reduce_on_plateau(**numbers), VALUES)[1]))(stacked)
    for row, numbers in zip(together, SETTINGS, strict=True):
        np.testing.assert_allclose(row, scales(reduce_on_plateau(**numbers), VALUES)[1], rtol=1e-6)


def test_traced_counts_that_are_not_whole_are_rounded_up():
    every = {"factor": 0.5, "rtol": 1e-4}
    counts = ("patience", "cooldown", "accumulation_size")
    values = jnp.ones(30)
    found = jax.jit(lambda given: scales(reduce_on_plateau(**every, **given), values)[1])(
        dict(zip(counts, (2.5, 1.5, 1.5), strict=True))
    )
    expected = scales(reduce_on_plateau(**every, patience=3, cooldown=2, accumulation_size=2), values)[1]
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 2


def test_by_hand_for_a_value_that_should_rise():
    accuracy = [0.5, 0.6, 0.6, 0.6, 0.7, 0.7, 0.69, jnp.nan, 0.7]
    _, found = scales(reduce_on_plateau(0.5, patience=2, mode="max"), accuracy)
    np.testing.assert_array_equal(found, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125])


def test_scales_a_rule_and_keeps_types():
    transform = optax.chain(adam(0.1), reduce_on_plateau(0.5, patience=1))
    params = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones((), jnp.float32)}
    state, plain = transform.init(params), adam(0.1)
    alone = plain.init(params)
    for expected in (1.0, 0.5, 0.25):
        updates, state = jax.jit(transform.update)(params, state, params, value=1.0)
        own, alone = plain.update(params, alone, params)
        assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(lambda p: p.dtype, params)
        np.testing.assert_allclose(updates["b"], expected * own["b"], rtol=1e-4)


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ({"factor": 1.0}, "factor"),
        ({"factor": 0.0}, "factor"),
        ({"patience": 0}, "patience"),
        ({"rtol": 2.0}, "rtol"),
        ({"rtol": 0.0}, "rtol or atol"),
        ({"atol": -1.0}, "atol"),
        ({"cooldown": -1}, "cooldown"),
        ({"accumulation_size": 0}, "accumulation_size"),
        ({"min_scale": 1.5}, "min_scale"),
        ({"patience": 2.5}, "patience must be a whole number of at least 1, got 2.5"),
        ({"cooldown": 0.5}, "cooldown must be a whole number of at least 0, got 0.5"),
        ({"accumulation_size": 1.5}, "accumulation_size must be a whole number of at least 1, got 1.5"),
        ({"mode": "mx"}, "mode must be one of min, max"),
    ],
)
def test_names_the_bad_argument(numbers, named):
    with pytest.raises(ValueError, match=named):
        reduce_on_plateau(**numbers)
