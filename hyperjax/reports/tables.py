"""A study's trials as a table in the terminal and as a CSV file."""

import csv
import io
import math
import os
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from hyperjax.checks import positive_integer
from hyperjax.reports.files import write_whole
from hyperjax.reports.wording import (
    MISSING,
    diverged_step,
    half_width,
    is_number,
    measure,
    number,
    spoken,
    trial_state,
    value_text,
)
from hyperjax.studies.study import Study, Trial


def searched_names(study: Study) -> list[str]:
    """The searched hyperparameters, in the order of the space."""
    names = dict.fromkeys(study.space)
    return list(names | dict.fromkeys(name for trial in study.trials for name in trial.values))


def study_table(study: Study, rows: int = 10) -> Table:
    """The best trials for the terminal, best first: number, metric (with ± of 95 % for several seeds), searched values.

    Args:
        study: any study, an interrupted one included.
        rows: how many trials at most, at least 1.
    Returns: a table for `rich.print`.
    Raises: ValueError when `rows` is not a whole number of at least 1.
    """
    ranking = study.ranking[: positive_integer("rows", rows)]
    names, several = searched_names(study), len(study.seeds) > 1
    title = f"{study.task}: best {len(ranking)} of {len(study.trials)} by {study.metric} ({study.direction})"
    table = Table(title=_plain(title), title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
    table.padding = (0, 1, 0, 0)
    table.add_column("trial", justify="right", min_width=5)
    table.add_column(_plain(spoken(study.metric)), justify="right", style="bold", overflow="fold", min_width=8)
    if several:
        table.add_column("± 95 %", justify="right", min_width=6)
    for name in names:
        shown = [value_text(trial.values.get(name), 2) for trial in ranking]
        numeric = all(is_number(trial.values[name]) for trial in ranking if name in trial.values)
        table.add_column(
            _plain(spoken(name)),
            justify="right" if numeric else "left",
            overflow="fold",
            min_width=min(max(map(len, shown), default=1), 7 if numeric else 5),  # narrow: words fold, numbers do not
        )
    for trial in ranking:
        cells = [str(trial.number), _outcome(trial)]
        cells += [number(half_width(trial.interval), 2)] if several else []
        cells += [_plain(value_text(trial.values.get(name), 2)) for name in names]
        table.add_row(*cells)
    return table


def trials_csv(study: Study, path: str | os.PathLike[str]) -> Path:
    """Write every trial as one CSV row, best first; the file appears whole or not at all.

    Columns: rank, trial, the searched values, the metric's mean, with several seeds its 95 % interval, the score of
    each seed, the first step that diverged, the state. Unknown and unbounded numbers are `nan`, absent values empty.

    Returns: the path written.
    Raises: ValueError when `path` is a folder; OSError when it cannot be written.
    """
    names, several = searched_names(study), len(study.seeds) > 1
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(
        ["rank", "trial", *names, study.metric]
        + (["low", "high"] if several else [])
        + [f"{study.metric}_seed_{seed}" for seed in study.seeds]
        + ["diverged_at", "state"]
    )
    for rank, trial in enumerate(study.ranking, 1):
        mean, low, high = trial.interval
        scores = {run.seed: run.score for run in trial.runs}
        writer.writerow(
            [rank, trial.number, *(_cell(trial.values.get(name)) for name in names), _cell(mean)]
            + ([_cell(low), _cell(high)] if several else [])
            + [_cell(scores.get(seed, math.nan)) for seed in study.seeds]
            + [_cell(diverged_step(trial)), trial_state(trial)]
        )
    return write_whole(path, buffer.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if is_number(value):
        return f"{value:.10g}" if math.isfinite(value) else "nan"
    return "" if (text := value_text(value)) == MISSING else text


def _outcome(trial: Trial) -> str:
    if trial.diverged:
        return "diverged"
    return measure(trial.score) if trial.finished else f"{measure(trial.score)} stopped"


def _plain(text: str) -> str:
    return escape(text)
