"""How large a model is, and how much arithmetic one forward pass takes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from flax import linen as nn
from flax import nnx
from jax.extend.core import jaxpr_as_fun, jaxprs_in_params
from jax.extend.core.primitives import scan_p, while_p

from hyperjax.models.adapters import LinenModule, PureModel, Trained, as_factory, as_module, in_mode
from hyperjax.types import PyTree


@dataclass(frozen=True)
class Description:
    """What `describe` found; printed, a table."""

    parameters: int  # numbers that are trained (in `nnx.Param`s), a shared one counted once
    flops: float  # floating-point operations of one forward pass over the inputs given; a product and a sum are two
    examples: int  # first axis of the first input
    parts: dict[str, int]  # attribute of the model, or key of its tree -> parameters there; those without are left out
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


def describe(model: Any, *inputs: PyTree) -> Description:
    """Count a model's parameters, and the floating-point operations of one forward pass in evaluation mode.

    The count of operations is XLA's own, of the program for the default backend before it is optimized, with the body
    of each `scan` counted as often as it runs. A convolution with zeros around counts the products with those zeros on
    a CPU, as papers do, and does not where it is the native one.

    Args:
        model: of any kind that a task's model may be, or as `run.model` gives it; not changed, and its mode does not
            matter. Nothing is computed: an `nnx.Module` made by `nnx.eval_shape` will do, a factory is taken with its
            defaults, and what has no variables yet is initialized with the shapes of the inputs.
        inputs: arguments of its call: arrays, or `jax.ShapeDtypeStruct`s.
    Returns: the counts, for the batch given.
    Raises: ValueError for what is no model.

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
    module = _module(model, inputs)
    parted: Any = nnx.split(module, nnx.Param, ...)
    graph, weights, rest = parted
    parts: Counter[str] = Counter()
    first = 1 if isinstance(module, LinenModule | PureModel) else 0  # which hold their tree as an attribute
    for path, variable in nnx.to_flat_state(weights):
        parts[str(path[first])] += sum(leaf.size for leaf in jax.tree.leaves(variable.get_value()))

    def forward(weights: PyTree, rest: PyTree, *inputs: PyTree) -> Any:
        rebuilt = nnx.merge(graph, weights, rest, copy=True)
        rebuilt.eval()
        return in_mode(rebuilt, training=False, key=jax.random.key(0))(*inputs)

    program = jax.make_jaxpr(forward)(weights, rest, *inputs)
    loops = sum(1 for _ in _outermost(program.jaxpr, while_p))
    examples = int(jax.tree.leaves(inputs)[0].shape[0])
    return Description(sum(parts.values()), _flops(program), examples, dict(parts), loops)


def _module(model: Any, inputs: tuple[PyTree, ...]) -> nnx.Module:
    """The model as an NNX module; where it is yet to be made, one of shapes alone."""
    if isinstance(model, nnx.Module | Trained) or (isinstance(model, nn.Module) and model.scope is not None):
        return as_module(model)

    def build(inputs: tuple[PyTree, ...]) -> nnx.Module:
        return as_factory(model, lambda: inputs).build(nnx.Rngs(0))

    module: nnx.Module = nnx.eval_shape(build, inputs)
    return module


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
