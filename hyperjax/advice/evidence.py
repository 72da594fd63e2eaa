"""Sentences that say where each number of an advised recipe comes from."""

import math
from collections.abc import Mapping
from typing import Any

from hyperjax.advice.measuring import Measured
from hyperjax.advice.race import Entry
from hyperjax.diagnostics.wording import plain
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe


def evidence_for(
    task: Task,
    best: Entry,
    without: Mapping[str, Entry],
    entries: list[Entry],
    measured: Measured,
    prior: Recipe,
    reason: str,
) -> dict[str, str]:
    """A sentence for each field that an advice decides.

    Args:
        task: gives the metric that ranks.
        best: the advised recipe and its runs.
        without: by field, the recipe without it, trained with some of the same seeds.
        entries: all candidates; the first of them is the default recipe, at the longest runs' epochs.
        measured: before the race.
        prior: what people start from; reason: why.
    """
    direction, metric = task.direction, task.ranking.replace("_", " ")
    recipe, longest = best.recipe, entries[0].recipe.epochs
    found = {"optimizer": f"{reason}; {_beside(best, entries, direction, metric)}."}
    said = f"The range test: {measured.range.answer}" if measured.range else "No range test, since time was short."
    found["learning_rate"] = f"{said} Of {len(entries)} candidates that of the best on {metric} is taken."
    found["batch_size"] = f"{measured.cost.answer.split(': ', 1)[-1]} {_by_size(entries, direction)}".strip()
    found["epochs"] = f"{recipe.epochs:g} of at most {longest:g} that the budget allows. {_lengths(entries, direction)}"
    for name, entry in without.items():
        found[name] = " ".join(
            [*([found[name]] if name in found else []), _worth(best, entry, name, direction, metric)]
        )
    for name in dict.fromkeys([*recipe.changed(), *prior.changed()]):
        if name not in found:
            found[name] = _among(name, getattr(recipe, name), entries, metric)
    return found


def _among(name: str, value: Any, entries: list[Entry], metric: str) -> str:
    """What candidates with and without a value came to, with the seed that all had: other fields differ too."""
    seed = next(iter(entries[0].runs))
    first = [(getattr(entry.recipe, name), entry.runs[seed].score) for entry in entries if seed in entry.runs]

    def alike(other: Any) -> bool:
        plain_numbers = all(isinstance(one, int | float) and one for one in (value, other))
        return bool(value == other) or plain_numbers  # of a number it is told whether there is one

    own, others = (
        [score for each, score in first if alike(each) == same and math.isfinite(score)] for same in (True, False)
    )
    if not own or not others:
        return "Not tried alone, since time was short; it is that of the best candidate."
    means = [plain(sum(scores) / len(scores), 4) for scores in (own, others)]
    kind = "with one" if isinstance(value, int | float) and value else "with the same"
    return (
        f"That of the best candidate, not tried alone. Of the race's first round the {len(own)} {kind} have a mean "
        f"{metric} of {means[0]}, the {len(others)} others {means[1]}, the other fields being what they were."
    )


def _worth(best: Entry, other: Entry, name: str, direction: str, metric: str) -> str:
    gain = best.gain(other, direction)
    pairs = len([seed for seed in best.runs if seed in other.runs])
    instead = "at Adam's 0.001" if name == "learning_rate" else "without it"
    if math.isnan(gain.mean):
        return f"A run {instead} diverged, or this one did."
    shown = "shown" if gain.low > 0 else "not shown beyond noise"
    return (
        f"{metric} gains {signed(gain.mean)} ({signed(gain.low)} to {signed(gain.high)}) over the same recipe "
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


def _by_size(entries: list[Entry], direction: str) -> str:
    found = _best_by([(int(entry.recipe.batch_size), entry.score) for entry in entries], direction)
    return found if len({entry.recipe.batch_size for entry in entries}) > 1 else "So no other size was trained with."


def _lengths(entries: list[Entry], direction: str) -> str:
    return _best_by([(entry.recipe.epochs, entry.score) for entry in entries], direction)


def _best_by(scores: list[tuple[float, float]], direction: str) -> str:
    """The best score at each value."""
    best: dict[float, float] = {}
    for value, score in sorted(scores):
        if math.isfinite(score):
            best[value] = (max if direction == "max" else min)(best.get(value, score), score)
    return f"The best candidate with each: {', '.join(f'{v:g}: {plain(score, 4)}' for v, score in best.items())}."


def signed(value: float) -> str:
    """A number with its sign, to two digits."""
    return f"{float(f'{value:.2g}'):+g}"
