"""Build schedules: one checked piece, several joined in time, several stacked into one pytree."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hyperjax.checks import is_concrete, one_of, within
from hyperjax.schedules.kinds import KINDS, UNBOUNDED, Column
from hyperjax.schedules.leaves import concatenate, namespace, on_host, row
from hyperjax.schedules.lengths import Length, Unit, unit_of, value_of
from hyperjax.schedules.schedule import Schedule, Units
from hyperjax.types import Scalar


def piece(kind: str, **arguments: Any) -> Schedule:
    """A schedule of one piece, from the arguments of its kind, all of them present and checked."""
    columns = KINDS[kind].columns
    for column in columns:
        _check(column, arguments[column.name])
    times = [arguments[column.name] for column in columns if column.role == "length"]
    numbers = [
        UNBOUNDED if column.role == "optional" and arguments[column.name] is None else arguments[column.name]
        for column in columns
        if column.role != "length"
    ]
    numbers = [float(value) if isinstance(value, bool) else value for value in numbers]
    units = tuple(unit_of(time) for time in times)
    return Schedule(
        kinds=np.zeros(1, np.int32),
        numbers=row(numbers)[None],
        lengths=row([value_of(time) for time in times], time=True)[None],
        starts=np.zeros(1),
        table=(kind,),
        units=(Units(-1, "steps", units),) if any(unit != "steps" for unit in units) else (),
    )


def as_schedule(value: Schedule | Scalar) -> Schedule:
    """A schedule as it is; a bare number as a constant one.

    >>> as_schedule(0.1)
    constant(value=0.1)
    """
    return value if isinstance(value, Schedule) else piece("constant", value=value)


def join(schedules: Sequence[Schedule | Scalar], boundaries: Sequence[Length | Scalar]) -> Schedule:
    """One schedule after another; each counts its steps from its own beginning.

    `s(t) = s_i(t - b_i)` for the last `i` with `t >= b_i`, where `b_0 = 0`.

    Args:
        schedules: at least one; bare numbers are constants.
        boundaries: one fewer, lengths from the start of the run, increasing; steps, `epochs(e)` or `fraction(f)`.
    Returns: a `Schedule`.
    Raises: ValueError when their numbers do not match, or concrete boundaries of one unit do not increase.
    Source: `optax.join_schedules`; PyTorch's `SequentialLR`.

    >>> from hyperjax.schedules import constant, linear
    >>> print(join([constant(1.0), linear(1.0, 0.0, 2)], [2])(np.arange(5)))
    [1.  1.  1.  0.5 0. ]
    """
    if not schedules or len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"boundaries must be one fewer than schedules, got {len(boundaries)} for {len(schedules)} schedules"
        )
    check_boundaries("boundaries", boundaries)
    return _chain([as_schedule(each) for each in schedules], [0.0, *boundaries], [-1] * len(schedules))


def in_turn(parts: Sequence[Schedule], lasting: Sequence[Length | Scalar]) -> Schedule:
    """Schedules of one piece, one after another; each but the last lasts as long as said, in any unit.

    >>> from hyperjax.schedules import constant
    >>> print(in_turn([constant(1.0), constant(2.0), constant(3.0)], [2, 2])(np.arange(5)))
    [1. 1. 2. 2. 3.]
    """
    if all(part.is_resolved for part in parts) and all(unit_of(length) == "steps" for length in lasting):
        starts: list[Any] = [0.0]
        for length in lasting:
            starts.append(starts[-1] + length)
        return _chain(parts, starts, [-1] * len(parts))
    return _chain(parts, [0.0, *lasting], [-1, *range(len(lasting))])


def warmup(schedule: Schedule | Scalar, warmup_steps: Length | Scalar, init_value: Scalar = 0.0) -> Schedule:
    """Rise linearly to a schedule's first value, then follow the schedule from its beginning.

    `s(t) = init_value + (schedule(0) - init_value) t / warmup_steps` before `warmup_steps`, then
    `schedule(t - warmup_steps)`. With 0 steps, also traced, it is the schedule itself.

    Args:
        schedule: what follows; a bare number is a constant.
        warmup_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
        init_value: float[], the value at step 0, in the schedule's unit.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or a number that is not finite.
    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2; optax's `warmup_*` schedules, any schedule after it.

    >>> print(warmup(1.0, 4)(np.arange(6)))
    [0.   0.25 0.5  0.75 1.   1.  ]
    """
    check_length("warmup_steps", warmup_steps)
    after = as_schedule(schedule)
    rise = piece(
        "linear",
        init_value=init_value,
        end_value=_first_value(after),
        transition_steps=warmup_steps,
        transition_begin=0,
    )
    return _chain([rise, after], [0.0, warmup_steps], [-1, -1])


def stack(schedules: Sequence[Schedule | Scalar]) -> Schedule:
    """Schedules of any kinds and numbers of pieces as one pytree with a leading axis, to be mapped over.

    Args:
        schedules: at least one; bare numbers are constants.
    Returns: a `Schedule` whose leaves have a leading axis of their number.
    Raises: ValueError when some are still in epochs or fractions in another way than the rest.
    Source: written for this library.

    >>> from hyperjax.schedules import linear
    >>> both = stack([0.5, linear(1.0, 0.0, 4)])
    >>> print(jax.vmap(lambda schedule: schedule(1))(both))
    [0.5  0.75]
    """
    if not schedules:
        raise ValueError("schedules must hold at least one schedule or number, got none")
    found = [as_schedule(each) for each in schedules]
    table, pieces = common_form(found)
    wide = [each.widen(table, pieces) for each in found]
    if any(each.units != wide[0].units for each in wide):
        raise ValueError("schedules must agree on where epochs and fractions occur to be stacked: resolve them first")
    return Schedule(
        kinds=concatenate_kinds([each.kinds[None] for each in wide]),
        numbers=concatenate([each.numbers[None] for each in wide]),
        lengths=concatenate([each.lengths[None] for each in wide], time=True),
        starts=concatenate([each.starts[None] for each in wide], time=True),
        table=table,
        units=wide[0].units,
    )


def common_form(schedules: Sequence[Schedule]) -> tuple[tuple[str, ...], int]:
    """The least `table` and number of `pieces` that all these schedules can be widened to.

    >>> from hyperjax.schedules import constant, linear
    >>> common_form([constant(1.0), warmup(1.0, 10)])
    (('constant', 'linear'), 2)
    """
    used = {name for schedule in schedules for name in schedule.table}
    return tuple(name for name in KINDS if name in used), max(schedule.pieces for schedule in schedules)


def from_dict(written: dict[str, Any]) -> Schedule:
    """See `Schedule.from_dict`."""
    if not isinstance(written, dict) or not written.get("pieces") or not set(written) <= {"pieces", "dtype"}:
        raise ValueError(f"a written schedule must be a dictionary with a list of pieces, got {written!r}")
    parts, starts, anchors = [], [], []
    for each in written["pieces"]:
        if not isinstance(each, dict):
            raise ValueError(f"a written piece must be a dictionary, got {each!r}")
        columns = KINDS[one_of("kind", each.get("kind"), KINDS)].columns
        arguments = each.get("arguments")
        if not isinstance(arguments, dict) or set(arguments) != {column.name for column in columns}:
            raise ValueError(f"arguments of {each['kind']} must be {[c.name for c in columns]}, got {arguments!r}")
        read = {c.name: _read_length(arguments[c.name]) if c.role == "length" else arguments[c.name] for c in columns}
        parts.append(piece(each["kind"], **read))
        starts.append(_read_length(each.get("start")))
        check_length("start", starts[-1])
        anchors.append(each.get("after", -1))
        if not isinstance(anchors[-1], int) or not -1 <= anchors[-1] < len(parts) - 1:
            raise ValueError(f"after must be the index of an earlier piece, got {anchors[-1]!r}")
    schedule = _chain(parts, starts, anchors)
    dtype = one_of("dtype", written.get("dtype", "float64"), ("float64", "float32", "bfloat16", "float16"))
    return Schedule(
        schedule.kinds,
        schedule.numbers.astype(jax.numpy.dtype(dtype)),
        schedule.lengths,
        schedule.starts,
        schedule.table,
        schedule.units,
    )


def _chain(parts: Sequence[Schedule], starts: Sequence[Length | Scalar], anchors: Sequence[int]) -> Schedule:
    """Put schedules one after another, each at its start, counted from the piece that its anchor names."""
    table, _ = common_form(parts)
    wide = [part.widen(table, part.pieces) for part in parts]
    first_piece = np.cumsum([0] + [part.pieces for part in wide])
    kinds = concatenate_kinds([part.kinds for part in wide])
    numbers = concatenate([part.numbers for part in wide])
    lengths = concatenate([part.lengths for part in wide], time=True)
    if all(part.is_resolved for part in wide) and all(unit_of(start) == "steps" for start in starts):
        if any(anchor >= 0 for anchor in anchors):
            raise ValueError(f"after must not be given where every start is in steps, got {list(anchors)}")
        absolute = [part.starts + start for part, start in zip(wide, starts, strict=True)]
        return Schedule(kinds, numbers, lengths, concatenate(absolute, time=True), table)
    units: list[Units] = []
    raw: list[Any] = []
    for part, start, anchor, offset in zip(wide, starts, anchors, first_piece, strict=False):
        own = part.units or (Units(-1, "steps", ("steps",) * lengths.shape[1]),) * part.pieces
        units.append(own[0]._replace(anchor=int(anchor), start=unit_of(start)))
        # The pieces within a part count from its own beginning, whatever unit that is in.
        moved = [int(offset + max(unit.anchor, 0)) for unit in own[1:]]
        units += [unit._replace(anchor=anchor or -1) for unit, anchor in zip(own[1:], moved, strict=True)]
        raw += [row([value_of(start)], time=True), part.starts[1:]]
    return Schedule(kinds, numbers, lengths, concatenate(raw, time=True), table, tuple(units))


def concatenate_kinds(arrays: Sequence[Any]) -> Any:
    """Concatenate int32 arrays, on the host where all of them are there."""
    return namespace(*arrays).concatenate(arrays).astype(np.int32)


def _first_value(schedule: Schedule) -> Any:
    """The value at step 0: the first number of the piece that is in force there."""
    xp = namespace(schedule.starts)
    starts: list[Any] = []  # from the start of the run; units mix, but only whether it is 0 matters
    for index in range(schedule.pieces):
        anchor = schedule.units[index].anchor if schedule.units else -1
        starts.append(schedule.starts[index] + (starts[anchor] if anchor >= 0 else 0.0))
    if schedule.pieces == 1:
        return schedule.numbers[0, 0]
    begun = xp.stack([xp.asarray(start <= 0) for start in starts])
    first = xp.max(xp.where(begun, np.arange(schedule.pieces), 0))
    numbers = schedule.numbers if on_host(first) else jax.numpy.asarray(schedule.numbers)
    return numbers[first, 0]


def check_length(name: str, value: Any, *, above_0: bool = False) -> None:
    """Require a length of at least 0, or above it."""
    _check(Column(name, "length", low=0.0, open_low=above_0), value)


def check_boundaries(name: str, boundaries: Sequence[Length | Scalar]) -> None:
    """Require lengths of which those in one unit increase."""
    latest: dict[Unit, float] = {}
    for boundary in boundaries:
        check_length(name, boundary)
        if is_concrete(value_of(boundary)):
            unit, place = unit_of(boundary), float(value_of(boundary))
            if place <= latest.get(unit, -np.inf):
                raise ValueError(f"{name} must increase, got {list(boundaries)}")
            latest[unit] = place


def check_numbers(**numbers: Any) -> None:
    """Require single finite numbers, by the names of the arguments that they were given as."""
    for name, value in numbers.items():
        _check(Column(name), value)


def _check(column: Column, value: Any) -> None:
    name = column.name
    if column.role == "length" and isinstance(value, Length):
        within(name, value.value, column.low, column.high, open_low=column.open_low)
        return
    if column.role == "optional" and value is None:
        return
    if column.role == "flag":
        if not isinstance(value, bool | np.bool_ | jax.Array):
            raise ValueError(f"{name} must be True or False, got {value!r}")
        return
    if callable(value) or value is None:
        raise ValueError(f"{name} must be a number, got {value!r}")
    within(name, value, column.low, column.high, open_low=column.open_low)
    if np.ndim(value) != 0:
        raise ValueError(f"{name} must be a single number, got one of shape {np.shape(value)}: use jax.vmap for many")


def _read_length(written: Any) -> Any:
    if not isinstance(written, dict):
        return written
    if len(written) != 1 or next(iter(written)) not in ("epochs", "fraction"):
        raise ValueError(f"a written length must be a number, epochs or a fraction, got {written!r}")
    [(unit, value)] = written.items()
    return Length(value, unit)
