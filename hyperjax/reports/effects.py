"""What one hyperparameter did: every trial as a point, medians with their intervals, and where trials diverged."""

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.reports.curves import rounded, wide
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import is_number, number, spoken, value_text
from hyperjax.statistics import MedianInterval
from hyperjax.studies.study import Effect, EffectPoint, Study

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_DOTS = 500  # trials drawn in one panel; medians use all of them


def variance_share(effect: Effect) -> float:
    """Share of the variance of the scores that lies between bins or choices, corrected for their number.

    epsilon^2 = 1 - (1 - eta^2) (n - 1) / (n - k), with eta^2 = sum_g n_g (mean_g - mean)^2 / sum_i (score_i - mean)^2,
    n trials in k groups; negative values, which mean "no more than chance", become 0.

    Returns: in [0, 1]; NaN with fewer than k + 2 trials, fewer than two groups or equal scores.
    Source: Kelley (1935), doi:10.1073/pnas.21.9.554.
    """
    scores = np.asarray(effect.scores, np.float64)
    trials, groups = len(scores), len(effect.points)
    if groups < 2 or trials < groups + 2:
        return math.nan
    total = float(np.sum((scores - scores.mean()) ** 2))
    if total <= 1e-24 * max(1.0, float(scores.mean()) ** 2):
        return math.nan
    between = sum(point.trials * (point.mean - scores.mean()) ** 2 for point in effect.points)
    return float(max(0.0, 1 - (1 - between / total) * (trials - 1) / (trials - groups)))


def ranked_effects(study: Study) -> list[tuple[Effect, float]]:
    """Every searched hyperparameter's effect with its share of variance, largest first, unknown shares last."""
    effects = [(effect, variance_share(effect)) for effect in map(study.effect, study.space)]
    return sorted(effects, key=lambda pair: -1.0 if math.isnan(pair[1]) else pair[1], reverse=True)


def effect_figure(
    effect: Effect,
    trials: Sequence[int] | None = None,
    diverged: Sequence[Any] = (),
    vertical: tuple[float, float] | None = None,
) -> "Figure":
    """Draw an effect.

    Args:
        effect: from `study.effect(name)`.
        trials: numbers of the trials behind `effect.values`, for hovering and linking.
        diverged: this hyperparameter's values in the trials that diverged, shown as a share along the foot.
        vertical: least and greatest of the metric's axis, so that several figures can share it.
    Returns: scatter of trials with medians and 95 % intervals; numbers on the scale they were searched on.
    """
    import plotly.graph_objects as go

    continuous = _continuous(effect)
    scores = vertical if vertical is not None else effect.scores
    log, decades = wide(scores) if effect.direction == "min" else (False, 0.0)
    known = [value for value in [*effect.values, *diverged] if is_number(value)]
    spread = wide(known)[1] if effect.log else 0.0
    horizontal = number_axis(
        html.escape(effect.name, quote=False), effect.log and continuous and min(known) > 0, spread
    )
    figure = go.Figure(
        layout=layout(
            xaxis=horizontal,
            yaxis=number_axis(spoken(effect.metric), log, decades)
            | {"domain": [0.26, 1.0] if len(diverged) else [0, 1]},
        )
    )
    points = effect.points if continuous else _ordered(effect)
    place = {point.label: i for i, point in enumerate(points)}
    dots = np.unique(np.linspace(0, len(effect.values) - 1, min(MOST_DOTS, len(effect.values))).round().astype(int))
    spots = [
        effect.values[i] if continuous else place[str(effect.values[i])] + 0.5 * ((0.618034 * i) % 1 - 0.5)
        for i in dots
    ]
    numbers = [trials[i] if trials is not None else None for i in dots]
    heads = [f"<b>trial {n}</b><br>" if n is not None else "" for n in numbers]
    figure.add_scatter(
        x=rounded([float(spot) for spot in spots]),
        y=rounded([effect.scores[i] for i in dots]),
        mode="markers",
        name="trials",
        marker={"size": 5, "color": LIGHT["point"]},
        customdata=numbers if trials is not None else None,
        text=[
            f"{head}{html.escape(effect.name, quote=False)} {html.escape(value_text(effect.values[i], 4), quote=False)}"
            for head, i in zip(heads, dots, strict=True)
        ],
        hovertemplate="%{text}<br>" + html.escape(spoken(effect.metric), quote=False) + " %{y:.4g}<extra></extra>",
        meta={"role": "point"},
    )
    if effect.kind == "number":
        _add_band(figure, effect, log)
    elif not continuous:
        _add_choices(figure, points)
        figure.update_xaxes(
            tickvals=list(range(len(points))),
            ticktext=[_short(_label(effect, point)) for point in points],
            range=[-0.6, max(len(points), 1) - 0.4],
            showgrid=False,
        )
    if len(diverged):
        _add_diverged(figure, effect, diverged, place, continuous)
    if vertical is not None:
        low, high = vertical
        limits = [math.log10(low), math.log10(high)] if log else [low, high]
        pad = 0.04 * (limits[1] - limits[0]) or 0.01
        figure.update_layout(yaxis_range=[limits[0] - pad, limits[1] + pad])
    return figure


def _continuous(effect: Effect) -> bool:
    """Numbers that mostly occur once are places on a line, even when they are too few to be cut into bins."""
    if effect.kind == "number":
        return True
    alone = sum(point.trials == 1 for point in effect.points)
    return bool(effect.values) and all(map(is_number, effect.values)) and 2 * alone > len(effect.points) > 1


def _ordered(effect: Effect) -> list[EffectPoint]:
    """Numbers in their order; other choices from the best median to the worst."""
    if all(map(is_number, effect.values)):
        return list(effect.points)
    sign = -1 if effect.direction == "max" else 1
    return sorted(effect.points, key=lambda point: sign * point.interval.median)


def _label(effect: Effect, point: EffectPoint) -> str:
    return next((value_text(value) for value in effect.values if str(value) == point.label), point.label)


def _short(text: str, most: int = 18) -> str:
    return html.escape(text if len(text) <= most else f"{text[: most - 1]}…", quote=False)


def _add_band(figure: "Figure", effect: Effect, log_metric: bool) -> None:
    """Medians of the bins joined by a line, in a band of their intervals."""
    centers = []
    for point in effect.points:
        geometric = effect.log and point.low > 0
        centers.append(math.sqrt(point.low * point.high) if geometric else (point.low + point.high) / 2)
    medians = [point.interval.median for point in effect.points]
    floor = min(effect.scores) if log_metric else -math.inf
    bounded = [p.interval if math.isfinite(p.interval.high) else (p.interval.median,) * 3 for p in effect.points]
    lows = [max(low, floor) for _, low, _ in bounded]
    highs = [high for _, _, high in bounded]
    figure.add_scatter(
        x=rounded([*centers, *centers[::-1]]),
        y=rounded([*highs, *lows[::-1]]),
        mode="none",
        fill="toself",
        fillcolor=LIGHT["mean-fill"],
        hoverinfo="skip",
        meta={"fill": "mean-fill"},
    )
    figure.add_scatter(
        x=rounded(centers),
        y=rounded(medians),
        mode="lines+markers",
        name="median",
        line={"color": LIGHT["mean"], "width": 2},
        marker={"color": LIGHT["mean"], "size": 6},
        text=[_median_text(point, f"{number(point.low)} to {number(point.high)}") for point in effect.points],
        hovertemplate="%{text}<extra></extra>",
        meta={"role": "mean"},
    )


def _add_choices(figure: "Figure", points: Sequence[EffectPoint]) -> None:
    """A median with its interval over each choice."""
    known = [p.interval if math.isfinite(p.interval.high) else (p.interval.median,) * 3 for p in points]
    above, below = [high - median for median, _, high in known], [median - low for median, low, _ in known]
    figure.add_scatter(
        x=list(range(len(points))),
        y=rounded([median for median, _, _ in known]),
        mode="markers",
        name="median",
        marker={"color": LIGHT["mean"], "size": 9, "symbol": "diamond"},
        error_y={
            "array": rounded(above),
            "arrayminus": rounded(below),
            "color": LIGHT["mean"],
            "thickness": 2,
            "width": 6,
        },
        text=[_median_text(point, html.escape(point.label, quote=False)) for point in points],
        hovertemplate="%{text}<extra></extra>",
        meta={"role": "mean"},
    )


def _median_text(point: EffectPoint, heading: str) -> str:
    counted = f"{point.trials} trial{'' if point.trials == 1 else 's'}"
    return f"<b>{heading}</b><br>median {within(point.interval)}<br>{counted}"


def within(interval: MedianInterval) -> str:
    """A median and its interval, where so few values have one.

    >>> within(MedianInterval(0.5, 0.25, 0.75)), within(MedianInterval(0.5, -math.inf, math.inf))
    ('0.5, 95 % interval 0.25 to 0.75', '0.5')
    """
    bounds = f", 95 % interval {number(interval.low)} to {number(interval.high)}" if interval.high < math.inf else ""
    return f"{number(interval.median, 4)}{bounds}"


def _add_diverged(
    figure: "Figure", effect: Effect, diverged: Sequence[Any], place: dict[str, int], continuous: bool
) -> None:
    """Bars along the foot: of the trials in each stretch or with each choice, the share that diverged."""
    if continuous or (not effect.values and all(map(is_number, diverged)) and len(set(diverged)) > 8):
        logarithmic = effect.log and min(float(v) for v in [*effect.values, *diverged]) > 0
        scale = np.log10 if logarithmic else np.asarray
        good = scale(np.asarray(effect.values, np.float64))
        bad = scale(np.asarray(diverged, np.float64))
        edges = np.histogram_bin_edges(np.concatenate([good, bad]), bins=10)
        fails, passes = np.histogram(bad, edges)[0], np.histogram(good, edges)[0]
        if logarithmic:
            edges = 10.0**edges
            figure.update_xaxes(type="log")
        x, widths = edges[:-1], np.diff(edges)
    else:
        labels = list(dict.fromkeys([*place, *map(str, diverged)]))
        place |= {label: i for i, label in enumerate(labels)}
        fails = np.array([sum(str(value) == label for value in diverged) for label in labels])
        passes = np.array([sum(str(value) == label for value in effect.values) for label in labels])
        x, widths = np.arange(len(labels)) - 0.35, np.full(len(labels), 0.7)
        shown = {str(value): value_text(value) for value in [*effect.values, *diverged]}
        figure.update_xaxes(
            tickvals=list(range(len(labels))),
            ticktext=[_short(shown[label]) for label in labels],
            range=[-0.6, len(labels) - 0.4],
        )
    share = fails / np.maximum(fails + passes, 1)
    figure.add_bar(
        x=rounded(x),
        y=rounded(share),
        width=rounded(widths * 0.96),
        offset=0,
        yaxis="y2",
        name="diverged",
        marker={"color": LIGHT["diverged"], "line": {"width": 0}},
        text=[f"{fail} of {fail + good} trials diverged" for fail, good in zip(fails, passes, strict=True)],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        meta={"role": "diverged"},
    )
    figure.update_layout(
        xaxis_anchor="y2",
        yaxis2=layout()["yaxis"]
        | {"domain": [0, 0.14], "range": [0, 1], "tickvals": [0, 1], "ticktext": ["0", "100 %"], "anchor": "x"}
        | {"fixedrange": True},
    )
    figure.add_annotation(
        text="share diverged",
        x=1,
        y=0.15,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
    )
    figure.update_annotations(font={"size": 11, "color": LIGHT["diverged"]})
