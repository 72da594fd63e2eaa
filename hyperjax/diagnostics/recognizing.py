"""Which activation lies behind a layer: told by the module that it is, or by what the next layer reads."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import activations
from hyperjax.diagnostics.interception import Call, Path

BOUNDED = ("tanh", "sigmoid", "hard_tanh", "hard_sigmoid", "soft_sign")  # flat at both ends: what can saturate
OTHERS = ("relu6", "hard_tanh", "hard_sigmoid", "soft_sign")  # of jax.nn, beside those of `hyperjax.activations`
CANDIDATES: dict[str, Callable[[Any], Any]] = {
    name: activations.TABLE[name] for name in activations.TABLE if name != "identity"
} | {name: getattr(jax.nn, name) for name in OTHERS}


class Site(NamedTuple):
    """A layer in the list of calls, and what is known of the activation behind it."""

    path: Path
    kind: str  # name of its class; "" where none of its calls can be seen
    calls: tuple[int, ...]  # that can be seen
    function: str | None  # name of the activation, "" for some rectifier; None: there is none, or none that is known
    before: int | None  # call that wrote what the activation reads, or that is the activation
    after: int | None  # call that read what the activation wrote; None: the call before is the activation itself


def sites(calls: Sequence[Call]) -> list[Site]:
    """The layers among some calls, their arrays concrete, in the order of their first call.

    An activation that is no module (`jax.nn.relu(self.linear(x))`) is found by what the next layer reads: the function
    of the table that makes it of what the layer wrote. Where none does (a sum, or pooling, lies between), zeros among
    numbers that are never negative are still told of, as the work of some rectifier.
    """
    layers: dict[Path, list[int]] = {}
    kinds: dict[Path, str] = {}
    behind: dict[Path, tuple[str | None, int | None, int | None]] = {}
    last: int | None = None  # the layer that was called last, if no activation behind it has been seen
    for place, call in enumerate(calls):
        if call.activation is None:
            if last is not None and call.read is not None:
                found = _between(calls[last].wrote, call.read)
                if found is not None:
                    behind.setdefault(calls[last].path, (found, last, place))
            layers.setdefault(call.path, [])
            kinds[call.path] = call.kind
            if call.wrote is not None:
                layers[call.path].append(place)
            last = place if call.wrote is not None else None
        elif last is not None and call.read is not None:
            behind.setdefault(calls[last].path, (_name(call), place, None))
            last = None
    nothing = (None, None, None)
    return [
        Site(path, kinds[path] if seen else "", tuple(seen), *behind.get(path, nothing))
        for path, seen in layers.items()
    ]


def aligned(wrote: Any, read: Any) -> Any:
    """What a layer read in the shape of what one before it wrote, where it is as many numbers an example."""
    return read.reshape(wrote.shape) if read.size == wrote.size and len(read) == len(wrote) else None


def _between(wrote: Any, read: Any) -> str | None:
    """Name of the function between two arrays, "" for some rectifier; None for no function that is known."""
    same = aligned(wrote, read)
    if same is not None:
        if bool(jnp.array_equal(wrote, same)):
            return None
        least = 1e-5 * float(jnp.max(jnp.abs(same)))  # a compiler may round elsewhere
        for name, function in CANDIDATES.items():
            if float(jnp.max(jnp.abs(function(wrote) - same))) <= least:
                return name
    values = np.asarray(read)
    return "" if values.min() >= 0 and (values == 0).any() else None


def _name(call: Call) -> str:
    assert call.activation is not None
    return " or ".join(call.activation.choices)
