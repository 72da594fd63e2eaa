"""Batches in parts, one turn of the program's loop each: how many parts make a batch is a member's own number."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hyperjax.training.program import Gradient
from hyperjax.training.structure import Structure
from hyperjax.types import Array


class Part(NamedTuple):
    """Where a turn's examples stand in their batch."""

    number: Array  # i32[], from 0
    first: Array  # bool[]
    last: Array  # bool[]
    share: Array  # f32[], of the batch's examples


def part_of(structure: Structure, parts: Array, counter: Any) -> Part:
    """The part that a turn sees.

    Args:
        structure: whose batch is a part, and whose steps per epoch are turns.
        parts: i32[], to a batch.
        counter: i32[], of turns, shared by all members; a multiple of an epoch's turns when a member begins.
    """
    turns = structure.steps_per_epoch
    place = jnp.asarray(counter) % turns
    number = place % parts
    here = jnp.where(place == turns - 1, structure.last_batch, structure.batch_size)
    begin = (place - number) * structure.batch_size
    batch = jnp.minimum(parts * structure.batch_size, structure.examples - begin)
    last = (number == parts - 1) | (place == turns - 1)
    return Part(number, number == 0, last, here / batch.astype(jnp.float32))


def gather_part(before: Gradient, part: Gradient, place: Part, active: Array) -> Gradient:
    """What the parts of a batch say together, up to and with one more."""

    def added(total: Array, found: Array) -> Array:
        own = found * place.share.astype(found.dtype)
        return jnp.where(place.first, own, total + own)

    def gather() -> Gradient:
        total: Gradient = jax.tree.map(added, before, part._replace(rest=None))
        return total

    total: Gradient = jax.lax.cond(active, gather, lambda: before)
    return total


def key_of_part(key: jax.Array, part: Part) -> jax.Array:
    """The key of a part's masks, of a step's; that of a batch of one part is the step's, as if it were whole."""
    own = jax.random.key_data(jax.random.fold_in(key, part.number))
    words = jnp.where(part.first & part.last, jax.random.key_data(key), own)
    chosen: jax.Array = jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))
    return chosen
