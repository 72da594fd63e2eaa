"""Figures of an advice: what it gained over the default, and what was tried on the way."""

import math
from typing import TYPE_CHECKING

from hyperjax.advice import Advice
from hyperjax.reports.curves import mean_curve, rounded
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import number, plural, spoken, value_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SERIES = 8  # colours there are


def advice_figures(advice: Advice) -> "dict[str, Figure]":
    """The comparison's curves, and the candidates of the race."""
    seeds = plural(len(advice.comparison.seeds), "fresh seed")
    return {
        f"What was found against the default, {seeds}": _against(advice),
        f"The {plural(len(advice.tried), 'candidate')} by learning rate": _tried(advice),
    }


def _against(advice: Advice) -> "Figure":
    """Mean of the ranking metric over the epochs, with its least and greatest over the seeds."""
    import plotly.graph_objects as go

    figure = go.Figure(
        layout=layout(xaxis=number_axis("epoch"), yaxis=number_axis(spoken(advice.metric)), showlegend=True)
    )
    rows = (("default", "mean", advice.default_runs), ("what was found", "best", advice.runs))
    for key, (name, role, runs) in enumerate(rows):
        curve = mean_curve(key, name, runs, advice.metric)
        figure.add_scatter(
            x=rounded([*curve.x, *curve.x[::-1]]),
            y=rounded([*curve.high, *curve.low[::-1]]),
            mode="none",
            fill="toself",
            fillcolor=LIGHT[f"{role}-fill"],
            hoverinfo="skip",
            showlegend=False,
            meta={"fill": f"{role}-fill"},
        )
        figure.add_scatter(
            x=rounded(curve.x),
            y=rounded(curve.y),
            mode="lines",
            name=name,
            line={"color": LIGHT[role], "width": 2},
            hovertemplate=f"{name}, epoch %{{x:.4g}}: <b>%{{y:.4g}}</b><extra></extra>",
            meta={"role": role},
        )
    return figure


def _tried(advice: Advice) -> "Figure":
    """Each candidate's score over its rate, by optimizer; a ring around what won."""
    import plotly.graph_objects as go

    known = [one for one in advice.tried if math.isfinite(one.score)]
    rates = [float(one.recipe.learning_rate) for one in known]  # type: ignore[arg-type] # candidates have plain rates
    decades = math.log10(max(rates) / min(rates)) if rates else 1.0
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis("learning rate", True, decades), yaxis=number_axis(spoken(advice.metric)), showlegend=True
        )
    )
    optimizers = sorted({str(one.recipe.optimizer) for one in known})
    for place, optimizer in enumerate(optimizers[:SERIES]):
        own = [one for one in known if one.recipe.optimizer == optimizer]
        role = f"series-{place}"
        figure.add_scatter(
            x=rounded([float(one.recipe.learning_rate) for one in own]),  # type: ignore[arg-type]
            y=rounded([one.score for one in own]),
            mode="markers",
            name=optimizer,
            marker={"color": LIGHT[role], "size": [6 + min(one.seeds, 8) for one in own], "opacity": 0.75},
            text=[f"{_described(one.recipe.changed())}<br>{plural(one.seeds, 'seed')}" for one in own],
            hovertemplate="<b>%{y:.4g}</b><br>%{text}<extra></extra>",
            meta={"role": role},
        )
    won = [one for one in known if one.recipe == advice.candidate]
    figure.add_scatter(
        x=rounded([float(one.recipe.learning_rate) for one in won]),  # type: ignore[arg-type]
        y=rounded([one.score for one in won]),
        mode="markers",
        name="won the race",
        marker={"symbol": "circle-open", "size": 20, "color": LIGHT["best"], "line": {"width": 2}},
        hoverinfo="skip",
        meta={"role": "best"},
    )
    return figure


def _described(changed: dict[str, object]) -> str:
    return "<br>".join(
        f"{spoken(name)} {number(value) if isinstance(value, float) else value_text(value)}"
        for name, value in changed.items()
    )
