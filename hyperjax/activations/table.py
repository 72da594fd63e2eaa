"""Activations by name, and one of them picked by an index that may be traced."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.activations import functions
from hyperjax.activations.functions import floating
from hyperjax.branching import is_zero, pick
from hyperjax.checks import one_number, one_of, require

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


NUMBERS: dict[str, dict[str, float]] = {  # those of the table that read numbers, with the defaults
    "leaky_relu": {"negative_slope": 0.01},
    "elu": {"alpha": 1.0},
    "swish": {"beta": 1.0},
}


def select(index: Any, names: Sequence[str], numbers: Mapping[str, Any] | None = None) -> Elementwise:
    """Return the elementwise function that stands at `index` among `names`.

    The value and the derivative come from one branch, and the derivative is all that reverse mode keeps:
    tangent_out = f'(x) * tangent. Hence a member of a mixed population, which takes its branch of a switch, runs the
    arithmetic of a lone run (a branch too, where its index is traced), and a switch of many names costs about what one
    costs. Derivatives of any order follow, and those by the numbers too.

    Args:
        index: int32[], static or traced, in [0, len(names)); one name alone is taken at any traced one. Where it is
            batched by `vmap`, every branch is computed and one is selected for each member.
        names: keys of `TABLE`, in the order that the index counts.
        numbers: values of what the functions read (`NUMBERS`), float[], may be traced; those not given have their
            defaults.

    Returns: function of an array, keeping its shape and floating dtype; whole numbers and bools become floats.
    Raises: ValueError for an unknown name, no names, a number that none of them reads, or a concrete index out of
        range.

    >>> import jax.numpy as jnp
    >>> select(1, ["tanh", "relu"])(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    >>> select(0, ["leaky_relu"], {"negative_slope": 0.5})(jnp.array([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """
    table = [TABLE[one_of("activation", name, TABLE)] for name in names]
    require(len(table) > 0, "names must hold at least one activation, got none")
    if not isinstance(index, jax.core.Tracer):
        require((index >= 0) & (index < len(table)), f"index must be in [0, {len(table)}), got {index}")
    given = dict(numbers or {})
    read = [number for name in names for number in NUMBERS.get(name, {})]
    for number in given:
        require(
            number in read, f"numbers of {', '.join(names)} must be among {', '.join(read) or '(none)'}, got {number!r}"
        )
        one_number(number, given[number])
    own = [tuple(number for number in NUMBERS.get(name, {}) if number in given) for name in names]
    chosen = tuple(_reading(function, numbers) for function, numbers in zip(table, own, strict=True))
    return lambda x: _chosen(chosen, index, x, given)


Reading: TypeAlias = Callable[[Any, Mapping[str, Any]], jax.Array]


def _reading(function: Callable[..., jax.Array], own: tuple[str, ...]) -> Reading:
    def of(x: Any, numbers: Mapping[str, Any]) -> jax.Array:
        return function(x, **{name: jnp.asarray(numbers[name]).astype(jnp.result_type(x)) for name in own})

    return of


def _value_and_slope(function: Reading, x: Any, numbers: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(lambda x: function(x, numbers), (x,), (jnp.ones_like(x),))


def _chosen(functions: tuple[Reading, ...], index: Any, x: Any, numbers: dict[str, Any]) -> jax.Array:
    @jax.custom_jvp
    def value(which: Any, x: Any, numbers: Any) -> Any:
        return pick(which, functions, x, numbers)

    def derivative(primals: tuple[Any, Any, Any], tangents: tuple[Any, Any, Any]) -> tuple[jax.Array, Any]:
        which, x, numbers = primals
        branches = [lambda x, n, function=function: _value_and_slope(function, x, n) for function in functions]
        out, slope = pick(which, branches, x, numbers)
        parts = [] if is_zero(tangents[1]) else [slope * tangents[1]]
        # What the numbers do is computed only where somebody asks for it.
        asked = {name: tangent for name, tangent in tangents[2].items() if not is_zero(tangent)}
        if asked:
            moving = [
                lambda x, n, t, function=function: jax.jvp(
                    lambda moved: function(x, {**n, **moved}), ({name: n[name] for name in t},), (t,)
                )[1]
                for function in functions
            ]
            parts.append(pick(which, moving, x, numbers, asked))
        return out, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(out)

    value.defjvp(derivative, symbolic_zeros=True)
    floats = {name: jnp.asarray(number, jnp.result_type(number, float)) for name, number in numbers.items()}
    which: Any = jnp.asarray(index, jnp.int32)
    if len(functions) == 1:
        # An index that is traced hides that this is always true, so that a lone activation is a branch as well.
        which = index < np.iinfo(np.int32).max if isinstance(index, jax.core.Tracer) else None
    out: jax.Array = value(which, floating(x), floats)
    return out
