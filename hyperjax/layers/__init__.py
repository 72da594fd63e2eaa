"""Flax layers whose hyperparameters are values, bound by name."""

from hyperjax.layers.activation import Activation, set_choices
from hyperjax.layers.dropout import Dropout
from hyperjax.layers.gaussian_noise import GaussianNoise
from hyperjax.layers.grouped_dropout import SpatialDropout, StochasticDepth
from hyperjax.layers.hyperparameter import Choice, Hyperparameter, bind, names
from hyperjax.layers.noisy_kernel import DropConnect, WeightNoise

__all__ = [
    "Activation",
    "Choice",
    "DropConnect",
    "Dropout",
    "GaussianNoise",
    "Hyperparameter",
    "SpatialDropout",
    "StochasticDepth",
    "WeightNoise",
    "bind",
    "names",
    "set_choices",
]
