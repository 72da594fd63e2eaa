"""What is wrong with a signal, from the layers' numbers at the beginning and at the end, with the evidence."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hyperjax.diagnostics.layers import Layer, called
from hyperjax.diagnostics.recognizing import BOUNDED

MANY_DEAD = 0.2  # share of a layer's units
MOSTLY_FLAT = 0.5  # share of what a bounded activation reads
FACTOR = 2.0  # of the variance from one layer to the next, on average
FAR = 10.0  # of the variance from the first layer to the last
LARGE_STEP = 0.3  # update to weights; 1e-3 is usual of large models, some 1e-2 of small ones
SMALL_STEP = 1e-6


class Fault(NamedTuple):
    """Something that keeps the signal, or its gradient, from passing."""

    name: str  # "dead units", "saturated", "shrinking", "growing", "large updates", "small updates"
    layer: str  # the worst
    cause: str  # "initial scale", "bias", "activation", "learning rate", ...
    evidence: str
    advice: str


def faults(first: Sequence[Layer], last: Sequence[Layer]) -> tuple[Fault, ...]:
    """The faults at the last of two moments, what was so at the first told apart from what training made.

    They are bounds on counts, shares and variances over all the examples, which have next to no noise.
    """
    found = [*_dead(first, last), *_saturated(first, last), *_variance(first), *_updates(first, last)]
    return tuple(found)


def _dead(first: Sequence[Layer], last: Sequence[Layer]) -> list[Fault]:
    rows = [(now.statistics.dead, now, then) for now, then in zip(last, first, strict=True)]
    rows = [row for row in rows if row[0] >= MANY_DEAD and row[1].function not in BOUNDED]
    if not rows:
        return []
    share, now, then = max(rows, key=lambda row: row[0])
    before, name = then.statistics.dead, now.function or "rectified"
    evidence = (
        f"{share:.0%} of the {name} units behind {called(now.path)} pass nothing on at any example{_beside(rows)}"
    )
    if before >= 0.5 * share:
        cause = "initial weights and biases"
        advice = "draw the biases nearer to 0 and the weights anew, or use leaky_relu or gelu"
        evidence += f", {before:.0%} from the beginning"
    else:
        cause = "learning rate"
        advice = "lower the learning rate, to a third at first, or warm it up; leaky_relu and gelu do not die"
        evidence += f", {before:.0%} at the beginning; training killed the rest"
    return [Fault("dead units", called(now.path), cause, evidence, advice)]


def _saturated(first: Sequence[Layer], last: Sequence[Layer]) -> list[Fault]:
    rows = [(now.statistics.flat, now, then) for now, then in zip(last, first, strict=True) if now.function in BOUNDED]
    rows = [row for row in rows if row[0] >= MOSTLY_FLAT]
    if not rows:
        return []
    share, now, then = max(rows, key=lambda row: row[0])
    before, spread = then.statistics.flat, _root_mean_square(now)
    evidence = (
        f"{share:.0%} of what the {now.function} behind {called(now.path)} reads lies where it is flat (root mean "
        f"square {spread:.3g}){_beside(rows)}"
    )
    if before >= 0.5 * share:
        cause = "initial scale"
        advice = f"draw the weights of {called(now.path)} smaller, by a factor of {_root_mean_square(then):.2g}"
        evidence += f", {before:.0%} from the beginning"
    else:
        cause = "learning rate"
        advice = "lower the learning rate or add weight decay, or use relu or gelu"
        evidence += f", {before:.0%} at the beginning"
    return [Fault("saturated", called(now.path), cause, evidence, advice)]


def _variance(first: Sequence[Layer]) -> list[Fault]:
    """Variance that falls or rises from layer to layer before anything is learnt.

    Of layers with an activation behind them: embeddings, normalizations and outputs have sizes of their own.
    """
    hidden = [layer for layer in first if layer.function is not None and layer.statistics.variance > 0]
    if len(hidden) < 2:
        return []
    start, end = hidden[0].statistics.variance, hidden[-1].statistics.variance
    factor = (end / start) ** (1 / (len(hidden) - 1))
    if max(factor, 1 / factor) < FACTOR or max(end / start, start / end) < FAR:
        return []
    name, better = ("shrinking", "larger") if factor < 1 else ("growing", "smaller")
    evidence = (
        f"at the beginning the variance goes from {start:.3g} at {called(hidden[0].path)} to {end:.3g} at "
        f"{called(hidden[-1].path)}, by a factor of {factor:.2g} a layer"
    )
    advice = (
        f"draw the initial weights {better}, by a factor of {max(factor, 1 / factor) ** 0.5:.2g} (he_normal for relu, "
        "lecun_normal for tanh and selu), or normalize between layers"
    )
    return [Fault(name, called(hidden[-1].path), "initial scale", evidence, advice)]


def _updates(first: Sequence[Layer], last: Sequence[Layer]) -> list[Fault]:
    """Steps too large for the weights that they change, or too small to change them."""
    shares = [(update_share(layer), layer) for layer in last]
    shares = [(share, layer) for share, layer in shares if not math.isnan(share)]
    if not shares:
        return []
    most, layer = max(shares, key=lambda pair: pair[0])
    if most > LARGE_STEP:
        evidence = (
            f"one step changes the weights of {called(layer.path)} by {most:.2g} of their norm (0.001 to 0.05 is usual)"
        )
        factor = f"by a factor of {10 * most / LARGE_STEP:.2g} or so" if math.isfinite(most) else "by far"
        advice = f"lower the learning rate, {factor}"
        return [Fault("large updates", called(layer.path), "learning rate", evidence, advice)]
    if most < SMALL_STEP and any(update_share(layer) < SMALL_STEP for layer in first):
        evidence = f"no step changes a layer by more than {most:.2g} of its norm (0.001 to 0.05 is usual)"
        return [Fault("small updates", called(layer.path), "learning rate", evidence, "raise the learning rate")]
    return []


def update_share(layer: Layer) -> float:
    """Norm of the update as a share of the weights'; NaN where one of the two is not known or there are no weights."""
    return layer.update_norm / layer.weight_norm if layer.weight_norm > 0 else math.nan


def _beside(rows: Sequence[Any]) -> str:
    """That the worst is not alone."""
    others = len(rows) - 1
    return f" (and many of {others} other layer{'s' * (others > 1)})" if others else ""


def _root_mean_square(layer: Layer) -> float:
    return float(np.sqrt(layer.statistics.variance + layer.statistics.mean**2))
