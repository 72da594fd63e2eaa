"""HTML tables of trials: the short one of the best and the full one that sorts and filters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hyperjax.reports.page import escape
from hyperjax.reports.tables import searched_names
from hyperjax.reports.wording import (
    MISSING,
    diverged_step,
    half_width,
    is_number,
    measure,
    metric_text,
    number,
    trial_state,
    value_text,
)
from hyperjax.studies.study import Study, Trial


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it holds numbers, a class for its cells, and (text, number or None) a row."""

    name: str
    numeric: bool
    look: str
    cells: Sequence[tuple[str, float | None]]


def trial_columns(study: Study, trials: Sequence[Trial]) -> list[Column]:
    """Rank, trial, the metrics, ± over seeds, the searched values, and what became of trials that did not finish."""
    rank = {id(trial): place for place, trial in enumerate(study.ranking, 1)}
    columns = [
        Column("rank", True, "", [(str(rank[id(t)]), rank[id(t)]) for t in trials]),
        Column("trial", True, "trial", [(str(t.number), t.number) for t in trials]),
    ]
    columns.append(Column(study.metric, True, "metric", [_measured(t.score, measure(t.score)) for t in trials]))
    if len(study.seeds) > 1:
        halves = [half_width(t.interval) for t in trials]
        columns.append(Column("±", True, "", [_measured(half, number(half, 2)) for half in halves]))
    for name in study.further:
        further = [t.measured(name) for t in trials]
        columns.append(Column(name, True, "", [_measured(value, metric_text(name, value)) for value in further]))
    for name in searched_names(study):
        values = [t.values.get(name) for t in trials]
        numeric = all(value is None or is_number(value) for value in values)
        columns.append(Column(name, numeric, "", [(value_text(v), v if is_number(v) else None) for v in values]))
    states = [trial_state(t) for t in trials]
    if any(state != "finished" for state in states):
        columns.append(Column("state", False, "state", [("" if s == "finished" else s, None) for s in states]))
    if any(diverged_step(t) is not None for t in trials):
        steps = [diverged_step(t) for t in trials]
        columns.append(Column("diverged_at", True, "", [(MISSING if s is None else str(s), s) for s in steps]))
    return columns


def trials_table(study: Study, trials: Sequence[Trial], caption: str, sorts: bool = False) -> str:
    """The table; with `sorts`, headings are buttons and the filter's input and count are found by id."""
    columns = [c for c in trial_columns(study, trials) if sorts or c.name != "diverged_at"]
    heads = "".join(_head(column, sorts, first=i == 0) for i, column in enumerate(columns))
    rows = "".join(
        f"<tr>{''.join(_cell(column, column.cells[i]) for column in columns)}</tr>\n" for i in range(len(trials))
    )
    marks = ' data-sorts data-filter="filter" data-count="count"' if sorts else ""
    return (
        f'<div class="scroll{" tall" if sorts else ""}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{marks}><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A small table of text."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(_plain_cell(cell) for cell in row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _plain_cell(text: str) -> str:
    """Words wrap, a number of one word does not."""
    return f"<td class={'wrap' if len(text) > 12 else 'short'}>{escape(text)}</td>"


def _measured(value: float, text: str) -> tuple[str, float | None]:
    return text, value if math.isfinite(value) else None


def _head(column: Column, sorts: bool, first: bool) -> str:
    align = ' class="n"' if column.numeric else ""
    if not sorts:
        return f'<th scope="col"{align}>{escape(column.name)}</th>'
    order = "ascending" if first else "none"
    kind = "number" if column.numeric else "text"
    return (
        f'<th scope="col"{align} aria-sort="{order}" data-type="{kind}" data-name="{escape(column.name)}">'
        f'<button type="button">{escape(column.name)}</button></th>'
    )


def _cell(column: Column, cell: tuple[str, Any]) -> str:
    text, value = cell
    look = " ".join(part for part in ("n" if column.numeric else "", column.look) if part)
    data = f' data-value="{float(value)!r}"' if column.numeric and value is not None else ""
    shown = escape(text)
    if column.look == "trial":
        shown = (
            f'<button type="button" class="trial" data-trial="{shown}" aria-pressed="false" '
            f'aria-label="Follow trial {shown} in the figures">{shown}</button>'
        )
    return f"<td{f' class={chr(34)}{look}{chr(34)}' if look else ''}{data}>{shown}</td>"
