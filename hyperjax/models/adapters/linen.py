"""Flax Linen modules as NNX modules, and back."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import core, errors, nnx
from flax import linen as nn

from hyperjax.layers import Activation, Hyperparameter
from hyperjax.layers.streams import forked
from hyperjax.models.adapters import calling
from hyperjax.models.adapters.factory import Factory
from hyperjax.models.adapters.held import Fixed, Held, assign, parameter, state, tree_of
from hyperjax.types import PyTree

# What an evaluation in plain Flax would need beside the variables: a key, or collections that may change.
_ASKS_FOR_MORE = (errors.InvalidRngError, errors.ModifyScopeVariableError)


def linen(module: nn.Module, *inputs: Any, streams: Sequence[str] = ("dropout",)) -> Factory:
    """A factory of a Linen module, for a task that cannot tell what the module is called with.

    A task with a loss takes the module itself: `Task(model=module, ...)`; it is then initialized with the first of the
    training inputs. Where a task has an objective, or the module looks for streams by other names, say it here.

    What a recipe binds, a module reads from its collection `hyperparameters`, each variable by its own name:

        rate = self.variable("hyperparameters", "dropout", lambda: 0.1)
        x = hj.layers.Dropout(rate.value)(x, deterministic=not train, rngs=self.make_rng("dropout") if train else None)

    and a choice of activation as a layer, which has its own name:

        act = self.variable("hyperparameters", "activation", lambda: hj.layers.Activation("relu"))
        x = act.value(x)

    A run gives back the module bound to its variables: `run.model(x, train=False)`, or `module, variables =
    run.model.unbind()` for whatever else Flax does with the two.

    Args:
        module: unbound. A recipe's `model` may set its fields.
        inputs: what its `__call__` takes, one example of each in a batch of one; only their shapes and types matter to
            most modules.
        streams: names of random streams. A module may draw from others too: those start from "params", as in Flax.
    Raises: ValueError for what is no unbound Linen module.

    >>> from flax import linen as nn
    >>> factory = linen(nn.Dense(3), jnp.ones((1, 4)))
    >>> factory.build(nnx.Rngs(0))(jnp.ones((5, 4))).shape
    (5, 3)
    """
    return from_linen(module, lambda: inputs, tuple(streams))


def from_linen(
    module: nn.Module, example: Callable[[], tuple[Any, ...]], streams: tuple[str, ...] = ("dropout",)
) -> Factory:
    """As `linen`, the inputs asked for when the module is first initialized."""
    if not isinstance(module, nn.Module) or module.scope is not None:
        raise ValueError(f"module must be an unbound Linen module, got {type(module).__name__}")
    fields = [field.name for field in dataclasses.fields(module) if field.init and field.name not in ("parent", "name")]

    def build(rngs: nnx.Rngs, **structure: Any) -> LinenModule:
        own = module.clone(**structure) if structure else module
        inputs = example()
        keys = {name: rngs[name]() for name in ("params", *streams)}
        mode = _Mode(own, training=False)
        variables = _plain(mode.module.init(keys, *inputs, **mode.flags))
        return LinenModule(own, _lasting(own, variables, inputs, keys), rngs, streams)

    return Factory(build, {name: getattr(module, name) for name in fields})


class LinenModule(nnx.Module):
    """A Linen module with its variables, as an NNX module: what the engine trains.

    `params` are `nnx.Param`, the collection `hyperparameters` is bound by each variable's own name (where it is an
    `Activation`, by the layer's), all other collections are state. The module is called as `module.apply`: in training
    with keys, all state mutable; in evaluation with neither, unless it asks for them. Whatever it has of `train`,
    `training`, `is_training`, `deterministic` and `use_running_average`, as an argument of the call or as a field, is
    set as the mode wants it.

    Args:
        module: unbound.
        variables: collection -> tree, as `module.init` gives them.
        rngs: where its streams start.
        streams: their names.
    """

    def __init__(
        self,
        module: nn.Module,
        variables: Mapping[str, PyTree],
        rngs: nnx.Rngs,
        streams: tuple[str, ...] = ("dropout",),
    ) -> None:
        others = {name: tree for name, tree in variables.items() if name not in ("params", "hyperparameters")}
        self._linen, self._streams = Fixed(module), streams
        self.params = Held(variables.get("params", {}), parameter)
        self.hyperparameters = Held(variables.get("hyperparameters", {}), _named, _is_choice)
        self.state = Held(others, state)
        self.stream = forked(rngs, "dropout")
        self.deterministic = False

    def __call__(self, *inputs: Any, method: Any = None, mutable: Sequence[str] = (), **arguments: Any) -> Any:
        """The module's outputs; with `mutable`, beside them a dictionary of those collections.

        Args:
            inputs, arguments: of the module's `__call__`, or of `method`.
            method: another of the module's methods, or its name.
            mutable: collections whose contents after the call are wanted, such as the "intermediates" that it sows.
        """
        training = not self.deterministic
        mode = _Mode(self._linen.value, training, method)
        variables, arguments = self.variables(), mode.flags | arguments
        kept = list(tree_of(self.state))

        def apply(keys: Any, changing: list[str]) -> Any:
            return mode.module.apply(variables, *inputs, rngs=keys, mutable=changing, method=method, **arguments)

        if training:
            out, after = apply(self._keys(), [*kept, *mutable])
            assign(self.state, {name: _plain(after)[name] for name in kept})
        else:
            try:
                out, after = apply(None, list(mutable))
            except _ASKS_FOR_MORE:
                out, after = apply(self._keys(), [*kept, *mutable])  # and its state stays as it was
        return (out, {name: after[name] for name in mutable if name in after}) if mutable else out

    def variables(self) -> dict[str, PyTree]:
        """Collection -> tree, as Flax has them."""
        own = {"params": tree_of(self.params), "hyperparameters": tree_of(self.hyperparameters), **tree_of(self.state)}
        return {name: tree for name, tree in own.items() if tree or name == "params"}

    def native(self) -> nn.Module:
        """The module bound to its variables, in evaluation mode where the mode is a field of it."""
        return _Mode(self._linen.value, training=False).module.bind(self.variables())

    def adopt(self, source: Any) -> "LinenModule":
        """A module like this one with the variables of a bound module, or with given ones.

        Raises: ValueError for what is neither, or lacks a collection.
        """
        if isinstance(source, nn.Module) and source.scope is not None:
            return bound(source)
        found = _plain(source) if isinstance(source, Mapping) else {}
        wanted = self.variables()
        if not found or set(wanted) - set(found):
            got = f"the keys {', '.join(map(str, found))}" if found else type(source).__name__
            raise ValueError(f"init must be a run, a bound module, or variables with {', '.join(wanted)}, got {got}")
        return LinenModule(self._linen.value, {name: found[name] for name in wanted}, nnx.Rngs(0), self._streams)

    def _keys(self) -> dict[str, jax.Array]:
        key = self.stream()
        return {name: jax.random.fold_in(key, i) for i, name in enumerate(("params", *self._streams))}


def bound(module: nn.Module) -> LinenModule:
    """The NNX module of a Linen module that is bound to its variables."""
    unbound, variables = module.unbind()
    return LinenModule(unbound, _plain(variables), nnx.Rngs(0))


class _Mode:
    """A module in one of its modes: `module` has its fields set, `flags` go to its call."""

    def __init__(self, module: nn.Module, training: bool, method: Any = None) -> None:
        called = type(module).__call__ if method is None else method
        called = getattr(type(module), called) if isinstance(called, str) else called
        taken = calling.parameters(called)
        fields = [field.name for field in dataclasses.fields(module) if field.init]
        own = calling.modes(fields, training)
        # A flag that is both a field and an argument is merged by Flax, which refuses to be told it twice.
        told = {name for name in own if name in taken and getattr(module, name) is not None}
        flags = calling.modes(taken, training)
        self.flags: dict[str, Any] = {name: flag for name, flag in flags.items() if name not in told}
        fixed: dict[str, Any] = {name: flag for name, flag in own.items() if name not in taken}
        self.module = module.clone(**fixed) if fixed else module


def _plain(variables: Any) -> dict[str, PyTree]:
    """Variables as dictionaries, whether Flax has frozen them or not."""
    return dict(core.unfreeze(variables))


def _named(path: tuple[str, ...], leaf: Any) -> Any:
    # A copy of a layer, since its choices will be set.
    return nnx.clone(leaf) if _is_choice(leaf) else Hyperparameter(leaf, name=path[-1])


def _is_choice(node: Any) -> bool:
    return isinstance(node, Activation)


def _lasting(
    module: nn.Module, variables: dict[str, PyTree], inputs: tuple[Any, ...], keys: dict[str, jax.Array]
) -> dict[str, PyTree]:
    """The variables without collections that grow with each call: those are sown into, and are outputs."""
    others = [name for name in variables if name not in ("params", "hyperparameters")]
    if not set(others) - {"batch_stats"}:
        return variables
    mode = _Mode(module, training=True)

    def after(variables: dict[str, PyTree]) -> Any:
        return mode.module.apply(variables, *inputs, rngs=keys, mutable=others, **mode.flags)[1]

    arrays = jax.tree.map(jnp.asarray, variables)
    changed = _plain(jax.eval_shape(after, arrays))
    form: Any = jax.tree.structure
    grown = {name for name in others if form(changed[name]) != form(arrays[name])}
    return {name: tree for name, tree in variables.items() if name not in grown}
