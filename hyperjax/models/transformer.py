"""A decoder-only transformer: each position reads itself and those before it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hyperjax.checks import one_of, positive_integer, require
from hyperjax.layers import Activation, Dropout

_NORMS = {"layer": nnx.LayerNorm, "rms": nnx.RMSNorm}


class CausalAttention(nnx.Module):
    """Mix the rows of a sequence, each with itself and those before it.

    Args:
        width: features of a row, a multiple of `heads`.
        heads: number of mixtures, each over width / heads of the features.
        scale: factor on the initial weights of the last product.
        rngs: stream for initial weights ("params").

    Source: Vaswani et al. 2017, arXiv:1706.03762, sections 3.2.1 and 3.2.2.

    >>> attention = CausalAttention(8, 2, rngs=nnx.Rngs(0))
    >>> attention(jnp.ones((5 * 3, 8)), time=3).shape
    (15, 8)
    """

    def __init__(self, width: int, heads: int, *, scale: float = 1.0, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.inward = nnx.Linear(width, 3 * width, rngs=rngs)  # columns: queries, keys, values; in each, head by head
        self.outward = nnx.Linear(width, width, kernel_init=_scaled(scale), rngs=rngs)

    def __call__(self, rows: jax.Array, time: int) -> jax.Array:
        """float[examples * time, width] from the same."""
        count, width = rows.shape
        examples, features = count // time, width // self.heads
        parts = self.inward(rows).reshape(examples, time, 3, self.heads, features)
        queries, keys, values = jnp.transpose(parts, (2, 0, 3, 1, 4))  # each [examples, heads, time, features]
        scores = jnp.einsum("ehtf,ehsf->ehts", queries / math.sqrt(features), keys)
        before = np.tri(time, dtype=bool)
        shares = jax.nn.softmax(jnp.where(before, scores, -jnp.inf), -1)
        mixed = jnp.einsum("ehts,ehsf->ehtf", shares, values)
        return self.outward(jnp.transpose(mixed, (0, 2, 1, 3)).reshape(count, width))


class Block(nnx.Module):
    """Attention, then a feed-forward network on each row; each reads normalized rows and adds to them.

    Args:
        width, heads: as `CausalAttention` has them.
        multiple: hidden units of the feed-forward network for one of `width`.
        norm: "layer" or "rms".
        activation, dropout: hyperparameters, held under these names.
        scale: factor on the initial weights of what is added to the rows.
        rngs: streams for initial weights ("params") and masks ("dropout").
    """

    def __init__(
        self,
        width: int,
        heads: int,
        multiple: int,
        norm: str,
        activation: str,
        dropout: Any,
        scale: float,
        rngs: nnx.Rngs,
    ) -> None:
        self.norms = nnx.List([_NORMS[norm](width, rngs=rngs) for _ in range(2)])
        self.attention = CausalAttention(width, heads, scale=scale, rngs=rngs)
        self.up = nnx.Linear(width, multiple * width, rngs=rngs)
        self.activation = Activation(activation)
        self.down = nnx.Linear(multiple * width, width, kernel_init=_scaled(scale), rngs=rngs)
        self.dropouts = nnx.List([Dropout(dropout, rngs=rngs) for _ in range(2)])

    def __call__(self, rows: jax.Array, time: int) -> jax.Array:
        """float[examples * time, width] from the same."""
        rows = rows + self.dropouts[0](self.attention(self.norms[0](rows), time))
        return rows + self.dropouts[1](self.down(self.activation(self.up(self.norms[1](rows)))))


class Transformer(nnx.Module):
    """Predict at each position of a sequence of tokens from that token and those before it.

    Positions are learnt, one vector each, added once: rotary ones would turn queries and keys in every layer, and a
    context that is fixed needs no positions beyond it.

    Args:
        vocabulary: number of tokens, and of outputs.
        width: features of a position, a multiple of `heads`.
        layers: number of blocks.
        heads: number of attention's mixtures in each block.
        context: longest sequence.
        multiple: hidden units of the feed-forward network for one of `width`.
        norm: "layer" (mean and variance) or "rms" (size alone), before each part of a block and before the output.
        tied: True: the embedding is also the output's kernel.
        activation: name in `hyperjax.activations.TABLE`, held by every feed-forward network under the name
            "activation".
        dropout: rate in [0, 1] on the embedded tokens and on what each block's two parts add (not on the shares of
            attention), held under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, width no multiple of heads, a name unknown, a
        rate out of range.
    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3: norms first, what
        is added to the rows scaled by 1 / sqrt(2 layers) at first, embeddings and output of deviation 0.02; other
        kernels LeCun-normal. "rms": Zhang & Sennrich 2019, arXiv:1910.07467.

    >>> model = Transformer(50, width=16, layers=2, heads=2, context=12, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((5, 9), jnp.int32)).shape
    (5, 9, 50)
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        context: int = 128,
        *,
        multiple: int = 4,
        norm: str = "layer",
        tied: bool = False,
        activation: str = "gelu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        named = {"vocabulary": vocabulary, "width": width, "layers": layers, "heads": heads, "context": context}
        for name, size in (named | {"multiple": multiple}).items():
            positive_integer(name, size)
        require(width % heads == 0, f"width must be a multiple of heads, {heads}, got {width}")
        one_of("norm", norm, _NORMS)
        small = nnx.initializers.normal(0.02)
        self.context = context
        self.embedding = nnx.Embed(vocabulary, width, embedding_init=small, rngs=rngs)
        self.positions = nnx.Param(small(rngs.params(), (context, width)))
        self.dropout = Dropout(dropout, rngs=rngs)
        scale = 1 / math.sqrt(2 * layers)
        self.blocks = nnx.List(
            [Block(width, heads, multiple, norm, activation, dropout, scale, rngs) for _ in range(layers)]
        )
        self.norm = _NORMS[norm](width, rngs=rngs)
        self.output = (
            nnx.data(None) if tied else nnx.Linear(width, vocabulary, use_bias=False, kernel_init=small, rngs=rngs)
        )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits of the token after each.

        Args:
            tokens: int[examples, time] in [0, vocabulary), time at most `context`.
        Returns: float[examples, time, vocabulary].
        """
        require(tokens.ndim == 2, f"tokens must have 2 axes, [examples, time], got {tokens.shape}")
        examples, time = tokens.shape
        require(time <= self.context, f"tokens must be at most {self.context} in a sequence, got {time}")
        embedded = self.embedding(tokens) + self.positions[...][:time]
        # Rows of one matrix rather than [examples, time, width]: on a CPU the gradients of kernels, which sum over
        # examples and time, are a third cheaper so.
        rows = self.dropout(embedded).reshape(examples * time, -1)
        for block in self.blocks:
            rows = block(rows, time)
        rows = self.norm(rows)
        logits = self.embedding.attend(rows) if self.output is None else self.output(rows)
        return logits.reshape(examples, time, -1)


def _scaled(scale: float) -> Any:
    return nnx.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")
