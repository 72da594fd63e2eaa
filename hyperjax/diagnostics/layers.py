"""The layers of a run's model at a moment: what passes through them, and how they are about to change."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from hyperjax.diagnostics.examples import Examples, sizes
from hyperjax.diagnostics.interception import Call, Path, watched
from hyperjax.diagnostics.layer_statistics import Block, Statistics, block_of, joined
from hyperjax.diagnostics.moments import Moments
from hyperjax.diagnostics.recognizing import Site, sites
from hyperjax.models.adapters import in_mode
from hyperjax.training.gradient import Batch
from hyperjax.training.packing import global_norm
from hyperjax.training.program import Carry
from hyperjax.training.segment import segment
from hyperjax.types import Array, PyTree

LOOKED_AT = 64  # examples that tell which activations there are


class Layer(NamedTuple):
    """A layer at a moment."""

    path: Path
    kind: str  # name of its class; "" where its calls cannot be seen
    function: str | None  # of the activation behind it; "" for some rectifier, None for none that is known
    statistics: Statistics
    weight_norm: float
    gradient_norm: float  # of the mean loss of the examples
    update_norm: float  # of the step that follows; NaN where none is asked for, or its rate is 0


class Layers:
    """The layers of a run's model, measured by one compiled program.

    Args:
        moments: of the run.
        examples: that pass through.
        flat: share of its steepest slope below which an activation counts as flat.
        updates: whether to make the step that follows.
    """

    def __init__(self, moments: Moments, examples: Examples, flat: float, updates: bool):
        self._moments, self._examples, self._flat, self._updates = moments, examples, flat, updates
        self._sites: list[Site] | None = None
        self._measure = jax.jit(self._measured)

    def at(self, carry: Carry) -> list[Layer]:
        """The layers at a moment, in the order in which they are called, then those whose calls cannot be seen."""
        if self._sites is None:
            self._sites = self._looked(carry)
        blocks, left, norms = jax.device_get(self._measure(carry, self._examples.blocks, self._examples.left))
        block, rest = sizes(self._examples)
        many = len(jax.tree.leaves(self._examples.blocks)[0])
        counts = [block] * many + ([rest] if rest else [])
        found = []
        for place, site in enumerate(self._sites):
            own = [jax.tree.map(lambda leaf: leaf[i], blocks[place]) for i in range(many)]  # noqa: B023
            own += [left[place]] if rest else []
            weight, gradient, update = (float(each.get(site.path, np.nan)) for each in norms)
            statistics = joined(own, counts, bool(site.function))
            found.append(Layer(site.path, site.kind, site.function, statistics, weight, gradient, update))
        return found

    def _looked(self, carry: Carry) -> list[Site]:
        """The sites, from the first examples; behind them the groups of weights that no call was seen of."""
        kept: list[Call] = []

        def look(carry: Carry, batch: Batch) -> Any:
            calls = self._calls(carry, batch)
            kept.extend(call._replace(read=None, wrote=None) for call in calls)
            return [(call.read, call.wrote) for call in calls]

        first = jax.tree.map(lambda leaf: leaf[0][:LOOKED_AT], self._examples.blocks)
        arrays = jax.jit(look)(carry, first)
        calls = [call._replace(read=r, wrote=w) for call, (r, w) in zip(kept, arrays, strict=True)]
        found = sites(calls)
        seen = {site.path for site in found}
        unseen = [path for path in self._grouped(self._moments.program.model.weights) if path not in seen]
        return [*found, *(Site(path, "", (), None, None, None) for path in unseen)]

    def _calls(self, carry: Carry, batch: Batch) -> list[Call]:
        program, settings, key = self._moments.program, self._moments.settings, self._moments.streams.masks
        numbers = settings.model_numbers_at(carry.step)
        model = program.model.model(program.unpacked(carry.weights), carry.rest, numbers, key, False)

        def work() -> Any:
            if program.task.objective is not None:
                return program.task.objective(model, batch.arrays, key)
            return in_mode(model, False, key)(batch.arrays[0])

        return watched(model, work)

    def _measured(self, carry: Carry, blocks: Batch, left: Batch | None) -> Any:
        program, settings, examples = self._moments.program, self._moments.settings, self._examples
        assert self._sites is not None
        listed = self._sites
        key = self._moments.streams.masks

        def on(batch: Batch) -> tuple[PyTree, list[Block]]:
            def loss(weights: PyTree) -> Array:
                return program.objective(
                    weights, carry.rest, batch.arrays, settings, carry.step, key, False, batch.shares
                )[0]

            calls = self._calls(carry, batch)
            return jax.grad(loss)(carry.weights), [block_of(site, calls, self._flat) for site in listed]

        block, rest = sizes(examples)

        def add(total: PyTree, batch: Batch) -> tuple[PyTree, list[Block]]:
            gradient, found = on(batch)
            return jax.tree.map(lambda t, g: t + g * (block / examples.measured), total, gradient), found

        total, found = lax.scan(add, jax.tree.map(jnp.zeros_like, carry.weights), blocks)
        remaining = None
        if left is not None:
            gradient, remaining = on(left)
            total = jax.tree.map(lambda t, g: t + g * (rest / examples.measured), total, gradient)
        norms = [self._norms(tree) for tree in (carry.weights, total)]
        return found, remaining, [*norms, self._update(carry) if self._updates else {}]

    def _update(self, carry: Carry) -> dict[Path, Array]:
        """Norms of what the step that follows adds; a schedule is at 0 before a warm-up and often when it has ended."""
        moments = self._moments
        settings = replace(moments.settings, steps=carry.step + 1)
        data = {"train": moments.arrays}
        after, _ = segment(moments.program, 2, carry, settings, moments.streams, data, carry.step)
        norms = self._norms(jax.tree.map(jnp.subtract, after.weights, carry.weights))
        moves = moments.settings.rate_at(carry.step) > 0
        return {path: jnp.where(moves, norm, jnp.nan) for path, norm in norms.items()}

    def _norms(self, tree: PyTree) -> dict[Path, Array]:
        grouped = self._grouped(self._moments.program.unpacked(tree))
        return {path: global_norm(leaves) for path, leaves in grouped.items()}

    @staticmethod
    def _grouped(weights: PyTree) -> dict[Path, list[Array]]:
        """Arrays by the path of the module that owns them."""
        groups: dict[Path, list[Array]] = {}
        for path, leaf in nnx.to_flat_state(weights):
            groups.setdefault(tuple(map(str, path[:-1])), []).append(jax.tree.leaves(leaf)[0])
        return groups


def called(path: Sequence[str]) -> str:
    """What a layer is called: its path, without the collection in which Linen has it."""
    parts = path[1:] if len(path) > 1 and path[0] == "params" else path
    return "/".join(parts) or "(model)"
