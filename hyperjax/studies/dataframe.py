"""A study as a table of pandas."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hyperjax.studies.ranges import Range
from hyperjax.training.record import Run

if TYPE_CHECKING:
    from hyperjax.studies.study import Study, Trial


def dataframe(study: "Study") -> Any:
    """A row for each trial and seed; see `Study.dataframe`."""
    if find_spec("pandas") is None:
        raise ValueError("dataframe needs the package pandas, which is not installed: pip install pandas")
    pd = import_module("pandas")  # which ships no types
    places = {trial.number: rank for rank, trial in enumerate(study.ranking, 1)}
    pairs = [(trial, run) for trial in study.trials for run in trial.runs]
    columns: dict[str, Any] = {
        "trial": pd.Series([trial.number for trial, _ in pairs], dtype="int64"),
        "rank": pd.Series([places[trial.number] for trial, _ in pairs], dtype="int64"),
        "seed": pd.Series([run.seed for _, run in pairs], dtype="int64"),
    }
    for name in dict.fromkeys([*study.space, *(name for trial in study.trials for name in trial.values)]):
        columns[name] = pd.Series(**_typed([trial.values for trial, _ in pairs], name, study.ranges.get(name)))
    columns[study.metric] = pd.Series([run.score for _, run in pairs], dtype="float64")
    for name in study.further:
        columns[name] = pd.Series([_measured(trial, run, name) for trial, run in pairs], dtype="float64")
    columns["diverged_at"] = pd.Series([run.diverged_at for _, run in pairs], dtype="Int64")
    columns["finished"] = pd.Series([run.finished for _, run in pairs], dtype="bool")
    return pd.DataFrame(columns)


def _measured(trial: "Trial", run: Run, name: str) -> float:
    """A metric of one run; a cost, which all seeds share, is its trial's."""
    return trial.measured(name) if name in trial.costs else run.score_of(name)


def _typed(rows: list[Mapping[str, Any]], name: str, entry: Range | None) -> dict[str, Any]:
    """A name's values as pandas keeps them, and its word for their type: whole numbers, numbers, or texts."""
    there = [values[name] for values in rows if name in values]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in there):
        return {"data": [_text(values[name]) if name in values else None for values in rows], "dtype": "category"}
    whole = entry.integer if entry is not None else all(isinstance(value, int) for value in there)
    return {"data": [values.get(name) for values in rows], "dtype": "Int64" if there and whole else "float64"}


def _text(value: Any) -> str:
    return str(getattr(value, "__name__", value)) if callable(value) else str(value)
