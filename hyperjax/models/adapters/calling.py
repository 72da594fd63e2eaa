"""Call somebody's function by the names of its parameters: mode, randomness and state where it takes them."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx

TRUE_IN_TRAINING = ("train", "training", "is_training")
TRUE_IN_EVALUATION = ("deterministic", "use_running_average")
RANDOM = ("key", "rng")

Parameters = dict[str, inspect.Parameter]


def parameters(function: Callable[..., Any]) -> Parameters:
    """A function's parameters by name, `self` of a bound method left out.

    Raises: ValueError for a callable that does not show them.
    """
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise ValueError(f"model must be made of functions that show their parameters, got {function!r}") from None


def is_positional(parameter: inspect.Parameter) -> bool:
    """True when an argument may be passed by its place."""
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def modes(names: Iterable[str], training: bool) -> dict[str, bool]:
    """The flags among some names, each as the mode wants it.

    >>> modes(["x", "train", "deterministic"], training=True)
    {'train': True, 'deterministic': False}
    """
    flags = dict.fromkeys(TRUE_IN_TRAINING, training) | dict.fromkeys(TRUE_IN_EVALUATION, not training)
    return {name: flags[name] for name in names if name in flags}


def call(function: Callable[..., Any], taken: Parameters, named: Mapping[str, Any], inputs: Sequence[Any]) -> Any:
    """Call a function: by name what is known by name, and the inputs, in order, in the places left free.

    >>> def apply(params, rng, x): return params, rng, x
    >>> call(apply, parameters(apply), {"rng": 1, "params": 0}, [2])
    (0, 1, 2)
    """
    rest, waiting, placed = dict(named), list(inputs), []
    for name, parameter in taken.items():
        if not is_positional(parameter):
            break
        if name in rest:
            placed.append(rest.pop(name))
        elif waiting:
            placed.append(waiting.pop(0))
        else:
            break
    return function(*placed, *waiting, **rest)


def in_mode(module: nnx.Module, training: bool, key: jax.Array) -> Callable[..., Any]:
    """The module itself, or with the arguments bound by which its `__call__` is told the mode and where to draw.

    Most NNX modules know both themselves. Some take flags, or `rngs` for dropout that has no stream of its own.

    Args:
        module: an NNX module.
        training: the mode.
        key: what a `rngs` argument draws from, in training; in evaluation it keeps its default.
    """
    taken = parameters(module)
    bound: dict[str, Any] = dict(modes(taken, training))
    if "rngs" in taken and (training or taken["rngs"].default is inspect.Parameter.empty):
        bound["rngs"] = nnx.Rngs(key)
    return functools.partial(module, **bound) if bound else module
