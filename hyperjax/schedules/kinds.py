"""The kinds of piece that a schedule is made of: each a formula in the local step and its named columns."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.types import Array

REQUIRED = object()  # a column without a default
UNBOUNDED = np.inf  # how the absent value of an optional column is stored, so that it stays data


class Column(NamedTuple):
    """One argument of a kind: its name, what it is, the default and the range [low, high] of concrete values."""

    name: str
    role: Literal["number", "length", "flag", "optional"] = "number"
    default: Any = REQUIRED
    low: float = -np.inf
    high: float = np.inf
    open_low: bool = False  # `low` itself is not allowed


class Kind(NamedTuple):
    """A formula and its columns, in the order of the constructor's arguments.

    `evaluate(local, lengths, numbers)` takes the step since the piece began and the columns of the two roles, all
    of them scalars of one float type. The first number is the value at local step 0 (a warm-up aims at it). Finite
    columns in range give finite gradients, also where a length is 0, before the start and past the end.
    """

    evaluate: Callable[[Array, list[Array], list[Array]], Array]
    columns: tuple[Column, ...]

    @property
    def lengths(self) -> list[Column]:
        return [column for column in self.columns if column.role == "length"]

    @property
    def numbers(self) -> list[Column]:
        return [column for column in self.columns if column.role != "length"]


def _progress(step: Array, length: Array) -> Array:
    """`step / length` within [0, 1]; 0 for a length of 0."""
    ratio = step / jnp.where(length > 0, length, 1.0)
    return jnp.where((length > 0) & (step > 0), jnp.where(ratio < 1, ratio, 1.0), 0.0)


def _whole_periods(step: Array, period: Array) -> Array:
    """How many whole periods fit into `step`; 0 for a period of 0."""
    return _periods_and_rest(step, period)[0]


def _periods_and_rest(step: Array, period: Array) -> tuple[Array, Array]:
    """How many whole periods fit into `step`, and what is left of it; both 0 for a period of 0.

    The remainder of two floats is a float, so nothing is rounded: at step 1e7 a quotient is off by whole steps.
    """
    moving = (period > 0) & (step > 0)
    guarded = jnp.where(period > 0, period, 1.0)
    begun = jnp.where(moving, step, 0.0)
    rest = jax.lax.rem(begun, guarded)
    return jax.lax.stop_gradient(jnp.round((begun - rest) / guarded)), rest


def _constant(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    return numbers[0]


def _linear(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (duration, begin), (init_value, end_value) = lengths[:2], numbers[:2]
    progress = _progress(step - begin, duration)
    return init_value * (1 - progress) + end_value * progress  # exact at both ends


def _exponential_decay(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (duration, begin), (init_value, decay_rate, staircase, end_value) = lengths[:2], numbers[:4]
    elapsed = step - begin
    moving = (elapsed > 0) & (duration > 0) & (decay_rate != 0)  # optax: length or rate of 0 keep the first value
    smooth = elapsed / jnp.where(duration > 0, duration, 1.0)
    power = jnp.where(staircase > 0, _whole_periods(elapsed, duration), smooth)
    decayed = init_value * jnp.power(jnp.where(moving, decay_rate, 1.0), jnp.where(moving, power, 0.0))
    bounded = jnp.isfinite(end_value)
    bound = jnp.where(bounded, end_value, 0.0)
    beyond = jnp.where(decay_rate < 1, decayed < bound, decayed > bound)
    return jnp.where(bounded & beyond & (duration > 0) & (decay_rate != 0), bound, decayed)


def _cosine_decay(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (duration,), (init_value, alpha, exponent) = lengths[:1], numbers[:3]
    return init_value * ((1 - alpha) * _power(_half_cosine(step, duration), exponent) + alpha)


def _cosine(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (duration,), (init_value, end_value, exponent) = lengths[:1], numbers[:3]
    weight = _power(_half_cosine(step, duration), exponent)
    return init_value * weight + end_value * (1 - weight)  # exact at both ends


def _half_cosine(step: Array, duration: Array) -> Array:
    """From 1 down to 0 over a duration; one of 0, traced, is over as soon as it has begun."""
    progress = jnp.where(duration > 0, _progress(step, duration), jnp.where(step > 0, 1.0, 0.0))
    return 0.5 * (1 + jnp.cos(np.pi * progress))


def _power(base: Array, exponent: Array) -> Array:
    """`base^exponent` for a base of at least 0; at 0 the derivative, which may be infinite, is 0."""
    positive = base > 0
    power = jnp.power(jnp.where(positive, base, 1.0), exponent)
    return jnp.where(positive, power, jnp.where(exponent == 0, 1.0, 0.0))


def _polynomial(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (duration, begin), (init_value, end_value, exponent) = lengths[:2], numbers[:3]
    weight = _power(1 - _progress(step - begin, duration), exponent)
    return init_value * weight + end_value * (1 - weight)


def _cosine_restarts(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (period,), (init_value, end_value, period_multiplier, peak_multiplier) = lengths[:1], numbers[:4]
    growth = period_multiplier - 1
    growing = growth > 0
    rate = jnp.where(growing, growth, 1.0)
    log_rate = jnp.log1p(rate)

    def begins(cycle: Array) -> Array:
        """Start of a cycle that is longer than the one before, in first periods: the sum of the cycles before it."""
        return jnp.expm1(cycle * log_rate) / rate

    guarded = jnp.where(period > 0, period, 1.0)
    elapsed = jnp.where((period > 0) & (step > 0), step / guarded, 0.0)
    cycle = jnp.floor(jnp.log1p(elapsed * rate) / log_rate)
    # Both directions are rounded: a restart must come neither a step late nor a step early.
    slack = 8 * float(np.finfo(elapsed.dtype).eps) * jnp.maximum(elapsed, 1.0)
    cycle = jnp.where(begins(cycle + 1) <= elapsed + slack, cycle + 1, cycle)
    cycle = jax.lax.stop_gradient(jnp.where(begins(cycle) > elapsed + slack, cycle - 1, cycle))
    equal, rest = _periods_and_rest(step, period)  # exact, which the above is not where cycles are many
    progress = jnp.where(growing, (elapsed - begins(cycle)) / jnp.exp(cycle * log_rate), rest / guarded)
    cycle = jnp.where(growing, cycle, equal)
    weight = 0.5 * (1 + jnp.cos(np.pi * jnp.clip(progress, 0.0, 1.0)))
    peak = init_value * jnp.power(jnp.where(cycle > 0, peak_multiplier, 1.0), cycle)
    return peak * weight + end_value * (1 - weight)


def _triangular(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (half_period,), (low, high, peak_multiplier) = lengths[:1], numbers[:3]
    cycle, place = _periods_and_rest(step, 2 * half_period)
    halves = place / jnp.where(half_period > 0, half_period, 1.0)  # in [0, 2)
    height = jnp.where(half_period > 0, jnp.where(halves < 1, halves, 2 - halves), 0.0)
    return low + (high - low) * height * jnp.power(jnp.where(cycle > 0, peak_multiplier, 1.0), cycle)


def _inverse_sqrt_decay(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (timescale,), (init_value,) = lengths[:1], numbers[:1]
    moving = (timescale > 0) & (step > 0)
    return init_value / jnp.sqrt(1 + jnp.where(moving, step, 0.0) / jnp.where(moving, timescale, 1.0))


def _step_decay(step: Array, lengths: list[Array], numbers: list[Array]) -> Array:
    (period,), (init_value, decay_rate) = lengths[:1], numbers[:2]
    count = _whole_periods(step, period)
    begun = count > 0  # the derivative of 0^0 is not a number
    return init_value * jnp.power(jnp.where(begun, decay_rate, 1.0), count)


KINDS: dict[str, Kind] = {
    "constant": Kind(_constant, (Column("value"),)),
    "linear": Kind(
        _linear,
        (
            Column("init_value"),
            Column("end_value"),
            Column("transition_steps", "length", low=0.0),
            Column("transition_begin", "length", 0, low=0.0),
        ),
    ),
    "exponential_decay": Kind(
        _exponential_decay,
        (
            Column("init_value"),
            Column("transition_steps", "length", low=0.0),
            Column("decay_rate", low=0.0),
            Column("transition_begin", "length", 0, low=0.0),
            Column("staircase", "flag", False, low=0.0, high=1.0),
            Column("end_value", "optional", None),
        ),
    ),
    "cosine_decay": Kind(
        _cosine_decay,
        (
            Column("init_value"),
            Column("decay_steps", "length", low=0.0, open_low=True),
            Column("alpha", default=0.0),
            Column("exponent", default=1.0, low=0.0),
        ),
    ),
    "step_decay": Kind(
        _step_decay,
        (
            Column("init_value"),
            Column("decay_rate", low=0.0),
            Column("transition_steps", "length", low=0.0, open_low=True),
        ),
    ),
    "polynomial": Kind(
        _polynomial,
        (
            Column("init_value"),
            Column("end_value"),
            Column("power", low=0.0),
            Column("transition_steps", "length", low=0.0),
            Column("transition_begin", "length", 0, low=0.0),
        ),
    ),
    "cosine": Kind(
        _cosine,
        (
            Column("init_value"),
            Column("end_value"),
            Column("transition_steps", "length", low=0.0),
            Column("exponent", default=1.0, low=0.0),
        ),
    ),
    "cosine_restarts": Kind(
        _cosine_restarts,
        (
            Column("init_value"),
            Column("period", "length", low=0.0, open_low=True),
            Column("end_value", default=0.0),
            Column("period_multiplier", default=1.0, low=1.0),
            Column("peak_multiplier", default=1.0, low=0.0),
        ),
    ),
    "triangular": Kind(
        _triangular,
        (
            Column("low"),
            Column("high"),
            Column("half_period", "length", low=0.0, open_low=True),
            Column("peak_multiplier", default=1.0, low=0.0),
        ),
    ),
    "inverse_sqrt_decay": Kind(
        _inverse_sqrt_decay,
        (Column("init_value"), Column("timescale", "length", low=0.0, open_low=True)),
    ),
}
