"""A tree of arrays as Flax variables, each under the tree's own path, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hyperjax.optimizers.groups import parts_of
from hyperjax.types import PyTree

MakeVariable = Callable[[tuple[str, ...], Any], Any]  # (path, leaf) -> a variable, or the leaf where it is none


@dataclass(frozen=True, eq=False)
class Fixed:
    """Something that a program is made for: equal where the values are, and hashable though they may not be."""

    value: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fixed):
            return NotImplemented
        try:
            return self.value is other.value or bool(self.value == other.value)
        except (TypeError, ValueError):  # arrays in it, whose comparison is an array
            return False

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return hash(type(self.value))


class _Node(nnx.Module):
    """A branch of the tree: nothing but what is set on it."""


class Held(nnx.Module):
    """Hold a tree: its arrays as variables, whatever else is in it as part of the program.

    It has no methods of its own, since the names of a tree's branches become its attributes.

    Args:
        tree: of arrays and, if it has them, other things (functions, names).
        make: from a leaf's path and the leaf to the variable that holds it.
        is_leaf: true of a node that goes to `make` whole, as in `jax.tree.map`; an NNX module made of it is held.

    >>> held = Held({"w": jnp.ones(2), "act": "tanh"}, parameter)
    >>> [path for path, _ in nnx.to_flat_state(nnx.state(held, nnx.Param))], tree_of(held)["act"]
    ([('w',)], 'tanh')
    """

    def __init__(self, tree: PyTree, make: MakeVariable, is_leaf: Callable[[Any], bool] | None = None) -> None:
        places: list[tuple[str, ...] | None] = []
        others: list[Any] = []
        for keys, leaf in jax.tree.leaves_with_path(tree, is_leaf=is_leaf):
            path = parts_of(keys) or ("value",)
            variable = make(path, leaf)
            is_held = isinstance(variable, nnx.Variable | nnx.Module)
            others.append(None if is_held else leaf)
            places.append(_put(self, path, variable) if is_held else None)
        self._form = Fixed((jax.tree.structure(tree, is_leaf=is_leaf), tuple(places), tuple(others)))


def tree_of(held: Held) -> PyTree:
    """The tree with the variables' values in it."""
    treedef, places, others = held._form.value
    pairs = zip(places, others, strict=True)
    return treedef.unflatten(other if path is None else _value(_at(held, path)) for path, other in pairs)


def assign(held: Held, tree: PyTree) -> None:
    """Give the variables the values of a tree of the same structure.

    Raises: ValueError for a tree of another structure.
    """
    treedef, places, _ = held._form.value
    leaves, found = jax.tree.flatten(tree)
    if found != treedef:
        raise ValueError(f"model must leave its state's structure as it is, {treedef}, got {found}")
    for path, leaf in zip(places, leaves, strict=True):
        if path is not None:
            _at(held, path).set_value(jnp.asarray(leaf))


def _put(root: nnx.Module, path: tuple[str, ...], variable: Any) -> tuple[str, ...]:
    """Set a variable at a path, or where another is written the same (the keys 1 and "1"), at one like it."""
    node, name = root, path[-1]
    for branch in path[:-1]:
        if branch not in vars(node):
            setattr(node, branch, _Node())
        node = vars(node)[branch]
    while name in vars(node):
        name += "_"
    setattr(node, name, variable)
    return (*path[:-1], name)


def _at(root: nnx.Module, path: tuple[str, ...]) -> Any:
    node: Any = root
    for name in path:
        node = vars(node)[name]
    return node


def _value(node: Any) -> Any:
    return node.get_value() if isinstance(node, nnx.Variable) else node


def is_array(leaf: Any) -> bool:
    """True for arrays and NumPy's scalars, not for Python's numbers."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def is_trained(leaf: Any) -> bool:
    """True for arrays of floats: what a gradient can be taken by."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)


def parameter(_: tuple[str, ...], leaf: Any) -> Any:
    """Arrays of floats are trained, other arrays carried, what is no array is part of the program."""
    if not is_array(leaf):
        return leaf
    return nnx.Param(jnp.asarray(leaf)) if is_trained(leaf) else nnx.Variable(jnp.asarray(leaf))


def state(path: tuple[str, ...], leaf: Any) -> Any:
    """Arrays and numbers are carried, those of a collection `batch_stats` as Flax's own kind of variable."""
    if not is_array(leaf) and not isinstance(leaf, bool | int | float | complex):
        return leaf
    kind = nnx.BatchStat if path[0] == "batch_stats" else nnx.Variable
    return kind(jnp.asarray(leaf))
