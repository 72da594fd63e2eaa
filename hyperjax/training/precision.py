"""What a model computes in, apart from what its weights are kept in."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax.types import PyTree

Result = TypeVar("Result")


def of_products() -> Any:
    """What the caller's `with jax.default_matmul_precision(...)` asks for; None where nobody asks."""
    return jax.config.jax_default_matmul_precision  # type: ignore[attr-defined, unused-ignore]


def of_this_thread(work: Callable[..., Result]) -> Callable[..., Result]:
    """The same work for other threads, in 64 bits where a `with jax.enable_x64()` says so, which holds in one alone."""
    x64 = jax.config.jax_enable_x64  # type: ignore[attr-defined, unused-ignore]

    def worked(*args: Any) -> Result:
        with jax.enable_x64(x64):
            return work(*args)

    return worked


def computing_in(model: Any, dtype: str) -> Any:
    """The model, its Flax layers told to compute in a type; BatchNorm, left alone, would give its statistics' type."""
    module: Any
    for _, module in nnx.iter_modules(model):
        if hasattr(module, "param_dtype") and getattr(module, "dtype", dtype) is None:
            module.dtype = jnp.dtype(dtype)
    return model


def in_precision(tree: PyTree, dtype: str | None) -> PyTree:
    """The tree with its floats in another type; None, and whatever is no float, stay as they are.

    >>> in_precision({"w": jnp.ones(2), "n": jnp.arange(2)}, "bfloat16")["w"].dtype.name
    'bfloat16'
    """
    if dtype is None:
        return tree

    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
