"""One function among several, computed as a branch of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def pick(which: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """What the chosen branch makes of the operands.

    A compiler adds and contracts in another order where a function is fused with what stands around it than where it is
    one branch of a switch. So one function alone is made a branch too, if `which` can hide that it is always taken, and
    has the bits that it has among others.

    Args:
        which: int32[], position among several branches; of one alone a bool[] that is true. Known to the compiler or
            not; a branch alone is called directly where `which` is known.
        branches: at least one, all with results of one structure, shapes and dtypes.
        operands: what they take.
    Returns: the branch's result.
    Source: written for this library.

    >>> print(pick(1, [jnp.sin, jnp.square], jnp.array(3.0)))
    9.0
    """
    if len(branches) > 1:
        return jax.lax.switch(which, branches, *operands)
    if not isinstance(which, jax.core.Tracer):
        return branches[0](*operands)
    shapes = jax.eval_shape(branches[0], *operands)
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.cond(which, branches[0], lambda *_: nothing, *operands)


def is_zero(tangent: Any) -> bool:
    """Whether a tangent in a rule with `symbolic_zeros` is one that nobody asked for."""
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)
