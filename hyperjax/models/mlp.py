"""A multilayer perceptron whose activation and dropout rate are hyperparameters."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from hyperjax.checks import positive_integer
from hyperjax.layers import Activation, Dropout


class MLP(nnx.Module):
    """Chain linear layers, each hidden one followed by an activation and dropout; the input is flattened.

    Args:
        inputs: number of input features of one example, all axes together.
        outputs: number of outputs (logits, or real values).
        widths: units of each hidden layer; empty: a linear model.
        activation: name in `hyperjax.activations.TABLE`, held by every hidden layer under the name "activation".
        dropout: rate in [0, 1] after each hidden activation, held by every hidden layer under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, a rate out of range, an activation unknown.
    Source: He-normal kernels (He et al., arXiv:1502.01852, equation 10) and zero biases.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> model = MLP(64, 10, widths=(32,), activation="tanh", rngs=nnx.Rngs(0))
    >>> model(jnp.ones((5, 8, 8))).shape
    (5, 10)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = (128, 128),
        *,
        activation: str = "relu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        sizes = [positive_integer("inputs", inputs), *(positive_integer("widths", width) for width in widths)]
        initial = nnx.initializers.he_normal()
        self.layers = nnx.List([nnx.Linear(a, b, kernel_init=initial, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.activations = nnx.List([Activation(activation) for _ in widths])
        self.dropouts = nnx.List([Dropout(dropout, rngs=rngs) for _ in widths])
        self.output = nnx.Linear(sizes[-1], positive_integer("outputs", outputs), kernel_init=initial, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        for layer, activation, dropout in zip(self.layers, self.activations, self.dropouts, strict=True):
            x = dropout(activation(layer(x)))
        return self.output(x)
