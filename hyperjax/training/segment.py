"""A segment: a fixed number of steps of one member, as one scan."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from hyperjax.batching import batch_indices
from hyperjax.random import Streams
from hyperjax.training.packing import global_norm
from hyperjax.training.program import Carry, Program, Record
from hyperjax.training.settings import Settings
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
    smaller last one and when validation happens, so that under `vmap` those are branches and not selects. A member's own
    count decides everything else. A member that has ended (its steps are done, or it diverged) skips the step.

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
        carry, (loss, gradient_norm, update_norm, metrics) = lax.cond(
            active,
            lambda c: _train(program, c, settings, streams, data["train"], counter),
            lambda c: (c, _nothing(program)),
            carry,
        )
        carry, validation = _validate(program, carry, settings, streams, data, counter)
        return carry, Record(loss, gradient_norm, update_norm, metrics, validation)

    return lax.scan(step, carry, start + jnp.arange(steps, dtype=jnp.int32))


def _train(
    program: Program, carry: Carry, settings: Settings, streams: Streams, arrays: PyTree, counter: Array
) -> tuple[Carry, tuple[Array, Array, Array, Array]]:
    structure = program.structure
    per_epoch = structure.steps_per_epoch
    key = jax.random.fold_in(streams.masks, carry.step)
    epoch_key = jax.random.fold_in(streams.order, carry.step // per_epoch)

    def of_width(width: int) -> Any:
        def value_and_gradient(weights: PyTree) -> Any:
            batch = arrays
            if not structure.full_batch:
                place = carry.step % per_epoch
                index = batch_indices(epoch_key, place, structure.batch_size, structure.examples, width)
                batch = jax.tree.map(lambda a: a[index], arrays)

            def objective(weights: PyTree) -> Any:
                return program.objective(weights, carry.rest, batch, settings, carry.step, key, training=True)

            return jax.value_and_grad(objective, has_aux=True)(weights)

        return value_and_gradient

    if structure.last_batch == structure.batch_size:
        (loss, (metrics, rest)), gradient = of_width(structure.batch_size)(carry.weights)
    else:
        is_last = (counter + 1) % per_epoch == 0
        whole, smaller = of_width(structure.batch_size), of_width(structure.last_batch)
        (loss, (metrics, rest)), gradient = lax.cond(is_last, smaller, whole, carry.weights)

    leaves = jax.tree.leaves(gradient)
    gradient_norm = global_norm(leaves)
    finite = jnp.isfinite(loss) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    if settings.clip_norm is not None:
        gradient = _clip(gradient, gradient_norm, settings, carry.step)
    updates, optimizer = program.optimizer(settings, carry.step).update(gradient, carry.optimizer, carry.weights)
    weights = jax.tree.map(lambda w, u: (w + u).astype(w.dtype), carry.weights, updates)
    update_norm = global_norm(jax.tree.leaves(updates))

    def kept(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    new = Carry(
        step=carry.step + finite.astype(jnp.int32),
        validated=carry.validated,
        diverged_at=jnp.where(finite, -1, carry.step),
        weights=kept(weights, carry.weights),
        rest=kept(rest, carry.rest),
        optimizer=kept(optimizer, carry.optimizer),
    )
    reported = (x.astype(program.recorded) for x in (loss, gradient_norm, update_norm))
    return new, (*reported, metrics)


def _clip(gradient: PyTree, norm: Array, settings: Settings, step: Array) -> PyTree:
    limit = settings.clip_norm(step) if callable(settings.clip_norm) else settings.clip_norm
    above = norm > limit
    scale = jnp.where(above, limit / jnp.where(above, norm, 1.0), 1.0)
    return jax.tree.map(lambda g: g * scale.astype(g.dtype), gradient)


def _nothing(program: Program) -> tuple[Array, Array, Array, Array]:
    nan = jnp.full((), jnp.nan, program.recorded)
    return nan, nan, nan, jnp.full((len(program.metric_names),), jnp.nan, program.recorded)


def _validate(
    program: Program, carry: Carry, settings: Settings, streams: Streams, data: dict[str, PyTree], counter: Array
) -> tuple[Carry, Array]:
    """At an epoch's end, evaluate a member that has moved since its last validation."""
    nothing = jnp.full((1 + len(program.metric_names),), jnp.nan, program.recorded)
    if "validation" not in data:
        return carry, nothing
    ends = (counter + 1) % program.structure.steps_per_epoch == 0
    moved = (carry.step > carry.validated) & (carry.diverged_at < 0)

    def evaluate(operands: tuple[PyTree, PyTree, Array]) -> Array:
        weights, rest, moved = operands
        return lax.cond(moved, lambda: _evaluate(weights, rest), lambda: nothing)

    def _evaluate(weights: PyTree, rest: PyTree) -> Array:
        last = jnp.maximum(carry.step - 1, 0)
        return program.evaluate(weights, rest, data["validation"], settings, last, streams.masks)

    validation = lax.cond(ends, evaluate, lambda _: nothing, (carry.weights, carry.rest, moved))
    return carry._replace(validated=jnp.where(ends, carry.step, carry.validated)), validation
