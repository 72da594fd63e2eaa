"""Augmentation of token sequences, int[examples, length]; padding is never touched."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.augment.examples import integers, keys, number, one
from hyperjax.checks import require
from hyperjax.types import Array, Scalar

_AXES = "examples, length"


def drop(key: Array, tokens: Any, strength: Scalar, *, pad: Any = 0) -> Array:
    """Delete each token with a given probability, move the rest to the left and fill the end with padding.

    Token i goes where `u_i < s`, with each u uniform in [0, 1). The others keep their order.

    Args:
        key: one typed key, of any implementation.
        tokens: int[examples, length].
        strength: s, float[] in [0, 1], the probability; may be traced.
        pad: int[], the token that is padding: never deleted, and what fills the end.
    Returns: as `tokens`; at 0, `tokens` themselves; at 1, only padding.
    Raises: ValueError on a strength out of range, tokens that are not integers of two axes, or a pad that they cannot
        hold.
    Source: Iyyer et al. 2015, Deep unordered composition rivals syntactic methods for text classification, section
        3.1 (word dropout); Wei & Zou 2019, arXiv:1901.11196, section 2 (random deletion).

    >>> from hyperjax import random
    >>> print(drop(random.key(1), jnp.array([[5, 6, 7, 8, 0]]), 0.5))
    [[7 0 0 0 0]]
    """
    number("strength of drop", strength, 1.0)
    return _each(_dropped, one(key), integers("tokens", tokens, _AXES), strength, pad=pad)


def mask(key: Array, tokens: Any, strength: Scalar, *, mask_id: Any, pad: Any = 0) -> Array:
    """Replace each token with the mask token with a given probability.

    Token i becomes `mask_id` where `u_i < s`, with each u uniform in [0, 1).

    Args:
        key: one typed key, of any implementation.
        tokens: int[examples, length].
        strength: s, float[] in [0, 1], the probability; may be traced.
        mask_id: int[], what a masked token becomes.
        pad: int[], the token that is padding and stays.
    Returns: as `tokens`; at 0, `tokens` themselves. Positions that were masked: `result != tokens`.
    Raises: ValueError on a strength out of range, tokens that are not integers of two axes, or a mask_id or pad that
        they cannot hold.
    Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1, without its kept and random tokens.

    >>> from hyperjax import random
    >>> print(mask(random.key(1), jnp.array([[5, 6, 7, 8, 0]]), 0.5, mask_id=1))
    [[1 1 7 1 0]]
    """
    number("strength of mask", strength, 1.0)
    return _each(_masked, one(key), integers("tokens", tokens, _AXES), strength, pad=pad, mask_id=mask_id)


def swap(key: Array, tokens: Any, strength: Scalar, *, pad: Any = 0) -> Array:
    """Let neighbouring tokens trade places with a given probability.

    The sequence is cut into pairs, (0, 1), (2, 3), ... or (1, 2), (3, 4), ... with equal chance; a pair trades places
    where `u < s`, with u uniform in [0, 1), so that a token moves by one place at most.

    Args:
        key: one typed key, of any implementation.
        tokens: int[examples, length].
        strength: s, float[] in [0, 1], the probability of a pair; may be traced.
        pad: int[], the token that is padding; a pair with padding stays.
    Returns: as `tokens`; at 0, `tokens` themselves.
    Raises: ValueError on a strength out of range, tokens that are not integers of two axes, or a pad that they cannot
        hold.
    Source: Lample et al. 2018, arXiv:1711.00043, section 2.3 (slight shuffling), with k = 1 and a probability.

    >>> from hyperjax import random
    >>> print(swap(random.key(1), jnp.array([[5, 6, 7, 8, 0]]), 1.0))
    [[5 7 6 8 0]]
    """
    number("strength of swap", strength, 1.0)
    return _each(_swapped, one(key), integers("tokens", tokens, _AXES), strength, pad=pad)


# In the order in which a chain applies them: a mask hides what is left where it then stands.
TABLE: Mapping[str, Callable[..., Array]] = MappingProxyType({"drop": drop, "swap": swap, "mask": mask})


def _each(change: Callable[..., Array], key: Array, tokens: Array, strength: Scalar, **ids: Any) -> Array:
    for name, value in ids.items():
        if not isinstance(value, jax.core.Tracer):
            given, limits = np.asarray(value), np.iinfo(tokens.dtype)
            whole = given.ndim == 0 and np.issubdtype(given.dtype, np.integer)
            fits = whole and limits.min <= int(given) <= limits.max
            require(fits, f"{name} must be one integer that {tokens.dtype} can hold, got {value!r}")
    held = {name: jnp.asarray(value, tokens.dtype) for name, value in ids.items()}
    changed: Array = _rows(change, key, tokens, jnp.asarray(strength, jnp.float32), held)
    return changed


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _rows(change: Callable[..., Array], key: Array, tokens: Array, s: Array, ids: dict[str, Array]) -> Array:
    def row(key: Array, row: Array) -> Array:
        return change(key, row, row != ids["pad"], s, **ids)

    return jax.vmap(row)(keys(key, len(tokens)), tokens)


def _dropped(key: Array, row: Array, real: Array, s: Array, pad: Array) -> Array:
    kept = ~(_hit(key, row.shape, s) & real)
    places = jnp.where(kept, jnp.cumsum(kept) - 1, row.size)  # beyond the end: left out
    return jnp.full_like(row, pad).at[places].set(row, mode="drop")


def _masked(key: Array, row: Array, real: Array, s: Array, pad: Array, mask_id: Array) -> Array:
    return jnp.where(_hit(key, row.shape, s) & real, mask_id, row)


def _swapped(key: Array, row: Array, real: Array, s: Array, pad: Array) -> Array:
    cut, which = jax.random.split(key)
    start = jax.random.bernoulli(cut).astype(jnp.int32)
    place = jnp.arange(row.size, dtype=jnp.int32)
    pair = (place + start) // 2  # at start 1 the first token is the second half of a pair without a first
    partner = 2 * pair + 1 - start - (place + start) % 2
    partner = jnp.where((partner >= 0) & (partner < row.size), partner, place)
    traded = _hit(which, (row.size // 2 + 1,), s)[pair] & real & real[partner]
    return jnp.where(traded, row[partner], row)


def _hit(key: Array, shape: tuple[int, ...], s: Array) -> Array:
    return jax.random.uniform(key, shape, jnp.float32) < s
