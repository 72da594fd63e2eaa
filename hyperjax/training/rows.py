"""Whether a traced function treats the examples of a batch each by itself, read from its operations."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from hyperjax.types import PyTree

Axis = int | None  # along which an array has a row for each example; None: nothing in it depends on any example

_EACH_BY_ITSELF = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e bitcast_convert_type cbrt ceil
    clamp clz convert_element_type copy cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt
    igamma igammac imag integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max min mul ne neg
    nextafter not optimization_barrier or polygamma population_count pow real reduce_precision
    regularized_incomplete_beta rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign
    sin sinh sqrt square stop_gradient sub tan tanh xor zeta
    """.split()  # noqa: SIM905  # a list of words would take a line each
)
_OVER_AXES = frozenset(
    {f"reduce_{how}" for how in ("sum", "max", "min", "prod", "and", "or", "xor")} | {"argmax", "argmin"}
)
_ALONG_AN_AXIS = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"})
_OVER_WINDOWS = frozenset({"reduce_window", "reduce_window_sum", "reduce_window_max", "reduce_window_min"})
_DERIVATIVES = ("jvp", "fwd", "bwd")  # how the parameters begin that hold those of a call
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters that hold what an operation calls


class _Meet(Exception):  # noqa: N818  # no error: an answer
    """Examples meet in an operation, or it is none that is known here."""


def rows_apart(function: Callable[..., tuple[PyTree, PyTree]], rows: PyTree, *others: Any) -> bool:
    """Whether each example of a batch is treated by itself, however many there are.

    Args:
        function: `(rows, *others) -> (by row, whole)`, traced here and not run.
        rows: shapes of arrays with a row for each example, at least two.
        others: what else it takes, arrays or their shapes.
    Returns: True where row i of every array of `by row` depends on row i of `rows` and its number alone, `whole` on no
        row, and the operations are the same for another number of rows. False where any of that cannot be seen, as for
        batch normalization, a loss over pairs of examples, a division by the size of the batch, an unknown operation.

    >>> import jax.numpy as jnp
    >>> batch = jax.ShapeDtypeStruct((8, 3), jnp.float32)
    >>> rows_apart(lambda x: (jnp.tanh(x).sum(1), ()), batch), rows_apart(lambda x: (x - x.mean(0), ()), batch)
    (True, False)
    """
    size = jax.tree.leaves(rows)[0].shape[0]

    def traced(count: int) -> tuple[Any, Any]:
        def of_count(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)

        return jax.make_jaxpr(function, return_shape=True)(jax.tree.map(of_count, rows), *others)

    (program, shapes), (other, _) = traced(size), traced(size + 1)
    given: list[Axis] = [0] * len(jax.tree.leaves(rows)) + [None] * len(jax.tree.leaves(others))
    wanted: list[Axis] = [0] * len(jax.tree.leaves(shapes[0])) + [None] * len(jax.tree.leaves(shapes[1]))
    try:
        return _walk(program.jaxpr, given, size) == wanted and _same(program, other, size)
    except (_Meet, AttributeError, KeyError):  # another version of JAX may call its parameters otherwise
        return False


def _require(apart: Any) -> None:
    if not apart:
        raise _Meet


def _walk(program: Any, given: Sequence[Axis], size: int) -> list[Axis]:
    """Where each result of a program has its examples."""
    known = dict(zip(program.invars, given, strict=True))

    def axis_of(atom: Any) -> Axis:
        return None if isinstance(atom, jex.Literal) else known.get(atom)

    for equation in program.eqns:
        axes = [axis_of(atom) for atom in equation.invars]
        if all(axis is None for axis in axes):
            continue
        found = _through(equation, axes, size)
        known |= {variable: axis for variable, axis in zip(equation.outvars, found, strict=True) if axis is not None}
    return [axis_of(atom) for atom in program.outvars]


def _through(equation: Any, axes: list[Axis], size: int) -> list[Axis]:
    """Where the results of an operation have their examples, if it lets none of them meet."""
    name, parameters = equation.primitive.name, equation.params
    shapes = [atom.aval.shape for atom in equation.invars]
    if name in _EACH_BY_ITSELF:
        if name == "optimization_barrier":
            return axes
        return [_one(axes)] * len(equation.outvars)
    if name in _OVER_AXES:
        axis = _one(axes)
        _require(axis not in parameters["axes"])
        return [_behind(axis, parameters["axes"])]
    if name in _ALONG_AN_AXIS:
        _require(parameters["axis"] != axes[0])
        return axes
    if name in _OVER_WINDOWS:
        return [_over_windows(parameters, axes)]
    if name == "reshape":
        return [_reshape(size, parameters, shapes[0], axes[0] or 0)]
    if name in _RULES:
        return [_RULES[name](parameters, shapes, axes)] * len(equation.outvars)
    if name == "cond":
        _require(axes[0] is None)
        return _joined([_walk(branch.jaxpr, axes[1:], size) for branch in parameters["branches"]])
    if name == "scan":
        return _scan(parameters, axes, size)
    if name == "while":
        return _while(parameters, axes, size)
    inner = [parameters[key] for key in _INNER if key in parameters]
    _require(len(inner) == 1)
    return _walk(getattr(inner[0], "jaxpr", inner[0]), axes, size)


def _one(axes: Sequence[Axis]) -> Axis:
    """The axis that all arrays with examples have them along."""
    there = {axis for axis in axes if axis is not None}
    _require(len(there) == 1)
    return there.pop()


def _behind(axis: Axis, gone: Sequence[int]) -> Axis:
    """An axis once others are gone."""
    return None if axis is None else axis - sum(other < axis for other in gone)


def _joined(ways: list[list[Axis]]) -> list[Axis]:
    """The axes of results that come of one of several ways."""
    return [None if all(axis is None for axis in each) else _one(each) for each in zip(*ways, strict=True)]


def _reshape(size: int, parameters: Any, shape: tuple[int, ...], axis: int) -> int:
    new = parameters["new_sizes"]
    _require(parameters.get("dimensions") is None)
    before = math.prod(shape[:axis])
    places = [at for at in range(len(new)) if math.prod(new[:at]) == before and new[at] and new[at] % size == 0]
    _require(places)
    return places[0]


def _broadcast(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = axes[0]
    assert axis is not None
    place: int = parameters["broadcast_dimensions"][axis]
    _require(parameters["shape"][place] == shapes[0][axis])
    return place


def _squeeze(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    _require(axes[0] not in parameters["dimensions"])
    return _behind(axes[0], parameters["dimensions"])


def _transpose(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    place: int = tuple(parameters["permutation"]).index(axes[0])
    return place


def _product(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    contracted, together = parameters["dimension_numbers"]
    _require(all(axis not in gone for axis, gone in zip(axes, contracted, strict=True)))
    as_batch = [tuple(own).index(axis) if axis in own else None for axis, own in zip(axes, together, strict=True)]
    if any(place is not None for place in as_batch):
        for axis, place in zip(axes, as_batch, strict=True):
            _require(axis is None or place is not None)
        return _one(as_batch)
    _require(None in axes)  # else every example meets every other
    side = 0 if axes[1] is None else 1
    free = [d for d in range(len(shapes[side])) if d not in contracted[side] and d not in together[side]]
    left = len(shapes[0]) - len(contracted[0]) if side == 1 else len(together[0])
    return left + free.index(axes[side] or 0)


def _convolution(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    numbers = parameters["dimension_numbers"]
    _require(axes[1] is None and axes[0] == numbers.lhs_spec[0] and parameters["batch_group_count"] == 1)
    place: int = numbers.out_spec[0]
    return place


def _concatenate(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = _one(axes)
    _require(axis != parameters["dimension"])
    return axis


def _pad(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = axes[0]
    _require(axes[1] is None and axis is not None and tuple(parameters["padding_config"][axis]) == (0, 0, 0))
    return axis


def _slice(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = axes[0]
    assert axis is not None
    strides = parameters["strides"]
    whole = parameters["start_indices"][axis] == 0 and parameters["limit_indices"][axis] == shapes[0][axis]
    _require(whole and (strides is None or strides[axis] == 1))
    return axis


def _dynamic_slice(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = axes[0]
    _require(axis is not None and not any(a is not None for a in axes[1:]))
    assert axis is not None
    _require(parameters["slice_sizes"][axis] == shapes[0][axis])
    return axis


def _dynamic_update_slice(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = _one(axes[:2])
    _require(axis is not None and not any(a is not None for a in axes[2:]))
    assert axis is not None
    _require(shapes[1][axis] == shapes[0][axis])
    return axis


def _reverse(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    _require(axes[0] not in parameters["dimensions"])
    return axes[0]


def _sort(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    axis = _one(axes)
    _require(axis != parameters["dimension"])
    return axis


def _top(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    _require(axes[0] != parameters.get("axis", len(shapes[0]) - 1))
    return axes[0]


def _split(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    _require(axes[0] != parameters["axis"])
    return axes[0]


def _tile(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    _require(len(parameters["reps"]) == len(shapes[0]) and parameters["reps"][axes[0]] == 1)
    return axes[0]


def _unstack(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    _require(axes[0] != parameters["axis"])
    return _behind(axes[0], [parameters["axis"]])


def _gather(parameters: Any, shapes: Any, axes: list[Axis]) -> Axis:
    numbers, (array, indices) = parameters["dimension_numbers"], axes
    own = tuple(numbers.operand_batching_dims)
    if array is not None and array not in own:  # whole rows, wherever the indices say within them
        dropped = {*numbers.collapsed_slice_dims, *own}
        _require(indices is None and array not in dropped and parameters["slice_sizes"][array] == shapes[0][array])
        kept = [d for d in range(len(shapes[0])) if d not in dropped]
        place: int = numbers.offset_dims[kept.index(array)]
        return place
    if array is not None:
        _require(indices is None or indices == numbers.start_indices_batching_dims[own.index(array)])
        indices = numbers.start_indices_batching_dims[own.index(array)]
    elif indices in numbers.start_indices_batching_dims:
        pass  # each example's own index into what all have
    _require(indices is not None and indices < len(shapes[1]) - 1)
    rank = len(shapes[1]) - 1 + len(numbers.offset_dims)
    assert indices is not None
    return [d for d in range(rank) if d not in numbers.offset_dims][indices]


def _over_windows(parameters: Any, axes: list[Axis]) -> Axis:
    axis = _one(axes)
    _require(not any("jaxpr" in key and getattr(value, "consts", ()) for key, value in parameters.items()))
    assert axis is not None
    ones = [parameters[key][axis] for key in ("window_dimensions", "window_strides")]
    ones += [parameters[key][axis] for key in ("base_dilation", "window_dilation") if key in parameters]
    _require(all(one == 1 for one in ones) and tuple(parameters["padding"][axis]) == (0, 0))
    return axis


def _scan(parameters: Any, axes: list[Axis], size: int) -> list[Axis]:
    constants, carried = _cuts_of_scan(parameters)
    _require(all(axis != 0 for axis in axes[carried:]))  # else it goes from example to example
    each = [None if axis is None else axis - 1 for axis in axes[carried:]]

    def turn(carry: list[Axis]) -> list[Axis]:
        return _walk(parameters["jaxpr"].jaxpr, [*axes[:constants], *carry, *each], size)

    carry = _settled(axes[constants:carried], lambda carry: turn(carry)[: len(carry)])
    stacked = turn(carry)[len(carry) :]
    return [*carry, *(None if axis is None else axis + 1 for axis in stacked)]


def _cuts_of_scan(parameters: Any) -> tuple[int, int]:
    """How many operands of a scan are constant, and how many are so or carried."""
    if "ft_in" in parameters:  # from jax 0.12 on, as trees of all operands
        constants, carry, _ = (len(list(part)) for part in parameters["ft_in"].unpack())
    else:
        constants, carry = parameters["num_consts"], parameters["num_carry"]
    return constants, constants + carry


def _while(parameters: Any, axes: list[Axis], size: int) -> list[Axis]:
    of_condition, of_body = parameters["cond_nconsts"], parameters["body_nconsts"]
    own, body = axes[:of_condition], axes[of_condition : of_condition + of_body]
    carry = _settled(
        axes[of_condition + of_body :], lambda carry: _walk(parameters["body_jaxpr"].jaxpr, [*body, *carry], size)
    )
    _require(_walk(parameters["cond_jaxpr"].jaxpr, [*own, *carry], size) == [None])
    return carry


def _settled(carry: list[Axis], turn: Callable[[list[Axis]], list[Axis]]) -> list[Axis]:
    """What a loop carries, once another turn changes nothing."""
    while (after := _joined([carry, turn(carry)])) != carry:
        carry = after
    return carry


_RULES: dict[str, Callable[[Any, Any, list[Axis]], Axis]] = {
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "concatenate": _concatenate,
    "pad": _pad,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "rev": _reverse,
    "sort": _sort,
    "top_k": _top,
    "split": _split,
    "tile": _tile,
    "unstack": _unstack,
    "gather": _gather,
}


def _same(one: Any, other: Any, size: int) -> bool:
    """Whether two programs, traced for `size` examples and one more, do the same to each."""
    mine, theirs = getattr(one, "jaxpr", one), getattr(other, "jaxpr", other)
    ours, others = (tuple(getattr(program, "consts", ())) for program in (one, other))
    if len(mine.eqns) != len(theirs.eqns) or not _alike(ours, others, size):
        return False
    return all(
        a.primitive is b.primitive
        and len(a.invars) == len(b.invars)
        and all(_alike(_value(x), _value(y), size) for x, y in zip(a.invars, b.invars, strict=True))
        and a.params.keys() == b.params.keys()
        and all(_alike(a.params[key], b.params[key], size) for key in a.params if not key.startswith(_DERIVATIVES))
        for a, b in zip(mine.eqns, theirs.eqns, strict=True)
    )


def _value(atom: Any) -> Any:
    return atom.val if isinstance(atom, jex.Literal) else None


def _alike(one: Any, other: Any, size: int) -> bool:
    """Whether two values are equal but for sizes, which may be as many times the number of examples."""
    if hasattr(one, "eqns") or hasattr(one, "jaxpr"):
        return _same(one, other, size)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_alike(a, b, size) for a, b in zip(one, other, strict=True))
    if isinstance(one, int) and not isinstance(one, bool):
        return one == other or (one % size == 0 and other == one // size * (size + 1))
    if isinstance(one, jax.Array) and jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    if isinstance(one, float | np.ndarray | np.generic | jax.Array):
        one, other = np.asarray(one), np.asarray(other)
        return np.array_equal(one, other, equal_nan=jnp.issubdtype(one.dtype, jnp.inexact))
    return callable(one) or bool(one == other)  # a policy of what is kept, a rule for a derivative
