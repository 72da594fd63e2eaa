"""The result of a study: trials, their ranking, and what each hyperparameter did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.statistics import Interval, MedianInterval, mean_interval, median_interval
from hyperjax.studies.comparing import Comparison, compare
from hyperjax.studies.dataframe import dataframe
from hyperjax.studies.front import Front, front
from hyperjax.studies.groups import grouped
from hyperjax.studies.importance import Importance, importance
from hyperjax.studies.isolating import Isolation, isolate
from hyperjax.studies.joint import JointEffect, joint_effect
from hyperjax.studies.ordering import best_first
from hyperjax.studies.ranges import Range
from hyperjax.studies.roles import roles
from hyperjax.studies.winner import Winner
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

EDGE = 0.05  # share of a range
IN_A_BIN, MOST_BINS = 8, 8  # trials; fewer than six have no interval


@dataclass(frozen=True, eq=False)
class Trial:
    """One recipe of a study with its runs, one a seed.

    Attributes:
        number: from 0, in the order of sampling.
        values: the searched hyperparameters alone, name -> number or choice.
        recipe: the whole recipe.
        runs: one a seed.
        pruned_at: the epoch at which a pruner ended it, else None.
        revived_at: the epoch at which a pruner had ended it, before it was trained on.
        costs: what a study measures beside what its runs record: "parameters", "trained_epochs", "flops".
    """

    number: int
    values: Mapping[str, Any]
    recipe: Recipe
    runs: tuple[Run, ...]
    pruned_at: int | None = None
    revived_at: int | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(run.diverged for run in self.runs)

    @property
    def finished(self) -> bool:
        """False when a run was stopped from outside before its end, by a pruner or a person."""
        return all(run.finished for run in self.runs)

    @cached_property
    def interval(self) -> Interval:
        """Mean of the ranking metric over the seeds with its 95 % interval; NaN when any run diverged."""
        scores = [run.score for run in self.runs]
        return mean_interval(scores) if all(map(math.isfinite, scores)) else Interval(math.nan, math.nan, math.nan)

    @property
    def score(self) -> float:
        """Mean of the ranking metric over the seeds; NaN when any run diverged."""
        return self.interval.mean

    def measured(self, name: str) -> float:
        """Mean over the seeds of a metric that they record, or a cost; NaN when any run diverged."""
        if name in self.costs:
            return math.nan if self.diverged else self.costs[name]
        scores = [run.score_of(name) for run in self.runs]
        return float(np.mean(scores)) if all(map(math.isfinite, scores)) else math.nan


class EffectPoint(NamedTuple):
    """One bin or choice of a hyperparameter: where it lies, how many trials, their scores' mean and median."""

    label: str
    low: float
    high: float
    trials: int
    mean: float
    interval: MedianInterval


@dataclass(frozen=True)
class Effect:
    """The metric over one hyperparameter, the others varying as sampled.

    Attributes:
        name: the hyperparameter; metric, direction: what was measured.
        kind: "number" (bins of equal counts) or "choice".
        log: True when a number was searched on a logarithmic scale.
        points: one a bin or choice.
        values, scores: every trial that counted, for a scatter plot.
    """

    name: str
    metric: str
    direction: str
    kind: str
    log: bool
    points: tuple[EffectPoint, ...]
    values: tuple[Any, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """Trials of a search over a space, ranked.

    Attributes:
        task: the task's name.
        space: name -> what was searched, as text.
        trials: in the order of sampling.
        metric, direction: the ranking metric and whether "max" or "min" is better.
        seeds: the seeds that every recipe was trained with.
        logs: names searched on a logarithmic scale.
        continuous: names searched over a range of real numbers.
        ranges: name -> the range that it was searched over, where it was one.
        wider: name of `edges` -> the range to search next, as `Space.widened` has it; the same where its field allows
            no more.
        fixed: name -> the one value that the space gave it, as text.
        scientific: the searched names whose values are compared; see `roles`.
        test: metrics of the best trial on the test set, empty when the task has none.
        default: the recipe of who searches nothing: the study's `recipe` with the space's fixed values.
        winner: what fresh seeds say of the best trials, from `hyperjax.studies.confirm`.
        further: metrics beside the one that ranks -> "max" or "min"; `front` is by all of them.
        conditions: how it was run: versions, device, cores, layout, seconds in all, compiling and training, programs.
    """

    task: str
    space: Mapping[str, str]
    trials: tuple[Trial, ...]
    metric: str
    direction: str
    seeds: tuple[int, ...]
    logs: frozenset[str] = frozenset()
    continuous: frozenset[str] = frozenset()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    wider: Mapping[str, Range] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    scientific: tuple[str, ...] = ()
    test: Mapping[str, float] = field(default_factory=dict)
    default: Recipe | None = None
    winner: Winner | None = None
    further: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    _room: tuple[Recipe, ...] = field(default=(), repr=False)  # by these the programs that are compiled are found again
    _width: int | None = field(default=None, repr=False)
    _segment_epochs: int | None = field(default=None, repr=False)
    _held: Any = field(repr=False, default=None)

    @cached_property
    def ranking(self) -> tuple[Trial, ...]:
        """Trials from best to worst by validation; behind them those that were pruned, by what they had reached;
        diverged ones last, in the order of sampling."""

        def order(trial: Trial) -> tuple[bool, bool, float]:
            unknown, place = best_first(trial.score, self.direction)
            return unknown, unknown or trial.pruned_at is not None, place

        return tuple(sorted(self.trials, key=order))

    @property
    def best(self) -> Trial:
        """The trial with the best mean validation metric.

        Raises: ValueError for a study without a finished trial.
        """
        if not self.trials:
            raise ValueError("study must have at least one finished trial to have a best one, got none")
        return self.ranking[0]

    @property
    def chosen(self) -> Trial:
        """The winner by fresh seeds where they were asked, else the best trial.

        Raises: ValueError as `best`.
        """
        return self.best if self.winner is None else self.winner.trial

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics, the one that ranks first."""
        return (self.metric, *self.further)

    @property
    def directions(self) -> tuple[str, ...]:
        """ "max" or "min" of each metric."""
        return (self.direction, *self.further.values())

    def scores_of(self, trial: Trial) -> tuple[float, ...]:
        """One value a metric, each the mean over the seeds; NaN when any run diverged."""
        return tuple(trial.measured(name) for name in self.metrics)

    @cached_property
    def front(self) -> Front:
        """The trials that no other one beats by all metrics, best first by the first; see `Front`.

        Those that diverged, that have no score by one of the metrics, or were pruned are no part of it.
        """
        return front(self)

    @property
    def pruned(self) -> tuple[Trial, ...]:
        """The trials that a pruner ended, best first."""
        return tuple(trial for trial in self.ranking if trial.pruned_at is not None and not trial.diverged)

    @property
    def epochs_saved(self) -> tuple[float, float]:
        """Epochs that were not trained since trials were pruned, and those that all trials have in all."""
        runs = [run for trial in self.trials if trial.pruned_at is not None for run in trial.runs]
        saved = sum(run.recipe.epochs - float(run.epochs[-1] if len(run.epochs) else 0) for run in runs)
        return saved, float(sum(run.recipe.epochs for trial in self.trials for run in trial.runs))

    def revive(self, count: int = 4) -> "Study":
        """Train the best of the pruned trials to their end, from where they were: was the verdict too early?

        Args:
            count: how many at most, at least 1.
        Returns: a study in which they are trials as any other, with `revived_at`.
        Raises: ValueError for a study without a pruner, or whose pruned trials have no state left.
        """
        positive_integer("count", count)
        if self._held is None:
            raise ValueError("study must have been searched with a pruner in this process to be revived, got another")
        revived: Study = self._held.revive(self, count)
        return revived

    @property
    def roles(self) -> dict[str, str]:
        """Name -> "scientific" (compared), "nuisance" (tuned for each value of those) or "fixed".

        Source: Godbole et al. 2023, Deep Learning Tuning Playbook.
        """
        return roles(self.space, self.fixed, self.scientific)

    @property
    def edges(self) -> dict[str, str]:
        """The ranges at whose end the chosen trial lies, in the outer 5 %: name -> "low" or "high".

        The best value may then lie outside, so a wider range is worth a search: `space.widened(study.edges)`.
        """
        if not self.trials or math.isnan(self.chosen.score):
            return {}
        shares = {n: r.share(self.chosen.values[n]) for n, r in self.ranges.items() if n in self.chosen.values}
        return {n: "low" if share <= EDGE else "high" for n, share in shares.items() if not EDGE < share < 1 - EDGE}

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row a trial, best first: rank, trial, the searched values, the metric with its interval, further ones,
        divergence."""
        rows = []
        for rank, trial in enumerate(self.ranking, 1):
            mean, low, high = trial.interval
            steps = [run.diverged_at for run in trial.runs if run.diverged_at is not None]
            rows.append(
                {"rank": rank, "trial": trial.number, **trial.values, self.metric: mean}
                | ({"low": low, "high": high} if len(self.seeds) > 1 else {})
                | {name: trial.measured(name) for name in self.further}
                | {"diverged_at": min(steps) if steps else None}
            )
        return rows

    @overload
    def effect(self, name: str, other: None = None, *, bins: int | None = None) -> Effect: ...
    @overload
    def effect(self, name: str, other: str, *, bins: int | None = None) -> JointEffect: ...
    def effect(self, name: str, other: str | None = None, *, bins: int | None = None) -> Effect | JointEffect:
        """How the metric moves with one hyperparameter, or with two, over all trials that did not diverge.

        Args:
            name: a searched hyperparameter; other: another, for a grid of both.
            bins: how many bins of equal counts a number is cut into, at most; None is what leaves eight trials in each,
                or in each cell of a grid if they spread evenly, 2 to 8.
        Returns: for each bin or choice, or pair of them, the median with a 95 % interval over trials, which holds for
            scores however skewed and is unbounded for fewer than six (`hyperjax.statistics.median_interval`).
        Raises: ValueError for a name that was not searched, or bins below 1.
        """
        one_of("name", name, self.space)
        if bins is not None:
            positive_integer("bins", bins)
        if other is not None:
            cells = sum(math.isfinite(trial.score) for trial in self.trials) / IN_A_BIN
            return joint_effect(self, name, other, bins or min(max(int(cells**0.5), 2), MOST_BINS))
        counted = [t for t in self.trials if math.isfinite(t.score) and name in t.values]
        values, scores = [t.values[name] for t in counted], np.array([t.score for t in counted])
        continuous = name in self.continuous
        if bins is None:
            cut = continuous or len(set(map(repr, values))) > MOST_BINS  # else each value has a point of its own
            bins = min(max(len(values) // IN_A_BIN, 2), MOST_BINS) if cut else MOST_BINS
        kind, groups = grouped(values, bins, continuous)
        points = tuple(
            EffectPoint(*g[:3], len(g.members), float(scores[g.members].mean()), median_interval(scores[g.members]))
            for g in groups
        )
        return Effect(name, self.metric, self.direction, kind, name in self.logs, points, tuple(values), tuple(scores))

    def compare(self, a: int, b: int) -> Comparison:
        """Two trials, seed by seed: what a seed does to both recipes cancels in the difference.

        Args:
            a, b: numbers of the trials.
        Returns: the differences b - a with their interval, which trial is shown to be better, how many seeds it takes.
        Raises: ValueError for a number that no trial has.
        """
        return compare(self, a, b)

    def importance(self, method: str = "fanova", seed: int = 0) -> Importance:
        """How much each searched hyperparameter mattered, by Optuna's evaluators, with intervals.

        Trials that diverged have no score and are left out. A hyperparameter that could not matter in a trial
        (momentum beside Adam) is given one that another trial had: a space draws it independently, so this is the space
        itself, in which it matters as often as it did. Numbers are measured along their range, logarithmic or not.

        Args:
            method: "fanova": shares of the scores' variance over the space that each name explains alone, in a forest
                of trees, of at most 256 trials; what is left to 1 is in their interplay. "ped_anova": what sets the
                best tenth of at most 2,000 trials apart, as shares of 1 over the names; it wants 50 or more.
            seed: of the trees and of what is drawn.
        Returns: shares, largest first. The 95 % intervals are Student's over 8 random halves of the trials, whose
            spread is that of the whole (the jackknife that leaves half out). NaN with a `note` where there are fewer
            than 8 trials with a score, or nothing varies.
        Raises: ValueError for another method.
        Source: Hutter et al. 2014, proceedings.mlr.press/v32/hutter14; Watanabe et al. 2023, arXiv:2304.10255.
        """
        return importance(self, method, seed)

    def isolate(self, name: str, draws: int | None = None, bins: int = 4) -> Isolation:
        """The values of one hyperparameter compared, each at its own best setting of all the others.

        The best of more trials is better by luck alone, so every value is given equally many: its number is the
        expected best of `draws` of its trials, chosen at random. A trial that diverged counts as the study's worst.

        Args:
            name: the hyperparameter that is asked about; the others are nuisances, tuned apart for each of its values.
            draws: trials of each value; None is half as many as the rarest value has, since a best of nearly all has no
                interval that holds.
            bins: how many bins of equal counts a number is cut into, at most.
        Returns: for each value its trials, the best one and the expected best with a 95 % interval (see `best_of`).
        Raises: ValueError for a name that was not searched, or numbers below 1.
        Source: the roles are those of Godbole et al. 2023, Deep Learning Tuning Playbook.
        """
        return isolate(self, name, draws, bins)

    def dataframe(self) -> Any:
        """A `pandas.DataFrame` with a row for each trial and seed: a mean makes one a trial of it, as `table` has them.

        Columns: trial, rank and seed (int64), the searched hyperparameters (Int64, float64, or categories of text;
        missing where they could not matter), the metrics (float64), diverged_at (Int64), finished (bool).

        Raises: ValueError where pandas is not installed.
        """
        return dataframe(self)
