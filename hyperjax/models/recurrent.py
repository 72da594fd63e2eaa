"""Recurrent networks, GRU and LSTM, over sequences of features or of tokens."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax.checks import one_of, positive_integer, require
from hyperjax.layers import Dropout

OUTPUTS_AT = ("last", "each")


class _Recurrent(nnx.Module):
    """Layers that pass over time one after another, and a linear output; the cell is the subclass's own."""

    _cell: Callable[..., Any]  # (inputs, width, rngs=...)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        layers: int = 1,
        *,
        vocabulary: int | None = None,
        outputs_at: str = "last",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        features, width = positive_integer("inputs", inputs), positive_integer("width", width)
        sizes = [features] + [width] * (positive_integer("layers", layers) - 1)
        self.outputs_at = one_of("outputs_at", outputs_at, OUTPUTS_AT)
        tokens = None if vocabulary is None else positive_integer("vocabulary", vocabulary)
        self.embedding = nnx.data(None) if tokens is None else nnx.Embed(tokens, features, rngs=rngs)
        self.layers = nnx.List([nnx.RNN(self._cell(size, width, rngs=rngs), rngs=False) for size in sizes])
        self.dropouts = nnx.List([Dropout(dropout, rngs=rngs) for _ in sizes])
        self.output = nnx.Linear(width, positive_integer("outputs", outputs), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs for a batch of sequences.

        Args:
            x: float[examples, time, inputs], or int[examples, time] where there is a vocabulary.
        Returns: float[examples, outputs], or float[examples, time, outputs] where each step has an output.
        Raises: ValueError when the axes are others, or time is empty.
        """
        axes = 3 if self.embedding is None else 2
        require(x.ndim == axes and x.shape[1] > 0, f"x must have {axes} axes, the second one time, got {x.shape}")
        x = x if self.embedding is None else self.embedding(x)
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            zeros = layer.cell.initialize_carry((x.shape[0], x.shape[-1]), nnx.Rngs(0))  # nothing is drawn for them
            x = layer(x, initial_carry=zeros)
            x = x[:, -1] if layer is self.layers[-1] and self.outputs_at == "last" else x
            x = dropout(x)
        return self.output(x)


class GRU(_Recurrent):
    """Gated recurrent units: two gates decide how much of the last output a step reads, and how much it keeps.

    With `h` the last output, 0 at first: `r = sigmoid(x W_r + b_r + h U_r)`, `z = sigmoid(x W_z + b_z + h U_z)`,
    `n = tanh(x W_n + b_n + r (h U_n))`, `h' = (1 - z) n + z h`. The columns of a kernel are those of r, z and n.

    Args:
        inputs: number of features of one step, or of an embedded token.
        outputs: number of outputs (logits, or real values), a linear function of the last layer's.
        width: units of each layer.
        layers: number of layers, each reading the outputs of the one below.
        vocabulary: number of tokens, for int[examples, time]; None: steps are given as float[examples, time, inputs].
        outputs_at: "last": one output, from the last step; "each": one at every step.
        dropout: rate in [0, 1] on the outputs of every layer, held under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, a rate out of range, a name unknown.
    Source: Cho et al. 2014, arXiv:1406.1078, with r after the product; Flax: `GRUCell`, with its initial weights.
        PyTorch: `GRU`, whose second bias is 0 here.

    >>> model = GRU(3, 2, width=8, rngs=nnx.Rngs(0))
    >>> model(jnp.ones((5, 7, 3))).shape
    (5, 2)
    """

    _cell = staticmethod(nnx.GRUCell)


def _remembering(_: jax.Array, shape: tuple[int, ...], dtype: Any, *__: Any) -> jax.Array:
    """The biases of an LSTM: 1 for the second of four gates, 0 for the others."""
    return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), shape[0] // 4)


class LSTM(_Recurrent):
    """Long short-term memory: a cell that gates write to, erase and read.

    With `h` the last output and `c` the cell, 0 at first: `i, f, o = sigmoid(x W + h U + b)`,
    `g = tanh(x W_g + h U_g + b_g)`, `c' = f c + i g`, `h' = o tanh(c')`. The columns of a kernel are those of i, f, g
    and o. The bias of f begins at 1, so that the cell remembers at first.

    Args:
        inputs, outputs, width, layers, vocabulary, outputs_at, dropout, rngs: as in `GRU`.

    Raises: ValueError when a size is not a whole number of at least 1, a rate out of range, a name unknown.
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al. 2000; its bias:
        Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures". Flax:
        `OptimizedLSTMCell`, with its initial kernels. PyTorch: `LSTM`, whose second bias is 0 here.

    >>> model = LSTM(4, 10, width=8, layers=2, vocabulary=20, outputs_at="each", rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((5, 7), jnp.int32)).shape
    (5, 7, 10)
    """

    _cell = staticmethod(functools.partial(nnx.OptimizedLSTMCell, bias_init=_remembering))
