"""Activations by name, and one of them picked by an index that may be traced."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from hyperjax.activations import functions
from hyperjax.checks import one_of, require

Elementwise: TypeAlias = Callable[[Any], jax.Array]

TABLE: dict[str, Elementwise] = {
    name: getattr(functions, name)
    for name in (
        "relu",
        "tanh",
        "gelu",
        "swish",
        "sigmoid",
        "identity",
        "leaky_relu",
        "elu",
        "selu",
        "gelu_exact",
        "mish",
        "softplus",
        "hard_swish",
    )
}


def select(index: Any, names: Sequence[str]) -> Elementwise:
    """Return the elementwise function that stands at `index` among `names`.

    The value and the derivative come from one branch, and the derivative is all that reverse mode keeps:
    tangent_out = f'(x) * tangent. Hence a member of a mixed population, which takes its branch of a switch, runs the
    arithmetic of a lone run, and a switch of many names costs about what one costs. Derivatives of any order follow.

    Args:
        index: int32[], static or traced, in [0, len(names)); ignored when there is one name. Where it is batched by
            `vmap`, every branch is computed and one is selected for each member.
        names: keys of `TABLE`, in the order that the index counts.

    Returns: function of a floating array, keeping shape and dtype.
    Raises: ValueError for an unknown name, no names, or a concrete index out of range.

    >>> import jax.numpy as jnp
    >>> select(1, ["tanh", "relu"])(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    functions = [TABLE[one_of("activation", name, TABLE)] for name in names]
    require(len(functions) > 0, "names must hold at least one activation, got none")
    if not isinstance(index, jax.core.Tracer):
        require((index >= 0) & (index < len(functions)), f"index must be in [0, {len(functions)}), got {index}")
    if len(functions) == 1:
        only = functions[0]
        return lambda x: _one(only, x)
    return lambda x: _switch(tuple(functions), index, x)


def _value_and_slope(function: Elementwise, x: Any) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))


def _one(function: Elementwise, x: Any) -> jax.Array:
    @jax.custom_jvp
    def value(x: Any) -> Any:
        return function(x)

    @value.defjvp
    def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[jax.Array, jax.Array]:
        out, slope = _value_and_slope(function, *primals)
        return out, slope * tangents[0]

    out: jax.Array = value(jnp.asarray(x))
    return out


def _switch(functions: tuple[Elementwise, ...], index: Any, x: Any) -> jax.Array:
    @jax.custom_jvp
    def value(index: Any, x: Any) -> Any:
        return jax.lax.switch(index, functions, x)

    @value.defjvp
    def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
        branches = [lambda x, function=function: _value_and_slope(function, x) for function in functions]
        out, slope = jax.lax.switch(primals[0], branches, primals[1])
        return out, slope * tangents[1]

    chosen: jax.Array = value(jnp.asarray(index, jnp.int32), jnp.asarray(x))
    return chosen
