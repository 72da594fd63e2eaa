"""Learning curves of many trials or runs in one figure: coloured by rank, crosses where one diverged."""

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import metric_text, number, spoken, value_text
from hyperjax.studies.study import Study
from hyperjax.training.record import Run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_POINTS = 40_000  # in one figure; SVG lines stay quick to hover below this, and need no WebGL
MOST_CURVES = 1000  # in one figure; more are a blot, and slow to draw
FIRST = 100  # of more, those by rank that are drawn in any case
FEW = 8  # curves up to this many get a colour and a name each


@dataclass(frozen=True)
class Curve:
    """One line of a figure, best first in a list of them.

    Attributes:
        key: number of the trial or run; text: its hyperparameters, one line for hovering.
        x, y: the line, cut where it is no longer finite; low, high: least and greatest over the seeds.
        ended: where along x it diverged, else None.
        pruned: whether it was ended early by a pruner.
    """

    key: int
    text: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ended: float | None
    pruned: bool = False


def mean_curve(key: int, text: str, runs: Sequence[Run], metric: str, pruned: bool = False) -> Curve:
    """The mean of a metric over a trial's seeds at each validation that all of them reached."""
    rows = [np.asarray(run.metrics.get(metric, ()), np.float64) for run in runs]
    finite = [
        int(np.argmin(np.append(np.isfinite(row), False))) for row in rows
    ]  # entries before the first that is not
    length = min(finite, default=0)
    stack = np.stack([row[:length] for row in rows]) if rows else np.zeros((1, 0))
    epochs = np.asarray(runs[0].epochs, np.float64)[:length] if runs else np.zeros(0)
    ends = [end for run in runs if (end := _epoch_of_divergence(run)) is not None]
    ended = min(ends) if ends else None
    return Curve(key, text, epochs, stack.mean(0), stack.min(0), stack.max(0), ended, pruned and ended is None)


def study_curves(study: Study, metric: str, texts: Mapping[int, str]) -> list[Curve]:
    """One curve a trial, best first."""
    return [
        mean_curve(trial.number, texts[trial.number], trial.runs, metric, trial.pruned_at is not None)
        for trial in study.ranking
    ]


def curves_figure(curves: Sequence[Curve], metric: str, noun: str = "trial", horizontal: str = "epoch") -> "Figure":
    """Draw curves, best first in the list: the best on top, the others in bands of rank, a cross where one diverged.

    Every point carries its curve's key as `customdata`; each trace names its role in `meta`, by which the page repaints
    it for light and dark.
    """
    import plotly.graph_objects as go

    drawn = {curves[place].key for place in drawn_places(len(curves), MOST_CURVES, FIRST)}
    thin = f" ({len(drawn):,} of {len(curves):,} curves drawn)" if len(drawn) < len(curves) else ""
    most = points_each(len(drawn))
    values = np.concatenate([curve.y for curve in curves]) if curves else np.zeros(0)
    log, decades = wide(values) if metric.endswith("loss") else (False, 0.0)  # shares and scores are read as they are
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis(horizontal + thin),
            yaxis=number_axis(spoken(metric), log, decades) | {"domain": [0.06, 1.0]},
            showlegend=True,
        )
    )
    hover = f"%{{text}}<br>{horizontal} %{{x:.4g}}: <b>%{{y:.4g}}</b><extra></extra>"
    if len(curves) > 1 and len(curves[0].y) and np.any(curves[0].high > curves[0].low):
        best = curves[0]
        figure.add_scatter(
            x=[*rounded(best.x), *rounded(best.x[::-1])],
            y=[*rounded(best.high), *rounded(best.low[::-1])],
            fill="toself",
            fillcolor=LIGHT["best-fill"],
            mode="none",
            hoverinfo="skip",
            legendgroup="best",
            showlegend=False,
            meta={"fill": "best-fill"},
        )
    gone = [curve for curve in curves if curve.ended is not None]
    _add_crosses(figure, [curve for curve in gone if curve.key in drawn], len(gone), noun, horizontal)
    for role, name, width, band in reversed(rank_bands(curves, noun)):
        members = [curve for curve in band if curve.key in drawn]
        if not members:
            continue
        x, y, keys, texts = _joined(members, most)
        figure.add_scatter(
            x=x,
            y=y,
            customdata=keys,
            text=texts,
            mode="lines" if all(len(c.y) != 1 for c in members) else "lines+markers",
            name=html.escape(name, quote=False),
            legendgroup="best" if members[0] is curves[0] else role,
            showlegend=role != "diverged",
            line={"color": LIGHT[role], "width": width, "dash": "dot" if all(c.pruned for c in members) else "solid"},
            marker={"color": LIGHT[role], "size": 6 if width > 1 else 3},
            hovertemplate=hover,
            meta={"role": role},
        )
    reach = max(
        [*(float(curve.x[-1]) for curve in curves if len(curve.x)), *(curve.ended or 0.0 for curve in curves)],
        default=0,
    )
    if reach > 0:
        figure.update_xaxes(range=[0, 1.005 * reach])
    close = _close_range(curves, log)
    figure.update_layout(meta={"close": close} if close else None)
    return figure


def drawn_places(count: int, most: int, first: int) -> list[int]:
    """Which of a ranking are drawn: all, or the first few and others at even distances.

    >>> drawn_places(4, 9, 2), drawn_places(20, 5, 2)
    ([0, 1, 2, 3], [0, 1, 2, 10, 19])
    """
    if count <= most:
        return list(range(count))
    return [*range(first), *map(int, np.linspace(first, count - 1, most - first).round())]


def points_each(curves: int) -> int:
    """How many points each of so many curves may have."""
    return max(20, MOST_POINTS // max(1, curves))


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` entries: ends kept, and of each stretch the least and the greatest, so spikes stay."""
    if len(values) <= most:
        return np.arange(len(values))
    parts = np.array_split(np.arange(1, len(values) - 1), max(1, (most - 2) // 2))
    filled = np.where(np.isfinite(values), values, np.inf)
    kept = {0, len(values) - 1}
    for part in parts:
        kept |= {int(part[np.argmin(filled[part])]), int(part[np.argmax(filled[part])])}
    return np.array(sorted(kept))


def wide(values: np.ndarray | Sequence[float]) -> tuple[bool, float]:
    """Whether values want a logarithmic axis (all positive, more than a factor of 30 apart), and how many decades."""
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    if not len(array) or array.min() <= 0:
        return False, 0.0
    decades = float(np.log10(array.max() / array.min()))
    return decades > math.log10(30), decades


def rounded(values: Sequence[float] | np.ndarray, digits: int = 5) -> list[float | None]:
    """Plain numbers of few digits, None where not finite: a small page and valid JSON."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in np.asarray(values, np.float64)]


def hover_text(heading: str, words: Sequence[tuple[str, str]]) -> str:
    """What is shown over a curve or point: a bold heading, then name and value pairs, a few on a line."""
    pairs = [f"{html.escape(name, quote=False)} {html.escape(value, quote=False)}" for name, value in words]
    lines = [", ".join(pairs[i : i + 3]) for i in range(0, len(pairs), 3)]
    return "<br>".join([f"<b>{html.escape(heading, quote=False)}</b>", *lines])


def study_texts(study: Study, names: Sequence[str]) -> dict[int, str]:
    """Hover text of each trial, by its number."""
    texts = {}
    for rank, trial in enumerate(study.ranking, 1):
        place = "diverged" if trial.diverged else f"rank {rank}, {number(trial.score, 4)}"
        place += f", pruned at epoch {trial.pruned_at}" if trial.pruned_at is not None and not trial.diverged else ""
        words = [(spoken(name), metric_text(name, trial.measured(name))) for name in study.further]
        words += [(name, value_text(trial.values[name])) for name in names if trial.values.get(name) is not None]
        texts[trial.number] = hover_text(f"trial {trial.number} ({place})", words)
    return texts


def _close_range(curves: Sequence[Curve], log: bool) -> list[float] | None:
    """The axis range in which the better half of the curves ends; None where that is no closer look."""
    ends = np.array([curve.y[-1] for curve in curves if len(curve.y) and curve.ended is None])
    if len(ends) < 4:
        return None
    best, middle = float(ends[0]), float(ends[len(ends) // 2])
    if log:
        best, middle = math.log10(best), math.log10(middle)
    if not abs(best - middle) > 1e-9:
        return None
    return sorted([middle + 0.25 * (middle - best), best - 0.1 * (middle - best)])


def rank_bands(curves: Sequence[Curve], noun: str) -> list[tuple[str, str, float, list[Curve]]]:
    """Role, name, line width and members of each band of rank, best first; empty bands are left out."""
    drawn = [curve for curve in curves if len(curve.y)]
    if len(curves) <= FEW:
        place = {id(curve): i for i, curve in enumerate(curves)}
        return [(f"series-{place[id(c)]}", f"{noun} {c.key}", 2.0, [c]) for c in drawn]
    ranked = [curve for curve in drawn if curve.ended is None and not curve.pruned]
    rest = ranked[10:]
    cuts = [round(len(rest) * i / 4) for i in range(5)]
    bands = [("best", f"best ({noun} {ranked[0].key})" if ranked else "best", 3.0, ranked[:1])]
    bands.append(("top", f"ranks 2 to {min(10, len(ranked))}", 1.6, ranked[1:10]))
    for i, (start, stop) in enumerate(itertools.pairwise(cuts)):
        name = f"{start + 11} to {stop + 10}" if stop > start + 1 else f"rank {stop + 10}"
        bands.append((f"band-{i}", name, 1.0, rest[start:stop]))
    pruned = [curve for curve in drawn if curve.pruned]
    bands.append(("pruned", f"pruned ({len(pruned)})", 0.8, pruned))
    bands.append(("diverged", "up to divergence", 1.0, [curve for curve in drawn if curve.ended is not None]))
    return [band for band in bands if band[3]]


def _joined(members: Sequence[Curve], most: int) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Several curves as one line with gaps: far fewer elements in the page than a trace each."""
    x: list[Any] = []
    y: list[Any] = []
    keys: list[Any] = []
    texts: list[Any] = []
    for curve in reversed(members):  # the better ones are drawn over the others
        kept = thinned(curve.y, most)
        x += [*rounded(curve.x[kept]), None]
        y += [*rounded(curve.y[kept]), None]
        keys += [curve.key] * (len(kept) + 1)
        texts += [curve.text] * (len(kept) + 1)
    return x[:-1], y[:-1], keys[:-1], texts[:-1]


def _add_crosses(figure: "Figure", ended: Sequence[Curve], count: int, noun: str, horizontal: str) -> None:
    """Crosses along the foot of the figure, since a diverged curve often has no finite point to end at."""
    if not ended:
        figure.update_yaxes(domain=[0.0, 1.0])
        return
    figure.update_layout(
        xaxis_anchor="y2",
        yaxis2={"domain": [0.0, 0.05], "range": [-1, 1], "visible": False, "fixedrange": True, "anchor": "x"},
    )
    figure.add_scatter(
        x=rounded([curve.ended for curve in ended if curve.ended is not None]),
        y=[0] * len(ended),
        yaxis="y2",
        customdata=[curve.key for curve in ended],
        text=[curve.text for curve in ended],
        mode="markers",
        cliponaxis=False,
        legendgroup="diverged",
        name=f"diverged ({count})",
        marker={
            "symbol": "x-thin",
            "size": 8,
            "color": LIGHT["diverged"],
            "line": {"width": 1.6, "color": LIGHT["diverged"]},
        },
        hovertemplate=f"%{{text}}<br>diverged at {horizontal} %{{x:.3g}}<extra></extra>",
        meta={"role": "diverged"},
    )


def _epoch_of_divergence(run: Run) -> float | None:
    """Epochs done when the run diverged, from the steps and epochs of its end."""
    if run.diverged_at is None:
        return None
    epochs = np.asarray(run.epochs, np.float64)
    if len(epochs) and run.steps_done > 0 and math.isfinite(epochs[-1]) and epochs[-1] > 0:
        return float(epochs[-1]) * run.diverged_at / run.steps_done
    planned = getattr(run.recipe, "epochs", 0)
    whole = float(planned) if isinstance(planned, int | float) else 0.0
    return whole * run.diverged_at / max(1, run.total_steps)
