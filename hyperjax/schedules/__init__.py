"""Numbers that change over time: one stackable, traceable class, and constructors under optax's names."""

from hyperjax.schedules.building import as_schedule, common_form, join, stack, warmup
from hyperjax.schedules.composed import (
    cosine_onecycle,
    cyclic,
    inverse_sqrt,
    linear_onecycle,
    piecewise_constant,
    piecewise_interpolate,
    sgdr,
    warmup_constant,
    warmup_cosine_decay,
    warmup_exponential_decay,
    warmup_stable_decay,
)
from hyperjax.schedules.constructors import (
    constant,
    cosine,
    cosine_decay,
    cosine_restarts,
    exponential_decay,
    inverse_sqrt_decay,
    linear,
    polynomial,
    step_decay,
    triangular,
)
from hyperjax.schedules.kinds import KINDS, Column, Kind
from hyperjax.schedules.lengths import Length, epochs, fraction, is_resolved, to_steps
from hyperjax.schedules.plateau import PlateauState, reduce_on_plateau
from hyperjax.schedules.schedule import Schedule
from hyperjax.schedules.shapes import SHAPES, Shape, shape

__all__ = [
    "KINDS",
    "SHAPES",
    "Column",
    "Kind",
    "Length",
    "PlateauState",
    "Schedule",
    "Shape",
    "as_schedule",
    "common_form",
    "constant",
    "cosine",
    "cosine_decay",
    "cosine_onecycle",
    "cosine_restarts",
    "cyclic",
    "epochs",
    "exponential_decay",
    "fraction",
    "inverse_sqrt",
    "inverse_sqrt_decay",
    "is_resolved",
    "join",
    "linear",
    "linear_onecycle",
    "piecewise_constant",
    "piecewise_interpolate",
    "polynomial",
    "reduce_on_plateau",
    "sgdr",
    "shape",
    "stack",
    "step_decay",
    "to_steps",
    "triangular",
    "warmup",
    "warmup_constant",
    "warmup_cosine_decay",
    "warmup_exponential_decay",
    "warmup_stable_decay",
]
