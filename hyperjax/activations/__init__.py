"""Activation functions, the table that lets a program choose among them by index, and the weights that suit them.

An activation with a parameter of its own that is learnt is a layer and part of a model's structure:
`hyperjax.layers.PReLU`.
"""

from hyperjax.activations.functions import (
    elu,
    gelu,
    gelu_exact,
    hard_swish,
    identity,
    leaky_relu,
    mish,
    relu,
    selu,
    sigmoid,
    softmax,
    softplus,
    swish,
    tanh,
)
from hyperjax.activations.gain import gain
from hyperjax.activations.table import NUMBERS, TABLE, Elementwise, select

__all__ = [
    "NUMBERS",
    "TABLE",
    "Elementwise",
    "elu",
    "gain",
    "gelu",
    "gelu_exact",
    "hard_swish",
    "identity",
    "leaky_relu",
    "mish",
    "relu",
    "select",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "swish",
    "tanh",
]
