"""Figures of what batch sizes cost: throughput, time, memory, and what is learnt."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hyperjax.diagnostics import BatchCost
from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.diagnostics.noise_scale import ticks
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.winner import error_bars
from hyperjax.reports.wording import number, spoken
from hyperjax.statistics import Interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def batch_cost_figures(found: BatchCost) -> "dict[str, Figure]":
    """Throughput, time of a step and memory over the batch size; scores, where runs were compared."""
    ran = [each for each in found.costs if each.seconds is not None]
    sizes = [each.batch_size for each in ran]
    rates = [each.examples_a_second for each in ran]
    figures = {}
    if ran:
        figures["Throughput"] = _line(sizes, {"examples a second": rates}, "examples a second")
        spans = [each.seconds for each in ran if each.seconds is not None]
        bars = [Interval(*span) for span in spans]
        median = [span.median for span in spans]
        figures["Time of a step"] = _line(sizes, {"seconds": median}, "seconds a step", bars)
    known = [each for each in found.costs if each.memory is not None]
    if known:
        grown = [None if each.memory_grown is None else each.memory_grown / 1e6 for each in known]
        lines = {"XLA's analysis": [each.memory.needed / 1e6 for each in known if each.memory is not None]}
        if any(grown):
            lines[f"measured, of the {found.memory_measured}"] = [value or math.nan for value in grown]
        figures["Memory"] = _line([each.batch_size for each in known], lines, "MB")
    if found.generalization:
        figures["What is learnt in equally many epochs"] = _scores(found)
    return figures


def _line(
    sizes: list[int],
    lines: Mapping[str, Sequence[float | None]],
    vertical: str,
    bars: list[Interval] | None = None,
) -> "Figure":
    import plotly.graph_objects as go

    values = [value for line in lines.values() for value in line if value]
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis("batch size", True) | ticks(sizes),
            yaxis=number_axis(vertical, True, wide(values)[1]),
            showlegend=len(lines) > 1,
        )
    )
    for role, (name, line) in zip(("mean", "best"), lines.items(), strict=False):
        figure.add_scatter(
            x=sizes,
            y=rounded([math.nan if value is None else value for value in line]),
            error_y=None if bars is None else error_bars(bars, LIGHT[role]),
            mode="lines+markers",
            name=name,
            line={"color": LIGHT[role], "width": 2},
            marker={"color": LIGHT[role], "size": 6},
            hovertemplate=f"batch size %{{x}}: <b>%{{y:.3g}}</b> {vertical}<extra></extra>",
            meta={"role": role},
        )
    return figure


def _scores(found: BatchCost) -> "Figure":
    """The mean score of each size with its interval over the seeds, and the gain over the size in use for hovering."""
    import plotly.graph_objects as go

    sizes = [each.batch_size for each in found.generalization]
    figure = go.Figure(
        layout=layout(xaxis=number_axis("batch size", True) | ticks(sizes), yaxis=number_axis(spoken(found.metric)))
    )
    scores = [each.score for each in found.generalization]
    figure.add_scatter(
        x=sizes,
        y=rounded([score.mean for score in scores]),
        error_y=error_bars(scores, LIGHT["mean"]),
        mode="lines+markers",
        line={"color": LIGHT["mean"], "width": 2},
        marker={"color": LIGHT["mean"], "size": 6},
        text=[
            f"gain {number(each.gain.mean)}, from {number(each.gain.low)} to {number(each.gain.high)}"
            for each in found.generalization
        ],
        hovertemplate="batch size %{x}: <b>%{y:.4g}</b><br>%{text}<extra></extra>",
        meta={"role": "mean"},
    )
    return figure
