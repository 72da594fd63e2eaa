"""What to set instead: for each sign of a fault the fields of a recipe, and by how much."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hyperjax.diagnostics.curves.finding import Times, short
from hyperjax.diagnostics.curves.seen import Seen
from hyperjax.diagnostics.curves.signs import Sign, has_high_rate
from hyperjax.diagnostics.widths import widths_among
from hyperjax.schedules import Schedule
from hyperjax.training.recipe import Recipe

Advice = tuple[str, dict[str, Any]]
_DECAY = 1.0  # above it decoupled decay rules the weights of most networks
_DROPOUT = 0.6


def advise(name: str, seen: Seen, sign: Sign) -> Advice:
    """Words and changes for a finding."""
    return _ADVICE[name](seen, sign)


def _diverged(seen: Seen, sign: Sign) -> Advice:
    rate = seen.curve.rate
    # Not the lowest loss of a batch: weights that have blown up are sure of everything, and right now and then.
    turn = float(seen.train.x[int(np.argmin(seen.train.trend))])
    if rate is not None and len(rate) > 2:
        before = rate[seen.curve.steps <= turn]
        stable, worst = float(before.max()), float(rate.max())
        if len(before) > 2 and worst > 2 * stable > 0:
            words = f"the loss was stable at a learning rate of {stable:.2g} and rose when it was {worst:.2g}: keep "
            return _set_rate(seen, stable, words)
    late = len(seen.raw) > 0 and turn > seen.begin + (seen.end - seen.begin) / 4
    words, changes = _times_rate(seen, 1 / 3 if late else 0.1)
    if late:
        norms = seen.curve.gradient_norms
        clip = "its usual norm" if norms is None else f"{short(float(np.median(norms))):g}"
        words += f", and clip the gradient: clip_norm={clip}"
        if norms is not None and np.median(norms) > 0:
            changes["clip_norm"] = short(float(np.median(norms)))
    return words, changes


def _oscillating(seen: Seen, sign: Sign) -> Advice:
    words, changes = _times_rate(seen, 0.1 if sign.size > 1.5 else 1 / 3)
    return f"{words}; a larger batch_size calms what is left", changes


def _stalled(seen: Seen, sign: Sign) -> Advice:
    recipe = seen.curve.recipe
    if sign.cause == "rate is spent":
        highest = float(seen.curve.rate.max()) if seen.curve.rate is not None else 0.0
        return _set_rate(seen, highest, "the schedule ends too early: keep ")
    if sign.cause == "falls on":
        return _times_rate(seen, 2.0, "the plateau ended by itself; a warm-up or a larger rate leaves it sooner: ")
    if recipe is not None and (lighter := _lighter(recipe)):
        return _spoken(recipe, lighter, "regularization holds it: "), lighter
    leapt = len(seen.raw) > 4 and float(seen.raw[: max(4, len(seen.raw) // 3)].max()) > 1.3 * seen.start
    if leapt or has_high_rate(recipe):
        return _times_rate(seen, 0.1, "the loss leapt at first, or the rate is high for its optimizer: ")
    return _times_rate(seen, 10.0, "nothing moves: look at `hj.diagnostics.signal` for dead or saturated units, and ")


def _too_slow(seen: Seen, sign: Sign) -> Advice:
    return _times_rate(seen, _round(min(max(2.0, sign.size), 30.0)))


def _overfitting(seen: Seen, sign: Sign) -> Advice:
    recipe, turn = seen.curve.recipe, seen.end if sign.at is None else sign.at
    if turn <= 0:  # no epochs are no run
        words, lower = _times_rate(seen, 1 / 3, "it rises from the beginning: ")
        return f"{words}; then weight_decay x 3, dropout + 0.1, or more data", lower
    changes: dict[str, Any] = {"epochs": Times(turn / seen.end)}
    if recipe is not None and seen.curve.unit == "epoch":
        changes = {"epochs": math.ceil(turn) if turn >= 1 else short(turn)}
    patience = max(3, math.ceil(turn / 3)) if turn < 1e6 else 10
    return (
        f"stop there: {_one(recipe, changes, 'epochs')}, or early_stopping={{'patience': {patience}}} to keep the "
        "best weights; then weight_decay x 3, dropout + 0.1, or more data",
        changes,
    )


def _underfitting(seen: Seen, sign: Sign) -> Advice:
    recipe = seen.curve.recipe
    if recipe is None:
        changes: dict[str, Any] = {"dropout": Times(0.25), "weight_decay": Times(0.1)}
        return "less regularization, dropout x 0.25, weight_decay x 0.1; else a model twice as wide", changes
    if lighter := _lighter(recipe):
        return _spoken(recipe, lighter, "less regularization: "), lighter
    widths = {name: recipe.model[name] for name in widths_among(recipe.model)}
    wider = {name: _doubled(value) for name, value in widths.items() if _doubled(value) != value}
    if wider:
        return f"a wider model: model={wider}", {"model": {**recipe.model, **wider}}
    return "a wider model (the recipe's `model`, e.g. twice the widths), or inputs that tell more", {}


def _still_improving(seen: Seen, sign: Sign) -> Advice:
    changes = _scaled(seen.curve.recipe, "epochs", 2.0)
    return f"train longer: {_one(seen.curve.recipe, changes, 'epochs')}; see `epochs_needed`", changes


_ADVICE: dict[str, Callable[[Seen, Sign], Advice]] = {
    "diverged": _diverged,
    "oscillating": _oscillating,
    "stalled": _stalled,
    "underfitting": _underfitting,
    "too_slow": _too_slow,
    "overfitting": _overfitting,
    "still_improving": _still_improving,
}


def _lighter(recipe: Recipe) -> dict[str, Any]:
    """Regularization that is strong, made weak."""
    changes: dict[str, Any] = {}
    if isinstance(recipe.dropout, int | float) and recipe.dropout >= _DROPOUT:
        changes["dropout"] = short(recipe.dropout / 4)
    for name in ("weight_decay", "l2", "l1"):
        value = getattr(recipe, name)
        if isinstance(value, int | float) and value >= (_DECAY if name == "weight_decay" else 0.01):
            changes[name] = short(value / 100)
    return changes


def _doubled(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return 2 * value
    return tuple(map(_doubled, value)) if isinstance(value, list | tuple) else value


def _round(factor: float) -> float:
    """The nearest of 1, 2, 3, 5 times a power of ten.

    >>> _round(6.7), _round(13.0)
    (5.0, 10.0)
    """
    power = 10 ** math.floor(math.log10(factor))
    return float(min((power * digit for digit in (1, 2, 3, 5, 10)), key=lambda near: abs(math.log(near / factor))))


def _scaled(recipe: Recipe | None, name: str, factor: float) -> dict[str, Any]:
    value = None if recipe is None else getattr(recipe, name)
    return {name: short(value * factor) if isinstance(value, int | float) else Times(factor)}


def _times_rate(seen: Seen, factor: float, words: str = "") -> Advice:
    recipe, rate = seen.curve.recipe, seen.curve.rate
    if recipe is not None and isinstance(recipe.learning_rate, Schedule) and rate is not None:
        return _set_rate(
            seen, float(rate.max()) * factor, words or "a rate that stays lower: " if factor < 1 else words
        )
    changes = _scaled(recipe, "learning_rate", factor)
    return words + _one(recipe, changes, "learning_rate", factor), changes


def _set_rate(seen: Seen, rate: float, words: str) -> Advice:
    recipe = seen.curve.recipe
    changes: dict[str, Any] = {"learning_rate": short(rate)}
    if recipe is not None and recipe.schedule != "constant":
        changes |= {"schedule": "constant", "schedule_arguments": {}}
    return f"{words}learning_rate={short(rate):g}, constant", changes


def _one(recipe: Recipe | None, changes: Mapping[str, Any], name: str, factor: float | None = None) -> str:
    change = changes[name]
    if isinstance(change, Times):
        return f"{name} x {change.times:.2g}"
    how = (
        "" if factor is None else f"{'multiply' if factor > 1 else 'divide'} {name} by {max(factor, 1 / factor):.2g}, "
    )
    return f"{how}{name}: {getattr(recipe, name)!r} -> {change!r}"


def _spoken(recipe: Recipe, changes: Mapping[str, Any], words: str) -> str:
    return words + ", ".join(_one(recipe, changes, name) for name in changes)
