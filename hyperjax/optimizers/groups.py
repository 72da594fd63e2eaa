"""Parameter groups by path: which leaves decay, and a learning-rate multiplier for each group."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import within
from hyperjax.types import PyTree, Scalar


def path_of(keys: Any) -> str:
    """A leaf's path as text, `layers/0/kernel`: dictionary keys, attributes and positions joined by slashes."""
    return "/".join(parts_of(keys))


def parts_of(keys: Any) -> tuple[str, ...]:
    """The parts of a leaf's path; the attribute `value`, where a Flax variable or box has its array, is none."""
    keys = tuple(keys)
    if keys and isinstance(keys[-1], jax.tree_util.GetAttrKey) and keys[-1].name == "value":
        keys = keys[:-1]
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)


def matrices(params: PyTree) -> PyTree:
    """The mask of all arrays with two axes or more: kernels and embeddings, but neither biases nor norms' scales.

    What most recipes decay: `adamw(1e-3, mask=matrices)`. A bias or a scale has no fan-in to shrink, and decaying it
    moves the function that a layer can compute.

    >>> matrices({"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)})
    {'bias': False, 'kernel': True}
    """
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


def matching(params: PyTree, predicate: Callable[[str, Any], bool]) -> PyTree:
    """The mask of the leaves for which `predicate(path, array)` is true, the path as in `path_of`.

    >>> matching({"head": {"kernel": jnp.ones((2, 2))}}, lambda path, array: path.startswith("head"))
    {'head': {'kernel': True}}
    """
    return jax.tree.map_with_path(lambda keys, leaf: bool(predicate(path_of(keys), leaf)), params)


def assign(params: PyTree, patterns: Sequence[str]) -> list[int]:
    """For each leaf, the number of the first pattern that its path matches; -1 for none.

    Args:
        params: arrays, or None.
        patterns: as in `scale_by_group`.
    Raises: ValueError for a pattern that is the first match of no leaf.
    """
    paths = [path_of(keys) for keys, _ in jax.tree.leaves_with_path(params, is_leaf=_is_none)]
    found = [next((i for i, pattern in enumerate(patterns) if _matches(path, pattern)), -1) for path in paths]
    for i, pattern in enumerate(patterns):
        if i not in found:
            raise ValueError(
                f"pattern must match a parameter that no earlier one has: {', '.join(paths)}; got {pattern!r}"
            )
    return found


def scale_by_group(multipliers: Mapping[str, Scalar]) -> optax.GradientTransformation:
    """Multiply the updates of groups of parameters: a learning-rate multiplier for each group.

    Put it behind a rule: `optax.chain(adam(1e-3), scale_by_group({"backbone": 0.1}))` fine-tunes a backbone at a tenth
    of the head's rate. Behind the rule it also scales decoupled decay, as a rate of its own would.

    Args:
        multipliers: pattern -> float[], no unit, at least 0, may be traced; 0 freezes. A pattern is a path
            (`layers/0/kernel`), the beginning of one (`layers/0`), or one with the wildcards `*`, `?` and `[...]`
            (`*/bias`). The first that matches a leaf counts; leaves that none matches keep their update.
    Returns: an optax transformation without state.
    Raises: ValueError on a negative multiplier, or a pattern that matches nothing.
    Source: PyTorch's parameter groups; `optax.partition` takes a whole transformation for each group.

    >>> transform = scale_by_group({"*/bias": 2.0})
    >>> updates = {"head": {"kernel": jnp.ones(1), "bias": jnp.ones(1)}}
    >>> print(transform.update(updates, transform.init(updates))[0]["head"]["bias"])
    [2.]
    """
    for pattern, multiplier in multipliers.items():
        within(f"multipliers[{pattern!r}]", multiplier, 0.0)
    values = list(multipliers.values())

    def scaled(updates: PyTree, params: PyTree) -> PyTree:
        tree: Any
        leaves, tree = jax.tree.flatten(updates, is_leaf=_is_none)
        factors = [1.0 if i < 0 else values[i] for i in assign(updates, list(multipliers))]
        rows = zip(factors, leaves, strict=True)
        return tree.unflatten([None if u is None else u * jnp.asarray(f, u.dtype) for f, u in rows])

    return optax.stateless(scaled)


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _matches(path: str, pattern: str) -> bool:
    return path == pattern or path.startswith(pattern + "/") or fnmatchcase(path, pattern)
