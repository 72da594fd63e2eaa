"""Figures of training curves: what was found marked where it is, and where a curve leads."""

from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.diagnostics import Curve, Diagnosis, EpochsNeeded
from hyperjax.diagnostics.curves.noise import blocked
from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.style import LIGHT, layout, number_axis

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MARKED = {
    "diverged": "diverges",
    "oscillating": "climbs",
    "stalled": "stands still",
    "overfitting": "overfits",
}
_POINTS = 600  # more are drawn as means of neighbours


def diagnosis_figures(diagnosis: Diagnosis) -> "dict[str, Figure]":
    """A curve with the findings marked where they begin; of several runs the first of each recipe, four at most."""
    figures = {}
    each = diagnosis.by_recipe[:4]
    for number, one in enumerate(each):
        heading = "The curve" if len(each) == 1 else f"The curve of recipe {number}"
        figures[heading] = _marked(one)
    return figures


def _marked(diagnosis: Diagnosis) -> "Figure":
    import plotly.graph_objects as go

    curve = diagnosis.curves[0]
    figure = go.Figure(layout=_layout(curve))
    _draw(figure, curve)
    height = 0
    for finding in diagnosis.findings:
        if finding.at is None or finding.name not in _MARKED:
            continue
        figure.add_vline(x=finding.at, line={"color": LIGHT["best"], "width": 1, "dash": "dash"})
        figure.add_annotation(
            x=finding.at,
            y=1 - 0.09 * height,
            yref="paper",
            text=f"{_MARKED[finding.name]} from {curve.unit} {finding.at:.3g}",
            showarrow=False,
            xanchor="left" if finding.at < (curve.steps[0] + _last(curve)) / 2 else "right",
            font={"color": LIGHT["best"]},
        )
        height += 1
    return figure


def epochs_needed_figures(needed: EpochsNeeded) -> "dict[str, Figure]":
    """The curve carried on to four times its length, with its 95 % band, and where going on stops paying."""
    import plotly.graph_objects as go

    curve = needed.curve
    figure = go.Figure(layout=_layout(curve))
    _draw(figure, curve)
    if needed.family != "minimum":
        times = np.geomspace(needed.trained / 4, 4 * needed.trained, 40)
        led = [needed.expected(float(t)) for t in times]
        figure.add_scatter(
            x=rounded([*times, *times[::-1]]),
            y=rounded([*(i.high for i in led), *(i.low for i in led[::-1])]),
            fill="toself",
            fillcolor=LIGHT["best-fill"],
            line={"width": 0},
            hoverinfo="skip",
            name="95 %",
        )
        figure.add_scatter(
            x=rounded(times),
            y=rounded([i.mean for i in led]),
            mode="lines",
            line={"color": LIGHT["best"], "width": 2, "dash": "dot"},
            name="carried on",
        )
    if np.isfinite(needed.epochs.mean) and needed.epochs.mean <= 4 * needed.trained:
        figure.add_vline(x=needed.epochs.mean, line={"color": LIGHT["best"], "width": 1, "dash": "dash"})
        figure.add_annotation(
            x=needed.epochs.mean, y=1, yref="paper", text="enough", showarrow=False, xanchor="left",
            font={"color": LIGHT["best"]},
        )  # fmt: skip
    return {"Where the curve leads": figure}


def _layout(curve: Curve) -> dict[str, Any]:
    losses = np.concatenate([curve.train, curve.validation])
    log, decades = wide(losses[losses > 0].tolist()) if (losses > 0).all() and len(losses) else (False, 0.0)
    return layout(
        xaxis=number_axis(curve.unit), yaxis=number_axis("loss", log, decades), showlegend=True, margin={"t": 36}
    )


def _draw(figure: "Figure", curve: Curve) -> None:
    steps, losses = blocked(curve.steps, curve.train, _POINTS)
    for name, x, y, color, mode in (
        ("training loss", steps, losses, LIGHT["point"] if len(steps) > 100 else LIGHT["band-1"], "lines"),
        ("validation loss", curve.validation_steps, curve.validation, LIGHT["mean"], "lines+markers"),
    ):
        if len(x):
            figure.add_scatter(
                x=rounded(x), y=rounded(y), mode=mode, line={"color": color, "width": 2}, marker={"size": 4}, name=name
            )


def _last(curve: Curve) -> float:
    return float(max(curve.steps[-1] if len(curve.steps) else 0, curve.validation_steps.max(initial=0)))
