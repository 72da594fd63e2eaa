"""The front of a study with several metrics: every trial as a dot, those that none beats joined in steps."""

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.reports.curves import drawn_places, hover_text, rounded, wide
from hyperjax.reports.html_tables import trials_table
from hyperjax.reports.page import Page, escape, figure_holder, section
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import metric_text, plural, spoken, value_text
from hyperjax.studies.front import Front, unbeaten
from hyperjax.studies.study import Study, Trial

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_BEATEN = 2000  # dots of beaten trials in one figure
MOST_ROWS = 50  # of the table of the front


def front_sentence(front: Front) -> str:
    """How many trials the front has, and by which metrics."""
    *others, last = map(spoken, front.metrics)
    names = f"{', '.join(others)} and {last}" if others else last
    count = plural(len(front.trials) + len(front.others), "trial")
    return f"Pareto front: {len(front)} of {count} {'is' if len(front) == 1 else 'are'} beaten by no other in {names}."


def front_section(study: Study, page: Page) -> str:
    """The front's figures, the first metric over each other one, and its trials as a table."""
    front = study.front
    if not len(front):
        said = "No trial has a score by every metric, so there is no front."
        return section("front", "The Pareto front", f"<p>{said}</p>")
    first, *others = map(spoken, front.metrics)
    panels = ""
    for place, name in enumerate(others, 1):
        page.figures[f"front-{place}"] = front_figure(front, page.texts, place)
        heading = f"{first} over {name}"
        holder = figure_holder(f"front-{place}", f"{heading}: all trials, and those that no other one beats")
        panels += f"<section><h3>{escape(heading)}</h3>{holder}</section>\n" if len(others) > 1 else holder
    figures = f'<div class="panels wide">{panels}</div>' if len(others) > 1 else panels
    several = (
        " A trial of the front may be beaten by the two metrics that one figure shows; the line joins those that are "
        "not."
        if len(others) > 1
        else ""
    )
    thin = (
        f" {MOST_BEATEN:,} of {len(front.others):,} others are drawn, at even distances."
        if len(front.others) > MOST_BEATEN
        else ""
    )
    note = (
        f"{front_sentence(front)} One trial beats another that it equals or betters by every metric, and betters by "
        "one. The line has the best that was found for each limit on the other metric; of equal trials the earliest "
        f"stands for all.{several}{thin}"
    )
    shown = front.trials[:MOST_ROWS]
    rest = f", the first {MOST_ROWS} of {len(front)}" if len(front) > MOST_ROWS else ""
    table = trials_table(study, shown, f"The trials of the front, best {first} first{rest}")
    return section("front", "The Pareto front", f'<p class="note">{escape(note)}</p>\n{figures}{table}')


def front_figure(front: Front, texts: Mapping[int, str] | None = None, across: int = 1) -> "Figure":
    """Draw the first metric over another one.

    Args:
        front: of two metrics or more.
        texts: hover text of each trial by its number; None: its metrics and values.
        across: place of the metric that runs along the foot.
    Returns: beaten trials as grey dots, the front's as large ones, and a line in steps through those of them that are
        best by these two metrics.
    Raises: ValueError for a front of one metric.
    """
    import plotly.graph_objects as go

    if len(front.metrics) < 2:
        raise ValueError(f"front must be of two metrics or more to be drawn, got {front.metrics[0]} alone")
    pair = (across, 0)
    axes = []
    for place in pair:
        values = [front.scores_of(trial)[place] for trial in (*front.trials, *front.others)]
        log, decades = wide(values) if front.directions[place] == "min" else (False, 0.0)
        name = html.escape(spoken(front.metrics[place]), quote=False)
        better = "higher" if front.directions[place] == "max" else "lower"
        axes.append(number_axis(f"{name} ({better} is better)", log, decades))
    figure = go.Figure(layout=layout(xaxis=axes[0], yaxis=axes[1], showlegend=True))
    dots = [front.others[i] for i in drawn_places(len(front.others), MOST_BEATEN, 0)]
    _add_trials(figure, front, dots, pair, texts, "beaten", "point", 6)
    steps = _steps(front, pair)
    figure.add_scatter(
        x=rounded([x for x, _ in steps]),
        y=rounded([y for _, y in steps]),
        mode="lines",
        line={"color": LIGHT["mean"], "width": 2, "shape": "hv"},
        hoverinfo="skip",
        showlegend=False,
        meta={"role": "mean"},
    )
    _add_trials(figure, front, front.trials, pair, texts, "front", "mean", 9)
    return figure


def _add_trials(
    figure: "Figure",
    front: Front,
    trials: "tuple[Trial, ...] | list[Trial]",
    pair: tuple[int, int],
    texts: Mapping[int, str] | None,
    name: str,
    role: str,
    size: int,
) -> None:
    points = [front.scores_of(trial) for trial in trials]
    figure.add_scatter(
        x=rounded([point[pair[0]] for point in points]),
        y=rounded([point[pair[1]] for point in points]),
        mode="markers",
        name=name,
        marker={"size": size, "color": LIGHT[role]},
        customdata=[trial.number for trial in trials],
        text=[_text(front, trial) if texts is None else texts[trial.number] for trial in trials],
        hovertemplate="%{text}<extra></extra>",
        meta={"role": role},
    )


def _steps(front: Front, pair: tuple[int, int]) -> list[tuple[float, float]]:
    """The trials that none beats by two metrics, from the best by the first of the two to the worst."""
    points = np.array([[front.scores_of(trial)[place] for place in pair] for trial in front.trials]).reshape(-1, 2)
    signs = np.array([-1.0 if front.directions[place] == "max" else 1.0 for place in pair])
    return [(float(x), float(y)) for x, y in points[unbeaten(points * signs)]]


def _text(front: Front, trial: Trial) -> str:
    scores = zip(front.metrics, front.scores_of(trial), strict=True)
    words = [(spoken(name), metric_text(name, score)) for name, score in scores]
    words += [(name, value_text(value)) for name, value in trial.values.items()]
    return hover_text(f"trial {trial.number}", words)
