"""A segment: a fixed number of steps of one member, as one scan."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from hyperjax.batching import batch_indices
from hyperjax.random import Streams
from hyperjax.training.packing import global_norm
from hyperjax.training.program import Carry, Program, Record
from hyperjax.training.settings import Settings, at
from hyperjax.types import Array, PyTree


def segment(
    program: Program,
    steps: int,
    carry: Carry,
    settings: Settings,
    streams: Streams,
    data: dict[str, PyTree],
    start: Any,
) -> tuple[Carry, Record]:
    """Advance one member by up to `steps` steps.

    All members share the counter `start`, `start + 1`, ...; it decides where an epoch ends, hence which batch is the
    smaller last one and when validation happens, so that under `vmap` those are branches and not selects. A member's
    own count decides everything else. A member that has ended (its steps are done, or it diverged) skips the step.

    Args:
        program: of the member's task and structure.
        steps: at least 2; the program is compiled for this number.
        carry, settings, streams: the member's.
        data: "train" and perhaps "validation", arrays shared by all members.
        start: i32[], the shared counter; a multiple of the steps per epoch when a member begins.
    Returns: the new carry, and a `Record` with a leading axis of `steps`.
    """

    def step(carry: Carry, counter: Array) -> tuple[Carry, Record]:
        active = (carry.step < settings.steps) & (carry.diverged_at < 0)
        gradient = lax.cond(
            active,
            lambda weights: _gradient(program, carry, weights, settings, streams, data["train"], counter),
            lambda weights: _no_gradient(program, carry, weights),
            carry.weights,
        )
        norm, moves = lax.cond(
            active,
            lambda gradient: _measured(program, gradient),
            lambda _: (jnp.full((), jnp.nan, program.recorded), False),
            gradient,
        )
        moving = (carry.weights, carry.optimizer)
        (weights, optimizer), update_norm = lax.cond(
            moves,
            lambda m: _update(program, m, gradient.by_weights, norm, settings, carry.step),
            lambda m: (m, jnp.full((), jnp.nan, program.recorded)),
            moving,
        )
        carry = Carry(
            step=carry.step + moves.astype(jnp.int32),
            validated=carry.validated,
            diverged_at=jnp.where(active & ~moves, carry.step, carry.diverged_at),
            weights=weights,
            rest=jax.tree.map(lambda new, old: jnp.where(moves, new, old), gradient.rest, carry.rest),
            optimizer=optimizer,
        )
        carry, validation = _validate(program, carry, settings, streams, data, counter)
        return carry, Record(gradient.loss, norm, update_norm, gradient.metrics, validation)

    return lax.scan(step, carry, start + jnp.arange(steps, dtype=jnp.int32))


class _Gradient(NamedTuple):
    loss: Array
    metrics: Array
    by_weights: PyTree
    rest: PyTree  # state of the model after the batch


def _gradient(
    program: Program,
    carry: Carry,
    weights: PyTree,
    settings: Settings,
    streams: Streams,
    arrays: PyTree,
    counter: Array,
) -> _Gradient:
    structure = program.structure
    per_epoch = structure.steps_per_epoch
    key = jax.random.fold_in(streams.masks, carry.step)
    epoch_key = jax.random.fold_in(streams.order, carry.step // per_epoch)

    def of_width(width: int) -> Callable[[PyTree], _Gradient]:
        def differentiated(weights: PyTree) -> _Gradient:
            batch = arrays
            if not structure.full_batch:
                place = carry.step % per_epoch
                index = batch_indices(epoch_key, place, structure.batch_size, structure.examples, width)
                batch = jax.tree.map(functools.partial(_take, index=index), arrays)

            def objective(weights: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
                return program.objective(weights, carry.rest, batch, settings, carry.step, key, training=True)

            (loss, (metrics, rest)), by_weights = jax.value_and_grad(objective, has_aux=True)(weights)
            return _Gradient(loss.astype(program.recorded), metrics, by_weights, rest)

        return differentiated

    if structure.last_batch == structure.batch_size:
        return of_width(structure.batch_size)(weights)
    is_last = (counter + 1) % per_epoch == 0
    gradient: _Gradient = lax.cond(is_last, of_width(structure.last_batch), of_width(structure.batch_size), weights)
    return gradient


def _measured(program: Program, gradient: _Gradient) -> tuple[Array, Array]:
    """Norm of the gradient, and whether it and the loss are finite."""
    leaves = jax.tree.leaves(gradient.by_weights)
    norm = global_norm(leaves).astype(program.recorded)

    def every_entry(leaves: list[Array]) -> Array:
        return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]))

    # The square of a large gradient overflows before the gradient does: look closer, but only then.
    finite = lax.cond(jnp.isfinite(norm), lambda _: True, every_entry, leaves)
    return norm, finite & jnp.isfinite(gradient.loss)


def _take(array: Array, index: Array) -> Array:
    """Rows of an array; that the indices are in range need not be checked for each number."""
    return array.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _no_gradient(program: Program, carry: Carry, weights: PyTree) -> _Gradient:
    nan = jnp.full((), jnp.nan, program.recorded)
    metrics = jnp.full((len(program.metric_names),), jnp.nan, program.recorded)
    return _Gradient(nan, metrics, jax.tree.map(jnp.zeros_like, weights), carry.rest)


def _update(
    program: Program, moving: tuple[PyTree, PyTree], gradient: PyTree, norm: Array, settings: Settings, step: Array
) -> tuple[tuple[PyTree, PyTree], Array]:
    weights, optimizer = moving
    if settings.clip_norm is not None:
        gradient = _clip(gradient, norm, settings, step)
    updates, optimizer = program.optimizer(settings, step).update(gradient, optimizer, weights)

    def added(weight: Array, update: Array) -> Array:
        # jax 0.10.1 emits a sum of two arrays that is fused with nothing without vector instructions; with a zero that
        # it cannot see it takes half the time.
        zero = 0.0 * step.astype(update.dtype)
        return (weight + (update - zero)).astype(weight.dtype)

    def moved(weights: PyTree, updates: PyTree) -> tuple[PyTree, Array]:
        weights = jax.tree.map(added, weights, updates)
        return weights, global_norm(jax.tree.leaves(updates)).astype(program.recorded)

    # Always true, which no compiler knows: it must not fuse the norm with the rule, else the order in which squares
    # are added, and the last bit, depends on which rules the program holds.
    weights, update_norm = lax.cond(step >= 0, moved, lambda weights, _: (weights, norm), weights, updates)
    return (weights, optimizer), update_norm


def _clip(gradient: PyTree, norm: Array, settings: Settings, step: Array) -> PyTree:
    limit = at(settings.clip_norm, step)
    above = norm > limit
    scale = jnp.where(above, limit / jnp.where(above, norm, 1.0), 1.0)
    return jax.tree.map(lambda g: g * scale.astype(g.dtype), gradient)


def _validate(
    program: Program, carry: Carry, settings: Settings, streams: Streams, data: dict[str, PyTree], counter: Array
) -> tuple[Carry, Array]:
    """At an epoch's end, evaluate a member that has moved since its last validation."""
    nothing = jnp.full((1 + len(program.metric_names),), jnp.nan, program.recorded)
    if "validation" not in data:
        return carry, nothing
    ends = (counter + 1) % program.structure.steps_per_epoch == 0
    moved = (carry.step > carry.validated) & (carry.diverged_at < 0)

    def evaluate() -> Array:
        last = jnp.maximum(carry.step - 1, 0)
        return program.evaluate(carry.weights, carry.rest, data["validation"], settings, last, streams.masks)

    # Two branches: the first is shared by all members and stays one under vmap, where the second becomes a select.
    validation = lax.cond(ends, lambda: lax.cond(moved, evaluate, lambda: nothing), lambda: nothing)
    return carry._replace(validated=jnp.where(ends, carry.step, carry.validated)), validation
