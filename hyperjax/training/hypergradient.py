"""The derivative of a run's validation loss by each number of its recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.lowering import lower_together, stepwise
from hyperjax.training.members import recipe_of, seeds_of
from hyperjax.training.recipe import Recipe
from hyperjax.training.recipe_numbers import Number, filled, numbers_by_name
from hyperjax.training.settings import stacked
from hyperjax.training.trainer import roots_of
from hyperjax.training.unrolled import Ended, Unrolled


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """How a metric at the end of a run moves with each number of the recipe.

    Attributes:
        recipe, seeds: what was trained.
        metric: "validation_loss", unless another was asked for; the loss's own numbers count by what they do to the
            weights, while the loss that judges stays as the recipe has it.
        steps: of the run.
        values: f64[seeds], the metric; NaN where the run diverged.
        diverged_at: for each seed the first step whose loss or gradient was not finite, or None.
        numbers: name -> where the number stands, a length in the unit that it was given in.
        shares: names of those that lie between 0 and 1 and must: a decay, a smoothing.
        by_seed: name -> f64[seeds], the derivative, in the metric's unit by the number's; NaN where the run diverged.
        left_out: name -> why it has no derivative.
        bytes: memory that the program takes beside its arguments, by XLA's analysis; 0 where it has none.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    metric: str
    steps: int
    values: np.ndarray
    diverged_at: tuple[int | None, ...]
    numbers: Mapping[str, float]
    shares: frozenset[str]
    by_seed: Mapping[str, np.ndarray]
    left_out: Mapping[str, str]
    bytes: int
    _plain_bytes: Callable[[], int] = field(repr=False)

    @property
    def value(self) -> float:
        """The metric's mean over the seeds; NaN where one diverged."""
        return float(np.mean(self.values))

    @property
    def gradient(self) -> dict[str, float]:
        """Name -> the derivative, the mean over the seeds; NaN where one diverged."""
        return {name: float(np.mean(slopes)) for name, slopes in self.by_seed.items()}

    @property
    def elasticities(self) -> dict[str, float]:
        """Name -> the derivative by the number's logarithm, largest first: what to change first, and which way.

        To first order a number that is raised by 1 % moves the metric by a hundredth of this. Of a share it is the
        logarithm of its odds, `x / (1 - x)`: a decay of 0.999 has not 1 % to go. Numbers of 0 or below have none.
        """
        scaled = {name: self.reach(name) * slope for name, slope in self.gradient.items() if self.numbers[name] > 0}
        return dict(sorted(scaled.items(), key=lambda item: -abs(np.nan_to_num(item[1]))))

    def reach(self, name: str) -> float:
        """How far a number moves for each unit of its logarithm, or of a share's log odds."""
        value = self.numbers[name]
        return value * (1 - value) if name in self.shares else value

    def interval(self, name: str, confidence: float = 0.95) -> Interval:
        """A derivative's mean with its Student t interval, over the seeds whose runs did not diverge."""
        return mean_interval(self.by_seed[name], confidence)

    @cached_property
    def plain_bytes(self) -> int:
        """What `bytes` is of the same run without derivatives; its program is compiled when this is first asked for."""
        return self._plain_bytes()

    @property
    def answer(self) -> str:
        """Which number matters most, and which way it should go."""
        gone = [(seed, step) for seed, step in zip(self.seeds, self.diverged_at, strict=True) if step is not None]
        if gone:
            return f"The run with seed {gone[0][0]} diverged at step {gone[0][1]}: there is no derivative."
        scaled = self.elasticities
        if not scaled or not all(map(np.isfinite, scaled.values())):
            return "The derivatives are not finite: the run is chaotic, or a number is at the edge of what it may be."
        name, slope = next(iter(scaled.items()))
        way = "falls" if slope < 0 else "rises"
        moved = "with odds" if name in self.shares else "when that is"
        said = (
            f"The {self.metric.replace('_', ' ')} is {self.value:.4g}. It depends most on {name}: {moved} raised by 1 %"
        )
        return f"{said}, it {way} by about {abs(slope) / 100:.2g}."


def hypergradient(
    task: Task,
    recipe: Recipe | None = None,
    *,
    seeds: Sequence[int] = (0,),
    part: str = "validation",
    metric: str = "loss",
) -> Hypergradient:
    """Differentiate the validation loss at the end of a run by each number of its recipe, through every step of it.

        d L(w_T, x) / dx    where    w_{t+1} = step(w_t, x)

    Reverse mode: all derivatives of a run cost some five to ten times what the run does, however many numbers there are
    (`benchmarks/hypergradient.py`). Only the states between segments of about the root of the run's steps are kept;
    within one the steps are taken again, so that memory grows as that root.

    What has a derivative is every number that is one: the rate and the numbers of its schedule, decays, the
    optimizer's, the loss's, the activation's, the model's, clipping. Names are as in `run.in_force`, with their field
    where there are several ("optimizer_arguments.b1"), and of a schedule the argument's ("learning_rate.init_value").
    Counts, choices, rates of random masks, limits and what is off are left out, each with the reason. A warm-up of a
    whole number of steps has a kink: the derivative is that of what follows it.

    It is the derivative of the program that runs: where ReLU has a kink or clipping sets in, a finite difference, which
    averages over the kinks within its step, may differ from it. A run that is long for its rate is chaotic: there the
    derivative says nothing about finite changes, and a single seed's may be as large as it likes.

    Args:
        task: what is learnt; its training data are arrays.
        recipe: how; None is `Recipe()`.
        seeds: at least one; a run each, of which the gradient is the mean.
        part: of the data, that judges: "validation", "test" or "train".
        metric: "loss", or one of the task's metrics that changes smoothly.
    Returns: values and derivatives; a run that diverged has NaN, and `diverged_at` says where.
    Raises: ValueError where recipe and task do not fit; for a metric that no number moves, as accuracy; for a stream of
        batches; for a batch size that grows.
    Source: Maclaurin, Duvenaud & Adams 2015, arXiv:1502.03492, whose exact reversal of momentum is here computing
        again; Franceschi et al. 2017, arXiv:1703.01785, section 3.1.

    >>> from hyperjax.tasks import digits
    >>> slow = Recipe(optimizer="sgd", learning_rate=1e-3, batch_size=256, epochs=1)
    >>> found = hypergradient(digits(), slow)
    >>> found.gradient["learning_rate"] < 0, found.left_out["batch_size"]
    (True, 'a count')
    """
    recipe = stepwise(recipe_of(recipe))
    return Differentiated(task, recipe, part, metric).at(recipe, seeds)


class Differentiated:
    """The compiled derivative of a recipe's runs, and of all recipes that differ from it by numbers alone.

    Args:
        task, recipe, part, metric: as in `hypergradient`; this recipe's loss judges them all.

    Attributes:
        task, recipe: of it, the recipe with its activation's numbers written out.
        numbers, left_out: of the recipe, by name.
    """

    def __init__(self, task: Task, recipe: Recipe, part: str = "validation", metric: str = "loss"):
        require_task(task)
        self.task, self.recipe, self._metric = task, filled(stepwise(recipe_of(recipe))), metric
        self.unrolled = Unrolled(task, self.recipe, part, metric)
        self._yardstick = lower_together([self.recipe], task)[0][0].loss_arguments
        self.numbers, self.left_out = self.named(self.recipe)

    def named(self, recipe: Recipe) -> tuple[dict[str, Number], dict[str, str]]:
        """A recipe's numbers, and why others are none."""
        return numbers_by_name(self.task, recipe, self.unrolled.program)

    def at(self, recipe: Recipe, seeds: Sequence[int]) -> Hypergradient:
        """The derivatives at a recipe."""
        recipe, seeds = filled(recipe), seeds_of(seeds)
        numbers, left_out = self.named(recipe)
        pieces = self._pieces([recipe] * len(seeds), seeds)
        ended, slopes = self.unrolled.slopes(*pieces)
        values, diverged_at = _ended(ended)
        lost = np.isnan(values)
        by_seed = {}
        for name, number in numbers.items():
            each = [
                np.sum(np.asarray(leaf, np.float64) * own, axis=tuple(range(1, leaf.ndim)), where=own != 0)
                for leaf, own in zip(slopes, number.slopes, strict=True)
                if np.any(own)
            ]
            by_seed[name] = np.where(lost, np.nan, np.sum(each, axis=0))
        unmoved = not any(map(np.any, by_seed.values())) and not lost.any()
        if self._metric != "loss" and unmoved:
            raise ValueError(
                f"metric must be one that changes smoothly, as a loss does, got {self._metric!r}, which no number moves"
            )
        return Hypergradient(
            recipe=recipe,
            seeds=tuple(seeds),
            metric=self.unrolled.metric,
            steps=self.unrolled.steps,
            values=values,
            diverged_at=diverged_at,
            numbers={name: number.value for name, number in numbers.items()},
            shares=frozenset(name for name, number in numbers.items() if number.share),
            by_seed=by_seed,
            left_out=left_out,
            bytes=_bytes(self.unrolled.slopes, pieces),
            _plain_bytes=lambda: _bytes(self.unrolled.plain, pieces),
        )

    def values(self, recipes: Sequence[Recipe], seeds: Sequence[int]) -> np.ndarray:
        """f64[recipes, seeds]: the metric that recipes end with; NaN where a run diverged."""
        members = [filled(recipe) for recipe in recipes for _ in seeds]
        pieces = self._pieces(members, list(seeds) * len(recipes))
        found = _ended(self.unrolled.plain(*pieces))[0]
        return found.reshape(len(recipes), len(seeds))

    def _pieces(self, recipes: Sequence[Recipe], seeds: Sequence[int]) -> tuple[Any, ...]:
        settings = [lower_together([recipe], self.task)[0][0] for recipe in recipes]
        return stacked(settings), self._yardstick, roots_of(seeds), self.unrolled.data


def _ended(ended: Ended) -> tuple[np.ndarray, tuple[int | None, ...]]:
    diverged_at = np.asarray(ended.diverged_at)
    values = np.where(diverged_at < 0, np.asarray(ended.value, np.float64), np.nan)
    return values, tuple(None if step < 0 else int(step) for step in diverged_at)


def _bytes(population: Any, pieces: tuple[Any, ...]) -> int:
    """What one member's program needs beside its arguments."""
    alone = tuple(jax.tree.map(lambda leaf: leaf[:1], p) if place in (0, 2) else p for place, p in enumerate(pieces))
    needs = population.compile(*alone).memory_analysis()
    return 0 if needs is None else int(needs.temp_size_in_bytes + needs.output_size_in_bytes)
