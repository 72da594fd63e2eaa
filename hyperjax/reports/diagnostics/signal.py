"""Figures of a signal by layer: what each one loses to dead and saturated units, and the sizes of what passes."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.diagnostics import Signal
from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def signal_figures(found: Signal) -> "dict[str, Figure]":
    """Bars of shares at the end of the run, then sizes at its beginning and its end, layers from top to bottom."""
    figures = {}
    shares = {"dead": found.dead, "saturated": found.saturated}
    if any(np.isfinite(each).any() for each in shares.values()):
        figures["Units that pass nothing on"] = _shares(found, shares)
    if len(found.steps) > 2 and any(np.nanmax(each, initial=0.0) > 0 for each in shares.values()):
        figures["When they stopped"] = _over_time(found)
    sizes = {
        "Variance before the activation": ("variance", found.variance),
        "Gradient": ("2-norm of the gradient", found.gradient_norm),
        "Updates": ("update / weights", found.update_share),
    }
    drawn = {heading: _sizes(found, *pair) for heading, pair in sizes.items() if np.isfinite(pair[1]).any()}
    return figures | drawn


def _shares(found: Signal, shares: dict[str, np.ndarray]) -> "Figure":
    import plotly.graph_objects as go

    axis = number_axis("% at the end of the run") | {"range": [0, 100]}
    figure = go.Figure(layout=layout(xaxis=axis, yaxis=_layers(found), showlegend=True, barmode="group"))
    for role, (name, values) in zip(("diverged", "series-5"), shares.items(), strict=True):
        known = [place for place in range(len(found.layers)) if np.isfinite(values[-1, place])]
        if not known:
            continue
        figure.add_bar(
            x=rounded(100 * values[-1, known]),
            y=known,
            orientation="h",
            name=name,
            marker={"color": LIGHT[role]},
            text=[_hover(found, place, f"{number(100 * values[-1, place])} % {name}") for place in known],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
            meta={"role": role},
        )
    return figure


def _over_time(found: Signal) -> "Figure":
    """A heat map of the greater of the two shares, layers by moments."""
    import plotly.graph_objects as go

    worst = np.fmax(found.dead, found.saturated).T
    moments = {"tickvals": list(range(len(found.steps))), "ticktext": [str(step) for step in found.steps]}
    across = {"title": {"text": "step", "standoff": 8}, "showgrid": False} | moments
    figure = go.Figure(layout=layout(xaxis=across, yaxis=_layers(found)))
    figure.add_heatmap(
        z=[rounded(row) for row in worst],
        text=[[_cell(found, place, moment) for moment in range(len(found.steps))] for place in range(len(worst))],
        hovertemplate="%{text}<extra></extra>",
        colorscale=[[0, LIGHT["panel"]], [1, LIGHT["band-1"]]],
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        meta={"scale": ["panel", "band-1"]},
    )
    cells = [(i, j) for i in range(len(worst)) for j in range(len(found.steps)) if np.isfinite(worst[i, j])]
    figure.add_scatter(
        x=[j for _, j in cells],
        y=[i for i, _ in cells],
        mode="text",
        text=[f"{100 * worst[i, j]:.0f} %" for i, j in cells],
        textfont={"size": 11, "color": LIGHT["ink"]},
        hoverinfo="skip",
        meta={"words": "ink"},
    )
    return figure


def _sizes(found: Signal, title: str, values: np.ndarray) -> "Figure":
    import plotly.graph_objects as go

    log, decades = wide(values[values > 0])
    log = log and bool((values[np.isfinite(values)] > 0).all())
    axis = number_axis(title, log, decades) | ({} if log else {"rangemode": "tozero"})
    figure = go.Figure(layout=layout(xaxis=axis, yaxis=_layers(found), showlegend=len(values) > 1))
    ends = [(0, "band-1", "circle-open"), (len(values) - 1, "mean", "circle")][-min(2, len(values)) :]
    for moment, role, symbol in ends:
        figure.add_scatter(
            x=rounded(values[moment]),
            y=list(range(len(found.layers))),
            mode="markers",
            name=f"step {found.steps[moment]}",
            marker={"color": LIGHT[role], "size": 9, "symbol": symbol, "line": {"color": LIGHT[role], "width": 2}},
            text=[_hover(found, i, f"{title} {number(value)}") for i, value in enumerate(values[moment])],
            hovertemplate="%{text}<extra></extra>",
            meta={"role": role},
        )
    return figure


def _layers(found: Signal) -> dict[str, object]:
    """An axis of the layers from top to bottom."""
    names = [html.escape(name, quote=False) for name in found.layers]
    ticks = {"tickvals": list(range(len(names))), "ticktext": names}
    return {**ticks, "range": [len(names) - 0.5, -0.5], "showgrid": False}


def _hover(found: Signal, place: int, said: str) -> str:
    words: Sequence[str] = [word for word in (found.kinds[place], found.activations[place]) if word]
    return f"<b>{html.escape(found.layers[place], quote=False)}</b> ({', '.join(words) or 'not seen'})<br>{said}"


def _cell(found: Signal, place: int, moment: int) -> str:
    shares = {"dead": found.dead[moment, place], "saturated": found.saturated[moment, place]}
    said = [f"{100 * share:.1f} % {name}" for name, share in shares.items() if np.isfinite(share)]
    return _hover(found, place, f"step {found.steps[moment]}: {', '.join(said) or 'nothing known'}")
