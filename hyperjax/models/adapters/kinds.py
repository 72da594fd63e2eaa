"""Models of every kind: told apart, made for the engine, and given back as what they were."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from flax import nnx

from hyperjax.models.adapters import calling
from hyperjax.models.adapters.factory import Factory
from hyperjax.models.adapters.linen import LinenModule, bound, from_linen
from hyperjax.models.adapters.pure import PureModel, Trained, from_pair, trained

Example = Callable[[], tuple[Any, ...]]
ALLOWED = (
    "model must be a Flax module (NNX or Linen), a factory (rngs, **structure) of one, "
    "or a pair of functions (init, apply)"
)


def as_factory(model: Any, example: Example) -> Factory:
    """What makes the model of a task.

    Args:
        model: an NNX module, a Linen module, a pair `(init, apply)`, or a factory of one of these; a module that has
            its variables, or a trained pair, to begin from them.
        example: gives what the model is called with, one example of each in a batch of one.
    Raises: ValueError for anything else.

    >>> as_factory(lambda rngs, width=8: nnx.Linear(4, width, rngs=rngs), tuple).arguments
    {'width': 8}
    """
    if isinstance(model, Factory):
        return model
    if isinstance(model, nn.Module) and model.scope is None:
        return from_linen(model, example)
    if isinstance(model, nnx.Module | nn.Module | Trained):
        begun = as_module(model)
        return Factory(lambda rngs: nnx.clone(begun), {})
    if isinstance(model, tuple | list):
        if len(model) != 2 or not all(map(callable, model)):
            raise ValueError(f"{ALLOWED}, got a {type(model).__name__} of {len(model)}")
        return from_pair(model[0], model[1], example)
    if not callable(model):
        raise ValueError(f"{ALLOWED}, got {type(model).__name__}")
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise ValueError(f"{ALLOWED}, got the class {model.__name__}; call it with its fields")
    if not jax.tree_util.all_leaves([model]):  # as an Equinox module is
        raise ValueError(
            f"{ALLOWED}, got {type(model).__name__}, a tree of arrays; "
            "give what makes it from a key, and a function of it and a batch"
        )
    return _from_function(model, example)


def as_module(model: Any, like: nnx.Module | None = None) -> nnx.Module:
    """The NNX module of a model of any kind that has its variables.

    Args:
        model: an NNX module, a bound Linen module, a trained pair; with `like` also bare variables or parameters.
        like: a module of the kind that bare ones are meant for.
    Raises: ValueError for anything else.
    """
    if isinstance(model, nnx.Module):
        return model
    if isinstance(model, nn.Module) and model.scope is not None:
        return bound(model)
    if isinstance(model, Trained):
        return trained(model)
    if isinstance(like, LinenModule | PureModel):
        return like.adopt(model)
    raise ValueError(
        "model must have its variables (an NNX module, a bound Linen module, or what a run of a pair of functions "
        f"gives as its model), got {type(model).__name__}"
    )


def given_back(module: nnx.Module) -> Any:
    """The model as its user has it: an NNX module itself, a bound Linen module, a `Trained` pair."""
    return module.native() if isinstance(module, LinenModule | PureModel) else module


def _from_function(function: Callable[..., Any], example: Example) -> Factory:
    shown: Any = function
    if isinstance(function, type):  # a module's class hides its arguments; its constructor shows them, behind self
        shown = shown.__init__
    taken = calling.parameters(shown)
    if isinstance(function, type):
        taken.pop(next(iter(taken)))
    first = next((name for name in ("rngs", *taken) if name in taken), None)
    if first is None:
        raise ValueError("model must be a factory that takes rngs, got one without parameters")
    by_name = first == "rngs" and taken[first].kind is not taken[first].POSITIONAL_ONLY
    rest = {name: p for name, p in taken.items() if name != first}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in rest.values())
    named = {n: p.default for n, p in rest.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

    def build(rngs: nnx.Rngs, **structure: Any) -> nnx.Module:
        made = function(rngs=rngs, **structure) if by_name else function(rngs, **structure)
        return made if isinstance(made, nnx.Module) else as_factory(made, example).build(rngs)

    return Factory(build, None if takes_any else named)
