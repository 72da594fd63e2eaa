"""A segment: a fixed number of steps of one member, as one scan."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from hyperjax.random import Streams
from hyperjax.training import following, stages
from hyperjax.training.gradient import gradient as gradient_on_batch
from hyperjax.training.gradient import loss_at
from hyperjax.training.packing import global_norm
from hyperjax.training.parts import gather_part, part_of
from hyperjax.training.program import Carry, Gradient, Program, Record
from hyperjax.training.settings import Settings, at
from hyperjax.types import Array, PyTree


def segment(
    program: Program,
    length: int,
    carry: Carry,
    settings: Settings,
    streams: Streams,
    data: dict[str, PyTree],
    start: Any,
) -> tuple[Carry, Record]:
    """Advance one member by up to `length` steps; where a batch is gathered from parts, by so many parts.

    All members share the counter `start`, `start + 1`, ...; it decides where an epoch ends, hence which batch is the
    smaller last one and when validation happens, so that under `vmap` those are branches and not selects. A member's
    own count decides everything else. A member that has ended (its steps are done, or it diverged) skips the step.

    Args:
        program: of the member's task and structure.
        length: at least 2; the program is compiled for this number.
        carry, settings, streams: the member's.
        data: "train" and perhaps "validation", arrays shared by all members; of a stream "train" are the batches of
            these steps, each array [length, batch, ...].
        start: i32[], the shared counter; a multiple of the steps per epoch when a member begins.
    Returns: the new carry, and a `Record` with a leading axis of `length`.
    """

    streamed = program.task.stream is not None

    def step(carry: Carry, at: tuple[Array, PyTree]) -> tuple[Carry, Record]:
        counter, arrays = at if streamed else (at[0], data["train"])
        last = program.structure.phase.last
        steps = settings.steps if last is None else jnp.minimum(settings.steps, last)
        active = (carry.step < steps) & (carry.diverged_at < 0) & following.goes_on(carry.following)
        gradient = lax.cond(
            active,
            lambda weights: gradient_on_batch(program, carry, weights, settings, streams, arrays, counter),
            lambda weights: _no_gradient(program, carry, weights),
            carry.weights,
        )
        pending, whole = None, active
        if settings.parts is not None:
            assert carry.pending is not None
            part = part_of(program.structure, settings.parts, counter)
            pending = gather_part(carry.pending, gradient, part, active)
            gradient, whole = pending._replace(rest=gradient.rest), active & part.last
        norm, moves = lax.cond(
            whole,
            lambda gradient: _measured(program, gradient),
            lambda _: (jnp.full((), jnp.nan, program.recorded), False),
            gradient,
        )
        seen = moves if pending is None else moves | (active & ~whole)
        follows = following.after_loss(carry.following, settings, gradient.loss, moves)
        rate = settings.rate_at(carry.step)
        if program.structure.phase.rate != 1.0:
            rate = rate * program.structure.phase.rate
        scale = None
        if follows.plateau is not None:
            scale = follows.plateau.scale
            rate = rate * scale

        def moved(moving: _Moving) -> tuple[_Moving, Array]:
            extra = {}
            if program.structure.optimizer is not None:
                value_fn = loss_at(program, carry, settings, streams, arrays, counter)
                extra = {"value": gradient.loss, "grad": gradient.by_weights, "value_fn": value_fn}
            return _update(program, moving, gradient.by_weights, norm, settings, streams, carry.step, rate, extra)

        moving = _Moving(carry.weights, carry.optimizer, carry.around)
        moving, update_norm = lax.cond(moves, moved, lambda m: (m, jnp.full((), jnp.nan, program.recorded)), moving)
        carry = Carry(
            step=carry.step + moves.astype(jnp.int32),
            validated=carry.validated,
            diverged_at=jnp.where(whole & ~moves, carry.step, carry.diverged_at),
            weights=moving.weights,
            rest=jax.tree.map(lambda new, old: jnp.where(seen, new, old), gradient.rest, carry.rest),
            optimizer=moving.optimizer,
            around=moving.around,
            following=follows,
            pending=pending,
        )
        carry, validation = _validate(program, carry, settings, streams, data, counter)
        return carry, Record(gradient.loss, norm, update_norm, gradient.metrics, validation, scale)

    counters = start + jnp.arange(length, dtype=jnp.int32)
    return lax.scan(step, carry, (counters, data["train"] if streamed else None))


class _Moving(NamedTuple):
    """What an update changes."""

    weights: PyTree
    optimizer: PyTree
    around: dict[str, PyTree]


def _measured(program: Program, gradient: Gradient) -> tuple[Array, Array]:
    """Norm of the gradient, and whether it and the loss are finite."""
    leaves = jax.tree.leaves(gradient.by_weights)
    norm = global_norm(leaves).astype(program.recorded)

    def every_entry(leaves: list[Array]) -> Array:
        return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]))

    # The square of a large gradient overflows before the gradient does: look closer, but only then.
    finite = lax.cond(jnp.isfinite(norm), lambda _: True, every_entry, leaves)
    return norm, finite & jnp.isfinite(gradient.loss)


def _no_gradient(program: Program, carry: Carry, weights: PyTree) -> Gradient:
    nan = jnp.full((), jnp.nan, program.recorded)
    metrics = jnp.full((len(program.metric_names),), jnp.nan, program.recorded)
    return Gradient(nan, metrics, jax.tree.map(jnp.zeros_like, weights), carry.rest)


def _update(
    program: Program,
    moving: _Moving,
    gradient: PyTree,
    norm: Array,
    settings: Settings,
    streams: Streams,
    step: Array,
    rate: Any,
    extra: dict[str, Any],
) -> tuple[_Moving, Array]:
    """One step of the weights: clip, the stages before the rule, the rule, the stages behind it."""
    weights = moving.weights
    if settings.clip_norm is not None:
        gradient = _clip(gradient, norm, settings, step)
    moment = stages.Moment(rate, jax.random.fold_in(jax.random.fold_in(streams.masks, step), 0xFFFFFFFE))
    gradient = stages.before(gradient, weights, settings, step, moment, program.packing)
    rule = program.optimizer(settings, step, rate)
    updates, optimizer = rule.update(gradient, moving.optimizer, program.decayed(weights, settings), **extra)
    updates, around = stages.after(updates, moving.around, weights, settings, step, moment, program.packing)

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
    return _Moving(weights, optimizer, around), update_norm


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

    def evaluate() -> tuple[Array, following.Following]:
        last = jnp.maximum(carry.step - 1, 0)
        weights = program.judged(carry, settings)
        found = program.evaluate(weights, carry.rest, data["validation"], settings, last, streams.masks)
        follows = following.after_validation(carry.following, settings, found, weights, carry.rest, carry.step)
        return found, follows

    # Two branches: the first is shared by all members and stays one under vmap, where the second becomes a select.
    unchanged = (nothing, carry.following)
    validation, follows = lax.cond(ends, lambda: lax.cond(moved, evaluate, lambda: unchanged), lambda: unchanged)
    return carry._replace(validated=jnp.where(ends, carry.step, carry.validated), following=follows), validation
