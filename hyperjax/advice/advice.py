"""The result of an advice: a recipe, why each of its numbers, and what it gained over the default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

from hyperjax.advice.comparison import Comparison
from hyperjax.advice.evidence import signed
from hyperjax.diagnostics import BatchCost, Diagnostic, NoiseScale, RangeTest, Table
from hyperjax.diagnostics.diagnostic import as_json
from hyperjax.diagnostics.wording import plain
from hyperjax.schedules import Length, Schedule
from hyperjax.statistics import Interval
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run


class Tried(NamedTuple):
    """A candidate of the race."""

    recipe: Recipe
    score: float  # mean of the ranking metric on the validation set; NaN when a run diverged
    seeds: int


@dataclass(frozen=True, eq=False)
class Advice(Diagnostic):
    """A first recipe for a task.

    Attributes:
        task: its name; kind: what it was taken for, in words.
        recipe: the advice.
        prior: what people would start from for this kind of task, the default's batch size and the advice's epochs put
            in; prior_reason: why, with sources.
        default: Adam at 1e-3, batches of 32, constant rate, for as many epochs as `recipe`.
        evidence: for each field, what was measured, with numbers.
        comparison: of `candidate`, the recipe that won the race, with `default`, on seeds that took no part.
        own_length: of the same runs with the default at the number of epochs that is best for it by validation; None
            where that is the advice's number, to a tenth.
        candidate: what was compared; it is `recipe` unless it was shown to be worse, when the default is advised.
        verdict: "better", "not shown" or "worse": of `candidate` against the default.
        metric, direction: the metric that ranks, and whether "max" or "min" is better.
        seconds: by phase; budget: in seconds.
        tried: the candidates, best first.
        noise, cost, range: the diagnostics behind the batch size and the rate; range is None where time was short.
        runs, default_runs: of `candidate` and `default` with the seeds of `comparison`.
        run: the best run of `recipe` by validation; its model is the task's, trained.
    """

    title: ClassVar[str] = "Advice"
    task: str
    kind: str
    recipe: Recipe
    prior: Recipe
    prior_reason: str
    default: Recipe
    evidence: Mapping[str, str]
    comparison: Comparison
    own_length: Comparison | None
    candidate: Recipe
    verdict: str
    metric: str
    direction: str
    seconds: Mapping[str, float]
    budget: float
    tried: tuple[Tried, ...]
    noise: NoiseScale
    cost: BatchCost
    range: RangeTest | None
    runs: tuple[Run, ...] = field(repr=False)
    default_runs: tuple[Run, ...] = field(repr=False)
    run: Run = field(repr=False)

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """What the measurement changed: field -> value of the prior and of the recipe."""
        return {
            f.name: (getattr(self.prior, f.name), getattr(self.recipe, f.name))
            for f in fields(Recipe)
            if getattr(self.prior, f.name) != getattr(self.recipe, f.name)
        }

    @property
    def answer(self) -> str:
        """The recipe, and what it gained."""
        told = f"For {self.task}, taken for {self.kind}: {_spoken(self.recipe)}."
        compared = f"{self._gain(self.comparison)} with {self.default.epochs:g} epochs for both."
        if self.own_length is not None:
            own = self.own_length
            compared += (
                f" Against the default with {own.against.epochs:g} epochs, the best number for it, "
                f"the gain is {_signed(own.gain)}."
            )
        if self.recipe != self.candidate:
            one = "that default, which" if self.own_length is None else "one of the two, so that default"
            compared += f" It gained nothing over {one} is the advice."
        return f"{told} {compared}"

    def _gain(self, compared: Comparison) -> str:
        measured = f"{compared.part} {compared.metric.replace('_', ' ')}"
        beside = f"{measured} {plain(compared.score.mean, 3)} against {plain(compared.other.mean, 3)}"
        said = {"better": "better than", "worse": "worse than", "not shown": "not shown to be better than"}
        return (
            f"Over {len(compared.seeds)} fresh seeds what was found is {said[compared.verdict]} Adam at 1e-3 with "
            f"batches of {compared.against.batch_size} and a constant rate: {beside}, a gain of "
            f"{_signed(compared.gain)},"
        )

    @property
    def table(self) -> Table:
        """Each field with what people start from, what is advised, and why."""
        rows = []
        for f in fields(Recipe):
            before, after = getattr(self.prior, f.name), getattr(self.recipe, f.name)
            if before != after or f.name in self.evidence:
                rows.append((f.name, _text(before), _text(after), self.evidence.get(f.name, "")))
        return Table(("field", "people start from", "advised", "evidence"), tuple(rows))

    def to_json(self) -> dict[str, Any]:
        """As of every diagnostic; recipes as the fields that differ from the defaults."""
        data: dict[str, Any] = {"answer": self.answer}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("runs", "default_runs"):
                data[f.name] = [_told(run) for run in value]
            elif f.name == "run":
                data[f.name] = _told(value)
            elif isinstance(value, Diagnostic):
                data[f.name] = value.to_json()
            else:
                data[f.name] = as_json(_opened(value))
        return data


def _told(run: Run) -> dict[str, Any]:
    return {"seed": run.seed, "score": as_json(run.score)}


def _opened(value: Any) -> Any:
    """Recipes inside as mappings."""
    if isinstance(value, Recipe):
        return {
            name: _text(each) if isinstance(each, Length | Schedule) else each for name, each in value.changed().items()
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _opened(value._asdict()) if not isinstance(value, Interval) else value
    if isinstance(value, Mapping):
        return {name: _opened(each) for name, each in value.items()}
    return (
        [_opened(each) for each in value]
        if isinstance(value, list | tuple) and not isinstance(value, Interval)
        else value
    )


def _spoken(recipe: Recipe) -> str:
    shown = {"optimizer": recipe.optimizer, "learning_rate": recipe.learning_rate, "batch_size": recipe.batch_size}
    shown |= {"epochs": recipe.epochs} | recipe.changed()
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in shown.items())


def _text(value: Any) -> str:
    if isinstance(value, Length):
        return f"{100 * value.value:g} %" if value.unit == "fraction" else f"{value.value:g} {value.unit}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _signed(interval: Interval) -> str:
    if math.isnan(interval.mean):
        return "no number, since a run diverged"
    mean, low, high = map(signed, interval)
    return f"{mean} ({low} to {high})"
