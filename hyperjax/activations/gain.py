"""The scale of initial weights that suits an activation."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from hyperjax.activations.table import TABLE, Elementwise
from hyperjax.checks import one_of


def gain(activation: str | Elementwise) -> float:
    """Return the factor on `1 / sqrt(fan_in)` that keeps the size of what goes through a layer.

    1 / sqrt(E f(z)^2) for z standard normal: weights of standard deviation `gain / sqrt(fan_in)` behind the activation
    then give pre-activations of variance 1 again. For relu it is He's sqrt(2), for leaky_relu
    sqrt(2 / (1 + negative_slope^2)), for selu 1. PyTorch's `calculate_gain` agrees on those, and has 5/3 for tanh (here
    1.593) and 1 for sigmoid (here 1.847; it is 0.5 at 0, not 0).

    Args:
        activation: a name in the table, or any elementwise function.
    Returns: a number above 0.
    Raises: ValueError for an unknown name.
    Source: He et al., arXiv:1502.01852, eq. 10, for any function.

    >>> round(gain("relu") ** 2, 4)
    2.0
    """
    function = TABLE[one_of("activation", activation, TABLE)] if isinstance(activation, str) else activation
    z = np.linspace(-12.0, 12.0, 24_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    values: Any = np.asarray(function(jnp.asarray(z, jnp.float32)), np.float64)
    return float(1 / np.sqrt(np.trapezoid(values**2 * density, z)))
