"""Argument checks that raise on concrete values and let tracers through."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np


def require(condition: Any, message: str) -> None:
    """Raise `ValueError(message)` when a concrete condition is false anywhere; a traced one passes.

    >>> require(1 > 0, "never shown")
    >>> require(-0.1 >= 0, "decay must be at least 0, got -0.1")
    Traceback (most recent call last):
    ...
    ValueError: decay must be at least 0, got -0.1
    """
    if not isinstance(condition, jax.core.Tracer) and not np.all(condition):
        raise ValueError(message)


def is_concrete(value: Any) -> bool:
    """True when `value` is a number whose value is known now: neither a tracer nor a schedule.

    >>> is_concrete(0.1), is_concrete(lambda step: 0.1)
    (True, False)
    """
    return not isinstance(value, jax.core.Tracer) and not callable(value) and value is not None


def within(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Require a concrete number (or every entry of a concrete array) to be finite and in [low, high].

    Args:
        name: the argument's name, for the message.
        value: number or array; tracers and callables (schedules) pass unchecked.
        low, high: the range; infinite bounds are no bounds.
        open_low, open_high: exclude `low` or `high` itself.
    Raises: ValueError that names the argument, the range and what arrived.

    >>> within("rate", 2.0, 0.0, 1.0)
    Traceback (most recent call last):
    ...
    ValueError: rate must be a number in [0, 1], got 2.0
    """
    if type(value) in (int, float):  # what most are: no arrays for them
        above, below = (value > low if open_low else value >= low), (value < high if open_high else value <= high)
        if above and below and -math.inf < value < math.inf:
            return
    elif not is_concrete(value):
        return
    described = f"{_described(name, low, high, open_low, open_high)}{value!r}"
    kind = np.asarray(value).dtype
    numeric = jax.numpy.issubdtype(kind, jax.numpy.number)  # JAX's own, which knows bfloat16
    require(numeric and not isinstance(value, bool), described)
    array = np.asarray(value, np.float64)
    above = array > low if open_low else array >= low
    below = array < high if open_high else array <= high
    require(np.isfinite(array) & above & below, described)


def _described(name: str, low: float, high: float, open_low: bool, open_high: bool) -> str:
    bracket = "(" if open_low or low == -np.inf else "["
    close = ")" if open_high or high == np.inf else "]"
    return f"{name} must be a number in {bracket}{low:g}, {high:g}{close}, got "


def one_number(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Require a single number, traced or not, and a concrete one to be finite and in range.

    Args:
        name, value, low, high, open_low, open_high: as in `within`, but no schedules and no arrays of several numbers.
    Raises: ValueError that names the argument, the range and what arrived.

    >>> one_number("rate", None, 0.0, 1.0, open_high=True)
    Traceback (most recent call last):
    ...
    ValueError: rate must be a number in [0, 1), got None
    """
    described = _described(name, low, high, open_low, open_high)
    if isinstance(value, jax.core.Tracer):
        require(value.ndim == 0, f"{described}an array of shape {value.shape}")
        return
    array = np.asarray(value)
    numeric = jax.numpy.issubdtype(array.dtype, jax.numpy.number) and not jax.numpy.iscomplexobj(array)
    require(numeric and array.ndim == 0, f"{described}{value!r}")
    within(name, value, low, high, open_low=open_low, open_high=open_high)


def whole_number(name: str, value: Any, low: int) -> None:
    """Require a concrete number to be whole and at least `low`, of whatever type; tracers and schedules pass.

    >>> whole_number("patience", 2.5, 1)
    Traceback (most recent call last):
    ...
    ValueError: patience must be a whole number of at least 1, got 2.5
    """
    within(name, value, low)
    whole = not is_concrete(value) or np.asarray(value, np.float64) % 1 == 0
    require(whole, f"{name} must be a whole number of at least {low}, got {value!r}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` for the closest allowed name, or nothing when none is close.

    >>> nearest("adan", ["adam", "sgd"])
    "; did you mean 'adam'?"
    """
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_of(argument: str, value: Any, allowed: Iterable[str]) -> str:
    """Return `value` if it is an allowed name, else raise a ValueError that lists them and suggests the nearest.

    >>> one_of("optimizer", "adan", ["adam", "sgd"])
    Traceback (most recent call last):
    ...
    ValueError: optimizer must be one of adam, sgd, got 'adan'; did you mean 'adam'?
    """
    names = list(allowed)
    if isinstance(value, str) and value in names:
        return value
    hint = nearest(value, names) if isinstance(value, str) else ""
    raise ValueError(f"{argument} must be one of {', '.join(names)}, got {value!r}{hint}")


def positive_integer(name: str, value: Any) -> int:
    """Return `value` as an int if it is a whole number of at least 1, else raise a ValueError.

    >>> positive_integer("trials", 3)
    3
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)
