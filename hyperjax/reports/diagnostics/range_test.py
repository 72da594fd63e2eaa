"""The figure of a learning-rate range test: the loss reached over the rate, and what of it is safe."""

import math
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.diagnostics import RangeTest
from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import number, plural
from hyperjax.statistics import Interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def range_test_figures(test: RangeTest) -> "dict[str, Figure]":
    """The figure of a range test under its heading."""
    when = "so far, smoothed," if test.method == "ramp" else f"after {plural(test.steps, 'step')}"
    return {f"Loss {when} at each learning rate": range_test_figure(test)}


def range_test_figure(test: RangeTest) -> "Figure":
    """Draw the mean loss with its least and greatest over the seeds, the safe interval and the suggestion."""
    import plotly.graph_objects as go

    start = float(test.untrained.mean())
    shown = np.where(test.loss < start + 2 * abs(start), test.loss, np.nan)  # the rest has blown up
    low, high, log, decades = _limits(shown, start)
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis("learning rate", True, math.log10(test.rates[-1] / test.rates[0])),
            yaxis=number_axis("training loss", log, decades)
            | {"range": [math.log10(low), math.log10(high)] if log else [low, high]},
            showlegend=True,
        )
    )
    known = np.isfinite(shown).all(1)
    rates, losses = test.rates[known], shown[known]
    if math.isfinite(test.lower.mean) and math.isfinite(test.upper.mean):
        _add_safe(figure, test.lower, test.upper, low, high)
    figure.add_scatter(
        x=rounded([*rates, *rates[::-1]]),
        y=rounded([*losses.max(1), *losses.min(1)[::-1]]),
        mode="none",
        fill="toself",
        fillcolor=LIGHT["mean-fill"],
        hoverinfo="skip",
        showlegend=False,
        meta={"fill": "mean-fill"},
    )
    figure.add_scatter(
        x=rounded(test.rates[[0, -1]]),
        y=rounded([start, start]),
        mode="lines",
        name="untrained",
        line={"color": LIGHT["muted"], "width": 1, "dash": "dot"},
        hovertemplate="untrained: %{y:.4g}<extra></extra>",
        meta={"role": "muted"},
    )
    figure.add_scatter(
        x=rounded(rates),
        y=rounded(losses.mean(1)),
        mode="lines" if test.method == "ramp" else "lines+markers",
        name=f"mean of {plural(len(test.seeds), 'seed')}",
        line={"color": LIGHT["mean"], "width": 2},
        marker={"color": LIGHT["mean"], "size": 4},
        hovertemplate="rate %{x:.3g}<br>loss %{y:.4g}<extra></extra>",
        meta={"role": "mean"},
    )
    if test.suggestion is not None:
        figure.add_scatter(
            x=rounded([test.suggestion, test.suggestion]),
            y=rounded([low, high]),
            mode="lines",
            name=f"suggestion {number(test.suggestion)}",
            line={"color": LIGHT["best"], "width": 2},
            hovertemplate="suggestion %{x:.3g}<extra></extra>",
            meta={"role": "best"},
        )
    return figure


def _limits(shown: np.ndarray, start: float) -> tuple[float, float, bool, float]:
    """Least and greatest loss drawn, whether their axis is logarithmic, and over how many decades."""
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), max(start, float(finite.max()))) if finite.size else (start, start)
    log, decades = wide([low, high])
    if log:
        return low / 1.2, high * 1.2, True, decades
    room = 0.05 * (high - low) or 0.1
    return low - room, high + room, False, 0.0


def _add_safe(figure: "Figure", lower: Interval, upper: Interval, low: float, high: float) -> None:
    """Shade the safe interval; at its foot its ends with their own intervals."""
    figure.add_scatter(
        x=rounded([lower.mean, upper.mean, upper.mean, lower.mean]),
        y=rounded([low, low, high, high]),
        mode="none",
        fill="toself",
        fillcolor=LIGHT["best-fill"],
        name="safe",
        hoverinfo="skip",
        meta={"fill": "best-fill"},
    )
    ends = [end for end in (lower, upper) if end.low > 0 and math.isfinite(end.high)]
    figure.add_scatter(
        x=rounded([end.mean for end in ends]),
        y=rounded([low] * len(ends)),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rounded([end.high - end.mean for end in ends]),
            "arrayminus": rounded([end.mean - end.low for end in ends]),
            "color": LIGHT["best"],
            "thickness": 2,
        },
        mode="markers",
        cliponaxis=False,
        marker={"color": LIGHT["best"], "size": 7},
        text=[f"{number(end.mean)}, 95 % interval {number(end.low)} to {number(end.high)}" for end in ends],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        meta={"role": "best"},
    )
