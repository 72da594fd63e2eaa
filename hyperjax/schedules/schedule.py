"""A schedule is a pytree of pieces: where each begins, its kind, and its row of numbers."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.schedules import writing
from hyperjax.schedules.kinds import KINDS
from hyperjax.schedules.leaves import namespace, row
from hyperjax.schedules.lengths import Length, Unit, check_epoch_starts, to_steps
from hyperjax.types import Array


class Units(NamedTuple):
    """What the times of one piece of an unresolved schedule mean."""

    anchor: int  # the start counts from the start of this earlier piece; -1: from the start of the run
    start: Unit
    lengths: tuple[Unit, ...]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["kinds", "numbers", "lengths", "starts"],
    meta_fields=["table", "units"],
)
@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A number that changes over time: a callable pytree `step -> number`, made by the constructors of this folder.

    `s(t) = f_k(t - starts[i], lengths[i], numbers[i])`, where `i` is the last piece with `t >= starts[i]` and `k`
    its kind. The result has the type of `numbers` (Python floats: JAX's default float); time is computed in float32
    at least. Every leaf may be traced, differentiated and vmapped. Leaves made of Python numbers are NumPy float64,
    so that they survive JSON exactly; schedules whose `table`, number of pieces and `units` agree stack.

    Args:
        kinds: int32[pieces], index into `table`.
        numbers: float[pieces, columns], in the unit of what is scheduled.
        lengths: float[pieces, columns], steps or what `units` says.
        starts: float[pieces], steps or what `units` says; infinite where a piece is padding.
        table: names of the kinds that may occur; with one name its formula is called directly, else by `lax.switch`.
        units: one entry a piece while any time is in epochs or fractions; empty when all are steps.

    >>> from hyperjax.schedules import linear
    >>> schedule = linear(1.0, 0.0, transition_steps=4)
    >>> schedule
    linear(init_value=1, end_value=0, transition_steps=4)
    >>> print(schedule(np.arange(6)))
    [1.   0.75 0.5  0.25 0.   0.  ]
    """

    kinds: Any
    numbers: Any
    lengths: Any
    starts: Any
    table: tuple[str, ...]
    units: tuple[Units, ...] = ()

    @property
    def pieces(self) -> int:
        """Number of pieces, padding included."""
        return int(self.starts.shape[-1])

    @property
    def is_resolved(self) -> bool:
        """True when every time is in steps."""
        return not self.units

    def __call__(self, step: Any) -> Array:
        """The value in force at `step`, or at each of an array of steps.

        Args:
            step: int[...] or float[...], steps since the schedule began.
        Returns: float[...] in the type of the numbers.
        Raises: ValueError when a time is still in epochs or fractions, or when this is a stack of schedules.
        """
        if self.units:
            raise ValueError(
                f"{self!r} has lengths in epochs or fractions of the run: call schedule.resolve(epoch_starts) first, "
                "with np.arange(epochs + 1) * steps_per_epoch where all epochs are alike"
            )
        if np.ndim(self.starts) != 1:
            raise ValueError(f"{self!r} is a stack of schedules: call it under jax.vmap or jax.lax.map")
        # A Python number is cast as it comes: one too large for int32 is still a step.
        steps = jnp.asarray(step, self._time) if isinstance(step, int | float) else jnp.asarray(step)
        if steps.ndim == 0:
            return self._at(steps)
        return jax.vmap(self._at)(steps.ravel()).reshape(steps.shape)

    @property
    def _time(self) -> Any:
        return jnp.result_type(self.starts, self.lengths, jnp.float32)

    def _at(self, step: Array) -> Array:
        kinds, numbers, lengths, starts = (
            jnp.asarray(leaf) for leaf in (self.kinds, self.numbers, self.lengths, self.starts)
        )
        precise = jnp.promote_types(self._time, numbers.dtype)
        step = step.astype(precise)
        if self.pieces == 1:
            kind, row_, times, start = (leaf[0] for leaf in (kinds, numbers, lengths, starts))
        else:
            # The last piece in order, not in time: a piece that a later one overtakes is never reached, as in optax.
            begun = jnp.where(step >= starts, np.arange(self.pieces, dtype=np.int32), 0)
            piece = jnp.max(begun)
            kind, row_, times, start = (
                jax.lax.dynamic_index_in_dim(leaf, piece, keepdims=False) for leaf in (kinds, numbers, lengths, starts)
            )
        operands = (step - start.astype(precise), _columns(times.astype(precise)), _columns(row_.astype(precise)))
        if len(self.table) == 1:
            value: Array = KINDS[self.table[0]].evaluate(*operands)
        else:
            # Under vmap each branch sees every row; JAX keeps the derivatives of those of other kinds apart.
            value = jax.lax.switch(kind, [KINDS[name].evaluate for name in self.table], *operands)
        return value.astype(numbers.dtype)

    def resolve(self, epoch_starts: Any) -> "Schedule":
        """This schedule with every length in steps.

        Args:
            epoch_starts: float[E+1], steps; the first step of each epoch and, last, the end of the run
                (`np.arange(E + 1) * steps_per_epoch` where all epochs are alike).
        Returns: a resolved schedule; itself, when it already is.
        Raises: ValueError when concrete `epoch_starts` do not increase or hold fewer than two entries.

        >>> from hyperjax.schedules import cosine_decay, epochs
        >>> cosine_decay(0.1, epochs(2)).resolve([0, 45, 90, 135])
        cosine_decay(init_value=0.1, decay_steps=90)
        """
        if not self.units:
            return self
        epoch_starts = check_epoch_starts(epoch_starts)
        starts: list[Any] = []
        lengths: list[Any] = []
        for piece, unit in enumerate(self.units):
            origin = starts[unit.anchor] if unit.anchor >= 0 else 0.0
            start = origin + to_steps(_in_unit(self.starts[piece], unit.start), epoch_starts, origin)
            starts.append(start)
            times = [_in_unit(self.lengths[piece, i], each) for i, each in enumerate(unit.lengths)]
            lengths.append([to_steps(time, epoch_starts, start) for time in times])
        columns = self.lengths.shape[1]
        flat = row([time for each in lengths for time in each], time=True)
        return replace(self, starts=row(starts, time=True), lengths=flat.reshape(self.pieces, columns), units=())

    def widen(self, table: tuple[str, ...], pieces: int) -> "Schedule":
        """The same schedule with room for the kinds of `table` and for `pieces` pieces, so that it stacks with others.

        Args:
            table: names of kinds, among them all of this schedule's.
            pieces: at least this schedule's own number; those added begin at infinity.
        Returns: a schedule of the same values, bit for bit.
        Raises: ValueError when the table lacks a kind or there are fewer pieces than now.

        >>> from hyperjax.schedules import constant
        >>> constant(0.1).widen(("constant", "linear"), pieces=2).numbers.shape
        (2, 2)
        """
        missing = [name for name in self.table if name not in table]
        if missing:
            raise ValueError(f"table must contain {', '.join(missing)}, got {table}")
        if pieces < self.pieces:
            raise ValueError(f"pieces must be at least {self.pieces}, got {pieces}")
        if table == self.table and pieces == self.pieces:
            return self
        more = pieces - self.pieces
        index = np.array([table.index(name) for name in self.table], np.int32)
        xp = namespace(self.kinds)
        widths = [max(len(getattr(KINDS[name], role)) for name in table) for role in ("numbers", "lengths")]
        units = tuple(
            unit._replace(lengths=unit.lengths + _steps(widths[1] - len(unit.lengths))) for unit in self.units
        )
        padding = (Units(-1, "steps", _steps(widths[1])),) * more if self.units else ()
        return Schedule(
            kinds=_pad(xp.asarray(index)[self.kinds], [more]),
            numbers=_pad(self.numbers, [more, widths[0] - self.numbers.shape[-1]]),
            lengths=_pad(self.lengths, [more, widths[1] - self.lengths.shape[-1]]),
            starts=_pad(self.starts, [more], np.inf),
            table=table,
            units=units + padding,
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold; `from_dict` gives back an equal schedule, to the last bit.

        Raises: ValueError when a leaf is traced or this is a stack of schedules.

        >>> from hyperjax.schedules import constant
        >>> constant(0.1).to_dict()
        {'pieces': [{'kind': 'constant', 'start': 0.0, 'arguments': {'value': 0.1}}]}
        """
        return writing.to_dict(self)

    @staticmethod
    def from_dict(written: dict[str, Any]) -> "Schedule":
        """The schedule that `to_dict` wrote.

        Raises: ValueError on what `to_dict` would not write.
        """
        from hyperjax.schedules.building import from_dict

        return from_dict(written)

    def __eq__(self, other: object) -> bool:
        """Same pieces, same values, same units; padding and the table make no difference, but for stacks."""
        if not isinstance(other, Schedule):
            return NotImplemented
        if np.ndim(self.starts) == np.ndim(other.starts) == 1:
            return self is other or writing.to_dict(self) == writing.to_dict(other)
        same_form = (self.table, self.units) == (other.table, other.units)
        return same_form and all(map(np.array_equal, jax.tree.leaves(self), jax.tree.leaves(other)))

    def __hash__(self) -> int:
        """By value, as `jax.jit(schedule)` needs it; of traced values by identity."""
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            return id(self)
        alone = np.ndim(self.starts) == 1
        return hash(repr(writing.to_dict(self)) if alone else (self.table, self.units, np.shape(self.starts)))

    def __repr__(self) -> str:
        return writing.to_text(self)


def _columns(array: Array) -> list[Array]:
    return [jax.lax.index_in_dim(array, i, keepdims=False) for i in range(array.shape[0])]


def _steps(count: int) -> tuple[Unit, ...]:
    unit: Unit = "steps"
    return (unit,) * count


def _in_unit(value: Any, unit: Unit) -> Any:
    return value if unit == "steps" else Length(value, unit)


def _pad(array: Any, more: list[int], value: float = 0) -> Any:
    """Add entries behind the last axes; any axes before them are a stack's."""
    widths = [(0, 0)] * (array.ndim - len(more)) + [(0, count) for count in more]
    return namespace(array).pad(array, widths, constant_values=value) if any(more) else array
