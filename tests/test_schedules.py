"""Schedules against optax, hand-worked numbers and finite differences."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperjax as hj
from hyperjax import schedules as hs

STEPS = np.arange(0, 41)

CYCLES = [
    {"init_value": 0.1, "peak_value": 0.9, "decay_steps": 12, "warmup_steps": 4, "end_value": 0.05},
    {"init_value": 0.05, "peak_value": 0.5, "decay_steps": 20, "warmup_steps": 3, "end_value": 0.0, "exponent": 1.3},
]


def _renamed(old, new):
    return {new if name == old else name: value for name, value in CYCLES[0].items()}


# Ours beside optax's, over settings that reach every branch of each formula.
PAIRS = {
    "constant": (lambda: hs.constant(0.3), lambda: optax.constant_schedule(0.3)),
    "linear": (lambda: hs.linear(0.1, 1.3, 20, 5), lambda: optax.linear_schedule(0.1, 1.3, 20, 5)),
    "linear falling": (lambda: hs.linear(1.0, 0.0, 33), lambda: optax.linear_schedule(1.0, 0.0, 33)),
    "linear of no length": (lambda: hs.linear(0.1, 1.3, 0), lambda: optax.linear_schedule(0.1, 1.3, 0)),
    "exponential": (lambda: hs.exponential_decay(0.5, 7, 0.3), lambda: optax.exponential_decay(0.5, 7, 0.3)),
    "exponential begins": (
        lambda: hs.exponential_decay(0.5, 7, 0.3, 9),
        lambda: optax.exponential_decay(0.5, 7, 0.3, 9),
    ),
    "staircase": (
        lambda: hs.exponential_decay(0.5, 7, 0.3, 2, True),
        lambda: optax.exponential_decay(0.5, 7, 0.3, 2, True),
    ),
    "bounded below": (
        lambda: hs.exponential_decay(0.5, 7, 0.3, end_value=0.05),
        lambda: optax.exponential_decay(0.5, 7, 0.3, end_value=0.05),
    ),
    "bounded above": (
        lambda: hs.exponential_decay(0.5, 7, 1.5, end_value=2.0),
        lambda: optax.exponential_decay(0.5, 7, 1.5, end_value=2.0),
    ),
    "exponential of no length": (
        lambda: hs.exponential_decay(0.5, 0, 0.3),
        lambda: optax.exponential_decay(0.5, 0, 0.3),
    ),
    "exponential of rate 0": (lambda: hs.exponential_decay(0.5, 5, 0.0), lambda: optax.exponential_decay(0.5, 5, 0.0)),
    "cosine": (lambda: hs.cosine_decay(0.7, 30), lambda: optax.cosine_decay_schedule(0.7, 30)),
    "cosine with floor": (
        lambda: hs.cosine_decay(0.7, 30, 0.1, 1.7),
        lambda: optax.cosine_decay_schedule(0.7, 30, 0.1, 1.7),
    ),
    "warm-up": (lambda: hs.warmup(0.4, 10, 0.1), lambda: optax.warmup_constant_schedule(0.1, 0.4, 10)),
    "warm-up, cosine": (
        lambda: hs.warmup(hs.cosine_decay(0.4, 25), 10),
        lambda: optax.warmup_cosine_decay_schedule(0.0, 0.4, 10, 35),
    ),
    "polynomial": (  # at fractional powers optax's own is nan past the end, under jit
        lambda: hs.polynomial(0.7, 0.1, 3, 20, 5),
        lambda: optax.polynomial_schedule(0.7, 0.1, 3, 20, 5),
    ),
    "polynomial of no length": (
        lambda: hs.polynomial(0.7, 0.1, 2.5, 0),
        lambda: optax.polynomial_schedule(0.7, 0.1, 2.5, 0),
    ),
    "warm-up, constant": (
        lambda: hs.warmup_constant(0.1, 0.4, 10),
        lambda: optax.warmup_constant_schedule(0.1, 0.4, 10),
    ),
    "warm-up, cosine to a floor": (
        lambda: hs.warmup_cosine_decay(0.1, 0.4, 10, 35, 0.05, 1.4),
        lambda: optax.warmup_cosine_decay_schedule(0.1, 0.4, 10, 35, 0.05, 1.4),
    ),
    "warm-up, exponential": (
        lambda: hs.warmup_exponential_decay(0.1, 0.4, 10, 6, 0.5, 3, True, 0.06),
        lambda: optax.warmup_exponential_decay_schedule(0.1, 0.4, 10, 6, 0.5, 3, True, 0.06),
    ),
    "one cycle, cosine": (
        lambda: hs.cosine_onecycle(37, 0.8, 0.33, 20.0, 50.0),
        lambda: optax.cosine_onecycle_schedule(37, 0.8, 0.33, 20.0, 50.0),
    ),
    "one cycle, linear": (
        lambda: hs.linear_onecycle(37, 0.8, 0.33, 0.71, 20.0, 50.0),
        lambda: optax.linear_onecycle_schedule(37, 0.8, 0.33, 0.71, 20.0, 50.0),
    ),
    "piecewise constant": (
        lambda: hs.piecewise_constant(0.8, {5: 0.5, 20: 3.0}),
        lambda: optax.piecewise_constant_schedule(0.8, {5: 0.5, 20: 3.0}),
    ),
    "piecewise linear": (
        lambda: hs.piecewise_interpolate("linear", 0.8, {5: 0.5, 20: 3.0}),
        lambda: optax.piecewise_interpolate_schedule("linear", 0.8, {5: 0.5, 20: 3.0}),
    ),
    "piecewise cosine": (
        lambda: hs.piecewise_interpolate("cosine", 0.8, {5: 0.5, 20: 3.0}),
        lambda: optax.piecewise_interpolate_schedule("cosine", 0.8, {5: 0.5, 20: 3.0}),
    ),
    "sgdr": (lambda: hs.sgdr(CYCLES), lambda: optax.sgdr_schedule(CYCLES)),
    "join": (
        lambda: hs.join([hs.linear(0, 1, 10), 0.5, hs.cosine_decay(1.0, 10)], [10, 20]),
        lambda: optax.join_schedules(
            [optax.linear_schedule(0, 1, 10), optax.constant_schedule(0.5), optax.cosine_decay_schedule(1.0, 10)],
            [10, 20],
        ),
    ),
    "join over a longer one": (
        lambda: hs.join([hs.warmup(hs.cosine_decay(1.0, 9), 30), hs.linear(0, 1, 10)], [7]),
        lambda: optax.join_schedules(
            [optax.warmup_cosine_decay_schedule(0.0, 1.0, 30, 39), optax.linear_schedule(0, 1, 10)], [7]
        ),
    ),
}


def _settings(kind):
    """Arguments of a kind, made from its columns: in range, and away from the kinks at the steps tried below."""
    number, length = iter([0.3, 0.5, 0.7, 0.9, 1.1]), iter([20.5, 5.25, 7.75])
    given = {
        "flag": lambda _: False,
        "optional": lambda _: 0.01,
        "length": lambda _: next(length),
        "number": lambda column: next(number) + max(column.low, 0.0),
    }
    return {column.name: given[column.role](column) for column in hs.KINDS[kind].columns}


SETTINGS = {kind: _settings(kind) for kind in hs.KINDS}


def make(kind, **changes):
    return getattr(hs, kind)(**(SETTINGS[kind] | changes))


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-6), (True, 1e-12)])
def test_follows_optax(x64, tolerance):
    with jax.enable_x64(x64):
        ours = jax.jit(lambda: {name: pair[0]()(STEPS) for name, pair in PAIRS.items()})()
        theirs = jax.jit(
            lambda steps: {name: jnp.broadcast_to(jax.vmap(pair[1]())(steps), 41) for name, pair in PAIRS.items()}
        )(jnp.asarray(STEPS))
        for name in PAIRS:
            assert ours[name].dtype == (jnp.float64 if x64 else jnp.float32), name
            np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance, err_msg=name)


# What gives PyTorch's rates, by the name under which tests/references/schedules.py stored them.
AS_PYTORCH = {
    "StepLR": lambda: hs.step_decay(0.8, 0.3, 7),
    "MultiStepLR": lambda: hs.piecewise_constant(0.8, {5: 0.3, 18: 0.3}),
    "ExponentialLR": lambda: hs.exponential_decay(0.8, 1, 0.9),
    "LinearLR": lambda: hs.linear(0.2, 0.6, 12),
    "PolynomialLR": lambda: hs.polynomial(0.8, 0.0, 1.7, 30),
    "CosineAnnealingLR": lambda: hs.cosine(0.8, 0.05, 40),
    "CosineAnnealingWarmRestarts": lambda: hs.cosine_restarts(0.8, 5, 0.05, 2.0),
    "CosineAnnealingWarmRestarts, equal": lambda: hs.cosine_restarts(0.8, 6),
    "OneCycleLR, cos": lambda: hs.cosine_onecycle(40, 0.8, 0.25),
    "OneCycleLR, linear": lambda: hs.linear_onecycle(40, 0.8, 0.25, 0.5),
    "CyclicLR, triangular": lambda: hs.cyclic(0.1, 0.8, 6),
    "CyclicLR, triangular2": lambda: hs.cyclic(0.1, 0.8, 6, mode="triangular2"),
}


def test_follows_pytorch():
    stored = json.loads((Path(__file__).parent / "references" / "schedules.json").read_text("utf-8"))["rates"]
    assert set(AS_PYTORCH) == set(stored)
    with jax.enable_x64(True):
        ours = jax.jit(lambda: {name: make()(STEPS) for name, make in AS_PYTORCH.items()})()
    for name, rates in stored.items():
        np.testing.assert_allclose(ours[name], rates, rtol=1e-9, atol=1e-12, err_msg=name)


def test_restarts_come_neither_late_nor_early():
    @jax.jit
    def at(period, multiplier, steps):
        return jax.vmap(hs.cosine_restarts(1.0, period, 0.0, multiplier))(steps)

    for multiplier, period in ((1.0, 7), (1.5, 16), (2.0, 10), (3.0, 5)):
        starts = np.cumsum([0, *(period * multiplier**k for k in range(6 if multiplier > 1 else 400))])
        starts = starts[starts == np.floor(starts)]
        values = at(
            period, multiplier, jnp.asarray(np.stack([starts, np.maximum(starts - 1, 0)], 1).ravel(), jnp.int32)
        )
        np.testing.assert_array_equal(values[::2], np.ones(len(starts), np.float32), err_msg=str(multiplier))
        assert np.all(values[3::2] < 0.2)
    # Peaks fall by their multiplier: 1, 0.5, 0.25 where the cycles of 4, 8 and 16 steps begin.
    falling = hs.cosine_restarts(1.0, 4, 0.0, 2.0, 0.5)(np.array([0, 4, 12, 2, 8]))
    np.testing.assert_allclose(falling, [1.0, 0.5, 0.25, 0.5, 0.25], rtol=1e-6)


@pytest.mark.parametrize("half_period", [7, 10, 500])
@pytest.mark.parametrize("start", [10**6, 10**7])
def test_cycles_keep_their_precision_late_in_a_run(half_period, start):
    steps = np.arange(start, start + 3 * half_period)
    place = (steps % (2 * half_period)) / half_period
    up_and_down = np.where(place < 1, place, 2 - place)
    np.testing.assert_allclose(hs.cyclic(0.0, 1.0, half_period)(steps), up_and_down, atol=1e-6)
    falling = 0.5 * (1 + np.cos(np.pi * (steps % half_period) / half_period))
    np.testing.assert_allclose(hs.cosine_restarts(1.0, half_period)(steps), falling, atol=1e-6)
    numbers = np.asarray(hs.step_decay(1.0, 1 - 1e-6, half_period)(steps), np.float64)
    np.testing.assert_array_equal(np.diff(numbers) != 0, np.diff(steps // half_period) != 0)


def test_a_warmup_constant_of_no_steps_is_the_peak():
    np.testing.assert_array_equal(hs.warmup_constant(0.25, 1.0, 0)(np.array([0, 5])), [1.0, 1.0])


def test_composed_schedules_by_hand():
    stable = hs.warmup_stable_decay(0.8, 2, 3, 4, 0.4)
    np.testing.assert_allclose(stable(np.arange(11)), [0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4], rtol=1e-6)
    t = np.arange(1, 30)
    np.testing.assert_allclose(hs.inverse_sqrt(0.8, 5)(t), 0.8 * np.minimum(t / 5, np.sqrt(5 / t)), rtol=1e-6)
    assert hs.inverse_sqrt(0.8, 5)(0) == 0
    by_epoch = hs.warmup_stable_decay(0.8, hs.epochs(1), hs.fraction(0.5), hs.epochs(1)).resolve([0, 10, 20, 30, 40])
    assert by_epoch == hs.warmup_stable_decay(0.8, 10, 20, 10)
    assert hs.cosine_onecycle(hs.epochs(4), 0.8, 0.25).resolve([0, 10, 20, 30, 40]) == hs.cosine_onecycle(40, 0.8, 0.25)
    at_epochs = hs.piecewise_interpolate("linear", 0.8, {hs.epochs(1): 0.5, hs.epochs(3): 0.5})
    assert at_epochs.resolve([0, 10, 20, 30]) == hs.piecewise_interpolate("linear", 0.8, {10: 0.5, 30: 0.5})


def test_numbers_of_composed_schedules_may_be_traced_and_vmapped():
    def peak_and_end(peak, steps):
        cycle = hs.cosine_onecycle(steps, peak)
        levels = hs.piecewise_constant(peak, [(steps / 2, peak)])
        return jnp.stack(
            [cycle(jnp.floor(0.3 * steps)), cycle(steps), levels(0), levels(steps), hs.inverse_sqrt(peak, steps)(steps)]
        )

    peaks, steps = jnp.array([0.2, 0.4]), jnp.array([40.0, 60.0])
    expected = [[p, p / 25e4, p, p * p, p] for p in (0.2, 0.4)]
    np.testing.assert_allclose(jax.jit(jax.vmap(peak_and_end))(peaks, steps), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hs.piecewise_constant(1.0, {5: 0.5, 3: 0.5}), "boundaries_and_scales must increase"),
        (lambda: hs.piecewise_interpolate("linear", 1.0, {5: 0.5, 3: 0.5}), "boundaries_and_scales must increase"),
        (lambda: hs.piecewise_interpolate("linear", 1.0, [(5, 0.5), (5, 0.5)]), "boundaries_and_scales must increase"),
        (lambda: hs.piecewise_constant(1.0, {-5: 0.5}), "boundaries_and_scales must be a number in"),
        (lambda: hs.piecewise_interpolate("cubic", 1.0, {5: 0.5}), "interpolate_type must be one of linear, cosine"),
        (lambda: hs.piecewise_constant(1.0, {5: -0.5}), "scale at 5"),
        (lambda: hs.warmup_cosine_decay(0.0, 1.0, 10, 5), "decay_steps must be above warmup_steps, 10, got 5"),
        (
            lambda: hs.warmup_cosine_decay(0.0, 1.0, hs.epochs(1), 50),
            "decay_steps must be in one unit with warmup_steps",
        ),
        (lambda: hs.warmup_cosine_decay(0.0, "high", 10, 50), "peak_value"),
        (lambda: hs.warmup_exponential_decay(0.0, np.nan, 10, 5, 0.5), "peak_value"),
        (lambda: hs.warmup_constant(0.0, np.inf, 10), "peak_value"),
        (lambda: hs.warmup_stable_decay(1.0, -1, 1, 1), "warmup_steps"),
        (lambda: hs.warmup_stable_decay(1.0, 1, -1, 1), "stable_steps"),
        (lambda: hs.warmup_stable_decay(1.0, 1, 1, -1), "decay_steps"),
        (lambda: hs.warmup_stable_decay("high", 1, 1, 1), "peak_value"),
        (lambda: hs.cyclic(0.0, 1.0, 5, mode="triangel"), "did you mean 'triangular'"),
        (lambda: hs.cyclic(0.0, 1.0, 0), "half_period"),
        (lambda: hs.cosine_restarts(1.0, 5, period_multiplier=0.5), "period_multiplier must be a number in"),
        (lambda: hs.cosine_onecycle(10, 1.0, pct_start=1.5), "pct_start"),
        (lambda: hs.cosine_onecycle(10, 1.0, pct_start=1.0), r"pct_start must be a number in \(0, 1\), got 1.0"),
        (lambda: hs.cosine_onecycle(10, "high"), "peak_value"),
        (lambda: hs.linear_onecycle(10, None), "peak_value"),
        (lambda: hs.linear_onecycle(10, 1.0, 0.5, 0.4), "pct_final must be above"),
        (lambda: hs.linear_onecycle(10, 1.0, 0.3, 0.31), r"step of pct_final must be above that of pct_start, 3\.0"),
        (lambda: hs.cosine_onecycle(0, 1.0), "transition_steps"),
        (lambda: hs.sgdr([]), "at least one cycle"),
        (lambda: hs.sgdr([CYCLES[0], _renamed("peak_value", "peek_value")]), r"\[1\].*'peek_value'.*mean 'peak_value'"),
        (lambda: hs.sgdr([_renamed("end_value", "expnent")]), "got 'expnent'; did you mean 'exponent'"),
        (lambda: hs.sgdr([{"init_value": 0.0, "decay_steps": 5}]), r"\[0\] must hold peak_value, warmup_steps"),
        (lambda: hs.sgdr([CYCLES[0] | {"decay_steps": 3}]), r"decay_steps of cosine_kwargs\[0\] must be above"),
        (lambda: hs.inverse_sqrt(1.0, 0), "warmup_steps"),
        (lambda: hs.inverse_sqrt(np.nan, 5), "peak_value"),
        (lambda: hs.polynomial(1.0, 0.0, -1.0, 5), "power"),
    ],
)
def test_composed_schedules_name_the_bad_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_step_decay_by_hand():
    schedule = hs.step_decay(0.8, 0.5, 3)
    np.testing.assert_allclose(schedule(np.arange(8)), [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2], rtol=1e-7)
    # A boundary is never one step late, whatever the period: 0.5^k at step k * period, exactly.
    periods = np.arange(1, 400, dtype=np.float32)
    at = jax.jit(lambda k: jax.vmap(lambda p: hs.step_decay(1.0, 0.5, p)(k * p))(periods))
    for k in (1, 3, 7):
        np.testing.assert_array_equal(at(k), np.full(399, 0.5**k, np.float32))


def test_warmup_by_hand():
    schedule = hs.warmup(hs.step_decay(0.8, 0.5, 2), 4, init_value=0.4)
    expected = [0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.4, 0.4, 0.2]
    np.testing.assert_allclose(schedule(np.arange(9)), expected, rtol=1e-6)


def test_warmup_of_no_steps_is_the_schedule_itself():
    inner = hs.cosine_decay(0.7, 30)
    every = jnp.asarray(STEPS)
    alone = jax.jit(lambda schedule: jax.lax.map(schedule, every))(inner)
    for after in (lambda schedule, steps: hs.warmup(schedule, 0), hs.warmup):
        warm = jax.jit(lambda schedule, steps, after=after: jax.lax.map(after(schedule, steps), every))(inner, 0)
        np.testing.assert_array_equal(warm, alone)
    twice = hs.warmup(hs.warmup(inner, 0), 5)  # aims at the piece that is in force at step 0
    np.testing.assert_allclose(twice(np.arange(6)), [0, 0.14, 0.28, 0.42, 0.56, 0.7], rtol=1e-6)


def test_types_follow_the_numbers():
    assert hs.linear(jnp.bfloat16(1), 0.0, 10)(3).dtype == jnp.bfloat16
    narrow = hs.linear(np.float32(1), 0.0, np.float32(10))
    assert (narrow.numbers.dtype, narrow.lengths.dtype) == (np.float32, np.float64)
    assert hs.linear(np.int32(1), 0.1, 10).numbers[0, 1] == 0.1
    with jax.enable_x64(True):
        assert hs.constant(np.float32(1))(3).dtype == jnp.float32
        assert hs.constant(1.0)(3).dtype == jnp.float64
        assert hs.linear(1, 0.0, 10)(np.int32(3)).dtype == jnp.float64
    # Time is not bfloat16: 1001 and 1003 would both be 1000, and so would the length.
    late = hs.step_decay(jnp.bfloat16(1), 0.5, 1001)
    np.testing.assert_array_equal(late(np.array([1000, 1001])), [1, 0.5])


def test_host_numbers_stay_exact_and_on_the_host():
    schedule = hs.warmup(hs.cosine_decay(0.1, 30, 1 / 3), 7)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(schedule))
    assert schedule.numbers[1, 1] == 1 / 3  # float32 would not hold it


def test_a_constant_compiles_to_a_constant():
    jaxpr = jax.make_jaxpr(lambda step: hs.constant(0.1)(step))(3)
    assert "cond" not in str(jaxpr)
    compiled = jax.jit(lambda step: hs.constant(0.1)(step)).lower(3).compile().as_text()
    assert "constant(0.1)" in compiled
    assert "cond" in str(jax.make_jaxpr(lambda step: hs.warmup(hs.cosine_decay(0.1, 9), 3)(step))(3))


def test_steps_of_every_sort():
    schedule = hs.linear(0.0, 10.0, 10)
    expected = np.array([[0, 1], [2, 10]], np.float32)
    np.testing.assert_array_equal(schedule(np.array([[0, 1], [2, 30]])), expected)
    assert schedule(2) == schedule(2.0) == schedule(np.int64(2)) == jax.jit(lambda s: schedule(s))(2) == 2
    assert schedule(3_000_000_000) == 10  # beyond int32


def mixed():
    members = [make(kind) for kind in SETTINGS]
    members += [hs.warmup(make("cosine_decay"), 6), hs.join([1.0, make("linear"), make("step_decay")], [4, 20]), 0.25]
    return members


def test_a_stack_equals_its_members_bit_for_bit():
    members = [hs.as_schedule(member) for member in mixed()]
    run = jax.jit(lambda stacked: jax.lax.map(lambda s: jax.lax.map(s, jnp.asarray(STEPS)), stacked))
    together = run(hs.stack(members))
    for index, member in enumerate(members):
        np.testing.assert_array_equal(together[index], run(hs.stack([member]))[0], err_msg=repr(member))
    side_by_side = jax.jit(jax.vmap(lambda s: s(STEPS)))(hs.stack(members))
    np.testing.assert_allclose(side_by_side, together, rtol=1e-6, atol=1e-7)


def test_stacked_numbers_may_be_traced_and_vmapped():
    rates = jnp.array([0.1, 0.2, 0.3])
    values = jax.jit(jax.vmap(lambda rate: hs.warmup(hs.linear(rate, 0.0, 10 * rate), 20 * rate)(3)))(rates)
    np.testing.assert_allclose(values, [0.0, 0.15, 0.15], atol=1e-7)
    stacked = jax.jit(lambda rate: hs.stack([rate, hs.linear(1.0, rate, 4)]))(0.5)
    np.testing.assert_allclose(jax.vmap(lambda s: s(2))(stacked), [0.5, 0.75])


def test_padding_is_no_difference():
    schedule = hs.warmup(hs.cosine_decay(0.7, 30), 6)
    wide = schedule.widen(tuple(hs.KINDS), 5)
    assert wide == schedule
    assert repr(wide) == repr(schedule)
    assert hs.join([wide, 0.1], [9]) == hs.join([schedule, 0.1], [9])


@pytest.mark.parametrize("where", [-1.0, 0.0, 0.5, 6.1, 13.0, 200.0])
def test_gradients_of_every_number_match_finite_differences(where):
    with jax.enable_x64(True):
        stacked = hs.stack([make(kind) for kind in SETTINGS])
        leaves = (stacked.numbers, stacked.lengths, stacked.starts)
        run = jax.jit(lambda *leaves: jax.vmap(lambda each: each(where))(_with(stacked, *leaves)))
        flags = [  # not numbers to be differentiated in
            (0, (member, 0, index))
            for member, kind in enumerate(SETTINGS)
            for index, column in enumerate(hs.KINDS[kind].numbers)
            if column.role == "flag"
        ]
        gradients = jax.jit(jax.grad(lambda *leaves: run(*leaves).sum(), argnums=(0, 1, 2)))(*leaves)
        for argument, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
            assert np.all(np.isfinite(gradient))
            for index in np.ndindex(leaf.shape):
                if (where <= 0 and argument == 2) or (argument, index) in flags:
                    continue  # a step at the start: a kink
                shift = np.zeros(leaf.shape)
                shift[index] = 1e-6
                ends = [run(*(*leaves[:argument], leaf + sign * shift, *leaves[argument + 1 :])) for sign in (1, -1)]
                numeric = (ends[0] - ends[1]).sum() / 2e-6
                np.testing.assert_allclose(gradient[index], numeric, atol=1e-8, rtol=1e-6, err_msg=f"{argument, index}")


def _with(schedule, numbers, lengths, starts):
    return hs.Schedule(schedule.kinds, numbers, lengths, starts, schedule.table)


@pytest.mark.parametrize("x64", [False, True])
def test_gradients_are_finite_at_the_edges(x64):
    with jax.enable_x64(x64):
        members = [
            {"init_value": 0.0, "end_value": -5.0, "transition_steps": 0.0},
            {"end_value": -5.0},  # to the exponential branch of a vmapped switch, a negative rate
            {"decay_rate": 0.0, "transition_steps": 0.0, "end_value": None},
            {"decay_rate": 0.0, "end_value": None, "staircase": True},
            {"alpha": 0.0, "exponent": 0.0},
            {"alpha": 0.0, "exponent": 0.3},
            {"decay_rate": 0.0, "transition_steps": 1.0},
        ]
        kinds = [
            "linear",
            "linear",
            "exponential_decay",
            "exponential_decay",
            "cosine_decay",
            "cosine_decay",
            "step_decay",
        ]
        singles = [make(kind, **changes) for kind, changes in zip(kinds, members, strict=True)]
        stacked = hs.stack([*singles, *(hs.warmup(each, 0) for each in singles)])
        stacked = _with(stacked, stacked.numbers, stacked.lengths * 0, stacked.starts)  # and lengths of 0
        both = hs.stack([*singles, *(hs.warmup(each, 0) for each in singles)])

        def total(numbers, lengths, starts, step, schedule):
            return jax.vmap(lambda each: each(step))(_with(schedule, numbers, lengths, starts))

        jacobian = jax.jit(
            lambda *given: (jax.jacrev(total, argnums=(0, 1))(*given), jax.jacfwd(total, argnums=(0, 1))(*given))
        )
        for schedule in (stacked, both):
            for step in (0.0, 1.0, 30.5, 1e6):
                value = total(schedule.numbers, schedule.lengths, schedule.starts, step, schedule)
                assert np.all(np.isfinite(value))
                for leaf in jax.tree.leaves(
                    jacobian(schedule.numbers, schedule.lengths, schedule.starts, step, schedule)
                ):
                    assert np.all(np.isfinite(leaf)), step


def test_resolve_by_hand():
    even = np.arange(5) * 10
    assert hs.to_steps(hs.epochs(2.5), even) == 25
    assert hs.to_steps(hs.epochs(2), even, start=5) == 20
    assert hs.to_steps(hs.epochs(6), even) == 60  # beyond the end
    assert hs.to_steps(hs.fraction(0.1), even) == 4
    uneven = [0, 10, 30, 70]  # epochs of 10, 20, 40 steps: a batch that halves
    assert hs.to_steps(hs.epochs(1.5), uneven) == 20
    assert hs.to_steps(hs.epochs(1), uneven, start=5) == 15  # half of the first, half of the second
    assert hs.to_steps(hs.epochs(1), uneven, start=10) == 20
    assert hs.to_steps(hs.epochs(1), uneven, start=80) == 40
    assert hs.to_steps(hs.fraction(0.5), uneven, start=33) == 35
    schedule = hs.warmup(hs.cosine_decay(0.1, hs.epochs(2)), hs.epochs(1))
    assert not schedule.is_resolved
    assert schedule.resolve(uneven) == hs.warmup(hs.cosine_decay(0.1, 60), 10)  # epochs 1 and 2
    assert schedule.resolve(even) == hs.warmup(hs.cosine_decay(0.1, 20), 10)
    # 17 / 23 and 0.07 have no exact form, yet a boundary must not come one step late
    assert hs.to_steps(hs.epochs(2), np.arange(21) * 23, start=17) == 46.0
    assert hs.to_steps(hs.fraction(0.07), [0, 100]) == 7.0


def test_pieces_within_a_part_count_from_its_own_beginning():
    inner = hs.join([1.0, hs.linear(1.0, 0.0, hs.fraction(0.5)), 0.3], [hs.epochs(1), 25])
    schedule = hs.join([0.5, inner], [hs.fraction(0.5)])
    starts = schedule.resolve([0, 10, 30, 70]).starts
    np.testing.assert_array_equal(starts, [0, 35, 75, 60])  # 35; one epoch of 40 later; 25 steps later


def test_resolve_under_trace():
    schedule = hs.warmup(hs.cosine_decay(0.1, hs.epochs(2)), hs.fraction(0.1))
    host = schedule.resolve([0, 10, 30, 70])
    traced = jax.jit(lambda starts: schedule.resolve(starts))(jnp.array([0, 10, 30, 70]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), host, traced)
    slope = jax.grad(lambda e: hs.to_steps(hs.epochs(e), jnp.array([0.0, 10, 30, 70])))(1.5)
    assert slope == 20


def test_an_unresolved_schedule_says_what_to_do():
    with pytest.raises(ValueError, match=r"resolve.*steps_per_epoch"):
        hj.plot(hs.cosine_decay(0.1, hs.epochs(30)))
    with pytest.raises(
        ValueError, match=r"cosine_decay\(init_value=0.1, decay_steps=epochs\(30\)\).*resolve.*steps_per_epoch"
    ):
        hs.cosine_decay(0.1, hs.epochs(30))(0)
    with pytest.raises(ValueError, match="resolve them first"):
        hs.stack([hs.cosine_decay(0.1, hs.epochs(30)), 0.1])
    with pytest.raises(ValueError, match="vmap"):
        hs.stack([0.1, 0.2])(0)


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
TIMES = st.floats(1e-3, 1e6) | st.builds(hs.epochs, st.floats(1e-3, 100)) | st.builds(hs.fraction, st.floats(1e-3, 1))


def _values(column):
    bounded = st.floats(
        max(column.low, -1e6), min(column.high, 10.0), exclude_min=column.open_low, allow_subnormal=False
    )
    return {"length": TIMES, "flag": st.booleans(), "optional": st.none() | NUMBERS, "number": bounded}[column.role]


SINGLES = st.one_of(
    st.builds(getattr(hs, kind), **{column.name: _values(column) for column in hs.KINDS[kind].columns})
    for kind in hs.KINDS
)
ANY = st.recursive(
    SINGLES,
    lambda inner: (
        st.builds(hs.warmup, inner, TIMES, NUMBERS)
        | st.builds(lambda a, b, t: hs.join([a, b], [t]), inner, inner, TIMES)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ANY)
def test_json_round_trip_is_exact(schedule):
    again = hs.Schedule.from_dict(json.loads(json.dumps(schedule.to_dict(), allow_nan=False)))
    assert again == schedule
    assert again.units == schedule.units
    assert (again.table, repr(again)) == (schedule.table, repr(schedule))
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(schedule), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    resolved = [each.resolve([0, 10, 30, 70]) for each in (again, schedule)]
    assert resolved[0] == resolved[1]


def test_equality_compares_values():
    assert hs.linear(1, 0, 10) == hs.linear(1.0, 0.0, 10.0)
    assert hs.linear(1, 0, 10) != hs.linear(1, 0, 11)
    assert hs.linear(1, 0, 10) != hs.linear(1, 0, hs.epochs(10))
    assert hs.constant(1.0) != 1.0
    assert hash(hs.linear(1, 0, 10)) == hash(hs.linear(1.0, 0.0, 10.0)) != hash(hs.linear(1, 0, 11))
    assert hash(hs.stack([1.0, 2.0])) == hash(hs.stack([1, 2]))
    assert jax.jit(lambda value: hash(hs.constant(value)) != 0 and value)(1.0) == 1.0
    assert hs.stack([1.0, 2.0]) == hs.stack([1, 2]) != hs.stack([1, 3])
    narrow = hs.Schedule.from_dict(json.loads(json.dumps(hs.constant(np.float32(0.1)).to_dict())))
    assert narrow.numbers.dtype == np.float32


RISING = ("triangular", "cosine_onecycle", "linear_onecycle", "warmup_stable_decay")  # the rest start at their peak


@pytest.mark.parametrize("name", hs.SHAPES)
def test_shapes_peak_at_one_and_take_their_arguments(name):
    schedule = hs.shape(name, span=300)
    values = np.asarray(schedule(np.arange(0, 300, 0.5)))
    assert values.max() == 1
    assert (schedule(0) == 1) == (name not in RISING)
    ends = {
        "constant": 1,
        "linear": 0,
        "polynomial": 0,
        "exponential_decay": 0.01,
        "cosine_decay": 0,
        "cosine_restarts": 1,
        "step_decay": 1e-3,
        "inverse_sqrt_decay": 11**-0.5,
        "triangular": 0.1,
        "cosine_onecycle": 1 / 25e4,
        "linear_onecycle": 1 / 25e4,
        "warmup_stable_decay": 0,
    }  # as documented
    np.testing.assert_allclose(schedule(300), ends[name], rtol=1e-5, atol=1e-7)
    assert hs.shape(name, span=hs.fraction(0.5)).resolve([0, 300, 600]) == schedule
    assert np.isfinite(hs.shape(name, span=0)(0))
    for argument in hs.SHAPES[name].arguments:
        value = {"staircase": True, "period_multiplier": 1.5}.get(argument, 0.5)
        assert hs.shape(name, {argument: value}, span=300) != schedule, argument
    wrong = r"takes no arguments" if name == "constant" else "must be one of"
    with pytest.raises(ValueError, match=wrong):
        hs.shape(name, {"nonsense": 1.0}, span=300)
    with pytest.raises(ValueError, match="did you mean"):
        hs.shape(name[:-1], span=300)


@pytest.mark.parametrize("kind", hs.KINDS)
def test_the_table_is_the_contract(kind):
    schedule = make(kind)
    columns = hs.KINDS[kind].columns
    assert schedule(0) == np.float32(schedule.numbers[0, 0])  # what a warm-up aims at
    assert [c.name for c in columns] == list(SETTINGS[kind])  # names and order of the constructor
    for column in columns:
        bad = [np.nan, np.inf, "many", [1.0, 2.0], lambda step: 1.0]
        bad += [column.low - 1.0] if np.isfinite(column.low) else []
        bad += [column.low] if column.open_low else []
        bad += [hs.Length(-1.0, "epochs")] if column.role == "length" else [hs.epochs(1)]
        bad += [] if column.role == "optional" else [None]
        for value in bad:
            with pytest.raises(ValueError, match=column.name):
                make(kind, **{column.name: value})


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: hs.join([1.0, 2.0], []), "boundaries"),
        (lambda: hs.join([1.0, 2.0, 3.0], [5, 5]), "boundaries"),
        (lambda: hs.join([1.0, 2.0, 3.0], [hs.epochs(2), hs.epochs(1)]), "boundaries"),
        (lambda: hs.join([1.0, 2.0], [-1]), "boundaries"),
        (lambda: hs.join([], []), "boundaries"),
        (lambda: hs.stack([]), "schedules"),
        (lambda: hs.warmup(1.0, -1), "warmup_steps"),
        (lambda: hs.warmup(1.0, np.nan), "warmup_steps"),
        (lambda: hs.warmup(1.0, 5, "zero"), "init_value"),
        (lambda: hs.epochs(-1), "epochs"),
        (lambda: hs.fraction(np.nan), "fraction"),
        (lambda: hs.fraction(1.5), r"fraction must be a number in \[0, 1\], got 1.5"),
        (lambda: hs.to_steps(hs.epochs(1), [0]), "epoch_starts"),
        (lambda: hs.to_steps(hs.epochs(1), [0, 10, 10]), "epoch_starts"),
        (lambda: hs.constant(1.0).widen(("linear",), 1), "table"),
        (lambda: hs.warmup(1.0, 5).widen(("constant", "linear"), 1), "pieces"),
        (lambda: hs.Schedule.from_dict({}), "pieces"),
        (lambda: hs.Schedule.from_dict({"pieces": [{"kind": "cosine_dekay"}]}), "cosine_decay"),
        (lambda: hs.Schedule.from_dict({"pieces": [3]}), "piece"),
        (lambda: hs.Schedule.from_dict(hs.constant(1.0).to_dict() | {"dtype": "int8"}), "dtype"),
        (lambda: hs.Schedule.from_dict({"pieces": [{"kind": "constant", "arguments": {"value": 1}}]}), "start"),
        (lambda: hs.Schedule.from_dict({"pieces": [{"kind": "constant", "start": 0, "arguments": {}}]}), "arguments"),
    ],
)
def test_bad_input_names_the_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_optax_and_flax_accept_it():
    schedule = hs.warmup(hs.cosine_decay(0.1, 10), 4)
    reference = optax.warmup_cosine_decay_schedule(0.0, 0.1, 4, 14)
    gradients = {"w": jnp.array([1.0, -2.0])}

    def final(transform):
        def step(carry, _):
            updates, state = transform.update(gradients, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        return jax.lax.scan(step, (gradients, transform.init(gradients)), None, length=12)[0]

    plain, injected, theirs, theirs_injected = jax.jit(
        lambda: (
            final(optax.adam(schedule)),
            final(optax.inject_hyperparams(optax.adam)(learning_rate=schedule)),
            final(optax.adam(reference)),
            final(optax.inject_hyperparams(optax.adam)(learning_rate=reference)),
        )
    )()
    np.testing.assert_allclose(plain[0]["w"], theirs[0]["w"], rtol=1e-6)
    np.testing.assert_allclose(injected[0]["w"], theirs_injected[0]["w"], rtol=1e-6)
    np.testing.assert_allclose(injected[1].hyperparams["learning_rate"], schedule(11), rtol=1e-6)

    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(schedule), wrt=nnx.Param)
    before = model.kernel[...]
    step = nnx.jit(lambda m, o: o.update(m, nnx.grad(lambda m: m(jnp.ones((1, 2))).sum())(m)))
    for _ in range(3):
        step(model, optimizer)
    np.testing.assert_allclose(before - model.kernel[...], float(sum(schedule(np.arange(3)))), rtol=1e-5)
