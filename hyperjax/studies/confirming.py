"""Train the best trials of a study again on fresh seeds, and measure the winner on others."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hyperjax.checks import positive_integer
from hyperjax.statistics import Interval, count_needed, mean_interval
from hyperjax.studies.ordering import best_first
from hyperjax.studies.study import Study, Trial
from hyperjax.studies.winner import Candidate, Winner
from hyperjax.tasks import Task
from hyperjax.training.engine import Engine
from hyperjax.training.evaluate import evaluate
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

UNKNOWN = Interval(math.nan, math.nan, math.nan)


def confirm(
    study: Study,
    task: Task,
    top: int = 8,
    seeds: int = 10,
    *,
    default: Recipe | None = None,
    layout: str = "auto",
    width: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Train the best trials of a study again on fresh seeds, and say whether the winner beats the default recipe.

    The best of many trials is best by luck too, so its score flatters it. Here the `top` trials are ranked by seeds
    that no trial had, half as many as `seeds`, all as one population. Choosing by those is a choice again, which
    flatters again: over simulated studies of known truth the 95 % interval by the seeds that ranked covers as little
    as 87 %, and errs upwards. So winner and default are measured by `seeds` others, as a second population of the same
    programs, and the interval is plain Student's, which covers 95 to 96 % of them. That is `top * seeds / 2 +
    2 * seeds` runs, fewer than all of them with all seeds would be, and no interval needs to be widened.

    The intervals say what other seeds would give, on the same data: another validation or test set would move the
    scores, and both recipes' much alike.

    Args:
        study: of `task`, from `hyperjax.study`.
        top: how many trials to train again, at most.
        seeds: how many fresh seeds measure the winner, at least 2.
        default: what it is compared with; None: `study.default`, which is the study's `recipe` (`Recipe()`) with the
            fixed values of the space, epochs among them where they are fixed; what was searched is as in `Recipe()`.
        layout, width: as in `fit_population`.
        progress: called as `progress(runs done, runs in all)`, first with 0 when all programs are compiled.
    Returns: the study with its `winner`.
    Raises: ValueError for a study without a score, or a default recipe that does not fit the task.

    >>> from flax import nnx
    >>> from hyperjax.studies import log_uniform, space, study
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(
    ...     lambda rngs: nnx.Linear(1, 1, rngs=rngs),
    ...     {"train": (x, 3 * x), "validation": (x, 3 * x)},
    ...     loss="squared_error",
    ... )
    >>> found = study(task, space(learning_rate=log_uniform(1e-3, 1.0), epochs=3), trials=8)
    >>> winner = confirm(found, task, top=3, seeds=4).winner
    >>> len(winner.candidates), winner.seeds, winner.verdict
    (3, (3, 4, 5, 6), 'better')
    """
    ranked = [trial for trial in study.ranking if math.isfinite(trial.score)][: positive_integer("top", top)]
    if positive_integer("seeds", seeds) < 2:
        raise ValueError(f"seeds must be a whole number of at least 2, got {seeds}")
    if not ranked:
        raise ValueError(f"study must have a trial with a score, got {len(study.trials)} trials and none")
    task = task.ranked_by(study.metric)
    compared = default if default is not None else study.default
    if compared is None:
        raise ValueError("default must be given for a study that knows no default recipe, got None")
    half = (seeds + 1) // 2 if len(ranked) > 1 else 0  # one alone has nobody to be ranked against
    fresh = list(itertools.islice((s for s in itertools.count() if s not in study.seeds), half + seeds))
    recipes = [compared, *(trial.recipe for trial in ranked), *study._room]
    ways: dict[str, Any] = {"layout": layout, "segment_epochs": study._segment_epochs}
    total = len(ranked) * half + 2 * seeds
    training = Training(task, recipes, total, seeds, width or study._width, progress, **ways)
    candidates = [Candidate(trial.number, trial.score, UNKNOWN) for trial in ranked]
    if half:
        again = training.runs([trial.recipe for trial in ranked], fresh[:half])
        means = [_interval([run.score for run in runs]) for runs in again]
        candidates = [one._replace(fresh=mean) for one, mean in zip(candidates, means, strict=True)]
        candidates.sort(key=lambda one: best_first(one.fresh.mean, study.direction))
    trial = next(trial for trial in ranked if trial.number == candidates[0].trial)
    own, others = training.runs([trial.recipe, compared], fresh[half:])
    winner = _judged(task, study, trial, own, others)
    return replace(study, winner=replace(winner, candidates=tuple(candidates), ranking_seeds=tuple(fresh[:half])))


class Training:
    """Populations of the same programs, one after another, and how far they are.

    Args:
        task: what is learnt.
        recipes: all that may come, for which the programs have room.
        total: runs in all.
        together: runs of a recipe that chunks must suit.
        width, progress: as in `confirm`.
        ways: further arguments of each engine: its layout, and the epochs in a segment where programs are there that
            were compiled for so many.
    Raises: ValueError for a recipe that does not fit the task.
    """

    def __init__(
        self,
        task: Task,
        recipes: Sequence[Recipe],
        total: int,
        together: int,
        width: int | None,
        progress: Callable[[int, int], None] | None,
        **ways: Any,
    ):
        self._task, self._ways = task, {"also": recipes, **ways}
        self._done, self._total = 0, total
        self._progress = None if jax.process_index() > 0 else progress  # of a job, the first process alone reports
        if width is None:  # one for all, so that nothing is compiled twice
            width = min(group.trainer.width(together) for group in Engine(task, recipes, **ways).groups)
        self._ways["width"] = width

    def runs(self, recipes: Sequence[Recipe], seeds: Sequence[int]) -> list[tuple[Run, ...]]:
        """Each recipe's runs, one a seed."""
        engine = Engine(self._task, recipes, seeds, **self._ways)
        engine.compile()
        if not self._done:
            self._tell()

        def ended(*_: Any) -> None:
            self._done += 1
            self._tell()

        runs = list(engine.run(on_run=ended))
        return [tuple(runs[at : at + len(seeds)]) for at in range(0, len(runs), len(seeds))]

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._total)


def _judged(task: Task, study: Study, trial: Trial, own: tuple[Run, ...], others: tuple[Run, ...]) -> Winner:
    """What fresh runs of winner and default say, seed by seed."""
    sign = 1.0 if study.direction == "max" else -1.0
    tests: list[dict[str, float]] = []
    rivals: list[dict[str, float]] = []
    if "test" in task.data:
        tests, rivals = ([_tested(task, run) for run in runs] for runs in (own, others))
    names = dict.fromkeys(name for row in tests for name in row)
    name = study.metric.removeprefix("validation_")
    part = "test" if name in names else "validation"
    scores, rival = ([run.score for run in runs] for runs in (own, others))
    if part == "test":
        scores, rival = ([row.get(name, math.nan) for row in rows] for rows in (tests, rivals))
    gains = sign * (np.array(scores) - np.array(rival))
    gain = _interval(gains)
    needed = math.inf if gain.mean <= 0 else count_needed(gain.mean, float(gains.std(ddof=1)))
    validation = _interval([run.score for run in own])
    ends = sorted(sign * (study.best.score - end) for end in validation[1:])
    return Winner(
        trial=trial,
        candidates=(),
        runs=own,
        default=others[0].recipe,
        default_runs=others,
        ranking_seeds=(),
        seeds=tuple(run.seed for run in own),
        metric=study.metric,
        direction=study.direction,
        claimed=study.best.score,
        validation=validation,
        test={key: _interval([row.get(key, math.nan) for row in tests]) for key in names},
        flattery=Interval(sign * (study.best.score - validation.mean), ends[0], ends[1]),
        part=part,
        gain=gain,
        seeds_needed=needed,
        wins=int(np.sum(_lost(sign * np.array(scores)) > _lost(sign * np.array(rival)))),
    )


def _tested(task: Task, run: Run) -> dict[str, float]:
    return {} if run.diverged else evaluate(task, run.model, "test")


def _lost(scores: np.ndarray) -> np.ndarray:
    """Scores of which those that diverged lose."""
    return np.where(np.isnan(scores), -math.inf, scores)


def _interval(scores: Sequence[float] | np.ndarray) -> Interval:
    """As of a trial: NaN when any run diverged."""
    return mean_interval(scores) if np.isfinite(scores).all() else UNKNOWN
