"""A finished trial as one record of Optuna's, and back."""

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hyperjax.studies.distributions import Label
from hyperjax.studies.study import Trial
from hyperjax.training.run_json import about


class Kept(NamedTuple):
    """What a storage holds of a trial."""

    number: int
    score: float  # infinite for what diverged
    pruned_at: int | None  # epoch
    params: dict[str, Label]
    runs: list[dict[str, Any]]  # one a seed, as `about` gives them
    costs: dict[str, float]


def record(
    trial: Trial,
    params: Mapping[str, Label],
    distributions: Mapping[str, BaseDistribution],
    metrics: Mapping[str, str],
    **more: Any,
) -> FrozenTrial:
    """A trial as Optuna keeps it, whole.

    One that diverged is complete and infinitely bad by every metric, as samplers are told here. Optuna's own samplers
    can go on from that, its importance and its figures leave it out, and its dashboard shows it. Failed, it would teach
    them nothing. One that was pruned is so here too, with what it had reached.

    Args:
        trial: with all its runs.
        params, distributions: its values in Optuna's words, and what they came from.
        metrics: name -> "max" or "min", the one that ranks first.
        more: further attributes.
    """
    scores = [trial.score, *(trial.measured(name) for name in list(metrics)[1:])]
    worst = [-math.inf if direction == "max" else math.inf for direction in metrics.values()]
    steps = [run.diverged_at for run in trial.runs if run.diverged_at is not None]
    attributes = {
        "trial": trial.number,
        "recipe": _json(trial),
        "seeds": [int(run.seed) for run in trial.runs],
        "scores": [run.score if math.isfinite(run.score) else None for run in trial.runs],
        "diverged_at": min(steps) if steps else None,
        "pruned_at": trial.pruned_at,
        **({"costs": dict(trial.costs)} if trial.costs else {}),
        **more,
        "runs": [about(run) for run in trial.runs],
    }
    made = create_trial(
        state=TrialState.COMPLETE if trial.pruned_at is None else TrialState.PRUNED,
        values=worst if any(map(math.isnan, scores)) else scores,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=attributes,
        intermediate_values=_by_epoch(trial),
    )
    made.datetime_start = made.datetime_complete = datetime.datetime.now()
    return made


def kept(found: FrozenTrial) -> Kept | None:
    """What a record tells of a trial; None for one that somebody else wrote.

    Nothing is read but JSON: a sampler's own attributes, which may be pickles, are passed over.
    """
    own = found.user_attrs
    if (
        found.state not in (TrialState.COMPLETE, TrialState.PRUNED)
        or not isinstance(own.get("trial"), int)
        or not isinstance(own.get("runs"), list)
    ):
        return None
    score, costs = found.values[0], own.get("costs", {})
    return Kept(own["trial"], score, own.get("pruned_at"), found.params, own["runs"], costs)


def _json(trial: Trial) -> Any:
    try:
        return json.loads(trial.recipe.to_json())
    except ValueError:  # of a function that only its own program knows
        return repr(trial.recipe)


def _by_epoch(trial: Trial) -> dict[int, float]:
    """Mean of the seeds after each validation that all have seen."""
    rows = [run.metrics[run.metric] for run in trial.runs]
    count = min(map(len, rows))
    means = np.mean([np.asarray(row[:count], np.float64) for row in rows], axis=0)
    return {place: float(value) for place, value in enumerate(means, 1) if math.isfinite(value)}
