"""How large a model is, and how much arithmetic one forward pass takes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from jax.extend.core import jaxpr_as_fun, jaxprs_in_params
from jax.extend.core.primitives import scan_p, while_p

from hyperjax.types import PyTree


@dataclass(frozen=True)
class Description:
    """What `describe` found; printed, a table."""

    parameters: int  # numbers in `nnx.Param`s, a shared one counted once
    flops: float  # floating-point operations of one forward pass over the inputs given; a product and a sum are two
    examples: int  # first axis of the first input
    parts: dict[str, int]  # attribute of the model -> parameters in it; those without any are left out
    unbounded_loops: int  # loops whose number of turns is not known beforehand: one turn of each is in `flops`

    def table(self) -> list[tuple[str, int]]:
        """(part, parameters), and the total as the last row."""
        return [*self.parts.items(), ("total", self.parameters)]

    def __str__(self) -> str:
        rows = [("part", "parameters"), *((name, f"{count:,}") for name, count in self.table())]
        left, right = (max(len(row[i]) for row in rows) for i in (0, 1))
        lines = [f"{name:<{left}}  {count:>{right}}" for name, count in rows]
        least = "at least " if self.unbounded_loops else ""
        lines.append(f"forward pass of {self.examples:,}: {least}{self.flops:,.0f} FLOPs")
        return "\n".join(lines)


def describe(model: nnx.Module, *inputs: PyTree) -> Description:
    """Count a model's parameters, and the floating-point operations of one forward pass in evaluation mode.

    The count of operations is XLA's own, of the program for the default backend before it is optimized, with the body
    of each `scan` counted as often as it runs. A convolution with zeros around counts the products with those zeros on
    a CPU, as papers do, and does not where it is the native one.

    Args:
        model: any `nnx.Module`; not changed, and its `train`/`eval` mode does not matter. Nothing is computed: one made
            by `nnx.eval_shape` will do.
        inputs: arguments of its call: arrays, or `jax.ShapeDtypeStruct`s.
    Returns: the counts, for the batch given.

    >>> import jax.numpy as jnp
    >>> from hyperjax.models import MLP
    >>> found = describe(MLP(64, 10, widths=(128,), rngs=nnx.Rngs(0)), jnp.ones((1, 64)))
    >>> print(found)
    part    parameters
    layers       8,320
    output       1,290
    total        9,610
    forward pass of 1: 19,2... FLOPs
    """
    parted: Any = nnx.split(model, nnx.Param, ...)
    graph, weights, rest = parted
    parts: Counter[str] = Counter()
    for path, variable in nnx.to_flat_state(weights):
        parts[str(path[0])] += sum(leaf.size for leaf in jax.tree.leaves(variable.get_value()))

    def forward(weights: PyTree, rest: PyTree, *inputs: PyTree) -> Any:
        rebuilt = nnx.merge(graph, weights, rest, copy=True)
        rebuilt.eval()
        return rebuilt(*inputs)

    program = jax.make_jaxpr(forward)(weights, rest, *inputs)
    loops = sum(1 for _ in _outermost(program.jaxpr, while_p))
    examples = int(jax.tree.leaves(inputs)[0].shape[0])
    return Description(sum(parts.values()), _flops(program), examples, dict(parts), loops)


def _flops(program: Any) -> float:
    """Operations of a jaxpr, each scan's body as often as it runs: XLA counts every body once."""
    total = _each_body_once(program)
    for equation in _outermost(program.jaxpr, scan_p):
        body = equation.params["jaxpr"]
        total += equation.params["length"] * _flops(body) - _each_body_once(body)
    return total


def _each_body_once(program: Any) -> float:
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.in_avals]
    cost = jax.jit(jaxpr_as_fun(program)).lower(*shapes).cost_analysis() or {}
    return float(cost.get("flops", 0.0))  # the key is absent where there are none


def _outermost(jaxpr: Any, primitive: Any) -> Iterator[Any]:
    """The equations of that primitive, not those inside one of them."""
    for equation in jaxpr.eqns:
        if equation.primitive is primitive:
            yield equation
        else:
            for inner in jaxprs_in_params(equation.params):
                yield from _outermost(inner, primitive)
