"""The plan of a study: how many programs its space will be compiled to, and why."""

import itertools
import math
from typing import Any, NamedTuple

from hyperjax.studies.ending import budget_of
from hyperjax.studies.ranges import Range
from hyperjax.studies.sharing import in_parts, most_runs, shared_size
from hyperjax.studies.space import Space
from hyperjax.studies.structural import apart
from hyperjax.tasks import Task
from hyperjax.training.lowering import group_key
from hyperjax.training.members import recipe_of
from hyperjax.training.recipe import Recipe

MOST_COUNTED = 4096  # combinations of structure that are looked at one by one


class Plan(NamedTuple):
    """How many programs a study compiles; as text with the hyperparameters that set them apart.

    Attributes:
        programs: their number; infinite where each trial may need its own.
        exact: False when there may be fewer.
        reasons: a hyperparameter with its structures each, as text.
    """

    programs: float
    exact: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        count = f"{'' if self.exact else 'up to '}{self.programs:.0f} program{'' if self.programs == 1 else 's'}"
        said = "a program for each trial" if math.isinf(self.programs) else count
        return f"{said}: {'; '.join(self.reasons)}" if self.reasons else said


def plan(
    space: Space,
    task: Task,
    recipe: Recipe | None = None,
    *,
    trials: int | None = None,
    seeds: int = 1,
    budget: Any = None,
    layout: str = "auto",
) -> Plan:
    """The programs that a study of a space compiles.

    Args:
        space, task, recipe, trials, budget, layout: as in `study`.
        seeds: how many.
    Raises: ValueError for a space that does not fit the task, and for a budget that is none.

    >>> from hyperjax.studies import integer, space
    >>> from hyperjax.tasks import digits
    >>> sizes = space(batch_size=[32, 64, 128], optimizer=["sgd", "adam"])
    >>> print(plan(sizes, digits()))
    1 program
    >>> print(plan(sizes, digits(), trials=20_000))  # for which compiling three, of whole batches, is worth it
    3 programs: batch_size 32, 64, 128
    >>> print(plan(space(batch_size=integer(30, 33)), digits()))
    up to 4 programs: batch_size whole numbers from 30 to 33
    """
    limit = budget_of(budget)
    size = shared_size(task, space, recipe, layout, most_runs(space, trials, seeds, limit), limit)
    return plan_of(space, task, in_parts(recipe, size))


def plan_of(space: Space, task: Task, recipe: Recipe | None) -> Plan:
    """The programs of a space's recipes, whose batches are in parts where `recipe` says so."""
    recipe = recipe_of(recipe)
    first = {name: _options(name, entry)[0] for name, entry in space.entries.items()}
    options = {name: _options(name, entry) for name, entry in space.searched.items()}
    ranges = {
        name: entry for name, entry in space.searched.items() if isinstance(entry, Range) and _counts(name, entry)
    }
    several = {name: listed for name, listed in options.items() if len(listed) > 1 and name not in ranges}
    combinations = math.prod(len(listed) for listed in several.values())
    keys: dict[tuple[int, ...], Any] = {}
    for places in itertools.islice(itertools.product(*map(_places, several.values())), MOST_COUNTED):
        values = first | {name: several[name][at] for name, at in zip(several, places, strict=True)}
        try:
            keys[places] = group_key(space.recipe(values, recipe), task)
        except ValueError:  # as in `Space.room`
            if space.constraints.broken(values) is None:
                raise
    splitting = [
        name
        for at, name in enumerate(several)
        if any(keys.get((*p[:at], 0, *p[at + 1 :]), key) != key for p, key in keys.items())
    ]
    count: float = len(set(keys.values())) if combinations <= MOST_COUNTED else combinations
    count *= math.prod(_counts(name, entry) for name, entry in ranges.items())
    shown = [f"{name} {', '.join(_named(name, v) for v in several[name])}" for name in splitting]
    shown += [f"{name} {entry}" for name, entry in ranges.items()]
    exact = count == 1 or (combinations <= MOST_COUNTED and not ranges and not space.constraints.given)
    return Plan(count, exact, tuple(shown))


def _places(listed: list[Any]) -> range:
    return range(len(listed))


def _options(name: str, entry: Any) -> list[Any]:
    """One value for each structure that a name can give."""
    if isinstance(entry, Range):
        return [entry.low]
    listed = entry if isinstance(entry, list) else [entry]
    return [v for i, v in enumerate(listed) if apart(name, v) not in [apart(name, w) for w in listed[:i]]]


def _counts(name: str, entry: Range) -> float:
    """How many structures a range can give; 0 for one whose numbers share a program."""
    if entry.low == entry.high or apart(name, entry.low) == apart(name, entry.high):
        return 0
    return entry.high - entry.low + 1 if entry.integer else math.inf


def _named(name: str, value: Any) -> str:
    if name == "optimizer" and not callable(value):
        return "by name"
    if name in ("activation", "dropout"):
        return "the model's own" if value is None else "given"
    return str(getattr(value, "__name__", value))
