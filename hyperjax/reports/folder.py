"""A study's folder: the page, the table and the best recipe."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from hyperjax.reports.files import write_whole
from hyperjax.reports.report import report
from hyperjax.reports.study_page import Running, study_page
from hyperjax.reports.tables import trials_csv
from hyperjax.statistics import Interval
from hyperjax.studies.study import Study, Trial
from hyperjax.studies.winner import Winner

FILES = ("report.html", "trials.csv", "best.json")


def prepare_folder(path: str | os.PathLike[str], overwrite: bool = False, storage: str | None = None) -> Path:
    """Make a folder that can be written and holds no other study, before anything is computed.

    Args:
        path: the folder; made when it does not exist.
        overwrite: allow one that holds a study.
        storage: allow one whose study is kept there, and may go on.
    Raises: ValueError when it cannot be made or written, or holds a study.
    """
    folder = Path(path)
    try:
        held = [name for name in FILES if (folder / name).exists()]
        if not held or overwrite or storage is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise ValueError(
            f"output must be a folder that can be written, got {str(folder)!r}: {error.strerror}"
        ) from None
    if held and not overwrite and not _kept_in(folder, storage):
        raise ValueError(
            f"output must be a folder without a study, got {str(folder)!r}, which holds {', '.join(held)}; "
            "see --overwrite"
        )
    for name in held:
        if (folder / name).is_dir():
            raise ValueError(
                f"output must be a folder where {name} can be written, got {str(folder)!r}, where it is a folder"
            )
    return folder


def _kept_in(folder: Path, storage: str | None) -> bool:
    """Whether the study whose files a folder holds is kept in a storage: in its own journal, or as the files say."""
    if storage is None:
        return False
    from hyperjax.studies.storage import is_url, journal_of, shown  # Optuna, for those who keep something

    if not is_url(storage) and journal_of(storage).parent == folder:
        return journal_of(storage).exists()
    try:
        return bool(json.loads((folder / "best.json").read_text("utf-8"))["conditions"]["storage"] == shown(storage))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def summary(study: Study) -> dict[str, Any]:
    """The best recipe and how it was found, ready for JSON."""
    best = study.best if study.trials else None
    return {
        "task": study.task,
        "trials": len(study.trials),
        "seeds": list(study.seeds),
        "metric": study.metric,
        "direction": study.direction,
        "best": None
        if best is None
        else {
            "trial": best.number,
            "recipe": json.loads(best.recipe.to_json()),
            **_scores(study, best),
            "scores": [_finite(run.score) for run in best.runs],
            "test": {name: _finite(value) for name, value in study.test.items()},
        },
        **(_front(study) if study.further else {}),
        "winner": None if study.winner is None else _winner(study.winner),
        "diverged": sum(trial.diverged > 0 for trial in study.trials),
        "pruned": len(study.pruned),
        "epochs_saved": study.epochs_saved[0],
        "space": dict(study.space),
        "fixed": dict(study.fixed),
        "conditions": dict(study.conditions),
    }


def _scores(study: Study, trial: Trial) -> dict[str, float | None]:
    """Every metric of a trial."""
    return {name: _finite(score) for name, score in zip(study.metrics, study.scores_of(trial), strict=True)}


def _front(study: Study) -> dict[str, Any]:
    """The metrics, and the trials that no other one beats."""
    trials = [
        {"trial": trial.number, **_scores(study, trial), "recipe": json.loads(trial.recipe.to_json())}
        for trial in study.front
    ]
    return {"metrics": dict(zip(study.metrics, study.directions, strict=True)), "front": trials}


def _winner(winner: Winner) -> dict[str, Any]:
    return {
        "verdict": winner.verdict,
        "trial": winner.trial.number,
        "recipe": json.loads(winner.trial.recipe.to_json()),
        "gain": _interval(winner.gain),
        "gain_of": f"{winner.part}_{winner.metric.removeprefix('validation_')}",
        winner.metric: _interval(winner.validation),
        "test": {name: _interval(interval) for name, interval in winner.test.items()},
        "claimed": _finite(winner.claimed),
        "flattery": _interval(winner.flattery),
        "seeds": list(winner.seeds),
        "ranking_seeds": list(winner.ranking_seeds),
        "candidates": [candidate.trial for candidate in winner.candidates],
        "default": json.loads(winner.default.to_json()),
        "wins": winner.wins,
        "seeds_needed": _finite(winner.seeds_needed),
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in interval._asdict().items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN


def write_study(study: Study, folder: Path, running: Running | None = None) -> None:
    """Write report.html, trials.csv and best.json, the small ones first; `running` as in `study_page`."""
    trials_csv(study, folder / "trials.csv")
    write_whole(folder / "best.json", json.dumps(summary(study), indent=2) + "\n")
    report(study_page(study, running, "trials.csv"), folder / "report.html")
