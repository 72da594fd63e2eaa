"""Optimizers: one update rule whose numbers are data, and the optax transformations that it yields."""

from hyperjax.optimizers.aliases import (
    adadelta,
    adagrad,
    adam,
    adamw,
    lion,
    momentum,
    nadam,
    nesterov,
    radam,
    rmsprop,
    sgd,
)
from hyperjax.optimizers.rule import Form, Rule
from hyperjax.optimizers.table import choices, names, numbers, rule
from hyperjax.optimizers.update import RuleState, by_rule

__all__ = [
    "Form",
    "Rule",
    "RuleState",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "by_rule",
    "choices",
    "lion",
    "momentum",
    "nadam",
    "names",
    "nesterov",
    "numbers",
    "radam",
    "rmsprop",
    "rule",
    "sgd",
]
