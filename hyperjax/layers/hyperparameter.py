"""A hyperparameter inside a model: a Flax variable of its own type, found and set by its name."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hyperjax.checks import nearest


class Hyperparameter(nnx.Variable[jax.Array]):
    """Hold a number that a recipe may set by name, apart from the parameters that are trained.

    Args:
        value: number or array (traced or not); Python numbers become arrays of the default dtype.
        name: the name that `bind` looks for, kept as the variable's metadata and read as `.name`. None: not bindable.

    >>> rate = Hyperparameter(0.5, name="dropout")
    >>> rate.name, float(rate[...])
    ('dropout', 0.5)
    """

    def __init__(self, value: Any, *, name: str | None = None, **metadata: Any) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = np.asarray(value, jax.dtypes.canonicalize_dtype(type(value)))
        super().__init__(value, name=name, **metadata)


class Choice(Hyperparameter):
    """Hold the index of a choice among functions of one signature, int32[].

    >>> Choice(1, name="activation").dtype.name
    'int32'
    """

    def __init__(self, value: Any, *, name: str | None = None, **metadata: Any) -> None:
        value = np.asarray(value, np.int32) if isinstance(value, int) else value
        super().__init__(value, name=name, **metadata)


def names(model: Any) -> tuple[str, ...]:
    """Return the names of the hyperparameters in a model or a state, sorted, each once.

    >>> from flax import nnx
    >>> names(nnx.State({"a": Hyperparameter(0.5, name="dropout"), "b": Hyperparameter(0.1, name="dropout")}))
    ('dropout',)
    """
    return tuple(sorted({variable.name for variable in _variables(model) if variable.name is not None}))


def bind(model: Any, values: Mapping[str, Any]) -> Any:
    """Set hyperparameters by name, everywhere each name occurs.

    Args:
        model: an `nnx.Module`, changed in place, or a state (any tree of variables), which stays as it is.
        values: name -> number, array or tracer; takes the dtype of the variable. Several members' values may be
            stacked on a leading axis where the caller maps over it.

    Returns: the module itself, or a new state with the values in place.
    Raises: ValueError for a name that nothing in the model bears.

    >>> from flax import nnx
    >>> state = bind(nnx.State({"rate": Hyperparameter(0.5, name="dropout")}), {"dropout": 0.25})
    >>> float(state["rate"][...])
    0.25
    """
    known = names(model)
    for name in values:
        if name not in known:
            listed = ", ".join(known) if known else "(none in this model)"
            hint = nearest(name, known)
            raise ValueError(f"hyperparameter must be one that the model has: {listed}; got {name!r}{hint}")

    def bound(variable: Hyperparameter) -> jax.Array:
        return jnp.asarray(values[variable.name]).astype(variable.get_value().dtype)

    if isinstance(model, nnx.Module):
        for variable in _variables(model):
            if variable.name in values:
                variable.set_value(bound(variable))
        return model

    def replaced(leaf: Any) -> Any:
        chosen = isinstance(leaf, Hyperparameter) and leaf.name in values
        return leaf.replace(bound(leaf)) if chosen else leaf

    return jax.tree.map(replaced, model, is_leaf=_is_variable)


def _variables(model: Any) -> Iterator[Hyperparameter]:
    """Each hyperparameter once, also where layers share one."""
    if isinstance(model, nnx.Module):
        leaves = [node for _, node in nnx.iter_graph(model)]
    else:
        leaves = jax.tree.leaves(model, is_leaf=_is_variable)
    return (leaf for leaf in leaves if isinstance(leaf, Hyperparameter))


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Variable)
