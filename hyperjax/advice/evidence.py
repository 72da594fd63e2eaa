"""Sentences that say where each number of an advised recipe comes from."""

import math
from collections.abc import Mapping

from hyperjax.advice.measuring import Measured
from hyperjax.advice.race import Entry
from hyperjax.diagnostics.wording import plain
from hyperjax.training.recipe import Recipe


def evidence_for(
    best: Entry,
    without: Mapping[str, Entry],
    entries: list[Entry],
    measured: Measured,
    prior: str,
    direction: str,
    metric: str,
    longest: float,
) -> dict[str, str]:
    """A sentence for each field that an advice decides.

    Args:
        best: the advised recipe and its runs.
        without: by field, the recipe without it, trained with some of the same seeds.
        entries: all candidates.
        measured: before the race; prior: what people do.
        direction, metric: of the task.
        longest: epochs of the longest runs.
    """
    recipe = best.recipe
    found = {"optimizer": f"{prior}; {_beside(best, entries, direction, metric)}"}
    said = [f"The range test: {measured.range.answer}" if measured.range else "No range test, since time was short."]
    found["learning_rate"] = " ".join([*said, f"Of {len(entries)} candidates that of the best on {metric} is taken."])
    found["batch_size"] = f"{measured.cost.answer.split(': ', 1)[-1]} {_by_size(entries, recipe, direction)}".strip()
    found["epochs"] = f"{recipe.epochs:g} of at most {longest:g} that the budget allows. {_lengths(entries, direction)}"
    for name, entry in without.items():
        found[name] = " ".join(
            [*([found[name]] if name in found else []), _worth(best, entry, name, direction, metric)]
        )
    return found


def _worth(best: Entry, other: Entry, name: str, direction: str, metric: str) -> str:
    gain = best.gain(other, direction)
    pairs = len([seed for seed in best.runs if seed in other.runs])
    instead = "at Adam's 0.001" if name == "learning_rate" else "without it"
    if math.isnan(gain.mean):
        return f"A run {instead} diverged, or this one did."
    shown = "shown" if gain.low > 0 else "not shown beyond noise"
    return (
        f"{metric} gains {_signed(gain.mean)} ({_signed(gain.low)} to {_signed(gain.high)}) over the same recipe "
        f"{instead}, {pairs} paired seeds: {shown}."
    )


def _beside(best: Entry, entries: list[Entry], direction: str, metric: str) -> str:
    family = best.recipe.optimizer
    others = [entry for entry in entries if entry.recipe.optimizer != family and math.isfinite(entry.score)]
    if not others or math.isnan(best.score):
        return "no other was tried"
    rival = min(others, key=lambda entry: entry.order(direction))
    return (
        f"the best with {family} has a {metric} of {plain(best.score, 4)}, the best of "
        f"{rival.recipe.optimizer} {plain(rival.score, 4)}"
    )


def _by_size(entries: list[Entry], recipe: Recipe, direction: str) -> str:
    sizes = sorted({int(entry.recipe.batch_size) for entry in entries})
    if len(sizes) == 1:
        return "So no other size was trained with."
    best = {size: _best_of(entries, direction, lambda e, size=size: e.recipe.batch_size == size) for size in sizes}
    return f"The best candidate with each: {', '.join(f'{size}: {plain(score, 4)}' for size, score in best.items())}."


def _lengths(entries: list[Entry], direction: str) -> str:
    lengths = sorted({entry.recipe.epochs for entry in entries})
    best = {e: _best_of(entries, direction, lambda one, e=e: one.recipe.epochs == e) for e in lengths}
    return f"The best candidate with each: {', '.join(f'{e:g}: {plain(score, 4)}' for e, score in best.items())}."


def _best_of(entries: list[Entry], direction: str, wanted) -> float:  # type: ignore[no-untyped-def]
    scores = [entry.score for entry in entries if wanted(entry) and math.isfinite(entry.score)]
    return (max if direction == "max" else min)(scores, default=math.nan)


def _signed(value: float) -> str:
    return f"{float(f'{value:.2g}'):+g}"
