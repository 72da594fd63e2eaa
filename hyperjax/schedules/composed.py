"""Schedules of several pieces, under optax's names and with its arguments."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from hyperjax.checks import is_concrete, one_of, require, within
from hyperjax.schedules.building import check_boundaries, check_length, check_numbers, in_turn, join, warmup
from hyperjax.schedules.constructors import (
    constant,
    cosine,
    exponential_decay,
    inverse_sqrt_decay,
    linear,
    triangular,
)
from hyperjax.schedules.leaves import on_host
from hyperjax.schedules.lengths import Length, scaled, unit_of, value_of
from hyperjax.schedules.schedule import Schedule
from hyperjax.types import Scalar

Levels: TypeAlias = Mapping[Any, Scalar] | Sequence[tuple[Length | Scalar, Scalar]]

_WARMUP_COSINE_DECAY = ("init_value", "peak_value", "warmup_steps", "decay_steps")
_CYCLES = {"triangular": 1.0, "triangular2": 0.5}


def warmup_constant(init_value: Scalar, peak_value: Scalar, warmup_steps: Length | Scalar) -> Schedule:
    """Rise linearly, then stay.

    `s(t) = init_value + (peak_value - init_value) min(t / warmup_steps, 1)`; with 0 steps `peak_value` throughout, as
    in `warmup`, where optax stays at `init_value`.

    Args:
        init_value, peak_value: float[], in the unit of what is scheduled.
        warmup_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or a number that is not finite.
    Source: `optax.warmup_constant_schedule`; PyTorch's `LinearLR`.

    >>> print(warmup_constant(0.0, 1.0, 4)(np.arange(6)))
    [0.   0.25 0.5  0.75 1.   1.  ]
    """
    check_numbers(peak_value=peak_value)
    return warmup(peak_value, warmup_steps, init_value)


def warmup_cosine_decay(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Length | Scalar,
    decay_steps: Length | Scalar,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Rise linearly, then fall along half a cosine.

    Args:
        init_value, peak_value, end_value: float[], in the unit of what is scheduled.
        warmup_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
        decay_steps: length of the whole, warm-up included, in the unit of `warmup_steps` and above it.
        exponent: float[], no unit, at least 0, of the cosine.
    Returns: a `Schedule`.
    Raises: ValueError on lengths of different units, or where the decay would end before it begins.
    Source: `optax.warmup_cosine_decay_schedule` (with a `peak_value` of 0 theirs stays 0).

    >>> print(np.asarray(warmup_cosine_decay(0.0, 1.0, warmup_steps=2, decay_steps=6)(np.arange(7))).round(2))
    [0.   0.5  1.   0.85 0.5  0.15 0.  ]
    """
    check_numbers(peak_value=peak_value)
    fall = cosine(peak_value, end_value, _rest(decay_steps, warmup_steps, "decay_steps", "warmup_steps"), exponent)
    return warmup(fall, warmup_steps, init_value)


def warmup_exponential_decay(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Length | Scalar,
    transition_steps: Length | Scalar,
    decay_rate: Scalar,
    transition_begin: Length | Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """Rise linearly, then fall exponentially.

    Args:
        init_value, peak_value: float[], in the unit of what is scheduled.
        warmup_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
        transition_steps, decay_rate, transition_begin, staircase, end_value: as in `exponential_decay`, counted from
            the end of the warm-up.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or rate, or a number that is not finite.
    Source: `optax.warmup_exponential_decay_schedule`.

    >>> print(warmup_exponential_decay(0.0, 1.0, 2, transition_steps=2, decay_rate=0.25)(np.arange(5)))
    [0.   0.5  1.   0.5  0.25]
    """
    check_numbers(peak_value=peak_value)
    fall = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return warmup(fall, warmup_steps, init_value)


def warmup_stable_decay(
    peak_value: Scalar,
    warmup_steps: Length | Scalar,
    stable_steps: Length | Scalar,
    decay_steps: Length | Scalar,
    end_value: Scalar = 0.0,
) -> Schedule:
    """Rise linearly from 0, stay, fall linearly.

    Args:
        peak_value, end_value: float[], in the unit of what is scheduled.
        warmup_steps, stable_steps, decay_steps: lengths of the three parts, at least 0; units may differ.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or a number that is not finite.
    Source: Hu et al. 2024, arXiv:2404.06395, section 4.2, with a linear decay; Hagele et al. 2024, arXiv:2405.18392.

    >>> print(warmup_stable_decay(1.0, 2, 2, 4)(np.arange(9)))
    [0.   0.5  1.   1.   1.   0.75 0.5  0.25 0.  ]
    """
    check_numbers(peak_value=peak_value, end_value=end_value)
    for name, steps in (("warmup_steps", warmup_steps), ("stable_steps", stable_steps), ("decay_steps", decay_steps)):
        check_length(name, steps)
    rise = linear(0.0, peak_value, warmup_steps)
    fall = linear(peak_value, end_value, decay_steps)
    return in_turn([rise, constant(peak_value), fall], [warmup_steps, stable_steps])


def inverse_sqrt(peak_value: Scalar, warmup_steps: Length | Scalar) -> Schedule:
    """Rise linearly from 0, then fall with the inverse square root of time.

    `s(t) = peak_value min(t / warmup_steps, sqrt(warmup_steps / t))`

    Args:
        peak_value: float[], reached at `warmup_steps`, in the unit of what is scheduled.
        warmup_steps: length, above 0: steps, `epochs(e)` or `fraction(f)`; a traced 0 keeps `peak_value`.
    Returns: a `Schedule`.
    Raises: ValueError on a length that is not positive or a number that is not finite.
    Source: Vaswani et al. 2017, arXiv:1706.03762, equation 3, with `peak_value = (width * warmup_steps)^-0.5`.

    >>> print(inverse_sqrt(1.0, 4)(np.array([0, 2, 4, 16])))
    [0.  0.5 1.  0.5]
    """
    check_numbers(peak_value=peak_value)
    check_length("warmup_steps", warmup_steps, above_0=True)
    return warmup(inverse_sqrt_decay(peak_value, warmup_steps), warmup_steps)


def cyclic(low: Scalar, high: Scalar, half_period: Length | Scalar, mode: str = "triangular") -> Schedule:
    """Up and down between two values in straight lines.

    Args:
        low, high: float[], in the unit of what is scheduled.
        half_period: length of a rise, and of a fall, above 0: steps, `epochs(e)` or `fraction(f)`.
        mode: "triangular" (all cycles alike) or "triangular2" (each half as high as the one before).
    Returns: a `Schedule`, which never ends.
    Raises: ValueError on an unknown mode, a number out of its range or not finite.
    Source: Smith 2017, arXiv:1506.01186, section 3; PyTorch's `CyclicLR(base_lr, max_lr, step_size_up, mode=...)`.

    >>> print(cyclic(0.0, 1.0, 2, mode="triangular2")(np.arange(8)))
    [0.   0.5  1.   0.5  0.   0.25 0.5  0.25]
    """
    return triangular(low, high, half_period, peak_multiplier=_CYCLES[one_of("mode", mode, _CYCLES)])


def piecewise_constant(init_value: Scalar, boundaries_and_scales: Levels | None = None) -> Schedule:
    """Level, and multiplied by a scale at each boundary.

    `s(t) = init_value prod_{i: t >= boundary_i} scale_i`

    Args:
        init_value: float[], in the unit of what is scheduled.
        boundaries_and_scales: length from the start of the run -> float[], at least 0; boundaries increase. Pairs in a
            list do as well as a dictionary, whose keys cannot be traced.
    Returns: a `Schedule`.
    Raises: ValueError when boundaries do not increase or a number is out of its range.
    Source: `optax.piecewise_constant_schedule`; PyTorch's `MultiStepLR` with one scale for all.

    >>> print(piecewise_constant(1.0, {2: 0.5, 4: 0.1})(np.arange(6)).round(3))
    [1.   1.   0.5  0.5  0.05 0.05]
    """
    boundaries, values = _levels(init_value, boundaries_and_scales)
    return join([constant(value) for value in values], boundaries)


def piecewise_interpolate(
    interpolate_type: str, init_value: Scalar, boundaries_and_scales: Levels | None = None
) -> Schedule:
    """From level to level in straight lines or half cosines, each level a scale times the one before.

    Args:
        interpolate_type: "linear" or "cosine".
        init_value: float[], in the unit of what is scheduled.
        boundaries_and_scales: as in `piecewise_constant`; boundaries are in one unit.
    Returns: a `Schedule`, level after the last boundary.
    Raises: ValueError on an unknown type, boundaries that do not increase, or a number out of its range.
    Source: `optax.piecewise_interpolate_schedule`.

    >>> print(piecewise_interpolate("linear", 1.0, {2: 0.5, 4: 2.0})(np.arange(6)))
    [1.   0.75 0.5  0.75 1.   1.  ]
    """
    between = {"linear": linear, "cosine": cosine}[one_of("interpolate_type", interpolate_type, ("linear", "cosine"))]
    boundaries, values = _levels(init_value, boundaries_and_scales)
    if not boundaries:
        return constant(init_value)
    name, of = "each boundary of boundaries_and_scales", "the one before it"
    lasting = [boundaries[0], *(_rest(b, a, name, of) for a, b in pairwise(boundaries))]
    parts = [between(a, b, length) for (a, b), length in zip(pairwise(values), lasting, strict=True)]
    return in_turn(parts, lasting[:-1])


def cosine_onecycle(
    transition_steps: Length | Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> Schedule:
    """Up and down along half cosines, once.

    From `peak_value / div_factor` up to `peak_value` and down to `peak_value / (div_factor final_div_factor)`.

    Args:
        transition_steps: length of the whole, above 0: steps, `epochs(e)` or `fraction(f)`.
        peak_value: float[], in the unit of what is scheduled.
        pct_start: float[], no unit, in (0, 1), the share of the rise; its end is rounded down to a whole step.
        div_factor, final_div_factor: float[], no unit, above 0.
    Returns: a `Schedule`.
    Raises: ValueError on a number out of its range or not finite.
    Source: Smith & Topin 2018, arXiv:1708.07120; `optax.cosine_onecycle_schedule`; PyTorch's `OneCycleLR` ends its
        rise and its fall a step earlier.

    >>> print(cosine_onecycle(10, 1.0, pct_start=0.5)(np.array([0, 5, 10])))
    [4.e-02 1.e+00 4.e-06]
    """
    check_numbers(peak_value=peak_value)
    _check_onecycle(transition_steps, pct_start=pct_start, div_factor=div_factor, final_div_factor=final_div_factor)
    up, whole = _steps(transition_steps, pct_start), _steps(transition_steps, 1.0)
    first, down = peak_value / div_factor, _rest(whole, up, "transition_steps", "the end of the rise")
    return in_turn([cosine(first, peak_value, up), cosine(peak_value, first / final_div_factor, down)], [up])


def linear_onecycle(
    transition_steps: Length | Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    pct_final: Scalar = 0.85,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> Schedule:
    """Up and down in straight lines, once, then further down.

    From `peak_value / div_factor` up to `peak_value`, back, and down to `peak_value / (div_factor final_div_factor)`.

    Args:
        transition_steps: length of the whole, above 0: steps, `epochs(e)` or `fraction(f)`.
        peak_value: float[], in the unit of what is scheduled.
        pct_start, pct_final: float[], no unit, in (0, 1) and increasing: shares of the whole at which the rise and the
            fall end, rounded down to whole steps.
        div_factor, final_div_factor: float[], no unit, above 0.
    Returns: a `Schedule`.
    Raises: ValueError on a number out of its range or not finite.
    Source: Smith & Topin 2018, arXiv:1708.07120, figure 1; `optax.linear_onecycle_schedule`; PyTorch's
        `OneCycleLR(anneal_strategy="linear", three_phase=True)` ends its parts a step earlier.

    >>> print(linear_onecycle(10, 1.0, pct_start=0.5, pct_final=0.8)(np.array([0, 5, 8, 10])))
    [4.e-02 1.e+00 4.e-02 4.e-06]
    """
    check_numbers(peak_value=peak_value)
    shares = {"pct_start": pct_start, "pct_final": pct_final}
    _check_onecycle(transition_steps, **shares, div_factor=div_factor, final_div_factor=final_div_factor)
    if is_concrete(pct_start) and is_concrete(pct_final):
        require(pct_start < pct_final, f"pct_final must be above pct_start, {pct_start}, got {pct_final}")
    up, down = _steps(transition_steps, pct_start), _steps(transition_steps, pct_final)
    first = peak_value / div_factor
    fall = _rest(down, up, "the step of pct_final", "that of pct_start")
    last = _rest(_steps(transition_steps, 1.0), down, "transition_steps", "the step of pct_final")
    parts = [linear(first, peak_value, up), linear(peak_value, first, fall)]
    return in_turn([*parts, linear(first, first / final_div_factor, last)], [up, fall])


def sgdr(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Warm-up and cosine decay, one after another, each written out.

    Args:
        cosine_kwargs: arguments of `warmup_cosine_decay` for each cycle, at least one; a cycle lasts its `decay_steps`.
    Returns: a `Schedule`, level after the last cycle.
    Raises: ValueError when there is no cycle, or an argument is missing, unknown or out of its range.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983; `optax.sgdr_schedule`; `cosine_restarts` takes five numbers.

    >>> cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 4}
    >>> print(np.asarray(sgdr([cycle, cycle | {"peak_value": 0.5}])(np.arange(8))).round(2))
    [0.   0.5  1.   0.5  0.   0.25 0.5  0.25]
    """
    parts, lasting = [], []
    defaults = {"end_value": 0.0, "exponent": 1.0}
    for place, cycle in enumerate(cosine_kwargs):
        name = f"cosine_kwargs[{place}]"
        for argument in cycle:
            one_of(f"argument of {name}", argument, [*_WARMUP_COSINE_DECAY, *defaults])
        missing = [argument for argument in _WARMUP_COSINE_DECAY if argument not in cycle]
        require(not missing, f"{name} must hold {', '.join(missing)}, got {dict(cycle)}")
        given = defaults | dict(cycle)
        check_numbers(peak_value=given["peak_value"])
        check_length("warmup_steps", given["warmup_steps"])
        rise, whole = given["warmup_steps"], given["decay_steps"]
        fall = _rest(whole, rise, f"decay_steps of {name}", "its warmup_steps")
        parts.append(linear(given["init_value"], given["peak_value"], rise))
        parts.append(cosine(given["peak_value"], given["end_value"], fall, given["exponent"]))
        lasting += [rise, fall]
    if not parts:
        raise ValueError("cosine_kwargs must hold the arguments of at least one cycle, got none")
    return in_turn(parts, lasting[:-1])


def _levels(init_value: Scalar, boundaries_and_scales: Levels | None) -> tuple[list[Any], list[Any]]:
    given = boundaries_and_scales or []
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    values = [init_value]
    for boundary, scale in pairs:
        within(f"scale at {boundary}", scale, 0.0)
        values.append(values[-1] * scale)
    boundaries = [boundary for boundary, _ in pairs]
    check_boundaries("boundaries of boundaries_and_scales", boundaries)
    return boundaries, values


def _rest(whole: Any, part: Any, name: str, of: str) -> Any:
    """What is left of a length, called `name`, after a part of it, called `of`."""
    if not isinstance(part, Length) and is_concrete(part) and part == 0:
        return whole
    if unit_of(whole) != unit_of(part):
        raise ValueError(f"{name} must be in one unit with {of}, {part!r}, got {whole!r}")
    a, b = value_of(whole), value_of(part)
    if is_concrete(a) and is_concrete(b):
        require(a > b, f"{name} must be above {of}, {part!r}, got {whole!r}")
    return Length(a - b, whole.unit) if isinstance(whole, Length) else a - b


def _steps(length: Any, share: Any) -> Any:
    """A share of a length, in whole steps where it is in steps."""
    part = scaled(length, share)
    if isinstance(part, Length):
        return part
    return float(np.floor(part)) if on_host(part) else jnp.floor(part)


def _check_onecycle(transition_steps: Any, **numbers: Any) -> None:
    check_length("transition_steps", transition_steps, above_0=True)
    for name, number in numbers.items():
        within(name, number, 0.0, open_low=True)
        below = not name.startswith("pct") or not is_concrete(number) or number < 1
        require(below, f"{name} must be a number in (0, 1), got {number!r}")
