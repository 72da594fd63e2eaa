"""Figures of sharpness: the largest eigenvalue over a run with the limit that it may not pass, and the trace."""

from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.diagnostics import Sharpness
from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.winner import error_bars

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def sharpness_figures(found: Sharpness) -> "dict[str, Figure]":
    """Sharpness as the rule sees it, beside its limit; the plain one where that is another; the trace."""
    figures = {}
    if found.divides and found.unknown is None:
        figures["Preconditioned sharpness"] = _against(found, found.preconditioned, found.limit)
        figures["Sharpness"] = _against(found, found.eigenvalue, None)
    else:
        figures["Sharpness"] = _against(found, found.eigenvalue, None if found.unknown else found.limit)
    return figures | {"Trace of the Hessian": _trace(found)}


def _against(found: Sharpness, values: np.ndarray, limit: np.ndarray | None) -> "Figure":
    import plotly.graph_objects as go

    shown = values if limit is None else np.concatenate([values, limit])
    log, decades = wide(shown)
    vertical = number_axis("largest eigenvalue", log, decades) | ({} if log else {"rangemode": "tozero"})
    figure = go.Figure(layout=layout(xaxis=number_axis("step"), yaxis=vertical, showlegend=limit is not None))
    if limit is not None:
        figure.add_scatter(
            x=found.steps.tolist(),
            y=rounded(limit),
            mode="lines",
            name=f"limit of {found.optimizer}",
            line={"color": LIGHT["best"], "width": 1.6, "dash": "dash"},
            hovertemplate="step %{x}: stable up to <b>%{y:.4g}</b><extra></extra>",
            meta={"role": "best"},
        )
    figure.add_scatter(
        x=found.steps.tolist(),
        y=rounded(values),
        mode="lines+markers",
        name="sharpness",
        line={"color": LIGHT["mean"], "width": 2},
        marker={"color": LIGHT["mean"], "size": 7},
        text=_texts(found),
        hovertemplate="step %{x}: <b>%{y:.4g}</b>%{text}<extra></extra>",
        meta={"role": "mean"},
    )
    return figure


def _texts(found: Sharpness) -> list[str]:
    ratios = ["" if not np.isfinite(ratio) else f", {ratio:.2f} of the limit" for ratio in found.ratio]
    pairs: Any = zip(ratios, found.loss, found.learning_rate, strict=True)
    return [f"{ratio}<br>loss {loss:.4g}, learning rate {rate:.3g}" for ratio, loss, rate in pairs]


def _trace(found: Sharpness) -> "Figure":
    import plotly.graph_objects as go

    means = [each.mean for each in found.trace]
    figure = go.Figure(layout=layout(xaxis=number_axis("step"), yaxis=number_axis("trace, 95 % interval")))
    figure.add_scatter(
        x=found.steps.tolist(),
        y=rounded(means),
        error_y=error_bars(list(found.trace), LIGHT["mean"]),
        mode="lines+markers",
        line={"color": LIGHT["mean"], "width": 1},
        marker={"color": LIGHT["mean"], "size": 7},
        hovertemplate="step %{x}: <b>%{y:.4g}</b><extra></extra>",
        meta={"role": "mean"},
    )
    return figure
