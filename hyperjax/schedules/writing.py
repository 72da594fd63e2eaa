"""How a schedule is written: as a dictionary for JSON, and as the call that would make it."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hyperjax.schedules.kinds import KINDS, Column
from hyperjax.schedules.lengths import Length, Unit

if TYPE_CHECKING:
    from hyperjax.schedules.schedule import Schedule


def to_dict(schedule: "Schedule") -> dict[str, Any]:
    """See `Schedule.to_dict`."""
    if not _is_known(schedule):
        raise ValueError(f"schedule must be a single one of known values to be written, got {schedule!r}")
    pieces = []
    for piece in _own_pieces(schedule):
        written = {"kind": _kind(schedule, piece), "start": _write_length(_start(schedule, piece))}
        anchor = _anchor(schedule, piece)
        if anchor > 0:  # the first piece begins with the run
            written["after"] = _own_pieces(schedule).index(anchor)
        written["arguments"] = {
            column.name: _write_length(value) if column.role == "length" else value
            for column, value in _arguments(schedule, piece)
        }
        pieces.append(written)
    dtype = schedule.numbers.dtype.name
    return {"pieces": pieces} if dtype == "float64" else {"pieces": pieces, "dtype": dtype}


def to_text(schedule: "Schedule") -> str:
    """The call that makes the schedule, without the arguments at their defaults."""
    if not _is_known(schedule):
        return (
            f"Schedule(table={schedule.table}, starts: {_shape(schedule.starts)}, numbers: {_shape(schedule.numbers)})"
        )
    calls, boundaries = [], []
    for piece in _own_pieces(schedule):
        shown = [(column, value) for column, value in _arguments(schedule, piece) if not _is_default(column, value)]
        calls.append(f"{_kind(schedule, piece)}({', '.join(f'{c.name}={_show(v)}' for c, v in shown)})")
        after = f" after piece {_anchor(schedule, piece)}" if _anchor(schedule, piece) > 0 else ""
        boundaries.append(_show(_start(schedule, piece)) + after)
    if len(calls) == 1:
        return calls[0]
    return f"join([{', '.join(calls)}], [{', '.join(boundaries[1:])}])"


def _is_known(schedule: "Schedule") -> bool:
    leaves = [schedule.kinds, schedule.numbers, schedule.lengths, schedule.starts]
    concrete = all(isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves)
    return concrete and not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) and np.ndim(leaves[-1]) == 1


def _own_pieces(schedule: "Schedule") -> list[int]:
    """Indices of the pieces that are not padding."""
    return [int(piece) for piece in np.flatnonzero(np.isfinite(np.asarray(schedule.starts, np.float64)))]


def _kind(schedule: "Schedule", piece: int) -> str:
    return schedule.table[int(schedule.kinds[piece])]


def _anchor(schedule: "Schedule", piece: int) -> int:
    return schedule.units[piece].anchor if schedule.units else -1


def _start(schedule: "Schedule", piece: int) -> Any:
    return _length(schedule.starts[piece], schedule.units[piece].start if schedule.units else "steps")


def _arguments(schedule: "Schedule", piece: int) -> list[tuple[Column, Any]]:
    """Columns of a piece in the order of the constructor, with values as its arguments take them."""
    kind = KINDS[_kind(schedule, piece)]
    lengths = iter(enumerate(np.asarray(schedule.lengths[piece], np.float64)))
    numbers = iter(np.asarray(schedule.numbers[piece], np.float64))
    found: list[tuple[Column, Any]] = []
    for column in kind.columns:
        if column.role == "length":
            index, value = next(lengths)
            unit = schedule.units[piece].lengths[index] if schedule.units else "steps"
            found.append((column, _length(value, unit)))
            continue
        number = float(next(numbers))
        if column.role == "optional" and not np.isfinite(number):
            found.append((column, None))
        else:
            found.append((column, bool(number) if column.role == "flag" and number in (0.0, 1.0) else number))
    return found


def _length(value: Any, unit: Unit) -> Any:
    return float(value) if unit == "steps" else Length(float(value), unit)


def _write_length(length: Any) -> Any:
    return {length.unit: length.value} if isinstance(length, Length) else length


def _is_default(column: Column, value: Any) -> bool:
    return bool(value is column.default or (not isinstance(value, Length) and value == column.default))


def _show(value: Any) -> str:
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return repr(value)


def _shape(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "shape") else repr(leaf)
