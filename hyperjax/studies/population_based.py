"""Population based training: members that fall behind go on from better ones' weights, by recipes that are varied."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.checks import one_number, one_of, positive_integer, whole_number
from hyperjax.studies.constraints import MOST_DRAWS
from hyperjax.studies.ordering import best_first
from hyperjax.studies.ranges import Range
from hyperjax.studies.space import Space
from hyperjax.studies.structural import apart
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.cohort import Cohort, Copy
from hyperjax.training.engine import Engine
from hyperjax.training.lowering import grouped, stepwise
from hyperjax.training.members import recipe_of
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

Numbers = Callable[[str, np.ndarray], np.ndarray]


class Piece(NamedTuple):
    """What a member's weights were trained by, from an epoch on."""

    epoch: int
    member: int  # which one trained them
    values: dict[str, Any]  # the searched hyperparameters
    recipe: Recipe


@dataclass(frozen=True, eq=False)
class Member:
    """One member at the end.

    Attributes:
        number: from 0; seed: of its initial weights, order of examples and masks.
        run: what became of its weights from their beginning on, whoever trained them; its recipe is the last one, and
            `run.in_force(name)` what was in force at each step.
        history: the pieces of that run, first one first.
    """

    number: int
    seed: int
    run: Run
    history: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class PopulationBased:
    """What population based training found.

    Attributes:
        task: the task's name.
        space: name -> what was searched, as text.
        members: by number.
        metric, direction: the ranking metric and whether "max" or "min" is better.
        every: epochs between two rounds of copying.
        conditions: programs, layout, device, seconds, and how many copies were made.
    """

    task: str
    space: Mapping[str, str]
    members: tuple[Member, ...]
    metric: str
    direction: str
    every: int
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ranking(self) -> tuple[Member, ...]:
        """Members from best to worst by their last validation; those that diverged last."""
        return tuple(sorted(self.members, key=lambda member: best_first(member.run.score, self.direction)))

    @property
    def best(self) -> Member:
        """The member with the best last validation."""
        return self.ranking[0]

    def schedule(self, name: str, member: int | None = None) -> np.ndarray:
        """A hyperparameter along the lineage of a member: the schedule that was discovered.

        Args:
            name: one that was searched.
            member: a number; None: the best.
        Returns: [epochs], its value at the beginning of each epoch: numbers as they were in force there (a rate with
            its shape), choices as they were drawn, None where it could not matter.
        Raises: ValueError for another name or number.
        """
        one_of("name", name, self.space)
        if member is not None and not 0 <= member < len(self.members):
            raise ValueError(f"member must be from 0 to {len(self.members) - 1}, got {member!r}")
        chosen = self.best if member is None else self.members[member]
        run, starts = chosen.run, [piece.epoch for piece in chosen.history]
        assert run._task is not None
        steps = stepwise(run.recipe).lower(run._task)[1].boundaries(run.steps_done)[:-1]
        places = np.searchsorted(starts, np.arange(len(steps)), "right") - 1
        drawn = [chosen.history[place].values.get(name) for place in places]
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in drawn):
            return np.array(drawn, object)
        try:
            return run._numbers(name, steps)
        except ValueError:  # a number that is no hyperparameter in force, such as a schedule's argument
            return np.array(drawn)

    def __repr__(self) -> str:
        return f"PopulationBased({len(self.members)} members on {self.task}: {self.metric}={self.best.run.score:.4g})"


def population_based(
    task: Task,
    space: Space,
    members: int = 32,
    every: int = 1,
    quantile: float = 0.25,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    perturb: tuple[float, float] = (0.8, 1.2),
    resample: float = 0.25,
    layout: str = "auto",
    width: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PopulationBased:
    """Train a population whose worst members again and again go on from the best ones' weights, by varied recipes.

    Every `every` epochs, among the members that share a program, each of the worst takes over weights and optimizer
    state of one of the best, and its recipe with every number perturbed within its range, or drawn anew. What decides
    a program (batch size, the model's arguments) stays.

    Args:
        task: what is learnt; it must have a validation set.
        space: what varies, at first at random; the epochs must be the same for all.
        members: at least 2; each has a seed of its own.
        every: epochs between two rounds of copying, at least 1.
        quantile: share of the members that are worst, and that are best; above 0, at most 0.5.
        seed: of all that is drawn; members begin with the seeds `seed`, `seed + 1`, ...
        recipe: what everything outside the space is; None is `Recipe()`.
        perturb: a number is multiplied by one of these.
        resample: how often a number or a choice is drawn anew instead, from 0 to 1.
        layout, width: as in `fit_population`.
        progress: called as `progress(epochs done, epochs)`.
    Returns: the members with their runs and histories, and the schedule that the best one found.
    Raises: ValueError for arguments that do not fit.
    Source: Jaderberg et al. 2017, arXiv:1711.09846, with truncation selection.

    >>> from hyperjax.studies import log_uniform, space
    >>> from hyperjax.tasks import digits
    >>> found = population_based(digits(), space(learning_rate=log_uniform(1e-4, 1e-1), epochs=3), members=4)
    >>> len(found.members), found.schedule("learning_rate").shape, found.conditions["copies"]
    (4, (3,), 2)
    """
    _check(task, space, members, every, quantile, seed, perturb, resample, recipe)
    base = recipe_of(recipe)
    values = [space.sample(np.random.default_rng([seed, number])) for number in range(members)]
    recipes = [space.recipe(drawn, base) for drawn in values]
    room = space.room(values, base)
    begin = time.perf_counter()
    engine = Engine(task, recipes, (seed,), also=room, segment_epochs=every, layout=layout, width=width)
    seeds = list(range(seed, seed + members))
    cohort = Cohort(engine, seeds)
    compiled = time.perf_counter() - begin
    epochs, sign = recipes[0].epochs, 1.0 if task.direction == "max" else -1.0
    searched = space.searched

    def piece(epoch: int, member: int) -> Piece:
        drawn = space.meaningful(values[member], base)
        return Piece(epoch, member, {name: v for name, v in drawn.items() if name in searched}, recipes[member])

    history: list[tuple[Piece, ...]] = [(piece(0, member),) for member in range(members)]
    numbers: list[tuple[tuple[int, Numbers], ...]] = [()] * members
    copied = 0
    for epoch in range(every, math.ceil(epochs), every):
        cohort.advance(epoch)
        if progress is not None:
            progress(epoch, math.ceil(epochs))
        scores = sign * cohort.scores(range(members))[:, :epoch][:, -1]
        rng = np.random.default_rng([seed, members, epoch])
        taken = [pair for group in grouped(recipes, task) for pair in _exploited(scores[group], group, quantile, rng)]
        before = list(values)
        for source, target in taken:
            values[target] = explored(space, before[source], perturb, resample, rng)
        sources = {source: cohort.run(source) for source, _ in taken}
        copies = [Copy(source, target, space.recipe(values[target], base)) for source, target in taken]
        cohort.copy(copies)
        old, older = list(history), list(numbers)
        for source, target, changed in copies:
            recipes[target] = changed
            history[target] = (*old[source], piece(epoch, target))
            numbers[target] = (*older[source], (sources[source].steps_done, sources[source]._numbers))
        copied += len(copies)
    cohort.advance()
    if progress is not None:
        progress(math.ceil(epochs), math.ceil(epochs))
    runs = [replace(run, _numbers=_pieced(numbers[i], run._numbers)) for i, run in enumerate(cohort.runs)]
    return PopulationBased(
        task=task.name,
        space={name: text for name, text in space.described().items() if name in searched},
        members=tuple(Member(i, seeds[i], run, history[i]) for i, run in enumerate(runs)),
        metric=task.ranking,
        direction=task.direction,
        every=every,
        conditions={**engine.conditions(time.perf_counter() - begin - compiled), "copies": copied},
    )


def explored(
    space: Space, values: Mapping[str, Any], perturb: Sequence[float], resample: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Values near others: numbers perturbed within their ranges or drawn anew, choices kept or drawn anew.

    What would need another program stays, and so does everything where no try keeps the constraints.

    >>> from hyperjax.studies import log_uniform, space
    >>> own = space(learning_rate=log_uniform(1e-4, 1.0), batch_size=[32, 64])
    >>> explored(own, {"learning_rate": 0.9, "batch_size": 32}, (1.2, 1.2), 0.0, np.random.default_rng(0))
    {'learning_rate': 1.0, 'batch_size': 32}
    """

    def near(name: str, entry: Any, value: Any) -> Any:
        anew, factor = rng.uniform() < resample, perturb[int(rng.integers(len(perturb)))]
        if isinstance(entry, Range):
            drawn = entry.sample(rng)
            moved = drawn if anew else min(max(value * factor, entry.low), entry.high)
            moved = round(moved) if entry.integer else moved
        else:
            drawn = entry[int(rng.integers(len(entry)))]
            moved = drawn if anew else value
        return moved if apart(name, moved) == apart(name, value) else value

    for _ in range(MOST_DRAWS):
        found = {n: near(n, space.searched[n], v) if n in space.searched else v for n, v in values.items()}
        if space.constraints.broken(found) is None:
            return found
    return dict(values)


def _exploited(
    gains: np.ndarray, members: Sequence[int], quantile: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """(source, target) of each member that goes on from another: the worst, and all that have no score."""
    order = [members[i] for i in np.argsort(-np.where(np.isnan(gains), -np.inf, gains), kind="stable")]
    failed = {member for member, gain in zip(members, gains, strict=True) if math.isnan(gain)}
    count = min(max(round(len(members) * quantile), 1), len(members) // 2)
    best = [member for member in order[:count] if member not in failed]
    worst = sorted({*order[len(order) - count :], *failed}) if best else []
    return [(best[int(rng.integers(len(best)))], target) for target in worst]


def _pieced(pieces: Sequence[tuple[int, Numbers]], last: Numbers) -> Numbers:
    """What was in force: by each piece up to a step, then by the last recipe."""

    def numbers(name: str, steps: np.ndarray) -> np.ndarray:
        found = last(name, steps)
        for until, piece in reversed(pieces):
            try:
                found = np.where(steps < until, piece(name, steps), found)
            except ValueError:  # a number that the recipe of then had not
                found = np.where(steps < until, np.nan, found)
        return found

    return numbers


def _check(
    task: Task,
    space: Space,
    members: Any,
    every: Any,
    quantile: Any,
    seed: Any,
    perturb: Any,
    resample: Any,
    recipe: Recipe | None,
) -> None:
    require_task(task)
    if "validation" not in task.data:
        raise ValueError(f"task must have data['validation'], by which members are ranked, got {task!r}")
    if not isinstance(space, Space):
        raise ValueError(f"space must come from hyperjax.space(...), got {space!r}")
    if "epochs" in space.searched:
        raise ValueError(f"epochs must be the same for all members, got {space.searched['epochs']}")
    if jax.process_count() > 1:
        raise ValueError(f"population based training must run in one process, got a job of {jax.process_count()}")
    if positive_integer("members", members) < 2:
        raise ValueError(f"members must be a whole number of at least 2, got {members}")
    positive_integer("every", every)
    one_number("quantile", quantile, 0.0, 0.5, open_low=True)
    one_number("resample", resample, 0.0, 1.0)
    whole_number("seed", seed, 0)
    if not isinstance(perturb, Sequence) or not perturb:
        raise ValueError(f"perturb must be factors above 0, got {perturb!r}")
    for factor in perturb:
        one_number("perturb", factor, 0.0, open_low=True)
    base = recipe_of(recipe)
    if any(name.partition(".")[0] == "early_stopping" for name in space.entries) or base.early_stopping:
        raise ValueError("early_stopping must be left out, since members that fall behind go on from others")
    space.refuse_unread(base)
