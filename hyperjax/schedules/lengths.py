"""Lengths of time in steps, epochs or fractions of the run, and how the last two become steps."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import is_concrete, require, within
from hyperjax.schedules.leaves import namespace, on_host, row
from hyperjax.types import Scalar

Unit = Literal["steps", "epochs", "fraction"]


@partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=["unit"])
@dataclass(frozen=True)
class Length:
    """A length that is not yet in steps; made by `epochs` and `fraction`.

    Args:
        value: float[], in `unit`, at least 0; may be traced.
        unit: "epochs" or "fraction".
    """

    value: Any
    unit: Unit

    def __repr__(self) -> str:
        return f"{self.unit}({self.value:g})" if on_host(self.value) else f"{self.unit}({self.value})"


def epochs(count: Scalar) -> Length:
    """A length of `count` passes over the training data, accepted wherever a length in steps is.

    Args:
        count: float[], epochs, at least 0; need not be whole.
    Returns: a `Length`, which `Schedule.resolve` or `to_steps` turns into steps.
    Raises: ValueError on a concrete count that is negative or not finite.
    Source: written for this library.

    >>> epochs(30)
    epochs(30)
    """
    within("epochs", count, 0.0)
    return Length(count, "epochs")


def fraction(part: Scalar) -> Length:
    """A length of `part` times the run's total number of steps, accepted wherever a length in steps is.

    Args:
        part: float[], no unit, in [0, 1].
    Returns: a `Length`, which `Schedule.resolve` or `to_steps` turns into steps.
    Raises: ValueError on a concrete part outside [0, 1].
    Source: written for this library.

    >>> fraction(0.1)
    fraction(0.1)
    """
    within("fraction", part, 0.0, 1.0)
    return Length(part, "fraction")


def to_steps(length: Length | Scalar, epoch_starts: Any, start: Scalar = 0.0) -> Any:
    """The number of steps that `length` lasts when it begins at step `start`.

    Epochs: `S(E(start) + e) - start`, where `S` interpolates `epoch_starts` linearly inside an epoch and goes on
    with the last epoch's length beyond the end, and `E` is its inverse. Fractions: `f * epoch_starts[-1]`.

    Args:
        length: float[] in steps (returned as it is), `epochs(e)` or `fraction(f)`.
        epoch_starts: float[E+1], steps; the first step of each epoch and, last, the end of the run.
        start: float[], steps, where the length begins.
    Returns: float[], steps; a Python float when everything is on the host.
    Raises: ValueError when concrete `epoch_starts` do not increase or hold fewer than two entries.
    Source: written for this library.

    >>> to_steps(epochs(2), [0, 10, 20, 30]), to_steps(fraction(0.5), [0, 10, 20, 30]), to_steps(7, [0, 10])
    (20.0, 15.0, 7)
    """
    if not isinstance(length, Length):
        return length
    starts = check_epoch_starts(epoch_starts)
    xp = namespace(length.value, starts, start)
    if length.unit == "fraction":
        return _whole(length.value * starts[-1])
    last = starts.shape[0] - 2  # index of the last epoch
    starts = xp.asarray(starts)
    here = xp.clip(xp.searchsorted(starts, xp.asarray(start, starts.dtype), side="right") - 1, 0, last)
    size = starts[here + 1] - starts[here]
    position = here + (start - starts[here]) / xp.where(size > 0, size, 1)
    there = position + length.value
    whole = xp.clip(xp.floor(there), 0, last).astype(np.int32)
    end = starts[whole] + (there - whole) * (starts[whole + 1] - starts[whole])
    return _whole(end - start)


def is_resolved(length: Any) -> bool:
    """True when a length, or every length of a schedule, is in steps.

    >>> is_resolved(10), is_resolved(epochs(1))
    (True, False)
    """
    return bool(getattr(length, "is_resolved", not isinstance(length, Length)))


def unit_of(length: Any) -> Unit:
    """The unit that a length is in.

    >>> unit_of(10), unit_of(epochs(1))
    ('steps', 'epochs')
    """
    return length.unit if isinstance(length, Length) else "steps"


def value_of(length: Any) -> Any:
    """The number of a length, in its unit.

    >>> value_of(10), value_of(epochs(1))
    (10, 1)
    """
    return length.value if isinstance(length, Length) else length


def scaled(length: Length | Scalar, factor: float) -> Any:
    """`factor` times a length, in the same unit.

    >>> scaled(epochs(30), 0.5), scaled(10, 0.5)
    (epochs(15), 5.0)
    """
    return Length(length.value * factor, length.unit) if isinstance(length, Length) else length * factor


def check_epoch_starts(epoch_starts: Any) -> Any:
    """`epoch_starts` as a float array (NumPy float64 from host values), checked where concrete."""
    if isinstance(epoch_starts, list | tuple):
        epoch_starts = row(epoch_starts, time=True)
    if on_host(epoch_starts):
        epoch_starts = np.asarray(epoch_starts, np.float64)
    else:
        epoch_starts = jnp.asarray(epoch_starts, jnp.promote_types(jnp.result_type(epoch_starts, float), jnp.float32))
    require(
        epoch_starts.ndim == 1 and epoch_starts.shape[0] >= 2,
        f"epoch_starts must be an array of at least two steps (each epoch's start, then the end), "
        f"got shape {epoch_starts.shape}",
    )
    if is_concrete(epoch_starts):
        within("epoch_starts", epoch_starts)
        increasing = np.all(np.diff(np.asarray(epoch_starts)) > 0)
        require(increasing, f"epoch_starts must increase from entry to entry, got {epoch_starts}")
    return epoch_starts


def _whole(steps: Any) -> Any:
    """On the host, undo what rounding did to a whole number of steps: a boundary must not come one step late."""
    if not on_host(steps):
        return steps
    nearest = float(np.round(steps))
    return nearest if abs(steps - nearest) <= 1e-9 * max(1.0, nearest) else float(steps)
