"""Schedules by name, as shapes that start at 1 and span a given length: what a recipe multiplies its rate by."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hyperjax.checks import is_concrete, one_of
from hyperjax.schedules.building import piece
from hyperjax.schedules.kinds import KINDS, REQUIRED
from hyperjax.schedules.lengths import Length, scaled
from hyperjax.schedules.schedule import Schedule
from hyperjax.types import Scalar


class Shape(NamedTuple):
    """The kind behind a name, the arguments a user may give, and the defaults that depend on the span."""

    kind: str
    arguments: tuple[str, ...]
    defaults: Callable[[Any], dict[str, Any]]


def _arguments(kind: str) -> tuple[str, ...]:
    return tuple(column.name for column in KINDS[kind].columns)


SHAPES: dict[str, Shape] = {
    "constant": Shape("constant", (), lambda span: {"value": 1.0}),
    "linear": Shape("linear", _arguments("linear"), lambda span: {"end_value": 0.0, "transition_steps": span}),
    "exponential_decay": Shape(
        "exponential_decay",
        _arguments("exponential_decay"),
        lambda span: {"decay_rate": 0.01, "transition_steps": span},
    ),
    "cosine_decay": Shape("cosine_decay", _arguments("cosine_decay"), lambda span: {"decay_steps": span}),
    "step_decay": Shape(
        "step_decay",
        _arguments("step_decay"),
        lambda span: {"decay_rate": 0.1, "transition_steps": scaled(span, 1 / 3)},
    ),
}


def shape(name: str, arguments: Mapping[str, Any] | None = None, span: Length | Scalar = 1.0) -> Schedule:
    """The named schedule, from 1 and over `span` unless its arguments say otherwise.

    Defaults: `constant` is 1 and takes no arguments; `linear` falls to 0 over the span; `exponential_decay` falls to
    0.01 over the span; `cosine_decay` falls to 0 over the span; `step_decay` is multiplied by 0.1 after each third
    of the span. Everything else as in the constructor of that name.

    Args:
        name: a key of `SHAPES`.
        arguments: arguments of the constructor, by name.
        span: length, at least 0: steps, `epochs(e)` or `fraction(f)`; what follows the warm-up, in a recipe.
    Returns: a `Schedule`, to be multiplied with a rate.
    Raises: ValueError on an unknown name or argument (with the nearest known one) or a value out of range.
    Source: written for this library.

    >>> shape("cosine_decay", {"alpha": 0.1}, span=1000)
    cosine_decay(init_value=1, decay_steps=1000, alpha=0.1)
    >>> shape("cosine_decay", {"alfa": 0.1}, span=1000)
    Traceback (most recent call last):
    ...
    ValueError: argument of cosine_decay must be one of init_value, decay_steps, alpha, exponent, got 'alfa'; \
did you mean 'alpha'?
    """
    chosen = SHAPES[one_of("schedule", name, SHAPES)]
    given = dict(arguments or {})
    for argument in given:
        if not chosen.arguments:
            raise ValueError(f"{name} takes no arguments, got {argument!r}")
        one_of(f"argument of {name}", argument, chosen.arguments)
    length = span.value if isinstance(span, Length) else span
    if is_concrete(length) and length == 0:
        span = 1.0  # no step is left to spend: only the value at the start is ever read, as what a warm-up aims at
    own = {column.name: column.default for column in KINDS[chosen.kind].columns if column.default is not REQUIRED}
    first = {"init_value": 1.0} if "init_value" in chosen.arguments else {}
    return piece(chosen.kind, **(own | first | chosen.defaults(span) | given))
