"""Schedules by name, as shapes that peak at 1 and span a given length: what a recipe multiplies its rate by."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from hyperjax.checks import is_concrete, one_of
from hyperjax.schedules.building import piece
from hyperjax.schedules.composed import cosine_onecycle, linear_onecycle, warmup_stable_decay
from hyperjax.schedules.kinds import KINDS, REQUIRED
from hyperjax.schedules.lengths import Length, scaled, value_of
from hyperjax.schedules.schedule import Schedule
from hyperjax.types import Scalar


class Shape(NamedTuple):
    """What makes a named schedule, the arguments a user may give, and the defaults that depend on the span."""

    build: Callable[..., Schedule]
    arguments: tuple[str, ...]
    defaults: Callable[[Any], dict[str, Any]]


def _one_piece(kind: str, defaults: Callable[[Any], dict[str, Any]]) -> Shape:
    columns = KINDS[kind].columns
    own = {column.name: column.default for column in columns if column.default is not REQUIRED}
    first = {"init_value": 1.0} if columns[0].name == "init_value" else {}
    return Shape(partial(piece, kind), tuple(c.name for c in columns), lambda span: own | first | defaults(span))


SHAPES: dict[str, Shape] = {
    "constant": Shape(partial(piece, "constant"), (), lambda span: {"value": 1.0}),
    "linear": _one_piece("linear", lambda span: {"end_value": 0.0, "transition_steps": span}),
    "polynomial": _one_piece("polynomial", lambda span: {"end_value": 0.0, "power": 2.0, "transition_steps": span}),
    "exponential_decay": _one_piece("exponential_decay", lambda span: {"decay_rate": 0.01, "transition_steps": span}),
    "cosine_decay": _one_piece("cosine_decay", lambda span: {"decay_steps": span}),
    "cosine_restarts": _one_piece("cosine_restarts", lambda span: {"period": scaled(span, 1 / 4)}),
    "step_decay": _one_piece("step_decay", lambda span: {"decay_rate": 0.1, "transition_steps": scaled(span, 1 / 3)}),
    "inverse_sqrt_decay": _one_piece("inverse_sqrt_decay", lambda span: {"timescale": scaled(span, 1 / 10)}),
    "triangular": _one_piece("triangular", lambda span: {"low": 0.1, "high": 1.0, "half_period": scaled(span, 1 / 8)}),
    "cosine_onecycle": Shape(
        cosine_onecycle,
        ("transition_steps", "peak_value", "pct_start", "div_factor", "final_div_factor"),
        lambda span: {"transition_steps": span, "peak_value": 1.0},
    ),
    "linear_onecycle": Shape(
        linear_onecycle,
        ("transition_steps", "peak_value", "pct_start", "pct_final", "div_factor", "final_div_factor"),
        lambda span: {"transition_steps": span, "peak_value": 1.0},
    ),
    "warmup_stable_decay": Shape(
        warmup_stable_decay,
        ("peak_value", "warmup_steps", "stable_steps", "decay_steps", "end_value"),
        lambda span: {
            "peak_value": 1.0,
            "warmup_steps": scaled(span, 0.05),
            "stable_steps": scaled(span, 0.75),
            "decay_steps": scaled(span, 0.2),
        },
    ),
}


def shape(name: str, arguments: Mapping[str, Any] | None = None, span: Length | Scalar = 1.0) -> Schedule:
    """The named schedule, at most 1 and over `span` unless its arguments say otherwise.

    Defaults: `constant` is 1 and takes no arguments; `linear`, `polynomial` (power 2) and `cosine_decay` fall to 0 over
    the span, `exponential_decay` to 0.01; `step_decay` is multiplied by 0.1 after each third of it; `cosine_restarts`
    has 4 cycles, `triangular` as many between 0.1 and 1; `inverse_sqrt_decay` has a timescale of a tenth;
    `cosine_onecycle` and `linear_onecycle` peak at 1; `warmup_stable_decay` rises for 5 %, stays for 75 and falls for
    20. Everything else as in the constructor of that name.

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
    length = value_of(span)
    if is_concrete(length) and length == 0:
        span = 1.0  # no step is left to spend: only the value at the start is ever read, as what a warm-up aims at
    return chosen.build(**(chosen.defaults(span) | given))
