"""A member's gradient on its next batch: which examples, in how many parts, and at which weights."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from hyperjax.batching import balanced_indices, batch_indices, replacement_indices
from hyperjax.optimizers.gradients import worst_nearby
from hyperjax.random import Streams
from hyperjax.training.parts import key_of_part, part_of
from hyperjax.training.program import Carry, Gradient, Program
from hyperjax.training.settings import Settings, at
from hyperjax.types import Array, PyTree


class Batch(NamedTuple):
    """Some examples and how much each counts, None where all count alike."""

    arrays: PyTree
    shares: Array | None  # f32[examples], of mean 1 over the training set: of the loss alone
    counted: Array | None = None  # f32[examples], of mean 1 over the batch, 0 for what only pads: of metrics too


def gradient(
    program: Program, carry: Carry, weights: PyTree, settings: Settings, streams: Streams, arrays: PyTree, counter: Any
) -> Gradient:
    """Loss, metrics and gradient of the member's next batch at its weights, or at SAM's point nearby."""
    key = jax.random.fold_in(streams.masks, carry.step)
    if settings.parts is not None:
        key = key_of_part(key, part_of(program.structure, settings.parts, counter))

    def on(batch: Batch, weights: PyTree) -> Gradient:
        found = _parts(program, carry, settings, key, batch, weights)
        if settings.sam is None:
            return found
        radius = at(settings.sam, carry.step)

        def perturbed(weights: PyTree) -> PyTree:
            worst = worst_nearby(weights, found.by_weights, radius)
            return _parts(program, carry, settings, key, batch, worst).by_weights

        by_weights = lax.cond(radius > 0, perturbed, lambda _: found.by_weights, weights)
        return found._replace(by_weights=by_weights)

    found: Gradient = on_batch(program, carry, settings, streams, arrays, counter, on, weights)
    return found


def loss_at(
    program: Program, carry: Carry, settings: Settings, streams: Streams, arrays: PyTree, counter: Any
) -> Callable[[PyTree], Array]:
    """The loss of the member's next batch as a function of the weights, for rules that search along a line."""
    key = jax.random.fold_in(streams.masks, carry.step)

    def on(batch: Batch, weights: PyTree) -> Array:
        batch = program.sharded(batch)
        how: dict[str, Any] = {"training": True, "shares": batch.shares, "counted": batch.counted}
        return program.objective(weights, carry.rest, batch.arrays, settings, carry.step, key, **how)[0]

    return functools.partial(on_batch, program, carry, settings, streams, arrays, counter, on)


def on_batch(
    program: Program,
    carry: Carry,
    settings: Settings,
    streams: Streams,
    arrays: PyTree,
    counter: Any,
    work: Callable[[Batch, PyTree], Any],
    weights: PyTree,
) -> Any:
    """`work(batch, weights)` on the member's next batch.

    An epoch's last batch is smaller where the examples do not divide: a second size that everything is compiled for.
    Where examples do not meet and few are lacking, it is padded instead by copies that do not count, which halves the
    program.

    Args:
        arrays: the training set, or of a stream the next batch itself.
    """
    structure = program.structure
    per_epoch = structure.steps_per_epoch
    if settings.targets is not None:
        arrays = (arrays[0], settings.targets)

    def of_width(width: int) -> Callable[[PyTree], Any]:
        def on(weights: PyTree) -> Any:
            if program.task.stream is not None:
                return work(Batch(jax.tree.map(lambda a: a[:width], arrays), None), weights)
            permuted = structure.samplings == ("permutation",)
            if structure.full_batch and permuted:
                return work(Batch(arrays, settings.example_weights), weights)
            index = _indices(program, settings, streams, carry.step, counter, width)
            return work(_chosen(arrays, settings, index), weights)

        return on

    if structure.last_batch == structure.batch_size:
        return of_width(structure.batch_size)(weights)
    is_last = (counter + 1) % per_epoch == 0
    if structure.pads_little and program.apart(weights, carry.rest, arrays, settings, streams.masks):
        index = jnp.arange(structure.batch_size)  # of the batch itself, or of the training set
        if program.task.stream is None:
            index = _indices(program, settings, streams, carry.step, counter, structure.batch_size)
        here = jnp.arange(structure.batch_size) < jnp.where(is_last, structure.last_batch, structure.batch_size)
        return work(_padded(arrays, settings, index, here), weights)
    return lax.cond(is_last, of_width(structure.last_batch), of_width(structure.batch_size), weights)


def _chosen(arrays: PyTree, settings: Settings, index: Array) -> Batch:
    """The examples of some indices."""
    shares = None if settings.example_weights is None else _take(settings.example_weights, index)
    return Batch(jax.tree.map(functools.partial(_take, index=index), arrays), shares)


def _padded(arrays: PyTree, settings: Settings, index: Array, here: Array) -> Batch:
    """The examples of those indices that are here, the first among them; in the place of the others copies of it.

    Not any others: whose loss is not finite may make no run diverge that has not met them.
    """
    batch = _chosen(arrays, settings, jnp.where(here, index, index[0]))
    return batch._replace(counted=here * (len(index) / jnp.sum(here, dtype=jnp.float32)))


def _indices(program: Program, settings: Settings, streams: Streams, step: Array, counter: Any, width: int) -> Array:
    structure = program.structure
    per_epoch, local = structure.steps_per_epoch, step - structure.phase.step
    if settings.parts is None:
        epoch, place = local // per_epoch, local % per_epoch
    else:
        epoch, place = local // structure.steps_per_epoch_in(settings.parts), counter % per_epoch
    epoch_key = jax.random.fold_in(streams.order, structure.phase.epoch + epoch)
    by_name = {
        "permutation": lambda: batch_indices(epoch_key, place, structure.batch_size, structure.examples, width),
        "replacement": lambda: replacement_indices(epoch_key, place, structure.examples, width),
        "balanced": lambda: balanced_indices(epoch_key, place, program.task.classes, width),
    }
    ways = [by_name[name] for name in structure.samplings]
    return ways[0]() if len(ways) == 1 else lax.switch(settings.sampling, ways)


def _parts(
    program: Program, carry: Carry, settings: Settings, key: jax.Array, batch: Batch, weights: PyTree
) -> Gradient:
    """The gradient of a batch, in micro-batches one after another where the structure says so."""

    def one(weights: PyTree, rest: PyTree, part: Batch, key: jax.Array) -> Gradient:
        part = program.sharded(part)

        def objective(weights: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
            how: dict[str, Any] = {"training": True, "shares": part.shares, "counted": part.counted}
            return program.objective(weights, rest, part.arrays, settings, carry.step, key, **how)

        if program.structure.rematerialize:
            objective = jax.checkpoint(objective, policy=jax.checkpoint_policies.dots_saveable)
        (loss, (metrics, after)), by_weights = jax.value_and_grad(objective, has_aux=True)(weights)
        return Gradient(loss.astype(program.recorded), metrics, by_weights, after)

    structure = program.structure
    width = len(jax.tree.leaves(batch)[0])
    size = -(-structure.batch_size // structure.micro_batches)
    count, left = divmod(width, size)
    if structure.micro_batches == 1 or count == 0:
        return one(weights, carry.rest, batch, key)

    def weighed(found: Gradient, examples: int) -> Gradient:
        share = examples / width
        return found._replace(
            loss=found.loss * share,
            metrics=found.metrics * share,
            by_weights=jax.tree.map(lambda g: g * share, found.by_weights),
        )

    def joined(total: Gradient, found: Gradient, examples: int) -> Gradient:
        part = weighed(found, examples)
        by_weights = jax.tree.map(jnp.add, total.by_weights, part.by_weights)
        return Gradient(total.loss + part.loss, total.metrics + part.metrics, by_weights, found.rest)

    def step(total: Gradient, item: tuple[Any, Batch]) -> tuple[Gradient, None]:
        number, part = item
        return joined(total, one(weights, total.rest, part, jax.random.fold_in(key, number)), size), None

    cut = count * size
    blocks = jax.tree.map(lambda a: a[:cut].reshape(count, size, *a.shape[1:]), batch)
    first = weighed(one(weights, carry.rest, jax.tree.map(lambda a: a[0], blocks), jax.random.fold_in(key, 0)), size)
    rest = jax.tree.map(lambda a: a[1:], blocks)
    total, _ = lax.scan(step, first, (jnp.arange(1, count), rest))
    if left:
        tail = one(weights, total.rest, jax.tree.map(lambda a: a[cut:], batch), jax.random.fold_in(key, count))
        total = joined(total, tail, left)
    return total


def _take(array: Array, index: Array) -> Array:
    """Rows of an array; that the indices are in range need not be checked for each number."""
    return array.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
