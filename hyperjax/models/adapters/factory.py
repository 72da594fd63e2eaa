"""What makes a task's model: a function of streams and structure that gives an NNX module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flax import nnx


@dataclass(frozen=True, eq=False)
class Factory:
    """How a model is made.

    Attributes:
        build: `build(rngs, **structure) -> nnx.Module`.
        arguments: structure with its defaults; None where any is taken.
    """

    build: Callable[..., nnx.Module]
    arguments: dict[str, Any] | None
