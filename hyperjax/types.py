"""Aliases that several layers share."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array
Scalar: TypeAlias = float | int | np.ndarray | jax.Array
Number: TypeAlias = Scalar | Callable[[Any], Any]  # a schedule is a callable: step -> number
PyTree: TypeAlias = Any
Mask: TypeAlias = (
    PyTree | Callable[[Any], Any] | None
)  # bools like a tree, or a function from a tree to those; None: all
