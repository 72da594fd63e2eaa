"""Activation functions, and one of them picked by an index that may be traced."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from hyperjax.checks import one_of, require

Elementwise: TypeAlias = Callable[[Any], jax.Array]


def relu(x: Any) -> jax.Array:
    """Return max(x, 0) elementwise, with derivative 0 at 0.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    >>> relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return jax.nn.relu(x)


def tanh(x: Any) -> jax.Array:
    """Return (e^x - e^-x) / (e^x + e^-x) elementwise, in (-1, 1).

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp" (1998), section 4.4.

    >>> tanh(jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return jnp.tanh(x)


def gelu(x: Any) -> jax.Array:
    """Return x Phi(x) elementwise by its tanh approximation, which is what `jax.nn.gelu` computes by default.

    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), within 5e-4 of the exact form (PyTorch's default; its
    `approximate="tanh"` is this one).

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Hendrycks and Gimpel, "Gaussian error linear units", arXiv:1606.08415, section 2.

    >>> round(float(gelu(1.0)), 4)
    0.8412
    """
    return jax.nn.gelu(x, approximate=True)


def swish(x: Any) -> jax.Array:
    """Return x * sigmoid(x) elementwise (also called SiLU).

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Ramachandran, Zoph and Le, "Searching for activation functions", arXiv:1710.05941, with beta = 1.

    >>> round(float(swish(1.0)), 4)
    0.7311
    """
    return jax.nn.swish(x)


def sigmoid(x: Any) -> jax.Array:
    """Return 1 / (1 + e^-x) elementwise, in (0, 1).

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986), equation 2.

    >>> float(sigmoid(0.0))
    0.5
    """
    return jax.nn.sigmoid(x)


def identity(x: Any) -> jax.Array:
    """Return x itself: a linear layer.

    Args:
        x: array of any shape.

    Returns: x.
    Source: the definition.

    >>> identity(jnp.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return jnp.asarray(x)


TABLE: dict[str, Elementwise] = {
    "relu": relu,
    "tanh": tanh,
    "gelu": gelu,
    "swish": swish,
    "sigmoid": sigmoid,
    "identity": identity,
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
