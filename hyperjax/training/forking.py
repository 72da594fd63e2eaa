"""What if: one run, continued from a step under several recipes, with the same batches."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hyperjax.checks import one_of
from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.training.chains import after_segments, chains
from hyperjax.training.devices import of_layout
from hyperjax.training.harvest import to_run
from hyperjax.training.lowering import group_key, lower_together
from hyperjax.training.members import recipes_of, seeds_of
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs
from hyperjax.training.trainer import Trainer, most_in_segment

SEEDS = 5  # continuations of each recipe, unless somebody says otherwise


class Difference(NamedTuple):
    """How far one recipe is from another at the end."""

    first: int  # numbers of the recipes
    second: int
    interval: Interval  # of second - first over the seeds, in the metric's unit; without 0 inside it is shown


@dataclass(frozen=True, eq=False)
class Fork:
    """One run, continued.

    Attributes:
        run: the one that was continued; step: from where.
        recipes: how, each with each of the seeds.
        seeds: of the order of examples and of masks behind the step; the same seed gives every recipe the same.
        runs: recipes slowest, seeds fastest; each begins with what `run` did up to the step.
    """

    run: Run
    step: int
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    runs: Runs

    def final(self, metric: str | None = None) -> np.ndarray:
        """f64[recipes, seeds]: a metric at the last validation, NaN where a run diverged; None: the one that ranks."""
        name = self.run.metric if metric is None else one_of("metric", metric, self.run.metrics)
        values = [float("nan") if run.diverged else float(run.metrics[name][-1]) for run in self.runs]
        return np.reshape(np.array(values), (len(self.recipes), len(self.seeds)))

    def compare(self, metric: str | None = None, confidence: float = 0.95) -> list[Difference]:
        """Each pair of recipes, compared seed by seed, with a Student t interval over the seeds."""
        final = self.final(metric)
        pairs = itertools.combinations(range(len(self.recipes)), 2)
        return [Difference(a, b, mean_interval(final[b] - final[a], confidence)) for a, b in pairs]


def fork(run: Run, step: int, recipes: Sequence[Recipe], seeds: Sequence[int] | None = None) -> Fork:
    """Continue a run from one of its steps under several recipes: "what if I halve the rate here?".

    Weights, the optimizer's state and all that a run remembers are those of the run at that step, bit for bit (to
    rounding where several devices trained it together, since one alone does here); its first part is trained again,
    which takes as long as it took. Behind the step every recipe sees the same batches and masks: those that the run
    itself saw for its own seed, others for the other seeds. What a recipe says of the steps before is not used; its
    schedules count from the run's beginning.

    Args:
        run: as `fit` or `fit_population` gave it.
        step: updates that the run had made, from 2 to `run.steps_done`.
        recipes: of one program with the run's own: batch size, the model's arguments and optimizer factories are its.
        seeds: at least one; None: the run's own and four more.
    Returns: the continued runs, and their differences in pairs with intervals.
    Raises: ValueError for a step that the run has not made, or a recipe that needs another program.

    >>> from hyperjax.tasks import digits
    >>> from hyperjax.training import fit
    >>> run = fit(digits(), Recipe(optimizer="sgd", learning_rate=0.1, epochs=2))
    >>> halved = fork(run, 45, [run.recipe, run.recipe.replace(learning_rate=0.05)], seeds=[0, 1])
    >>> bool((halved.runs[0].losses == run.losses).all()), halved.compare()[0].second
    (True, 1)
    """
    task = run._task
    if task is None:
        raise ValueError("run must come from fit or fit_population, got one that knows no task")
    if not isinstance(step, int | np.integer) or not 2 <= step <= run.steps_done:
        raise ValueError(f"step must be from 2 to the {run.steps_done} steps that the run has made, got {step!r}")
    recipes = recipes_of(recipes)
    _require_one_program(run, recipes, task)
    chosen = tuple(seeds_of(range(run.seed, run.seed + SEEDS) if seeds is None else seeds))
    (own, *others), structure = lower_together([run.recipe, *recipes], task)
    turns = int(structure.turns(own.parts, step))
    longest = max(int(structure.turns(settings.parts, settings.steps)) for settings in (own, *others))
    for recipe, settings in zip(recipes, others, strict=True):
        if int(settings.steps) < step:
            raise ValueError(f"recipes must go on behind step {step}, got {recipe!r} of {int(settings.steps)} steps")
    devices = of_layout(run.layout)
    parts = _parts(turns, most_in_segment(task.stream, structure.batch_size))
    first = {
        steps: Trainer(task, structure, own, longest, run.layout, steps, devices=devices[:1]) for steps in set(parts)
    }
    begun = after_segments([first[steps] for steps in parts], own, run.seed)
    begun = begun._replace(done=all(int(settings.steps) == step for settings in others))
    members = [(recipe, seed) for recipe in range(len(recipes)) for seed in range(len(chosen))]
    trainer = Trainer(task, structure, own, longest, run.layout, devices=devices[: len(members)])
    each, streams = [others[recipe] for recipe, _ in members], [chosen[seed] for _, seed in members]
    found: dict[int, Run] = {}
    for chunk, harvest in chains(trainer, each, streams, trainer.width(len(members)), begun=begun):
        for row, member in enumerate(chunk):
            continued = to_run(trainer, recipes[members[member][0]], streams[member], each[member], harvest, row)
            found[member] = replace(continued, _numbers=_numbers(run, continued, step))
    return Fork(run, step, tuple(recipes), chosen, Runs([found[member] for member in range(len(members))]))


def _parts(steps: int, most: float) -> list[int]:
    """Lengths of segments that make up so many steps, none of them longer than `most`, nor of one step.

    >>> _parts(7, 3), _parts(7, math.inf)
    ([2, 2, 3], [7])
    """
    count = math.ceil(steps / most) or 1
    return [(i + 1) * steps // count - i * steps // count for i in range(count)]


def _require_one_program(run: Run, recipes: Sequence[Recipe], task: Task) -> None:
    if run.recipe.batch_ramp:
        raise ValueError(f"run must have one batch size to be continued, got batch_ramp={run.recipe.batch_ramp}")
    key = group_key(run.recipe, task)
    for recipe in recipes:
        same_batches = recipe.micro_batch_size is None or recipe.batch_size == run.recipe.batch_size
        if group_key(recipe, task) != key or not same_batches:
            raise ValueError(
                "recipes must share a program with the run's (batch size, the model's arguments, an optimizer factory, "
                f"precision and the like are structure): {run.recipe!r}; got {recipe!r}"
            )


def _numbers(run: Run, continued: Run, step: int) -> Callable[[str, np.ndarray], np.ndarray]:
    """What was in force: the first run's numbers up to the step, then the continued one's."""

    def numbers(name: str, steps: np.ndarray) -> np.ndarray:
        return np.where(steps < step, run._numbers(name, steps), continued._numbers(name, steps))

    return numbers
