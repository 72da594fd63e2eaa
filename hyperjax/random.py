"""Cheap random keys: a counter hashed by a keyed 32-bit mixer, usable wherever `jax.random` takes a key."""

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extend

from hyperjax.checks import require

Seed: TypeAlias = int | np.integer[Any] | np.ndarray | jax.Array

# Multipliers and shifts of a 32-bit finalizer whose avalanche bias was minimised by search
# (C. Wellons, "Prospecting for hash functions", 2018, and the follow-ups there).
_FIRST, _SECOND = np.uint32(0x21F0AAAD), np.uint32(0x735A2D97)
# Digits of pi and of the golden ratio: constants with nothing hidden in them.
_ROUND_A, _ROUND_B = np.uint32(0x9E3779B9), np.uint32(0x85A308D3)
_SEEDED, _FOLDED, _SPLIT = np.uint32(0x243F6A88), np.uint32(0x13198A2E), np.uint32(0x03707344)
_RAISED = np.uint32(0xA4093822)
_NO_KEY = np.uint32(0)
_LIMIT = 2**32  # counters are 32 bits wide


def _mix(word: Any, key: Any = _NO_KEY) -> Any:
    """Bijection of a 32-bit word; `key` enters between its two multiplications."""
    word = (word ^ (word >> np.uint32(16))) * _FIRST
    word = ((word ^ (word >> np.uint32(15))) + key) * _SECOND
    return word ^ (word >> np.uint32(15))


def _block(key: Any, left: Any, right: Any) -> jax.Array:
    """Four Feistel rounds on two words: for one key, different (left, right) never give the same child."""
    left = left ^ _mix(right + key[0])
    right = right ^ _mix(left + key[1])
    left = left ^ _mix(right + (key[0] ^ _ROUND_A))
    right = right ^ _mix(left + (key[1] ^ _ROUND_B))
    return jnp.stack([left, right])


@functools.partial(jax.jit, inline=True)
def _from_words(low: Any, high: Any) -> jax.Array:
    return _block((_SEEDED, _RAISED), low, high)


def _seed(seed: jax.Array) -> jax.Array:
    if jnp.dtype(seed.dtype).itemsize == 8:
        high = (seed >> 32).astype(jnp.uint32)
    else:  # the sign extended, so that -1 means the same in 32 and in 64 bits
        high = jnp.where(seed < 0, np.uint32(_LIMIT - 1), np.uint32(0))
    words: jax.Array = _from_words(seed.astype(jnp.uint32), high)
    return words


@functools.partial(jax.jit, inline=True)
def _fold_in(key: jax.Array, data: Any) -> jax.Array:
    return _block(key, jnp.asarray(data).astype(jnp.uint32), _FOLDED)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.moveaxis(_block(key, _positions(shape), jnp.full(shape, _SPLIT)), 0, -1)


def _positions(shape: tuple[int, ...]) -> jax.Array:
    """u32[shape], the row-major number of each element; a sum of iotas, which a partitioner can cut along any axis."""
    require(math.prod(shape) < _LIMIT, f"shape must hold fewer than 2**32 elements, got {shape}")
    positions, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        positions = positions + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride)
        stride *= shape[axis]
    return positions


def _words(key: Any, counter: Any) -> Any:
    """Two keyed rounds; the sum with the first makes the map from counter to word many-to-one, as chance is."""
    first = _mix(counter ^ key[0], key[1])
    return _mix(first + (key[0] ^ _ROUND_A), key[1] ^ _ROUND_B) + first


@functools.partial(jax.jit, static_argnums=(1, 2), inline=True)
def _random_bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> Any:
    if width == 64:
        pairs = _words(key, _positions((2, *shape))).astype(jnp.uint64)
        return (pairs[0] << np.uint64(32)) | pairs[1]
    words = _words(key, _positions(shape))
    if width == 32:
        return words
    # One word an element: cutting a word in four would save work only for narrow types, and cost a relayout on TPU.
    return (words >> np.uint32(32 - width)).astype({8: jnp.uint8, 16: jnp.uint16}[width])


IMPLEMENTATION: Hashable = extend.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="hash",
    tag="hash",
)
_wrap: Callable[[jax.Array], jax.Array] = functools.partial(jax.random.wrap_key_data, impl=IMPLEMENTATION)


class Streams(NamedTuple):
    """Keys of what is random in a run; changing how one is used leaves the others' numbers as they are."""

    weights: jax.Array  # initial weights
    order: jax.Array  # which examples meet in a batch
    masks: jax.Array  # dropout, noise, augmentation


def key(seed: Seed) -> jax.Array:
    """Return a typed key of the cheap "hash" implementation.

    A counter i becomes the word f2(f1(i) + c) + f1(i), where f1 and f2 are 32-bit mixers into each of which both words
    of the key enter. All is 32-bit integer arithmetic, hence the same on every backend. It is made for masks, noise,
    order and initial weights; it is no cipher, so keep it away from secrets. A call may draw fewer than 2**32 words.

    Args:
        seed: a whole number in [-2**63, 2**64), or an array of integers (traced or not) for an array of keys.
            Different seeds give different keys, and a number means the same whether or not 64-bit types are on.

    Returns: key array of the seed's shape, for `jax.random`, `nnx.Rngs` and stock Flax layers.
    Raises: ValueError when the seed is not a whole number of at most 64 bits.
    Source: counter-based generators, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011); the mixer is
        C. Wellons's; the two-round form with the first round added (after Davies and Meyer) is ours.

    >>> import jax
    >>> jax.random.bernoulli(key(0), 0.5, (2, 3)).shape
    (2, 3)
    >>> key(7) == key(7), key(7) == key(8)
    (Array(True, dtype=bool), Array(False, dtype=bool))
    """
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        number = int(seed)
        require(-(2**63) <= number < 2**64, f"seed must be a whole number of at most 64 bits, got {seed}")
        words = _from_words(np.uint32(number & 0xFFFFFFFF), np.uint32((number >> 32) & 0xFFFFFFFF))
        return _wrap(words)
    integers = hasattr(seed, "dtype") and jnp.issubdtype(seed.dtype, jnp.integer)
    require(integers, f"seed must be a whole number or an array of them, got {seed!r}")
    if isinstance(seed, np.ndarray) and seed.dtype.itemsize == 8:
        # As a JAX array it would lose its upper half where 64-bit types are off.
        words = _from_words(seed.astype(np.uint32), (seed >> 32).astype(np.uint32))
    else:
        words = _seed(jnp.asarray(seed))
    return _wrap(jnp.moveaxis(words, 0, -1))


def streams(seed: Seed) -> Streams:
    """Return separate keys for initial weights, order of examples, and masks.

    Args:
        seed: as in `key`, or a typed key of any implementation (a threefry key gives threefry streams).

    Returns: `Streams(weights, order, masks)`, each of the seed's shape.

    >>> streams(0).masks == streams(key(0)).masks
    Array(True, dtype=bool)
    """
    typed = hasattr(seed, "dtype") and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    root: Any = seed if typed else key(seed)

    def child(number: int) -> jax.Array:
        fold: Callable[[jax.Array], jax.Array] = functools.partial(jax.random.fold_in, data=number)
        for _ in range(jnp.ndim(root)):
            fold = jax.vmap(fold)
        return fold(root)

    return Streams(weights=child(0x77656967), order=child(0x6F726465), masks=child(0x6D61736B))  # ASCII of the names
