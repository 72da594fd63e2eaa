"""A convolutional network whose activation and dropout rate are hyperparameters."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from hyperjax.checks import one_of, positive_integer, require
from hyperjax.layers import Activation, Dropout, conv_general_dilated


class CNN(nnx.Module):
    """Chain 3x3 convolutions, each followed by a norm and an activation; average over positions; a linear layer.

    Args:
        shape: (height, width) or (height, width, channels) of an image. Batches come in this shape behind the axis of
            examples, with an axis of one channel or without, or flat.
        outputs: number of outputs (logits, or real values).
        channels: output channels of each convolution, which keeps height and width (zeros around).
        strides: positions from one output to the next in each convolution; one number: the same in all.
        norm: None, or a name in `hyperjax.models.NORMS`.
        activation: name in `hyperjax.activations.TABLE`, held under the name "activation".
        dropout: rate in [0, 1] before the linear layer, held under the name "dropout".
        rngs: streams for initial weights ("params") and masks ("dropout").

    Raises: ValueError when a size is not a whole number of at least 1, lengths differ, a rate is out of range, a norm
        or activation is unknown, or a batch is not of the shape.
    Source: average over positions: Lin et al. 2013, "Network in network", section 3.2, arXiv:1312.4400. He-normal
        kernels (He et al., arXiv:1502.01852, equation 10) and zero biases, none before a norm.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> model = CNN((8, 8), 10, channels=(16, 32), activation="tanh", rngs=nnx.Rngs(0))
    >>> model(jnp.ones((5, 64))).shape
    (5, 10)
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int] = (16, 32),
        *,
        strides: int | Sequence[int] = 1,
        norm: str | None = None,
        activation: str = "relu",
        dropout: Any = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.shape = image_shape(shape)
        outputs = positive_integer("outputs", outputs)
        sizes = [self.shape[-1], *(positive_integer("channels", size) for size in channels)]
        require(len(sizes) > 1, "channels must name at least one convolution, got none")
        steps = [strides] * (len(sizes) - 1) if isinstance(strides, int) else list(strides)
        require(len(steps) == len(sizes) - 1, f"strides must be {len(sizes) - 1} numbers, got {strides!r}")
        self.blocks = nnx.List(
            [
                Convolution(a, b, stride=step, norm=norm, activation=activation, rngs=rngs)
                for a, b, step in zip(sizes[:-1], sizes[1:], steps, strict=True)
            ]
        )
        self.dropout = Dropout(dropout, rngs=rngs)
        initial = nnx.initializers.he_normal()
        self.output = nnx.Linear(sizes[-1], outputs, kernel_init=initial, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = as_images(x, self.shape)
        for block in self.blocks:
            x = block(x)
        return self.output(self.dropout(jnp.mean(x, (1, 2))))


class Convolution(nnx.Module):
    """A convolution with zeros around, a norm and an activation; either of the two may be None."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        norm: str | None,
        activation: str | None,
        rngs: nnx.Rngs,
    ) -> None:
        self.convolution = nnx.Conv(
            inputs,
            outputs,
            (kernel, kernel),
            positive_integer("strides", stride),
            use_bias=norm is None,  # a norm has one of its own
            kernel_init=nnx.initializers.he_normal(),
            conv_general_dilated=conv_general_dilated,
            rngs=rngs,
        )
        self.norm = None if norm is None else NORMS[one_of("norm", norm, NORMS)](outputs, rngs)
        self.activation = None if activation is None else Activation(activation)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.convolution(x)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else apart(self.activation, x)


def apart(activation: Activation, x: jax.Array) -> jax.Array:
    """The activation with nothing fused into it, as one out of several is computed.

    Fused with the sums around it (a norm's, the average's), a lone activation rounds elsewhere than the same one in a
    population of several, and the run would not be that member bit for bit.
    """
    out: jax.Array = lax.optimization_barrier(activation(lax.optimization_barrier(x)))
    return out


# Means and variances over: the batch and its positions (Ioffe & Szegedy, arXiv:1502.03167), with running ones for
# evaluation that forget as PyTorch's do, since Flax's default outlasts a short run; the positions and the channels of
# one of up to 8 groups (Wu & He, arXiv:1803.08494); the channels of one position (Ba et al., arXiv:1607.06450).
NORMS: dict[str, Callable[[int, nnx.Rngs], Any]] = {
    "batch": lambda channels, rngs: nnx.BatchNorm(channels, momentum=0.9, rngs=rngs),
    "group": lambda channels, rngs: nnx.GroupNorm(channels, math.gcd(channels, 8), rngs=rngs),
    "layer": lambda channels, rngs: nnx.LayerNorm(channels, rngs=rngs),
}


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(height, width, channels) of what was given with or without channels."""
    sizes = tuple(positive_integer("shape", size) for size in shape)
    require(len(sizes) in (2, 3), f"shape must be (height, width) or (height, width, channels), got {shape!r}")
    height, width, channels = (*sizes, 1)[:3]
    return height, width, channels


def as_images(x: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """A batch as f[examples, height, width, channels].

    Raises: ValueError when it has another shape, flat or not.
    """
    given, flat = x.shape[1:], (math.prod(shape),)
    allowed = (shape, flat, shape[:2]) if shape[2] == 1 else (shape, flat)
    shown = " or ".join(str(sizes) for sizes in allowed)
    require(given in allowed, f"a batch must hold examples of shape {shown}, got an array of shape {x.shape}")
    return x.reshape(x.shape[0], *shape)
