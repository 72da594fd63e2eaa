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
from hyperjax.training.program import Carry, Program
from hyperjax.training.settings import Settings, at
from hyperjax.types import Array, PyTree


class Gradient(NamedTuple):
    """What a batch says."""

    loss: Array  # f32[], mean over the batch
    metrics: Array  # f32[metrics]
    by_weights: PyTree
    rest: PyTree  # state of the model after the batch


class Batch(NamedTuple):
    """Some examples and how much each counts, None where all count alike."""

    arrays: PyTree
    shares: Array | None  # f32[examples], of mean 1 over the training set


def gradient(
    program: Program, carry: Carry, weights: PyTree, settings: Settings, streams: Streams, arrays: PyTree, counter: Any
) -> Gradient:
    """Loss, metrics and gradient of the member's next batch at its weights, or at SAM's point nearby."""
    key = jax.random.fold_in(streams.masks, carry.step)

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
        return program.objective(
            weights, carry.rest, batch.arrays, settings, carry.step, key, training=True, shares=batch.shares
        )[0]

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
    """`work(batch, weights)` on the member's next batch, which is one of two sizes.

    `arrays` are the training set, or of a stream the next batch itself.
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
            index = _indices(program, settings, streams, carry.step, per_epoch, width)
            shares = None if settings.example_weights is None else _take(settings.example_weights, index)
            return work(Batch(jax.tree.map(functools.partial(_take, index=index), arrays), shares), weights)

        return on

    if structure.last_batch == structure.batch_size:
        return of_width(structure.batch_size)(weights)
    is_last = (counter + 1) % per_epoch == 0
    return lax.cond(is_last, of_width(structure.last_batch), of_width(structure.batch_size), weights)


def _indices(program: Program, settings: Settings, streams: Streams, step: Array, per_epoch: int, width: int) -> Array:
    structure = program.structure
    local = step - structure.phase.step
    epoch_key = jax.random.fold_in(streams.order, structure.phase.epoch + local // per_epoch)
    place = local % per_epoch
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
            return program.objective(
                weights, rest, part.arrays, settings, carry.step, key, training=True, shares=part.shares
            )

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
