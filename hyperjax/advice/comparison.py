"""The advised recipe against the default one, on seeds that took no part in finding it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hyperjax.statistics import Interval, mean_interval
from hyperjax.tasks import Task
from hyperjax.training.evaluate import evaluate, mean_loss
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

UNKNOWN = Interval(math.nan, math.nan, math.nan)


class Comparison(NamedTuple):
    """What a candidate gains over a default recipe.

    Attributes:
        against: the default recipe.
        candidate: its opponent.
        score, other: mean of the metric over the seeds, of the candidate and of the default.
        gain: paired by seed, with its 95 % interval, above 0 where the candidate is better; NaN when a run diverged.
        metric: in words of the task; part: the set, "test" or "validation".
        seeds: of the runs.
        diverged: runs of the candidate and of the default.
    """

    against: Recipe
    candidate: Recipe
    score: Interval
    other: Interval
    gain: Interval
    metric: str
    part: str
    seeds: tuple[int, ...]
    diverged: tuple[int, int]

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the interval of the gain leaves out 0, else "not shown".

        Where runs diverged there is no gain: whoever diverged more often by three runs or more is worse.
        """
        own, other = self.diverged
        if own or other:
            return "worse" if own - other >= 3 else "better" if other - own >= 3 else "not shown"
        return "better" if self.gain.low > 0 else "worse" if self.gain.high < 0 else "not shown"


def compare(task: Task, own: Sequence[Run], others: Sequence[Run]) -> Comparison:
    """Hold runs of a candidate against as many of a default with the same seeds, on the test set if there is one.

    The loss is measured there as the task has it, whatever numbers of its own a recipe gave it.
    """
    name = task.ranking.removeprefix("validation_")
    part = "test" if "test" in task.data else "validation"
    scores, rival = (np.array([_score(task, run, part, name) for run in runs]) for runs in (own, others))
    gains = (1.0 if task.direction == "max" else -1.0) * (scores - rival)
    return Comparison(
        against=others[0].recipe,
        candidate=own[0].recipe,
        score=mean_interval(scores),
        other=mean_interval(rival),
        gain=mean_interval(gains) if np.isfinite(gains).all() else UNKNOWN,
        metric=name,
        part=part,
        seeds=tuple(run.seed for run in own),
        diverged=(sum(run.diverged for run in own), sum(run.diverged for run in others)),
    )


def _score(task: Task, run: Run, part: str, name: str) -> float:
    if part == "validation" or run.diverged:
        return run.score
    return mean_loss(task, run.model, part) if name == "loss" else evaluate(task, run.model, part)[name]
