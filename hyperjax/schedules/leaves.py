"""Rows of numbers that stay exact NumPy float64 on the host and become JAX arrays when one of them is one."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np


def on_host(*values: Any) -> bool:
    """True when every value is a Python or NumPy number or array, so that no backend is needed to combine them."""
    return all(isinstance(value, bool | int | float | np.generic | np.ndarray) for value in values)


def namespace(*values: Any) -> Any:
    """The module, `numpy` or `jax.numpy`, whose functions suit these values."""
    return np if on_host(*values) else jnp


def row(values: Sequence[Any], *, time: bool = False) -> Any:
    """Stack scalars into float[n]: Python numbers as NumPy float64, anything else in JAX's promoted type.

    Args:
        values: scalars or arrays of one shape.
        time: the values are lengths, which need float32 at least: bfloat16 cannot count to 1001.

    >>> row([1, 0.1]).dtype, row([np.float32(1), 0.1]).dtype
    (dtype('float64'), dtype('float32'))
    """
    return _merge(values, time, np.stack, jnp.stack)


def concatenate(arrays: Sequence[Any], *, time: bool = False) -> Any:
    """Concatenate float[pieces, ...] arrays along the first axis under the same rules as `row`."""
    return _merge(arrays, time, np.concatenate, jnp.concatenate)


def _merge(values: Sequence[Any], time: bool, host: Any, device: Any) -> Any:
    if not values:
        return np.zeros(0)
    strong = [value for value in values if not _weak(value)]
    if on_host(*values):
        dtype = jnp.result_type(*strong, float) if strong and not time else np.dtype(np.float64)
        return host([np.asarray(value, dtype) for value in values])
    dtype = jnp.result_type(*strong, float)
    if time:
        dtype = jnp.promote_types(dtype, jnp.float32)
    return device([jnp.asarray(value, dtype) for value in values])


def _weak(value: Any) -> bool:
    """A Python number, or a NumPy float64 or integer that stands for one: it takes the type of its neighbours."""
    return on_host(value) and (np.asarray(value).dtype.kind in "iub" or np.asarray(value).dtype == np.float64)
