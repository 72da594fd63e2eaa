"""The kinds of piece that a schedule is made of: each a formula in the local step and its named columns."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

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
    guarded = jnp.where(period > 0, period, 1.0)
    count = jnp.floor(step / guarded)
    # Division is not correctly rounded on every backend, and a boundary must not come one step late.
    count = jnp.where((count + 1) * guarded <= step, count + 1, count)
    return jnp.where((period > 0) & (step > 0), count, 0.0)


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
    # A traced length of 0 is over as soon as it has begun.
    progress = jnp.where(duration > 0, _progress(step, duration), jnp.where(step > 0, 1.0, 0.0))
    cosine = 0.5 * (1 + jnp.cos(np.pi * progress))
    left = cosine > 0  # at the end the derivative of a power below 1 is infinite
    power = jnp.power(jnp.where(left, cosine, 1.0), exponent)
    power = jnp.where(left, power, jnp.where(exponent == 0, 1.0, 0.0))
    return init_value * ((1 - alpha) * power + alpha)


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
}
