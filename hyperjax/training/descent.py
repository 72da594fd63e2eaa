"""Improve a recipe by the derivatives of its runs, and say on fresh seeds whether it is better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hyperjax.checks import one_number, positive_integer
from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.training.hypergradient import Differentiated, Hypergradient
from hyperjax.training.in_force import full_name
from hyperjax.training.members import recipe_of, seeds_of
from hyperjax.training.recipe import Recipe

FRESH = 8  # seeds that judge, unless somebody says which
LONGEST = 2.0  # a step: no number moves by more than the factor e^2
NO_LOGARITHM = "not above 0: it has no logarithm to move along"


class Attempt(NamedTuple):
    """One recipe that was tried."""

    recipe: Recipe
    values: np.ndarray  # f64[seeds], the metric; NaN where the run diverged
    length: float  # of the step that led here, in logarithms; 0 of the first
    better: bool  # than all before it, hence where the next step begins

    @property
    def value(self) -> float:
        """The metric's mean over the seeds; NaN where one diverged."""
        return float(np.mean(self.values))


@dataclass(frozen=True, eq=False)
class Descent:
    """A recipe, improved.

    Attributes:
        start, best: the recipe that it began with, and the one with the lowest mean on the seeds.
        metric: "validation_loss", unless another was asked for, judged by the first recipe's loss throughout.
        attempts: all recipes that were tried, in order, the first one among them.
        seeds: that the derivatives are means over.
        names: the numbers that were moved; left_out: why others were not.
        fresh_seeds: that judge the two recipes; none of them is among `seeds` unless somebody says so.
        fresh: f64[2, fresh seeds], the metric of `start` and of `best`; NaN where a run diverged.
        improvement: by how much the best is lower, seed by seed, with a 95 % Student t interval, over the seeds on
            which neither diverged; 0 where nothing better was found.
        moves: name -> where the number stood, and where it stands in the best.
    """

    start: Recipe
    best: Recipe
    metric: str
    attempts: tuple[Attempt, ...]
    seeds: tuple[int, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, str]
    fresh_seeds: tuple[int, ...]
    fresh: np.ndarray
    improvement: Interval
    moves: Mapping[str, tuple[float, float]]

    @property
    def answer(self) -> str:
        """What changed, and whether it is better on seeds that had no part in it."""
        if self.best == self.start:
            return f"None of {len(self.attempts) - 1} steps led to a lower {self.metric.replace('_', ' ')}."
        most = sorted(self.moves.items(), key=lambda item: -abs(math.log(item[1][1] / item[1][0])))
        said = ", ".join(f"{name} {old:.3g} to {new:.3g}" for name, (old, new) in most[:3])
        mean, low, high = self.improvement
        shown = "lower" if low > 0 else "higher" if high < 0 else "not shown to be lower"
        lost = int(np.isnan(self.fresh[1]).sum())
        gone = f" {lost} of them diverged with the new recipe." if lost else ""
        measured = f"On {len(self.fresh_seeds)} fresh seeds the {self.metric.replace('_', ' ')} is {shown}"
        interval = f"{mean:.3g} less, 95 % interval {low:.3g} to {high:.3g}"
        return f"Most was changed in {said}. {measured}: {interval}.{gone}"


def descend(
    task: Task,
    recipe: Recipe | None = None,
    steps: int = 10,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    rate: float = 0.5,
    numbers: Sequence[str] | None = None,
    fresh_seeds: Sequence[int] | None = None,
    part: str = "validation",
    metric: str = "loss",
) -> Descent:
    """Walk down the hypergradient from a recipe: all of its numbers at once, in one compiled program.

    A number above 0 moves in its logarithm, one that must lie between 0 and 1 in that of its odds, along the mean
    derivative over the seeds at unit length times `rate` at first. A step that leads to a higher loss, or diverges, is
    not made and the next is shorter; the slope at its end says where between them the lowest point should be, and after
    a good step how far there is to go. A number that would leave its field's range stays where it is.

    A walk along a few hundred validation examples fits itself to them and to its seeds: the improvement is what is
    measured on fresh seeds, on the same examples.

    Args:
        task: what is learnt.
        recipe: where to begin; None is `Recipe()`. Its counts and choices stay.
        steps: how many to try, each as long as a training with all seeds and its derivatives.
        seeds: of the runs whose mean is improved.
        rate: length of the first step, above 0: 0.5 moves a number by at most the factor e^0.5.
        numbers: names of those to move, as `hypergradient` has them; None: all that it can.
        fresh_seeds: that judge at the end; None: the next 8.
        part, metric: as in `hypergradient`; a metric of which less is better.
    Returns: what was tried, the best of it, and what that is worth.
    Raises: ValueError for a recipe that diverges, a name that is no number above 0 with a derivative, a metric of which
        more is better, and what `hypergradient` refuses.
    Source: after Maclaurin, Duvenaud & Adams 2015, arXiv:1502.03492, with steps of backtracked length.

    >>> from hyperjax.tasks import digits
    >>> slow = Recipe(optimizer="sgd", learning_rate=1e-3, batch_size=256, epochs=1)
    >>> descent = descend(digits(), slow, steps=1, seeds=[0], numbers=["learning_rate"], fresh_seeds=[1, 2])
    >>> descent.best.learning_rate > slow.learning_rate, descent.improvement.mean > 0
    (True, True)
    """
    positive_integer("steps", steps)
    one_number("rate", rate, 0.0, open_low=True)
    chosen = seeds_of(seeds)
    judges = seeds_of(range(max(chosen) + 1, max(chosen) + 1 + FRESH) if fresh_seeds is None else fresh_seeds)
    program = Differentiated(task, recipe_of(recipe), part, metric)
    if task.direction_of(metric) == "max":
        raise ValueError(f"metric must be one of which less is better, got {metric!r}")
    wanted = (
        list(program.numbers) if numbers is None else [full_name("numbers", name, program.numbers) for name in numbers]
    )
    left_out = dict(program.left_out)
    left_out |= {name: NO_LOGARITHM for name, number in program.numbers.items() if number.value <= 0}
    names = tuple(name for name in wanted if name not in left_out)
    for name in wanted if numbers is not None else ():
        if name in left_out:
            raise ValueError(f"numbers must be above 0 to move, got {name} of {program.numbers[name].value:g}")
    if not names:
        raise ValueError(f"numbers must hold one that is above 0, got {numbers}: {left_out}")

    here = program.at(program.recipe, chosen)
    if not math.isfinite(here.value):
        raise ValueError(f"recipe must be one that does not diverge; {here.answer} Begin from a lower learning_rate.")
    attempts = [Attempt(program.recipe, here.values, 0.0, True)]
    length = min(rate, LONGEST)
    slope = _slope(here, names)
    for _ in range(steps):
        norm = float(np.linalg.norm(slope))
        if not (math.isfinite(norm) and norm > 0):
            break
        direction = -slope / norm
        there = program.at(_moved(program, here.recipe, names, length * direction), chosen)
        better = there.value < here.value
        attempts.append(Attempt(there.recipe, there.values, length, better))
        ahead = _slope(there, names)
        lowest = _lowest(-norm, float(ahead @ direction), length)
        if better:
            here, slope = there, ahead
            length = min(max(abs(lowest - length), length / 4), 2 * length, LONGEST)
        else:
            length = min(max(lowest, length / 10), length / 2) if math.isfinite(lowest) else length / 4

    fresh = program.values([program.recipe, here.recipe], judges)
    first, last = program.numbers, program.named(here.recipe)[0]
    return Descent(
        start=program.recipe,
        best=here.recipe,
        metric=program.unrolled.metric,
        attempts=tuple(attempts),
        seeds=tuple(chosen),
        names=names,
        left_out=left_out,
        fresh_seeds=tuple(judges),
        fresh=fresh,
        improvement=mean_interval(fresh[0] - fresh[1]),
        moves={name: (first[name].value, last[name].value) for name in names},
    )


def _slope(found: Hypergradient, names: Sequence[str]) -> np.ndarray:
    """f64[names], derivatives by the logarithm of each number, or of a share's odds."""
    scaled = found.elasticities
    return np.array([scaled[name] for name in names])


def _moved(program: Differentiated, recipe: Recipe, names: Sequence[str], move: np.ndarray) -> Recipe:
    """The recipe a step further; a number that would leave its range stays."""
    numbers = program.named(recipe)[0]
    for name, by in zip(names, move.tolist(), strict=True):
        value, share = numbers[name].value, numbers[name].share
        odds = (value / (1 - value) if share else value) * math.exp(by)
        try:
            moved = numbers[name].put(recipe, odds / (1 + odds) if share else odds)
            moved.lower(program.task)
        except ValueError:
            continue
        recipe = moved
    return recipe


def _lowest(begin: float, end: float, length: float) -> float:
    """How far along a step its slope, taken as linear, is 0; infinite where it falls ever steeper, else NaN."""
    if math.isnan(end):
        return math.nan
    return length * begin / (begin - end) if end > begin else math.inf
