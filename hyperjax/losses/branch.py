"""A loss in a branch of its own, whose bits do not depend on what stands around it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.branching import is_zero, pick
from hyperjax.losses.table import LOSSES, Target, select
from hyperjax.types import Array, Scalar


def branched(
    index: Any,
    names: Sequence[str],
    kind: Target,
    predictions: Array,
    targets: Any,
    numbers: Mapping[str, Scalar],
    always: Any,
) -> Array:
    """The loss at `index` among `names`, per example; value and derivative come from one branch.

    A compiler adds and contracts in another order where a loss is fused with what stands around it than where it is one
    branch of a switch. So one name alone is a branch too, and a member of a mixed population has the bits of its lone
    run. The derivative by the predictions, one row an example, is all that reverse mode keeps.

    Args:
        index, names, kind: as in `select`.
        predictions, targets: what the losses take; each value may depend on its own example alone.
        numbers: of the losses by name, float[]; may be traced.
        always: bool[], true, but not known to the compiler.
    Returns: float[examples].
    Source: written for this library.

    >>> values = branched(0, ["squared_error"], "real", jnp.array([3.0]), jnp.array([1.0]), {}, jnp.array(True))
    >>> print(values)
    [4.]
    """
    functions = [_of(name, kind) for name in names]

    def with_slope(function: Callable[..., Any]) -> Callable[..., Any]:
        def both(p: Any, n: Any, t: Any) -> tuple[Array, Array]:
            out, pull = jax.vjp(lambda p: function(p, n, t), p)
            return out, pull(jnp.ones_like(out))[0]

        return both

    def moving(function: Callable[..., Any]) -> Callable[..., Any]:
        def by_numbers(p: Any, n: Any, t: Any, d: Any) -> Any:
            return jax.jvp(lambda m: function(p, {**n, **m}, t), ({name: n[name] for name in d},), (d,))[1]

        return by_numbers

    slopes = [with_slope(function) for function in functions]

    @jax.custom_jvp
    def value(which: Any, p: Any, n: Any, t: Any) -> Any:
        return pick(which, slopes, p, n, t)[0]

    def derivative(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Any]:
        which, *operands = primals
        _, by_predictions, by_numbers, _ = tangents
        out, slope = pick(which, slopes, *operands)
        parts = []
        if not is_zero(by_predictions):
            parts.append(jnp.sum(slope * by_predictions, tuple(range(out.ndim, slope.ndim))))
        asked = {name: tangent for name, tangent in by_numbers.items() if not is_zero(tangent)}
        if asked:
            parts.append(pick(which, [moving(function) for function in functions], *operands, asked))
        return out, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(out)

    value.defjvp(derivative, symbolic_zeros=True)
    floats = {name: jnp.asarray(number, jnp.result_type(number, float)) for name, number in numbers.items()}
    which = jnp.asarray(index, jnp.int32) if len(names) > 1 else always
    found: Array = value(which, predictions, floats, targets)
    return found


def _of(name: str, kind: Target) -> Callable[[Any, Mapping[str, Any], Any], Array]:
    loss, number = select(0, [name], kind), LOSSES[kind][name].number

    def function(predictions: Any, numbers: Mapping[str, Any], targets: Any) -> Array:
        own = {} if number is None or number.name not in numbers else {number.name: numbers[number.name]}
        return loss(predictions, targets, own)

    return function
