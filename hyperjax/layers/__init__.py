"""Flax layers whose hyperparameters are values, bound by name."""

from hyperjax.layers.activation import Activation, set_choices
from hyperjax.layers.dropout import Dropout
from hyperjax.layers.hyperparameter import Choice, Hyperparameter, bind, names

__all__ = ["Activation", "Choice", "Dropout", "Hyperparameter", "bind", "names", "set_choices"]
