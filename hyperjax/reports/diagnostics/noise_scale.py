"""Figures of a gradient noise scale: along the run, and what other batch sizes need."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.diagnostics import NoiseScale
from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.winner import error_bars
from hyperjax.reports.wording import number
from hyperjax.statistics import Interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PARTS = {"tickvals": [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], "ticktext": ["1/8", "1/4", "1/2", "1", "2", "4", "8"]}


def noise_scale_figures(found: NoiseScale) -> "dict[str, Figure]":
    """The noise scale over the run's steps, and steps and examples needed over the batch size."""
    return {"Noise scale along the run": _along(found), "What other batch sizes need": _needed(found)}


def _along(found: NoiseScale) -> "Figure":
    """Both forms with their bands, and the batch size in use; a band without an upper end is cut by the figure."""
    import plotly.graph_objects as go

    lines = [("simple", "mean", found.simple), ("with the Hessian", "best", found.with_hessian)]
    lines = [line for line in lines if line[2]]
    ends = [end for _, _, line in lines for interval in line for end in interval]
    positive = [end for end in [*ends, found.batch_size] if math.isfinite(end) and end > 0]
    low, high = min(positive) / 1.5, max(positive) * 2
    _, decades = wide([low, high])
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis("step"),
            yaxis=number_axis("noise scale, examples", True, decades) | {"range": [math.log10(low), math.log10(high)]},
            showlegend=True,
        )
    )
    steps = list(found.steps)
    for name, role, line in lines:
        upper = [min(interval.high, high) for interval in line]
        lower = [max(interval.low, low) for interval in line]
        figure.add_scatter(
            x=[*steps, *steps[::-1]],
            y=rounded([*upper, *lower[::-1]]),
            fill="toself",
            fillcolor=LIGHT[f"{role}-fill"],
            mode="none",
            hoverinfo="skip",
            legendgroup=name,
            showlegend=False,
            meta={"fill": f"{role}-fill"},
        )
        figure.add_scatter(
            x=steps,
            y=rounded([interval.mean for interval in line]),
            mode="lines+markers",
            name=name,
            legendgroup=name,
            line={"color": LIGHT[role], "width": 2},
            marker={"color": LIGHT[role], "size": 6},
            text=[_range(interval) for interval in line],
            hovertemplate="step %{x}: <b>%{y:.3g}</b>, %{text}",
            meta={"role": role},
        )
    figure.add_scatter(
        x=[steps[0], steps[-1]],
        y=[found.batch_size] * 2,
        mode="lines",
        name="batch size in use",
        line={"color": LIGHT["muted"], "width": 1.5, "dash": "dash"},
        hovertemplate="batch size %{y}",
        meta={"role": "muted"},
    )
    return figure


def _needed(found: NoiseScale) -> "Figure":
    """Steps and examples for the same loss, as multiples of what the batch size in use needs."""
    import plotly.graph_objects as go

    sizes = [each.batch_size for each in found.tradeoffs]
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis("batch size", True) | ticks(sizes),
            yaxis=number_axis("times those of the size in use", True) | PARTS,
            showlegend=True,
        )
    )
    lines = [("steps", "mean", [each.steps for each in found.tradeoffs])]
    lines += [("examples", "best", [each.examples for each in found.tradeoffs])]
    for name, role, line in lines:
        figure.add_scatter(
            x=sizes,
            y=rounded([interval.mean for interval in line]),
            error_y=error_bars(line, LIGHT[role]),
            mode="lines+markers",
            name=name,
            line={"color": LIGHT[role], "width": 2},
            marker={"color": LIGHT[role], "size": 6},
            hovertemplate=f"batch size %{{x}}: <b>%{{y:.3g}}</b> times the {name}",
            meta={"role": role},
        )
    return figure


def ticks(sizes: Sequence[int]) -> dict[str, object]:
    """Ticks of an axis of batch sizes, logarithmic: the sizes themselves, as far as they stand apart."""
    shown: list[int] = []
    for size in sizes:
        if not shown or np.log2(size / shown[-1]) >= 0.7:
            shown.append(size)
    return {"tickvals": shown, "ticktext": [str(size) for size in shown]}


def _range(interval: Interval) -> str:
    end = f"to {number(interval.high)}" if math.isfinite(interval.high) else "without an upper end"
    return f"from {number(interval.low)} {end}"
