"""Losses of two operands in tables, one a kind of target, so that the choice among them can be data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import nearest, one_number, one_of, require
from hyperjax.losses.binary import binary_cross_entropy, binary_focal, zero_one_hinge
from hyperjax.losses.classes import cross_entropy, focal, multiclass_hinge, one_hot_squared_error
from hyperjax.losses.masks import dice, tversky
from hyperjax.losses.real import absolute_error, huber, log_cosh, quantile, squared_error
from hyperjax.types import Array, Scalar

Target = Literal["classes", "binary", "real", "mask"]


class Number(NamedTuple):
    """A number that a loss reads: its name, the default and the range [low, high) of concrete values."""

    name: str
    default: float
    low: float
    high: float


class Row(NamedTuple):
    """A loss `(predictions, targets, *numbers, where=None)`, and the number it reads, if any."""

    function: Callable[..., Array]
    number: Number | None = None


class Loss(Protocol):
    """What `select` returns."""

    def __call__(
        self, predictions: Any, targets: Any, numbers: Mapping[str, Scalar] | None = None, where: Any = None
    ) -> Array: ...


_SMOOTHING = Number("label_smoothing", 0.0, 0.0, 1.0)
_GAMMA = Number("gamma", 2.0, 0.0, np.inf)
LOSSES: dict[Target, dict[str, Row]] = {
    "classes": {
        "cross_entropy": Row(cross_entropy, _SMOOTHING),
        "focal": Row(focal, _GAMMA),
        "multiclass_hinge": Row(multiclass_hinge),
        "squared_error": Row(one_hot_squared_error),
    },
    "binary": {
        "binary_cross_entropy": Row(binary_cross_entropy, _SMOOTHING),
        "binary_focal": Row(binary_focal, _GAMMA),
        "hinge": Row(zero_one_hinge),
    },
    "real": {
        "squared_error": Row(squared_error),
        "absolute_error": Row(absolute_error),
        "huber": Row(huber, Number("delta", 1.0, 1e-30, np.inf)),
        "log_cosh": Row(log_cosh),
        "quantile": Row(quantile, Number("level", 0.5, 0.0, 1.0)),
    },
    "mask": {
        "dice": Row(dice, Number("smooth", 1.0, 0.0, np.inf)),
        "tversky": Row(tversky, Number("alpha", 0.5, 0.0, 1.0)),
        "binary_cross_entropy": Row(binary_cross_entropy, _SMOOTHING),
        "binary_focal": Row(binary_focal, _GAMMA),
    },
}


def select(index: Any, names: Sequence[str], kind: Target) -> Loss:
    """The loss at `index` among `names`, as one function: called directly when there is one name, else by a switch.

    Args:
        index: int32[], into `names`; may be traced, so that members of a population differ in it.
        names: keys of `LOSSES[kind]`, at least one.
        kind: "classes" (integer labels or probabilities), "binary" (0 or 1, a logit each), "real", or "mask" (binary
            entries that some of its losses judge together).
    Returns: `loss(predictions, targets, numbers=None, where=None)` -> float[examples]; `numbers` maps a number's
        name to its value, absent ones take the table's default.
    Raises: ValueError on an unknown kind or name or a concrete index out of range; from the returned function, on a
        number that none of them reads.
    Source: written for this library.

    >>> loss = select(1, ["cross_entropy", "squared_error"], "classes")
    >>> print(loss(jnp.array([[1.0, 0.0]]), jnp.array([1]), {"label_smoothing": 0.1}))
    [1.]
    """
    table = LOSSES[kind] if one_of("kind", kind, LOSSES) else {}
    if isinstance(names, str) or not names:
        raise ValueError(f"names must be a sequence of at least one loss of {', '.join(table)}, got {names!r}")
    rows = [table[one_of("loss", name, table)] for name in names]
    if not isinstance(index, jax.core.Tracer):
        require((index >= 0) & (index < len(rows)), f"index must be in [0, {len(rows)}), got {index}")
    read = {row.number.name: row.number for row in rows if row.number}

    def loss(predictions: Any, targets: Any, numbers: Mapping[str, Scalar] | None = None, where: Any = None) -> Array:
        given = dict(numbers or {})
        for name in given:
            if name not in read:
                known = f"one of {', '.join(read)}" if read else "absent"
                raise ValueError(f"numbers of {', '.join(names)} must be {known}, got {name!r}{nearest(name, read)}")
            one_number(name, given[name], read[name].low, read[name].high)
        values = {name: number.default for name, number in read.items()} | given
        if len(rows) == 1:
            return _apply(rows[0], predictions, targets, values, where)
        # One loss's type for all branches; the numbers go in as operands, since they may be a member's own.
        operands = (jnp.asarray(predictions), jnp.asarray(targets), values, where)
        branches = [lambda *each, row=row: _apply(row, *each) for row in rows]
        chosen: Array = jax.lax.switch(jnp.asarray(index, np.int32), branches, *operands)
        return chosen

    return loss


def _apply(row: Row, predictions: Any, targets: Any, values: Mapping[str, Scalar], where: Any) -> Array:
    numbers = (values[row.number.name],) if row.number else ()
    result: Array = row.function(predictions, targets, *numbers, where=where)
    return result
