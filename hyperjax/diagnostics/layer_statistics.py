"""Sums over the examples of a block, from which each layer's statistics follow: one pass, joined on the host."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.diagnostics.interception import Call
from hyperjax.diagnostics.recognizing import CANDIDATES, Site, aligned
from hyperjax.types import Array

SILENT = 1e-3  # share of its steepest slope below which an activation passes as good as nothing on
GRID = np.linspace(-10.0, 10.0, 2001)  # where the steepest slope of an activation is looked for


class Spread(NamedTuple):
    """Mean and squared deviations of an array's entries."""

    count: Any
    mean: Any
    squares: Any  # sum of squared deviations from the mean


class Passed(NamedTuple):
    """What an activation did to a block."""

    spread: Spread  # of its outputs
    zeros: Any  # share of its outputs that are 0
    flat: Any  # share of its inputs at which its slope is flat; NaN where the function is not known
    strongest: Any  # f[units], greatest share of its steepest slope at any example; or greatest output


class Block(NamedTuple):
    """A layer on a block: None for what cannot be seen."""

    wrote: Spread | None
    passed: Passed | None


def block_of(site: Site, calls: Sequence[Call], flat: float) -> Block:
    """A layer's statistics on the examples of a block; for tracing.

    Args:
        site: the layer.
        calls: of the model on these examples.
        flat: share of its steepest slope below which an activation counts as flat.
    """
    written = [jnp.ravel(calls[place].wrote) for place in site.calls]
    return Block(_spread(jnp.concatenate(written)) if written else None, _passed(site, calls, flat))


def _spread(values: Array) -> Spread:
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    mean = jnp.mean(values)
    return Spread(jnp.asarray(values.size, mean.dtype), mean, jnp.sum(jnp.square(values - mean)))


def _passed(site: Site, calls: Sequence[Call], flat: float) -> Passed | None:
    if site.before is None:
        return None
    before = calls[site.before]
    function: Any
    if site.after is None:
        entered, left, function = before.read, before.wrote, before.activation
    else:
        entered, left = before.wrote, calls[site.after].read
        function = CANDIDATES.get(site.function or "")
        left = left if function is None else aligned(entered, left)
    units = tuple(range(left.ndim - 1))
    spread, zeros = _spread(left.ravel()), jnp.mean(left == 0, dtype=jnp.float32)
    if function is None:
        nothing = jnp.full((), jnp.nan, jnp.float32)
        return Passed(spread, zeros, nothing, jnp.max(jnp.abs(left), units))
    steepest = jnp.max(_slope(function, jnp.asarray(GRID, entered.dtype)))
    slope = _slope(function, entered) / steepest
    return Passed(spread, zeros, jnp.mean(slope < flat, dtype=jnp.float32), jnp.max(slope, units))


def _slope(function: Any, x: Array) -> Array:
    return jnp.abs(jax.jvp(function, (x,), (jnp.ones_like(x),))[1])


class Statistics(NamedTuple):
    """A layer on all examples, NaN where it cannot be seen."""

    mean: float
    variance: float  # of what it wrote
    activation_mean: float
    activation_variance: float
    zeros: float
    flat: float
    dead: float  # share of the units that pass nothing on at any example


def joined(blocks: Sequence[Block], sizes: Sequence[int], known: bool) -> Statistics:
    """A layer's statistics over blocks of so many examples.

    Args:
        blocks: of the layer, on the host.
        sizes: examples of each.
        known: whether the function of the activation is known, or only what it puts out.
    """
    wrote = _joined_spread([block.wrote for block in blocks if block.wrote is not None])
    passed = [block.passed for block in blocks if block.passed is not None]
    if not passed:
        return Statistics(*wrote, *[float("nan")] * 5)
    share = np.array(sizes) / np.sum(sizes)
    strongest = np.max([np.asarray(each.strongest) for each in passed], 0)
    return Statistics(
        *wrote,
        *_joined_spread([each.spread for each in passed]),
        float(share @ np.array([float(each.zeros) for each in passed])),
        float(share @ np.array([float(each.flat) for each in passed])),
        float(np.mean(strongest < SILENT if known else strongest == 0)),
    )


def _joined_spread(parts: Sequence[Spread]) -> tuple[float, float]:
    """Mean and variance of everything that some arrays hold."""
    if not parts:
        return float("nan"), float("nan")
    count, mean, squares = (np.array([float(each[i]) for each in parts]) for i in range(3))
    whole = count.sum()
    centre = float(count @ mean / whole)
    return centre, float((squares.sum() + count @ np.square(mean - centre)) / whole)
