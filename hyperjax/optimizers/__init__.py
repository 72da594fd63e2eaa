"""Optimizers: one update rule whose numbers are data, its optax transformations, and what goes around them."""

from hyperjax.optimizers.adaptive import adadelta, adagrad, adam, adamw, nadam, nadamw, radam, rmsprop
from hyperjax.optimizers.averages import AverageState, average_weights
from hyperjax.optimizers.descent import lion, momentum, nesterov, sgd, sign_sgd
from hyperjax.optimizers.effective import effective_rate
from hyperjax.optimizers.gradients import centralize, gradient_noise, sharpness_aware
from hyperjax.optimizers.groups import matching, matrices, scale_by_group
from hyperjax.optimizers.lookahead import LookaheadState, lookahead
from hyperjax.optimizers.rule import Form, Rule
from hyperjax.optimizers.table import choices, names, numbers, rule
from hyperjax.optimizers.update import RuleState, by_rule

__all__ = [
    "AverageState",
    "Form",
    "LookaheadState",
    "Rule",
    "RuleState",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "average_weights",
    "by_rule",
    "centralize",
    "choices",
    "effective_rate",
    "gradient_noise",
    "lion",
    "lookahead",
    "matching",
    "matrices",
    "momentum",
    "nadam",
    "nadamw",
    "names",
    "nesterov",
    "numbers",
    "radam",
    "rmsprop",
    "rule",
    "scale_by_group",
    "sgd",
    "sharpness_aware",
    "sign_sgd",
]
