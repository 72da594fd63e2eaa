"""Which hyperparameters mattered: fANOVA and PED-ANOVA by Optuna's evaluators, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.checks import one_of
from hyperjax.statistics import Interval, t_quantile
from hyperjax.studies.groups import grouped
from hyperjax.studies.ranges import Range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from hyperjax.studies.study import Study

MOST = {"fanova": 256, "ped_anova": 2000}  # trials that a method looks at; fANOVA's time grows with their square
LEAST = 8  # trials with a score
HALVES = 8
TREES = 16


@dataclass(frozen=True)
class Importance:
    """How much each hyperparameter mattered for the scores of the trials that did not diverge.

    Attributes:
        method: "fanova" or "ped_anova"; metric: what was measured.
        shares: name -> share with its 95 % interval, largest first; NaN where it cannot be known.
        trials: how many were looked at.
        note: why nothing can be known; empty where something is.
    """

    method: str
    metric: str
    shares: Mapping[str, Interval]
    trials: int
    note: str = ""


def importance(study: "Study", method: str, seed: int) -> Importance:
    """Importance of every searched name; see `Study.importance`."""
    one_of("method", method, MOST)
    counted = [trial for trial in study.trials if math.isfinite(trial.score)]
    scores = np.array([trial.score for trial in counted], np.float64)
    unknown = {name: Interval(math.nan, math.nan, math.nan) for name in study.space}
    nothing = Importance(method, study.metric, unknown, len(counted))
    if len(counted) < LEAST:
        gone = len(study.trials) - len(counted)
        rest = f", and {gone} without one" if gone else ""
        return replace(nothing, note=f"It takes {LEAST} trials with a score: there are {len(counted)}{rest}.")
    if float(np.ptp(scores)) <= 1e-12 * max(1.0, float(np.abs(scores).max())):
        return replace(nothing, note="All scores are equal, so nothing made a difference.")
    rng = np.random.default_rng(seed)
    columns = {name: _column([t.values for t in counted], name, study.ranges.get(name), rng) for name in study.space}
    varied = {name: column for name, column in columns.items() if len(column) and np.ptp(column) > 0}
    if not varied:
        return replace(nothing, note="Nothing was searched that varies among the trials with a score.")
    kept = np.sort(rng.permutation(len(counted))[: MOST[method]])
    choices = frozenset(varied) - frozenset(study.ranges)

    def shares(members: np.ndarray) -> np.ndarray:
        rows = {name: column[members] for name, column in varied.items()}
        return _shares(rows, choices, scores[members], method, study.direction, seed)

    whole = shares(kept)
    halves = np.array([shares(np.sort(rng.permutation(kept)[: len(kept) // 2])) for _ in range(HALVES)])
    half_widths = t_quantile(HALVES - 1) * halves.std(axis=0, ddof=1)
    found = {
        name: Interval(mean, max(0.0, mean - half), min(1.0, mean + half))
        for name, mean, half in zip(varied, whole.tolist(), half_widths.tolist(), strict=True)
    }
    ordered = dict(sorted(found.items(), key=lambda pair: -pair[1].mean))
    return replace(
        nothing, shares={**ordered, **{n: v for n, v in unknown.items() if n not in ordered}}, trials=len(kept)
    )


def _column(
    trials: Sequence[Mapping[str, Any]], name: str, entry: Range | None, rng: np.random.Generator
) -> np.ndarray:
    """A name's values as places in [0, 1], each as likely as it was to be drawn; empty where no trial has it."""
    missing = np.array([name not in values for values in trials])
    there = [values[name] for values in trials if name in values]
    if not there:
        return np.zeros(0)
    if entry is None:
        _, groups = grouped(there, len(there), continuous=False)
        known = np.zeros(len(there))
        for place, group in enumerate(groups):
            known[group.members] = (place + 0.5) / len(groups)
    else:
        wide = replace(entry, low=entry.low - 0.5, high=entry.high + 0.5) if entry.integer else entry
        known = np.clip([wide.share(value) for value in there], 0.0, 1.0)
    column = np.zeros(len(trials))
    column[~missing] = known
    column[missing] = rng.choice(known, missing.sum())
    return column


def _shares(
    rows: Mapping[str, np.ndarray],
    choices: frozenset[str],
    scores: np.ndarray,
    method: str,
    direction: str,
    seed: int,
) -> np.ndarray:
    """f64[names]: what Optuna's evaluator gives."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    from hyperjax.studies.asking import quiet

    # Optuna's fANOVA walks over all combinations of a choice's columns, of which ten choices have a thousand: as places
    # on a line they are as exact, since a tree may cut between any two, and a hundred times as fast.
    listed = choices if method == "ped_anova" else frozenset()
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(sorted(set(row.tolist()))) if name in listed else FloatDistribution(0.0, 1.0)
        for name, row in rows.items()
    }
    with quiet():
        study = optuna.create_study(direction="maximize" if direction == "max" else "minimize")
        for at, score in enumerate(scores.tolist()):
            params = {name: float(row[at]) for name, row in rows.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
        evaluator: Any = optuna.importance.PedAnovaImportanceEvaluator()
        if method == "fanova":
            evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        try:
            found = evaluator.evaluate(study)
        except RuntimeError:  # a half whose scores are all equal
            return np.zeros(len(rows))
    array = np.array([float(found[name]) for name in rows])
    return array if method == "fanova" or not array.sum() else array / array.sum()
