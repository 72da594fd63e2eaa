"""A study's winner in its storage: written when it is confirmed, read by whoever looks on."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hyperjax.statistics import Interval
from hyperjax.studies.asking import quiet
from hyperjax.studies.storage import let_go, opened
from hyperjax.studies.study import Trial
from hyperjax.studies.winner import Candidate, Winner
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run
from hyperjax.training.run_json import about

WINNER = "hyperjax:winner"  # the study's attribute


def keep_winner(winner: Winner, trials: int, storage: str | os.PathLike[str], name: str = "hyperjax") -> None:
    """Write a study's winner beside its trials; an older one is replaced.

    Args:
        winner: from `confirm`.
        trials: of the study that it is the best of.
        storage, name: as in `study`, which nobody holds any more.
    Raises: ValueError where the storage cannot be opened or holds no such study.
    """
    found, held = opened(storage, shared=True)
    try:
        with quiet():
            found.set_study_user_attr(found.get_study_id_from_name(name), WINNER, told_of(winner, trials))
    except KeyError:
        raise ValueError(f"name must be that of a study in the storage, got {name!r}") from None
    finally:
        if held is not None:
            held.close()
        let_go(found)


def told_of(winner: Winner, trials: int) -> dict[str, Any]:
    """A winner as JSON holds it, without its models."""
    numbers = {"claimed": winner.claimed, "seeds_needed": winner.seeds_needed}
    intervals = {"validation": winner.validation, "flattery": winner.flattery, "gain": winner.gain}
    return {
        "trials": trials,
        "trial": winner.trial.number,
        "candidates": [[one.trial, *map(_text, (one.claimed, *one.fresh))] for one in winner.candidates],
        "runs": [about(run) for run in winner.runs],
        "default": _json(winner.default),
        "default_runs": [about(run) for run in winner.default_runs],
        "ranking_seeds": list(winner.ranking_seeds),
        "seeds": list(winner.seeds),
        "test": {name: list(map(_text, interval)) for name, interval in winner.test.items()},
        "part": winner.part,
        "wins": winner.wins,
        **{name: _text(number) for name, number in numbers.items()},
        **{name: list(map(_text, interval)) for name, interval in intervals.items()},
    }


def winner_of(
    told: Any,
    trials: Sequence[Trial],
    metric: str,
    direction: str,
    run_of: Callable[[Recipe, Mapping[str, Any]], Run],
) -> Winner | None:
    """The winner that a storage tells of; None where it tells of none, or of one of fewer or other trials.

    Args:
        told: what `told_of` gave.
        trials: of the study now.
        metric, direction: that rank it.
        run_of: makes a run of its recipe and of what `about` told of it.
    """
    if not isinstance(told, dict) or told.get("trials") != len(trials):
        return None
    try:
        trial = next(trial for trial in trials if trial.number == told["trial"])
        default = Recipe.from_json(json.dumps(told["default"]))
        return Winner(
            trial=trial,
            candidates=tuple(
                Candidate(number, float(claimed), _interval(fresh)) for number, claimed, *fresh in told["candidates"]
            ),
            runs=tuple(run_of(trial.recipe, one) for one in told["runs"]),
            default=default,
            default_runs=tuple(run_of(default, one) for one in told["default_runs"]),
            ranking_seeds=tuple(told["ranking_seeds"]),
            seeds=tuple(told["seeds"]),
            metric=metric,
            direction=direction,
            claimed=float(told["claimed"]),
            validation=_interval(told["validation"]),
            test={name: _interval(interval) for name, interval in told["test"].items()},
            flattery=_interval(told["flattery"]),
            part=told["part"],
            gain=_interval(told["gain"]),
            seeds_needed=float(told["seeds_needed"]),
            wins=told["wins"],
        )
    except (KeyError, TypeError, ValueError, StopIteration):  # of a later version
        return None


def _json(recipe: Recipe) -> Any:
    try:
        return json.loads(recipe.to_json())
    except ValueError:  # of a function that only its own program knows, who alone has the winner then
        return repr(recipe)


def _text(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)  # JSON has no NaN


def _interval(told: Sequence[Any]) -> Interval:
    return Interval(*map(float, told))
