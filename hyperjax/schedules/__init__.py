"""Numbers that change over time: one stackable, traceable class, and constructors under optax's names."""

from hyperjax.schedules.building import as_schedule, common_form, join, stack, warmup
from hyperjax.schedules.constructors import constant, cosine_decay, exponential_decay, linear, step_decay
from hyperjax.schedules.kinds import KINDS, Column, Kind
from hyperjax.schedules.lengths import Length, epochs, fraction, is_resolved, to_steps
from hyperjax.schedules.schedule import Schedule
from hyperjax.schedules.shapes import SHAPES, Shape, shape

__all__ = [
    "KINDS",
    "SHAPES",
    "Column",
    "Kind",
    "Length",
    "Schedule",
    "Shape",
    "as_schedule",
    "common_form",
    "constant",
    "cosine_decay",
    "epochs",
    "exponential_decay",
    "fraction",
    "is_resolved",
    "join",
    "linear",
    "shape",
    "stack",
    "step_decay",
    "to_steps",
    "warmup",
]
