"""Flax layers whose hyperparameters are values, bound by name."""

from flax.nnx import PReLU

from hyperjax.layers.activation import Activation, set_choices
from hyperjax.layers.convolution import conv_general_dilated
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
    "PReLU",
    "SpatialDropout",
    "StochasticDepth",
    "WeightNoise",
    "bind",
    "conv_general_dilated",
    "names",
    "set_choices",
]
