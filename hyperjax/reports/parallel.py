"""Parallel coordinates: each trial as a line through an axis of each hyperparameter, to its score."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.reports.curves import Curve, drawn_places, rank_bands, rounded
from hyperjax.reports.style import LIGHT, layout
from hyperjax.reports.tables import searched_names
from hyperjax.reports.wording import is_number, number, spoken, value_text
from hyperjax.studies.study import Study, Trial

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_LINES = 400  # more are a blot
FIRST = 50  # by rank, which are drawn in any case
ABSENT = -0.12  # height of what a trial has no value for
SPREAD = 0.05  # of the lines through one choice, so that many look like many


@dataclass(frozen=True)
class Axis:
    """Where values lie between 0 and 1.

    Attributes:
        name: as text.
        ticks: height and label of each.
        heights: by number of trial; NaN where it has no value.
    """

    name: str
    ticks: Sequence[tuple[float, str]]
    heights: dict[int, float]


def parallel_figure(study: Study, texts: Mapping[int, str]) -> "Figure":
    """Draw trials as lines, coloured by rank as their curves are.

    The axes are the searched hyperparameters in the order of the space, logarithmic where they were searched so, and at
    the right the score, better ones on top.

    Args:
        study: with at least one trial; of more than `MOST_LINES`, the first and others at even distances in rank.
        texts: what is shown over each trial that is drawn, by its number.
    """
    import plotly.graph_objects as go

    axes = [_axis(study, name) for name in searched_names(study)]
    axes.append(_score_axis(study))
    lines = [_line(trial, axes, texts.get(trial.number, "")) for trial in study.ranking]
    drawn = {lines[place].key for place in drawn_places(len(lines), MOST_LINES, FIRST)}
    lacking = [i for i, axis in enumerate(axes) if any(math.isnan(axis.heights[key]) for key in drawn)]
    figure = go.Figure(
        layout=layout(
            xaxis={
                "tickvals": list(range(len(axes))),
                "ticktext": [_heading(axis.name) for axis in axes],
                "range": [-0.4, len(axes) - 0.2],  # the labels are to the right of their axes
                "side": "top",
                "ticklabeloverflow": "allow",
                "showgrid": False,
                "showline": False,
                "fixedrange": True,
            },
            yaxis={"range": [ABSENT - 0.05 if lacking else -0.04, 1.04], "visible": False, "fixedrange": True},
            margin={"l": 12, "r": 24, "t": 48, "b": 12},
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": -0.02, "yanchor": "top", "traceorder": "reversed"},
        )
    )
    for role, name, width, band in reversed(rank_bands(lines, "trial")):
        if members := [line for line in band if line.key in drawn]:
            _add_lines(figure, role, name, width, members)
    _add_axes(figure, axes, lacking)
    return figure


def _axis(study: Study, name: str) -> Axis:
    values = {trial.number: trial.values.get(name) for trial in study.trials}
    known = [value for value in values.values() if value is not None]
    span = study.ranges.get(name)
    if known and all(map(is_number, known)) and (span is not None or len(set(known)) > 12):
        ends = (min(known), max(known)) if span is None else (span.low, span.high)
        return _number_axis(name, values, ends, name in study.logs)
    return _choice_axis(name, values)


def _number_axis(name: str, values: dict[int, Any], ends: tuple[float, float], log: bool) -> Axis:
    log = log and ends[0] > 0
    low, high = map(math.log, ends) if log else ends
    width = (high - low) or 1.0
    heights = {
        trial: math.nan if value is None else ((math.log(value) if log else value) - low) / width
        for trial, value in values.items()
    }
    middle = math.exp((low + high) / 2) if log else (low + high) / 2
    ticks = [(0.0, number(ends[0])), (0.5, number(middle, 2)), (1.0, number(ends[1]))]
    return Axis(name, ticks if high > low else ticks[:1], heights)


def _choice_axis(name: str, values: dict[int, Any]) -> Axis:
    """Choices one above another: numbers in their order, others by name."""
    found = {value_text(value): value for value in values.values() if value is not None}
    if all(map(is_number, found.values())):
        labels = sorted(found, key=lambda label: float(found[label]))
    else:
        labels = sorted(found)
    place = {label: (i + 0.5) / len(labels) for i, label in enumerate(labels)}
    spread = min(SPREAD, 0.5 / max(len(labels), 1))
    heights = {
        trial: math.nan if value is None else place[value_text(value)] + spread * ((0.618034 * trial) % 1 - 0.5)
        for trial, value in values.items()
    }
    return Axis(name, [(place[label], label) for label in labels], heights)


def _score_axis(study: Study) -> Axis:
    """The score, better ones on top; worse ones than thrice as far as the median share the foot."""
    scores = np.array([trial.score for trial in study.ranking if math.isfinite(trial.score)])
    if not len(scores):
        return Axis(study.metric, [], {trial.number: math.nan for trial in study.trials})
    sign = 1.0 if study.direction == "max" else -1.0
    best, middle = float(np.max(sign * scores)), float(np.median(sign * scores))
    low = max(float(np.min(sign * scores)), best - 3 * (best - middle))
    width = (best - low) or 1.0
    heights = {
        trial.number: min(max((sign * trial.score - low) / width, 0.0), 1.0) if math.isfinite(trial.score) else math.nan
        for trial in study.trials
    }
    worse = "" if low <= float(np.min(sign * scores)) else " or worse"
    ticks = [(0.0, f"{number(sign * low)}{worse}"), (0.5, number(sign * (low + best) / 2)), (1.0, number(sign * best))]
    return Axis(study.metric, ticks if best > low else ticks[-1:], heights)


def _line(trial: Trial, axes: Sequence[Axis], text: str) -> Curve:
    heights = np.array([axis.heights[trial.number] for axis in axes])
    heights[np.isnan(heights)] = ABSENT
    gone = 0.0 if trial.diverged else None
    pruned = trial.pruned_at is not None and not trial.diverged
    return Curve(trial.number, text, np.arange(float(len(axes))), heights, heights, heights, gone, pruned)


def _add_lines(figure: "Figure", role: str, name: str, width: float, members: Sequence[Curve]) -> None:
    x: list[Any] = []
    y: list[Any] = []
    keys: list[Any] = []
    texts: list[Any] = []
    for line in reversed(members):  # the better ones over the others
        x += [*rounded(line.x), None]
        y += [*rounded(line.y, 3), None]
        keys += [line.key] * (len(line.x) + 1)
        texts += [line.text] * (len(line.x) + 1)
    figure.add_scatter(
        x=x[:-1],
        y=y[:-1],
        customdata=keys[:-1],
        text=texts[:-1],
        mode="lines",
        name="diverged" if role == "diverged" else html.escape(name, quote=False),
        line={
            "color": LIGHT[role],
            "width": width,
            "dash": "dot" if all(line.pruned for line in members) else "solid",
        },
        hovertemplate="%{text}<extra></extra>",
        meta={"role": role},
    )


def _add_axes(figure: "Figure", axes: Sequence[Axis], lacking: Sequence[int]) -> None:
    """The axes and their labels, over the lines."""
    figure.add_scatter(
        x=[at for place in range(len(axes)) for at in (place, place, None)][:-1],
        y=[height for _ in axes for height in (0, 1, None)][:-1],
        mode="lines",
        line={"color": LIGHT["muted"], "width": 1},
        hoverinfo="skip",
        showlegend=False,
        meta={"role": "muted"},
    )
    labels = [(place, height, text) for place, axis in enumerate(axes) for height, text in axis.ticks]
    labels += [(place, ABSENT, "diverged" if place == len(axes) - 1 else "none") for place in lacking]
    figure.add_scatter(
        x=[place for place, *_ in labels],
        y=rounded([height for _, height, _ in labels]),
        text=[f" {html.escape(_cut(text), quote=False)}" for *_, text in labels],
        mode="text",
        textposition="middle right",
        textfont={"size": 11, "color": LIGHT["ink"]},
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
        meta={"words": "ink"},
    )


def _heading(name: str) -> str:
    """A name in lines of a word or two."""
    lines: list[str] = []
    for word in spoken(name).replace(".", ". ").split():
        if lines and len(lines[-1]) + len(word) < 12:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def _cut(text: str, most: int = 14) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
