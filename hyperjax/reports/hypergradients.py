"""A run's derivatives and a recipe's descent as figures and as pages."""

import html
import math
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.html_tables import plain_table
from hyperjax.reports.page import Page, code_block, escape, facts, figure_holder, section
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.winner import error_bars
from hyperjax.reports.wording import number, plural, recipe_code, spoken
from hyperjax.statistics import Interval
from hyperjax.training import Descent, Hypergradient

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def hypergradient_figure(found: Hypergradient) -> "Figure":
    """A bar for each number: what the metric does when it, or a share's odds, is raised by 1 %; the longest on top."""
    import plotly.graph_objects as go

    names = [name for name, slope in found.elasticities.items() if math.isfinite(slope)]
    effects = [Interval(*(found.reach(name) * end / 100 for end in found.interval(name))) for name in names]
    labels = {"tickvals": list(range(len(names))), "ticktext": [html.escape(name, quote=False) for name in names]}
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis(f"change of {spoken(found.metric)}") | {"exponentformat": "e"},
            yaxis={**labels, "range": [len(names) - 0.5, -0.5], "showgrid": False},
        )
    )
    figure.add_bar(
        x=rounded([effect.mean for effect in effects]),
        y=list(range(len(names))),
        orientation="h",
        width=0.6,
        error_x=error_bars(effects, LIGHT["muted"]),
        marker={"color": LIGHT["mean"], "line": {"width": 0}},
        text=[
            f"<b>{html.escape(name, quote=False)}</b> {number(found.numbers[name])}<br>derivative "
            f"{number(found.gradient[name], 4)}"
            for name in names
        ],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        meta={"role": "mean"},
    )
    return figure


def hypergradient_page(found: Hypergradient) -> Page:
    """Which numbers matter, and which way they should go."""
    heading = f"What moves the {spoken(found.metric)}"
    counted = [("steps", str(found.steps)), ("seeds", str(len(found.seeds)))]
    counted += [("memory", f"{found.bytes / 1e6:.3g} MB")] if found.bytes else []
    page = Page(heading, _header("HyperJAX hypergradient", heading, found.answer) + facts(counted))
    page.figures["elasticities"] = hypergradient_figure(found)
    scaled = found.elasticities
    names = [*scaled, *(name for name in found.numbers if name not in scaled)]
    values = [(found.numbers[name], *found.interval(name), scaled.get(name, math.nan)) for name in names]
    rows = [[name, *(number(value, 4) for value in row)] for name, row in zip(names, values, strict=True)]
    heads = ["number", "value", "derivative", "low", "high", "by its logarithm, or log odds"]
    note = '<p class="note">By how much it changes where a number, or the odds of a share, is raised by 1 %.</p>\n'
    table = plain_table(heads, rows, "Means over the seeds with 95 % intervals")
    page.sections.append(section("numbers", "The numbers", note + figure_holder("elasticities", heading) + table))
    gone = [[name, reason] for name, reason in found.left_out.items()]
    page.sections.append(section("left-out", "What has no derivative", plain_table(["field", "why"], gone, "Left out")))
    return page


def descent_figure(descent: Descent) -> "Figure":
    """The metric of each recipe that was tried: those that were better joined by a line, seeds as small points."""
    import plotly.graph_objects as go

    means = np.array([attempt.value for attempt in descent.attempts])
    log, decades = wide(means)
    better = np.array([attempt.better for attempt in descent.attempts])
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis("step"), yaxis=number_axis(spoken(descent.metric), log, decades), showlegend=True
        )
    )
    seeds = np.array([attempt.values for attempt in descent.attempts])
    places = np.arange(len(means))
    figure.add_scatter(
        x=np.repeat(places, seeds.shape[1]).tolist(),
        y=rounded(seeds.ravel()),
        mode="markers",
        name="one seed",
        marker={"size": 5, "color": LIGHT["point"]},
        hoverinfo="skip",
        meta={"role": "point"},
    )
    for name, chosen, mode, role in (
        ("better", better, "lines+markers", "mean"),
        ("not better, or diverged", ~better, "markers", "diverged"),
    ):
        figure.add_scatter(
            x=places[chosen].tolist(),
            y=rounded(means[chosen]),
            mode=mode,
            name=name,
            line={"color": LIGHT[role], "width": 2},
            marker={"size": 9, "color": LIGHT[role], "symbol": "circle" if role == "mean" else "x-thin-open"},
            hovertemplate="step %{x}: <b>%{y:.4g}</b><extra></extra>",
            meta={"role": role},
        )
    return figure


def descent_page(descent: Descent) -> Page:
    """What a descent changed, how it got there, and what that is worth on fresh seeds."""
    heading = f"A recipe improved by {plural(len(descent.attempts) - 1, 'step')}"
    mean, low, high = descent.improvement
    counted = [("steps tried", str(len(descent.attempts) - 1)), ("seeds", str(len(descent.seeds)))]
    counted.append((f"{spoken(descent.metric)} less", f"{number(mean)} ({number(low)} to {number(high)})"))
    header = _header("HyperJAX descent", heading, descent.answer) + facts(counted)
    page = Page(heading, header + code_block(recipe_code(descent.best), "The best recipe"))
    page.figures["history"] = descent_figure(descent)
    page.sections.append(section("history", "The steps", figure_holder("history", heading)))
    moves = [[name, number(old, 4), number(new, 4)] for name, (old, new) in descent.moves.items()]
    page.sections.append(section("moves", "What changed", plain_table(["number", "from", "to"], moves, "The numbers")))
    fresh = [
        [str(seed), number(first, 4), number(last, 4)]
        for seed, first, last in zip(descent.fresh_seeds, *descent.fresh.tolist(), strict=True)
    ]
    table = plain_table(["seed", "first recipe", "best recipe"], fresh, spoken(descent.metric).capitalize())
    page.sections.append(section("fresh", "On fresh seeds", table))
    gone = [[name, reason] for name, reason in descent.left_out.items()]
    page.sections.append(section("left-out", "What stayed", plain_table(["field", "why"], gone, "Left out")))
    return page


def _header(kind: str, heading: str, lead: str) -> str:
    return f'<p class="eyebrow">{kind}</p>\n<h1>{escape(heading)}</h1>\n<p class="answer">{escape(lead)}</p>\n'
