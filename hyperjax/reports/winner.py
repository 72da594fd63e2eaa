"""The honest winner in words, as a table and as a figure: what was claimed, and what fresh seeds gave."""

import html
import math
from typing import TYPE_CHECKING, Any

from hyperjax.reports.curves import rounded
from hyperjax.reports.html_tables import plain_table
from hyperjax.reports.page import Page, escape, figure_holder, section
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import in_short, number, plural, spoken
from hyperjax.statistics import Interval
from hyperjax.studies.winner import Winner

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_SEEDS = 1000  # more are not worth asking for


def winner_sentence(winner: Winner) -> str:
    """One sentence: which trial, how good it is on fresh seeds, and whether it beats the default recipe."""
    name = winner.metric.removeprefix("validation_")
    measured = winner.test[name] if winner.part == "test" else winner.validation
    words = f"Winner: trial {winner.trial.number}{in_short(winner.trial.values, winner.trial.recipe)}"
    lost = sum(run.diverged for run in winner.runs)
    if lost:
        return f"{words}, but it diverged with {lost} of {len(winner.seeds)} fresh seeds, so no gain is shown."
    words += f", {winner.part} {spoken(name)} {_within(measured)} over {len(winner.seeds)} fresh seeds, "
    if math.isnan(winner.gain.mean):
        gone = sum(run.diverged for run in winner.default_runs)
        shown = "better than" if winner.verdict == "better" else "not shown to be better than"
        return f"{words}{shown} the default recipe, which diverged with {gone} of them."
    if winner.verdict == "better":
        return f"{words}better than the default recipe by {_within(winner.gain, 2)}."
    return f"{words}not shown to be better than the default recipe: a gain of {_within(winner.gain, 2)}."


def winner_notes(winner: Winner) -> list[str]:
    """What the search had claimed, and what to do next."""
    spoken_metric, mean = spoken(winner.metric), winner.flattery.mean
    notes = []
    if math.isfinite(mean):
        luck = f"{number(mean, 2)} of it was luck" if mean > 0 else "it had promised no more than they gave"
        notes.append(
            f"The search had claimed a {spoken_metric} of {number(winner.claimed, 4)}; fresh seeds gave the winner "
            f"{number(winner.validation.mean, 4)}: {luck}."
        )
    if winner.verdict == "better" or any(run.diverged for run in winner.runs):
        return notes
    needed = winner.seeds_needed
    if math.isinf(needed):
        notes.append("The default recipe was as good or better: search more trials, or a wider space.")
    elif needed > MOST_SEEDS:
        notes.append(f"It would take more than {MOST_SEEDS} seeds to show so small a gain, if there is one.")
    elif math.isfinite(needed):
        notes.append(f"About {plural(int(needed), 'fresh seed')} would show such a gain, if it is there.")
    return notes


def winner_section(winner: Winner, page: Page) -> str:
    """The candidates, trained again: a figure and a table."""
    metric = spoken(winner.metric)
    page.figures["winner"] = winner_figure(winner)
    note = (
        f"The best {plural(len(winner.candidates), 'trial')} of the search, trained again with fresh seeds. Rings are "
        f"what the search had claimed, dots what {plural(len(winner.ranking_seeds), 'fresh seed')} gave, with 95 % "
        f"Student intervals: they rank the trials. Winner and default were then measured with {len(winner.seeds)} "
        "other seeds, so that being chosen flatters neither. The intervals are over seeds, on the same data."
    )
    if not winner.ranking_seeds:
        note = f"The only trial with a score, trained again with {len(winner.seeds)} fresh seeds."
    rows = [
        [str(c.trial), number(c.claimed, 4), number(c.fresh.mean, 4), number(c.fresh.low, 4), number(c.fresh.high, 4)]
        for c in winner.candidates
    ]
    heads = ["trial", "claimed", f"{metric}, fresh", "low", "high"]
    table = plain_table(heads, rows, "The candidates, best first") if winner.ranking_seeds else ""
    measured = [[f"validation {metric.removeprefix('validation ')}", *_cells(winner.validation)]]
    measured += [[f"test {spoken(name)}", *_cells(interval)] for name, interval in winner.test.items()]
    measured.append([f"gain over the default, {winner.part}", *_cells(winner.gain, 2)])
    table += plain_table(["of the winner", "mean", "low", "high"], measured, f"Over seeds {_listed(winner.seeds)}")
    holder = figure_holder("winner", f"{metric} of the candidates: claimed and on fresh seeds", low=True)
    return section("winner", "The winner on fresh seeds", f'<p class="note">{escape(note)}</p>\n{holder}{table}')


def winner_figure(winner: Winner) -> "Figure":
    """Each candidate's claim as a ring, its fresh mean as a dot with an interval; the winner's colour is its own."""
    import plotly.graph_objects as go

    candidates = list(winner.candidates)
    labels = [f"trial {candidate.trial}" for candidate in candidates]
    axis = {"tickvals": list(range(len(labels))), "ticktext": labels, "range": [len(labels) - 0.5, -0.5]}
    figure = go.Figure(
        layout=layout(xaxis=number_axis(spoken(winner.metric)), yaxis=axis | {"showgrid": False}, showlegend=True)
    )
    figure.add_scatter(
        x=rounded([candidate.claimed for candidate in candidates]),
        y=list(range(len(candidates))),
        mode="markers",
        name="claimed",
        marker={"symbol": "circle-open", "size": 10, "color": LIGHT["muted"], "line": {"width": 2}},
        hovertemplate="claimed %{x:.4g}<extra></extra>",
        meta={"role": "muted"},
    )
    means = [candidate.fresh for candidate in candidates] if winner.ranking_seeds else [winner.validation]
    for role, name, rows in (("best", "winner", [0]), ("mean", "others", list(range(1, len(means))))):
        if rows:
            figure.add_scatter(
                x=rounded([means[row].mean for row in rows]),
                y=rows,
                error_x=error_bars([means[row] for row in rows], LIGHT[role]),
                mode="markers",
                name=name,
                marker={"size": 9, "color": LIGHT[role]},
                text=[html.escape(_within(means[row]), quote=False) for row in rows],
                hovertemplate="fresh %{text}<extra></extra>",
                meta={"role": role},
            )
    return figure


def error_bars(intervals: list[Interval], color: str) -> dict[str, Any]:
    """Both ends of intervals, as Plotly has them; none where they are unbounded."""
    ends = [(i.high - i.mean, i.mean - i.low) if math.isfinite(i.high - i.low) else (0.0, 0.0) for i in intervals]
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded([up for up, _ in ends]),
        "arrayminus": rounded([down for _, down in ends]),
        "color": color,
        "thickness": 2,
        "width": 5,
    }


def _within(interval: Interval, digits: int = 4) -> str:
    mean, low, high = (number(value, digits) for value in interval)
    return f"{mean} (95 % interval {low} to {high})"


def _cells(interval: Interval, digits: int = 4) -> list[str]:
    return [number(value, digits) for value in interval]


def _listed(seeds: tuple[int, ...]) -> str:
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))
