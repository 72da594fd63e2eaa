"""What a task's arrays are refused for, before anything compiles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.types import PyTree


def check_arrays(part: str, arrays: PyTree, pair: bool) -> None:
    """Raise a ValueError for a set that is not made of finite numbers with one leading axis of examples.

    Args:
        part: name of the set.
        pair: whether it must be a tuple (inputs, targets).

    >>> check_arrays("train", (np.ones((3, 2)), np.ones(4)), pair=True)
    Traceback (most recent call last):
    ValueError: data['train'] must hold arrays of one length of at least 1, got 3, 4
    """
    batches = isinstance(arrays, list) and any(isinstance(each, tuple | list) for each in arrays)
    if pair and (batches or not (isinstance(arrays, tuple | list) and len(arrays) == 2)):
        hint = "; batches in a list are given as hj.tasks.Stream(batches)" if batches else ""
        raise ValueError(f"data[{part!r}] must be a tuple (inputs, targets), got {type(arrays).__name__}{hint}")
    leaves = jax.tree.leaves(arrays)
    lengths = [np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in leaves]
    if not leaves or None in lengths or len(set(lengths)) > 1 or lengths[0] == 0:
        shown = ", ".join(dict.fromkeys("a scalar" if n is None else str(n) for n in lengths)) or "no array"
        raise ValueError(f"data[{part!r}] must hold arrays of one length of at least 1, got {shown}")
    for path, leaf in jax.tree.leaves_with_path(arrays):
        dtype = np.asarray(leaf).dtype
        if dtype.kind not in "fiub" and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"data[{part!r}]{jax.tree_util.keystr(path)} must hold numbers, got dtype {dtype}")
    check_finite(f"data[{part!r}]", arrays)


def check_finite(where: str, arrays: Any) -> None:
    """Raise a ValueError for values that are not finite: how many, and the first place.

    >>> check_finite("data['train']", (np.array([1.0, np.nan]), np.array([1, 2])))
    Traceback (most recent call last):
    ValueError: data['train'][0] must be finite, got 1 values that are not; the first, nan, at (1,)
    """
    for path, leaf in jax.tree.leaves_with_path(arrays):
        array = np.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            continue
        kept = jax.dtypes.canonicalize_dtype(array.dtype) if array.dtype.kind == "f" else np.dtype(np.float32)
        with np.errstate(over="ignore"):  # what the device cannot hold is infinite there
            finite = np.isfinite(array.astype(kept, copy=False))
        if not finite.all():
            place = tuple(int(i) for i in np.argwhere(~finite)[0])
            narrower = f" in {kept}" if np.isfinite(array[place]) else ""
            raise ValueError(
                f"{where}{jax.tree_util.keystr(path)} must be finite{narrower}, got {int((~finite).sum())} values that "
                f"are not; the first, {array[place]}, at {place}"
            )
