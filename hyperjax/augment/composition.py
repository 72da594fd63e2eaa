"""Several augmentations as one function, each with its own strength."""

import functools
import inspect
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment import images, spectrograms, tokens, waveforms
from hyperjax.augment.examples import one
from hyperjax.checks import one_of, require
from hyperjax.types import Array, Scalar

TABLES: Mapping[str, Mapping[str, Callable[..., Array]]] = MappingProxyType(
    {
        "images": images.TABLE,
        "tokens": tokens.TABLE,
        "waveforms": waveforms.TABLE,
        "spectrograms": spectrograms.TABLE,
    }
)


def chain(strengths: Mapping[str, Scalar], kind: str = "images", **arguments: Any) -> Callable[[Array, Any], Array]:
    """Make one function `(key, x) -> x` of several augmentations of a kind.

    `x <- f(fold_in(key, crc32(name)), x, strength)` for each name, in the order of the kind's table (not that of
    `strengths`, which JAX sorts when a dict is traced). The key depends on the name alone, so that one strength set to
    0 or left out does not change what the others draw.

    Args:
        strengths: names in the table of the kind, and for each a float[] in the range that its function states; may
            be traced.
        kind: "images", "tokens", "waveforms" or "spectrograms".
        **arguments: `pad` and `mask_id` of tokens: passed to the functions that take them.
    Returns: a pure function of a typed key and a batch.
    Raises: ValueError on an unknown kind, name or argument, or where a needed argument is missing.

    >>> from hyperjax import random
    >>> augment = chain({"shift": 0.1, "flip": 0.5})
    >>> augment(random.key(0), jnp.ones((2, 8, 8, 1))).shape
    (2, 8, 8, 1)
    """
    table = TABLES[one_of("kind", kind, TABLES)]
    for name in strengths:
        one_of("strengths", name, table)
    options = {name: _options(function) for name, function in table.items()}
    for argument in arguments:
        one_of("arguments", argument, sorted({option for taken in options.values() for option in taken}))
    steps = []
    for name in (name for name in table if name in strengths):
        for option, needed in options[name].items():
            require(not needed or option in arguments, f"{option} must be given, since {name} needs it; got none")
        given = {option: arguments[option] for option in options[name] if option in arguments}
        steps.append((zlib.crc32(name.encode()), functools.partial(table[name], **given), strengths[name]))

    def apply(key: Array, x: Any) -> Array:
        changed = jnp.asarray(x)
        for number, change, strength in steps:
            changed = change(jax.random.fold_in(one(key), number), changed, strength)
        return changed

    return apply


def _options(function: Callable[..., Array]) -> dict[str, bool]:
    """Names of the arguments that only some augmentations take, and whether they must be given."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
