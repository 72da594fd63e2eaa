"""Pairs of pure functions, `init` and `apply`, as NNX modules, and back: models as Haiku and Equinox have them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flax import nnx

from hyperjax.checks import require
from hyperjax.layers import Hyperparameter
from hyperjax.layers.streams import forked
from hyperjax.models.adapters import calling
from hyperjax.models.adapters.factory import Factory
from hyperjax.models.adapters.held import Fixed, Held, assign, parameter, state, tree_of
from hyperjax.types import PyTree


def pure(init: Callable[..., Any], apply: Callable[..., Any], *inputs: Any) -> Factory:
    """A factory of a pair of functions, for a task with an objective whose `init` asks for example inputs.

    Everywhere else a task takes the pair itself: `Task(model=(init, apply), ...)`.

    Args:
        init: `init(key) -> params`, or `init(key, *inputs)`; any tree. Its arrays of floats are trained, its other
            arrays carried along, and what is no array (functions, names, Python's numbers) is part of the program.
            Arguments with defaults are structure, which a recipe's `model` may set.
        apply: `apply(params, inputs) -> outputs`. By the names of its parameters, in any place, it is given `key` or
            `rng` (in training; None in evaluation, or the default), and `train`, `training`, `is_training` or
            `deterministic`. With a parameter `state`, `init` gives `(params, state)` and `apply` `(outputs, state)`.
            Parameters that can be given by keyword alone and have a float as default are hyperparameters, bound by
            their names.
        inputs: one example of each input in a batch of one.
    Raises: ValueError for a pair that cannot be called so.

    >>> import jax.numpy as jnp
    >>> factory = pure(lambda key, width=2: jnp.ones((3, width)), lambda params, x: x @ params)
    >>> factory.arguments, factory.build(nnx.Rngs(0), width=5)(jnp.ones((1, 3))).shape
    ({'width': 2}, (1, 5))
    """
    return from_pair(init, apply, lambda: inputs)


def from_pair(init: Callable[..., Any], apply: Callable[..., Any], example: Callable[[], tuple[Any, ...]]) -> Factory:
    """As `pure`, the inputs asked for when `init` wants them."""
    functions = _Functions(init, apply)
    taken, own = calling.parameters(init), functions.key_of_init
    defaults = {n: p.default for n, p in taken.items() if n != own and p.default is not p.empty}
    places = [p for name, p in taken.items() if name != own and name not in defaults]
    asks = any(p.kind is p.VAR_POSITIONAL or calling.is_positional(p) for p in places)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in places)

    def build(rngs: nnx.Rngs, **structure: Any) -> PureModel:
        named = {own: rngs.params(), **structure}
        made = calling.call(init, taken, named, example() if asks else ())
        if functions.has_state and not (isinstance(made, tuple) and len(made) == 2):
            raise ValueError(f"model's init must give (params, state), since apply takes state, got {_kind(made)}")
        params, carried = made if functions.has_state else (made, None)
        return PureModel(functions, params, carried, functions.numbers, rngs)

    return Factory(build, None if takes_any else defaults)


class PureModel(nnx.Module):
    """A pair of functions with its parameters, as an NNX module: what the engine trains; see `pure`."""

    def __init__(
        self, functions: "_Functions", params: PyTree, carried: PyTree, numbers: Mapping[str, Any], rngs: nnx.Rngs
    ) -> None:
        self._functions = Fixed(functions)
        self.params = Held(params, parameter)
        self.state = Held(carried, state)
        self.hyperparameters = Held(dict(numbers), lambda path, number: Hyperparameter(number, name=path[-1]))
        self.stream = forked(rngs, "dropout")
        self.deterministic = False

    def __call__(self, *inputs: Any, **arguments: Any) -> Any:
        """The outputs; `arguments` are further ones of `apply`, and go before what the mode would set."""
        functions: _Functions = self._functions.value
        training = not self.deterministic
        key = self.stream() if functions.takes_key and training else None
        numbers = tree_of(self.hyperparameters)
        out, carried = functions(tree_of(self.params), tree_of(self.state), numbers, key, training, inputs, arguments)
        if functions.has_state and training:
            assign(self.state, carried)
        return out

    def native(self) -> "Trained":
        """The trained parameters with the function that they are for."""
        functions: _Functions = self._functions.value
        return Trained(tree_of(self.params), tree_of(self.state), tree_of(self.hyperparameters), functions)

    def adopt(self, source: Any) -> "PureModel":
        """A model like this one with the parameters of a trained one, or with given ones.

        Raises: ValueError where a pair `(params, state)` is wanted and none is given.
        """
        functions: _Functions = self._functions.value
        if functions.has_state and not (isinstance(source, tuple) and len(source) == 2):
            raise ValueError(f"init must be a run, its model, or a pair (params, state), got {_kind(source)}")
        params, carried = source if functions.has_state else (source, None)
        return PureModel(functions, params, carried, functions.numbers, nnx.Rngs(0))


@dataclass(frozen=True, eq=False)
class Trained:
    """What training has made of a pair `(init, apply)`: call it for outputs in evaluation mode.

    Attributes:
        params: the tree that `init` gave, trained.
        state: the tree beside it; None for a pair without state.
        hyperparameters: name -> f32[], what `apply` is given by keyword, as the recipe had them in the end.

    >>> import jax.numpy as jnp
    >>> model = pure(lambda key: jnp.ones(3), lambda params, x: x @ params).build(nnx.Rngs(0)).native()
    >>> model.params.shape, float(model(jnp.ones(3)))
    ((3,), 3.0)
    """

    params: PyTree
    state: PyTree
    hyperparameters: dict[str, Any]
    _functions: "_Functions"

    def __call__(self, *inputs: Any, **arguments: Any) -> Any:
        """The outputs of `apply`; `arguments` are further ones of it."""
        functions, numbers = self._functions, self.hyperparameters
        return functions(self.params, self.state, numbers, None, False, inputs, arguments)[0]


def trained(model: Trained) -> PureModel:
    """The NNX module of a trained pair."""
    return PureModel(model._functions, model.params, model.state, model.hyperparameters, nnx.Rngs(0))


class _Functions:
    """A pair, its parameters read once; equal to another of the same two functions."""

    def __init__(self, init: Callable[..., Any], apply: Callable[..., Any]) -> None:
        self.init, self.apply = init, apply
        taken = calling.parameters(init)
        named = [name for name in calling.RANDOM if name in taken]
        self.key_of_init = next(iter([*named, *taken]), "")
        require(bool(self.key_of_init), "model's init must take a key, got a function without parameters")
        self._taken = calling.parameters(apply)
        self._first = next(iter(self._taken), "")
        self._randoms = [name for name in calling.RANDOM if name in self._taken]
        self.takes_key, self.has_state = bool(self._randoms), "state" in self._taken
        special = (*calling.modes(self._taken, True), *self._randoms, "state")
        others = {name: p for name, p in self._taken.items() if name not in (self._first, *special)}
        takes_inputs = any(p.kind is p.VAR_POSITIONAL or calling.is_positional(p) for p in others.values())
        listed = ", ".join(self._taken) or "none"
        require(takes_inputs, f"model's apply must take parameters and inputs, got a function of {listed}")
        by_keyword = {name: p.default for name, p in others.items() if p.kind is p.KEYWORD_ONLY}
        missing = [name for name, default in by_keyword.items() if default is inspect.Parameter.empty]
        known = ", ".join((*calling.RANDOM, *calling.TRUE_IN_TRAINING, *calling.TRUE_IN_EVALUATION, "state"))
        require(
            not missing,
            f"model's apply must have a default for what it takes by keyword alone, or one of the names {known}; "
            f"got {', '.join(missing)}",
        )
        self.numbers = {name: default for name, default in by_keyword.items() if type(default) is float}

    def __call__(
        self,
        params: PyTree,
        carried: PyTree,
        numbers: Mapping[str, Any],
        key: Any,
        training: bool,
        inputs: tuple[Any, ...],
        arguments: Mapping[str, Any],
    ) -> tuple[Any, PyTree]:
        """Outputs, and the state after; a key of None leaves one that has a default as it is."""
        named: dict[str, Any] = {self._first: params, **numbers, **calling.modes(self._taken, training)}
        for name in self._randoms:
            if key is not None or self._taken[name].default is inspect.Parameter.empty:
                named[name] = key
        if self.has_state:
            named["state"] = carried
        out = calling.call(self.apply, self._taken, named | dict(arguments), inputs)
        if not self.has_state:
            return out, None
        if not isinstance(out, tuple) or len(out) != 2:
            raise ValueError(f"model's apply must give (outputs, state), since it takes state, got {_kind(out)}")
        return out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Functions) and (self.init, self.apply) == (other.init, other.apply)

    def __hash__(self) -> int:
        return hash((self.init, self.apply))


def _kind(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__
