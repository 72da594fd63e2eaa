"""What layers that draw share: a number that may be bound by name, and a key from a stream of their own."""

from typing import Any

import jax
from flax import nnx

from hyperjax.layers.hyperparameter import Hyperparameter


def held(number: Any, name: str | None) -> Any:
    """The number as a layer keeps it: a plain one without a name is part of the program, else a `Hyperparameter`."""
    fixed = name is None and isinstance(number, int | float)
    return number if fixed or isinstance(number, Hyperparameter) else Hyperparameter(number, name=name)


def value_of(number: Any) -> Any:
    """The value of what `held` keeps."""
    return number.get_value() if isinstance(number, Hyperparameter) else number


def forked(rngs: nnx.Rngs | nnx.RngStream | None, collection: str) -> Any:
    """A layer's own stream, as `nnx.Dropout` makes it; None where a key comes with each call."""
    stream = rngs[collection] if isinstance(rngs, nnx.Rngs) else rngs
    return nnx.data(None) if stream is None else stream.fork()


def next_key(layer: Any, rngs: nnx.Rngs | nnx.RngStream | jax.Array | None, name: str) -> jax.Array:
    """The key of a call: from `rngs`, or else from the layer's own stream.

    Raises: ValueError when there is neither.
    """
    source = layer.rngs if rngs is None else rngs
    if source is None:
        raise ValueError(f"rngs must be given to {name} when it is made or when it is called, got None")
    if isinstance(source, nnx.Rngs):
        source = source[layer.rng_collection]
    key: jax.Array = source() if isinstance(source, nnx.RngStream) else source
    return key
