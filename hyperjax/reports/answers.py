"""Figures of a study's answers: importance, a hyperparameter isolated, and two together."""

import html
import math
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.effects import within
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.winner import error_bars
from hyperjax.reports.wording import number, plural, spoken, value_text
from hyperjax.statistics import Interval
from hyperjax.studies.importance import Importance
from hyperjax.studies.isolating import IsolatedPoint, Isolation
from hyperjax.studies.joint import JointEffect

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def importance_figure(importance: Importance) -> "Figure":
    """A dot with its interval for each hyperparameter, the most important on top."""
    import plotly.graph_objects as go

    known = [(name, share) for name, share in importance.shares.items() if math.isfinite(share.mean)]
    percents = [Interval(*(100 * value for value in share)) for _, share in known]
    title = "% of the variance" if importance.method == "fanova" else "% of what sets the best tenth apart"
    figure = go.Figure(
        layout=layout(xaxis=number_axis(title) | {"rangemode": "tozero"}, yaxis=_listed([n for n, _ in known]))
    )
    figure.add_scatter(
        x=rounded([share.mean for share in percents]),
        y=list(range(len(known))),
        error_x=error_bars(percents, LIGHT["mean"]),
        mode="markers",
        marker={"size": 9, "color": LIGHT["mean"]},
        text=[_within(share, " %") for share in percents],
        hovertemplate="%{text}<extra></extra>",
        meta={"role": "mean"},
    )
    return figure


def isolation_figure(isolation: Isolation) -> "Figure":
    """The expected best of equally many trials of each value, best on top; numbers stay in their order."""
    import plotly.graph_objects as go

    sign = -1.0 if isolation.direction == "max" else 1.0
    points = [point for point in isolation.points if math.isfinite(point.interval.mean)]
    if isolation.kind == "choice":
        points.sort(key=lambda point: sign * point.interval.mean)
    means = [point.interval.mean for point in points]
    log, decades = wide(means) if isolation.direction == "min" else (False, 0.0)
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis(f"{spoken(isolation.metric)}, best of {isolation.draws}", log, decades),
            yaxis=_listed([isolated_label(point) for point in points]),
        )
    )
    figure.add_scatter(
        x=rounded(means),
        y=list(range(len(points))),
        error_x=error_bars([_above(point.interval, log) for point in points], LIGHT["mean"]),
        mode="markers",
        marker={"size": 9, "color": LIGHT["mean"]},
        text=[
            f"<b>{html.escape(isolated_label(point), quote=False)}</b><br>{_within(point.interval)}<br>"
            f"{plural(point.trials, 'trial')}, {point.diverged} diverged, the best is trial {point.best}"
            for point in points
        ],
        hovertemplate="%{text}<extra></extra>",
        meta={"role": "mean"},
    )
    return figure


def isolated_label(point: IsolatedPoint) -> str:
    """What people call a choice or a bin."""
    return point.label if point.value is None else value_text(point.value)


def joint_figure(joint: JointEffect) -> "Figure":
    """A heat map: the median of each cell, better ones stronger, its count as text."""
    import plotly.graph_objects as go

    medians = joint.medians
    logarithmic = joint.direction == "min" and wide(medians.ravel())[0]
    shown = np.log10(medians) if logarithmic else medians
    rows, columns = joint.labels
    hover = [
        [
            f"{html.escape(joint.names[0], quote=False)} {html.escape(row, quote=False)}<br>"
            f"{html.escape(joint.names[1], quote=False)} {html.escape(column, quote=False)}<br>"
            + (
                f"{within(joint.intervals[i][j])}, {plural(joint.trials[i][j], 'trial')}"
                if joint.trials[i][j]
                else "no trial"
            )
            for j, column in enumerate(columns)
        ]
        for i, row in enumerate(rows)
    ]
    axes = [
        {"title": {"text": html.escape(name, quote=False), "standoff": 8}, "showgrid": False}
        | {"tickvals": list(range(len(labels))), "ticktext": [_cut(label, kind) for label in labels]}
        for name, labels, kind in zip(joint.names, joint.labels, joint.kinds, strict=True)
    ]
    figure = go.Figure(layout=layout(xaxis=axes[1], yaxis=axes[0], margin={"l": 48, "r": 12, "t": 32, "b": 40}))
    figure.add_heatmap(
        z=[rounded(row) for row in shown],
        text=hover,
        hovertemplate="%{text}<extra></extra>",
        colorscale=[[0, LIGHT["panel"]], [1, LIGHT["band-1"]]],
        reversescale=joint.direction == "min",
        showscale=False,
        xgap=2,
        ygap=2,
        meta={"scale": ["panel", "band-1"]},
    )
    apart = "<br>" if max(map(max, joint.trials)) > 99 else " "  # a long count has a line of its own
    cells = [(i, j) for i in range(len(rows)) for j in range(len(columns)) if joint.trials[i][j]]
    figure.add_scatter(
        x=[j for _, j in cells],
        y=[i for i, _ in cells],
        mode="text",
        text=[f"{number(medians[i][j], 2)}{apart}({joint.trials[i][j]})" for i, j in cells],
        textfont={"size": 11, "color": LIGHT["ink"]},
        hoverinfo="skip",
        meta={"words": "ink"},
    )
    return figure


def _listed(labels: list[str]) -> dict[str, object]:
    """An axis of names from top to bottom."""
    ticks = {"tickvals": list(range(len(labels))), "ticktext": [_short(label) for label in labels]}
    return {**ticks, "range": [len(labels) - 0.5, -0.5], "showgrid": False}


def _above(interval: Interval, log: bool) -> Interval:
    """An interval that a logarithmic axis can show."""
    return interval._replace(low=max(interval.low, interval.mean / 10)) if log else interval


def _within(interval: Interval, unit: str = "") -> str:
    low, high = number(interval.low), number(interval.high)
    return f"{number(interval.mean, 4)}{unit}, 95 % interval {low} to {high}"


def _cut(label: str, kind: str) -> str:
    """A bin in two lines."""
    return label.replace(" to ", "<br>to ") if kind == "number" else _short(label)


def _short(text: str, most: int = 18) -> str:
    return html.escape(text if len(text) <= most else f"{text[: most - 1]}…", quote=False)
