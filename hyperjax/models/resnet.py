"""A small residual network for small images, whose activation and dropout rate are hyperparameters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax.checks import one_of, positive_integer, require
from hyperjax.layers import Activation, Dropout
from hyperjax.models.cnn import NORMS, Convolution, apart, as_images, image_shape


class ResNet(nnx.Module):
    """A 3x3 convolution, stages of residual blocks, an average over positions, a linear layer.

    Each stage after the first halves height and width in its first block. A block is two 3x3 convolutions with norms
    around an activation, added to its input; where the shape changes, to a 1x1 convolution of it (option B of the
    paper). Three stages of 3 blocks are the paper's ResNet-20, of 1 block ResNet-8.

    Args:
        shape: (height, width) or (height, width, channels) of an image; batches come as in `CNN`.
        outputs: number of outputs (logits, or real values).
        widths: channels of each stage; the first convolution has those of the first.
        blocks: residual blocks of each stage; one number: the same in all.
        norm: name in `hyperjax.models.NORMS`.
        activation: name in `hyperjax.activations.TABLE`, held under the name "activation".
        dropout: rate in [0, 1] before the linear layer, held under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, lengths differ, a rate is out of range, a norm
        or activation is unknown, or a batch is not of the shape.
    Source: He et al. 2015, "Deep residual learning for image recognition", section 4.2, arXiv:1512.03385.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> model = ResNet((8, 8, 3), 10, widths=(4,), norm="group", rngs=nnx.Rngs(0))
    >>> model(jnp.ones((5, 8, 8, 3))).shape
    (5, 10)
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        widths: Sequence[int] = (16, 32, 64),
        blocks: int | Sequence[int] = 1,
        *,
        norm: str = "batch",
        activation: str = "relu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.shape = image_shape(shape)
        one_of("norm", norm, NORMS)
        outputs = positive_integer("outputs", outputs)
        sizes = [positive_integer("widths", width) for width in widths]
        require(len(sizes) > 0, "widths must name at least one stage, got none")
        counts = [blocks] * len(sizes) if isinstance(blocks, int) else list(blocks)
        counts = [positive_integer("blocks", count) for count in counts]
        require(len(counts) == len(sizes), f"blocks must be {len(sizes)} numbers, one a stage, got {blocks!r}")

        self.stem = Convolution(self.shape[-1], sizes[0], norm=norm, activation=activation, rngs=rngs)
        inputs = sizes[0]
        chain = []
        for stage, (width, count) in enumerate(zip(sizes, counts, strict=True)):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                chain.append(_Block(inputs, width, stride, norm, activation, rngs))
                inputs = width
        self.blocks = nnx.List(chain)
        self.dropout = Dropout(dropout, rngs=rngs)
        initial = nnx.initializers.he_normal()
        self.output = nnx.Linear(inputs, outputs, kernel_init=initial, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.stem(as_images(x, self.shape))
        for block in self.blocks:
            x = block(x)
        return self.output(self.dropout(jnp.mean(x, (1, 2))))


class _Block(nnx.Module):
    """Two convolutions with norms around an activation, added to the input; an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str, activation: str, rngs: nnx.Rngs) -> None:
        self.first = Convolution(inputs, outputs, stride=stride, norm=norm, activation=activation, rngs=rngs)
        self.second = Convolution(outputs, outputs, norm=norm, activation=None, rngs=rngs)
        self.shortcut = (
            None
            if (inputs, stride) == (outputs, 1)
            else Convolution(inputs, outputs, kernel=1, stride=stride, norm=norm, activation=None, rngs=rngs)
        )
        self.activation = Activation(activation)

    def __call__(self, x: jax.Array) -> jax.Array:
        kept = x if self.shortcut is None else self.shortcut(x)
        return apart(self.activation, kept + self.second(self.first(x)))
