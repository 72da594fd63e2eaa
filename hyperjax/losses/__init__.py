"""Losses that give one value per example, and the tables that let a program choose among them by index."""

from hyperjax.losses.classes import cross_entropy, one_hot_squared_error
from hyperjax.losses.real import absolute_error, squared_error
from hyperjax.losses.table import LOSSES, Loss, Number, Row, Target, select

__all__ = [
    "LOSSES",
    "Loss",
    "Number",
    "Row",
    "Target",
    "absolute_error",
    "cross_entropy",
    "one_hot_squared_error",
    "select",
    "squared_error",
]
