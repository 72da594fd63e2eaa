"""A study's trials as a table in the terminal and as a CSV file."""

import csv
import io
import math
import os
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
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
    metric_text,
    number,
    spoken,
    trial_state,
    value_text,
)
from hyperjax.schedules import Length
from hyperjax.studies.study import Study, Trial


def searched_names(study: Study) -> list[str]:
    """The searched hyperparameters, in the order of the space."""
    names = dict.fromkeys(study.space)
    return list(names | dict.fromkeys(name for trial in study.trials for name in trial.values))


def study_table(study: Study, rows: int = 10) -> "StudyTable":
    """The best trials for the terminal, best first: number, metric (with ± of 95 % for several seeds), searched values.

    Args:
        study: any study, an interrupted one included.
        rows: how many trials at most, at least 1.
    Returns: a table for `rich.print`, which takes the shape that its console has room for.
    Raises: ValueError when `rows` is not a whole number of at least 1.
    """
    return StudyTable(study, positive_integer("rows", rows))


class StudyTable:
    """A study's best trials, drawn by rich: a column a hyperparameter where all fit, else all in one column of text."""

    def __init__(self, study: Study, rows: int):
        self.study, self.rows = study, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._with_columns()
        needed = console.measure(table, options=options.update(max_width=10_000)).maximum
        yield table if needed <= options.max_width else self._with_text(console, options.max_width)

    @property
    def _ranking(self) -> tuple[Trial, ...]:
        return self.study.ranking[: self.rows]

    def _outcomes(self) -> Table:
        """Number and metric alone; what was searched comes to their right."""
        study, shown = self.study, self._ranking
        title = f"{study.task}: best {len(shown)} of {len(study.trials)} by {study.metric} ({study.direction})"
        table = Table(title=_plain(title), title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
        table.padding = (0, 1, 0, 0)
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column(_heading(study.metric), justify="right", style="bold", no_wrap=True)
        if len(study.seeds) > 1:
            table.add_column("± 95 %", justify="right", no_wrap=True)
        for name in study.further:
            table.add_column(_heading(name), justify="right", no_wrap=True)
        return table

    def _outcome(self, trial: Trial) -> list[str]:
        spread = [number(half_width(trial.interval), 2)] if len(self.study.seeds) > 1 else []
        further = [metric_text(name, trial.measured(name)) for name in self.study.further]
        return [str(trial.number), _outcome(trial), *spread, *further]

    def _with_columns(self) -> Table:
        table, names = self._outcomes(), searched_names(self.study)
        for name in names:
            numeric = all(is_number(trial.values[name]) for trial in self._ranking if name in trial.values)
            table.add_column(_heading(name), justify="right" if numeric else "left", no_wrap=True)
        for trial in self._ranking:
            cells = (_plain(value_text(trial.values.get(name), 2)) for name in names)
            table.add_row(*self._outcome(trial), *cells)
        return table

    def _with_text(self, console: Console, width: int) -> Table:
        table = self._outcomes()
        for trial in self._ranking:
            table.add_row(*self._outcome(trial))
        room = max(width - console.measure(table).maximum - 2, 16)  # a space to the left and one to the right
        table = self._outcomes()
        table.add_column("searched", overflow="fold")
        for trial in self._ranking:
            parts = [f"{spoken(name)} {value_text(value, 2)}" for name, value in trial.values.items()]
            table.add_row(*self._outcome(trial), _plain(_filled(parts, room)))
        return table


def _heading(name: str) -> str:
    return _plain("\n".join(spoken(name).split()))


def _filled(parts: list[str], width: int) -> str:
    """Parts in lines of at most `width` letters, cut between parts alone."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def trials_csv(study: Study, path: str | os.PathLike[str]) -> Path:
    """Write every trial as one CSV row, best first; the file appears whole or not at all.

    Columns: rank, trial, the searched values, the metric's mean, with several seeds its 95 % interval, further metrics,
    the score of each seed, the first step that diverged, the state. Unknown and unbounded numbers are `nan`, absent
    values empty.

    Returns: the path written.
    Raises: ValueError when `path` is a folder; OSError when it cannot be written.
    """
    names, several = searched_names(study), len(study.seeds) > 1
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(
        ["rank", "trial", *names, study.metric]
        + (["low", "high"] if several else [])
        + list(study.further)
        + [f"{study.metric}_seed_{seed}" for seed in study.seeds]
        + ["diverged_at", "state"]
    )
    for rank, trial in enumerate(study.ranking, 1):
        mean, low, high = trial.interval
        scores = {run.seed: run.score for run in trial.runs}
        writer.writerow(
            [rank, trial.number, *(_cell(trial.values.get(name)) for name in names), _cell(mean)]
            + ([_cell(low), _cell(high)] if several else [])
            + [_cell(trial.measured(name)) for name in study.further]
            + [_cell(scores.get(seed, math.nan)) for seed in study.seeds]
            + [_cell(diverged_step(trial)), trial_state(trial)]
        )
    return write_whole(path, buffer.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if is_number(value):
        return f"{value:.10g}" if math.isfinite(value) else "nan"
    if isinstance(value, Length):
        return str(value)  # as a recipe has it
    return "" if (text := value_text(value)) == MISSING else text


def _outcome(trial: Trial) -> str:
    if trial.diverged:
        return "diverged"
    ended = "" if trial.finished else " stopped" if trial.pruned_at is None else " pruned"
    return f"{measure(trial.score)}{ended}"


def _plain(text: str) -> str:
    return escape(text)
