"""What the layers of a model read and write in a call, seen from outside: the user's model stays as it is."""

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from flax.nnx.tracers import TraceState

from hyperjax.layers import Activation
from hyperjax.models.adapters import LinenModule, PureModel

Path = tuple[str, ...]


class Call(NamedTuple):
    """A call of a layer."""

    path: Path  # of the module, as its weights have it
    kind: str  # name of its class
    activation: Activation | None  # the module itself where it is one; else it has weights of its own
    read: Any  # f[examples, ...], its first input; None where it cannot be seen
    wrote: Any  # f[examples, ...], its output


_Record = Callable[[Path, Any, tuple[Any, ...], Any], None]
_watching: ContextVar[tuple[dict[int, Path], _Record] | None] = ContextVar("watching", default=None)


def watched(model: nnx.Module, work: Callable[[], Any]) -> list[Call]:
    """The calls of a model's layers while some work is done: of modules that own weights and hold no others that do.

    Activations of `hyperjax.layers` are told of too. What happens inside a transformation of the model's own (a scan
    over time, rematerialization) cannot be brought out of it: such a call has no arrays. Linen modules are seen through
    Flax's interceptor. For NNX, which has none, the modules of this one model change their class to a subclass that
    tells of its calls: give a model that was made at this level of tracing and that nobody else has.

    >>> model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), jax.nn.relu, nnx.Linear(4, 2, rngs=nnx.Rngs(0)))
    >>> [(call.path, call.wrote.shape) for call in watched(model, lambda: model(jnp.ones((5, 3))))]
    [(('layers', '0'), (5, 4)), (('layers', '2'), (5, 2))]
    """
    calls: list[Call] = []
    here = TraceState()

    def record(path: Path, module: Any, inputs: tuple[Any, ...], out: Any) -> None:
        arrays = [_array(inputs[0] if inputs else None), _array(out)] if here.is_valid() else [None, None]
        activation = module if isinstance(module, Activation) else None
        calls.append(Call(path, type(module).__name__, activation, *arrays))

    token = _watching.set((_paths(model), record))
    try:
        with nn.intercept_methods(functools.partial(_intercepted, record)):
            work()
    finally:
        _watching.reset(token)
    return calls


def _paths(model: nnx.Module) -> dict[int, Path]:
    """Where the layers of an NNX model are, by identity; they tell of their calls from now on."""
    nodes = [(path, node) for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)]
    owners = [path for path, node in nodes if any(isinstance(value, nnx.Param) for value in vars(node).values())]
    of_others = isinstance(model, LinenModule | PureModel)  # whose weights lie in a tree, not in layers
    found = {}
    for path, node in nodes:
        within = [other for other in owners if other[: len(path)] == path and other != path]
        if isinstance(node, Activation) or (path in owners and not within and not of_others):
            object.__setattr__(node, "__class__", _telling(type(node)))
            found[id(node)] = tuple(map(str, path))
    return found


@functools.cache
def _telling(kind: type) -> type:
    """A subclass of a module's class, of the same name, that tells of its calls."""
    call: Callable[..., Any] = kind.__call__

    @functools.wraps(call)
    def told(self: Any, *inputs: Any, **arguments: Any) -> Any:
        out = call(self, *inputs, **arguments)
        watching = _watching.get()
        if watching is not None and id(self) in watching[0]:
            watching[1](watching[0][id(self)], self, inputs, out)
        return out

    return type(kind)(kind.__name__, (kind,), {"__call__": told, "__module__": kind.__module__})


def _intercepted(record: _Record, method: Any, inputs: Any, arguments: Any, context: Any) -> Any:
    out = method(*inputs, **arguments)
    module = context.module
    if context.method_name == "__call__" and module.scope is not None:
        own = module.variables.get("params", {})
        if own and not any(isinstance(value, Mapping) for value in own.values()):
            record(("params", *module.path), module, inputs, out)
    return out


def _array(value: Any) -> Any:
    return value if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating) else None
