"""Figures of single runs, sets of runs and schedules: loss by step, metrics by epoch, the numbers in force."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.reports.curves import Curve, curves_figure, hover_text, mean_curve, rounded, thinned, wide
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import number, spoken, value_text
from hyperjax.training.record import Run, Runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_STEPS = 2000  # of a single line


def loss_figure(run: Run) -> "Figure":
    """Training loss of each batch over the steps, on a logarithmic axis where it is positive."""
    return _lines(run.steps, {"training loss": run.losses}, "step", "loss", positive_log=True)


def metric_figures(run: Run) -> list["Figure"]:
    """One figure for each metric, training dashed beside validation, over the epochs."""
    kinds = dict.fromkeys(name.split("_", 1)[1] for name in run.metrics if name.startswith(("train_", "validation_")))
    figures = []
    for kind in kinds:
        named = {"validation": run.metrics.get(f"validation_{kind}"), "training": run.metrics.get(f"train_{kind}")}
        figures.append(_lines(run.epochs, {k: v for k, v in named.items() if v is not None}, "epoch", spoken(kind)))
    return figures


def rate_figure(run: Run) -> "Figure | None":
    """The learning rate in force at each recorded step; None for a run without one."""
    try:
        rates = run.in_force("learning_rate")
    except ValueError:
        return None
    return _lines(run.steps, {"learning rate": rates}, "step", "learning rate in force")


def runs_figures(runs: Runs) -> list["Figure"]:
    """The ranking metric over epochs and the training loss over steps, all runs in each, best first."""
    ranked = ranked_runs(runs)
    if not ranked:
        return []
    texts = {place: run_text(place, run) for place, run in ranked}
    metric = ranked[0][1].metric
    curves = [mean_curve(place, texts[place], [run], metric) for place, run in ranked]
    losses = []
    for place, run in ranked:
        kept = thinned(np.asarray(run.losses, np.float64), 400 if len(ranked) > 8 else MOST_STEPS)
        y, x = np.asarray(run.losses, np.float64)[kept], np.asarray(run.steps, np.float64)[kept]
        finite = np.isfinite(y)
        ended = float(run.diverged_at) if run.diverged_at is not None else None
        losses.append(Curve(place, texts[place], x[finite], y[finite], y[finite], y[finite], ended))
    return [curves_figure(curves, metric, "run"), curves_figure(losses, "training_loss", "run", "step")]


def ranked_runs(runs: Runs) -> list[tuple[int, Run]]:
    """Places and runs from best to worst; those without a score last."""
    sign = -1.0 if len(runs) and runs[0].direction == "max" else 1.0
    numbered = list(enumerate(runs))
    return sorted(numbered, key=lambda pair: (np.isnan(pair[1].score), sign * np.nan_to_num(pair[1].score)))


def run_text(place: int, run: Run) -> str:
    """Hover text of one of several runs."""
    state = f"diverged at step {run.diverged_at}" if run.diverged else number(run.score, 4)
    fields = {name: getattr(run.recipe, name, None) for name in ("optimizer", "learning_rate", "batch_size", "epochs")}
    words = [(name, value_text(value)) for name, value in fields.items() if value is not None]
    return hover_text(f"run {place} ({state})", [*words, ("seed", str(run.seed))])


def schedule_figure(steps: np.ndarray, values: np.ndarray) -> "Figure":
    """A schedule's value over the steps."""
    figure = _lines(steps, {"value": values}, "step", "value")
    figure.update_yaxes(type="linear", rangemode="tozero")
    return figure


def stacked(figures: Sequence["Figure"]) -> "Figure":
    """Several figures under one another in a single one, for a notebook."""
    from plotly.subplots import make_subplots

    if len(figures) == 1:
        return figures[0]
    whole = make_subplots(rows=len(figures), cols=1, vertical_spacing=0.25 / max(1, len(figures)))
    for row, figure in enumerate(figures, 1):
        for trace in figure.data:
            if trace.yaxis in (
                None,
                "y",
            ):  # the strip of crosses needs an axis of its own, which a stack has no room for
                whole.add_trace(trace.update(legendgroup=trace.name, showlegend=row == 1), row=row, col=1)
        for update, axis in ((whole.update_xaxes, figure.layout.xaxis), (whole.update_yaxes, figure.layout.yaxis)):
            update(
                title=axis.title, type=axis.type, exponentformat=axis.exponentformat, dtick=axis.dtick, row=row, col=1
            )
    whole.update_layout(layout(height=320 * len(figures), showlegend=any(f.layout.showlegend for f in figures)))
    return whole


def _lines(
    x: np.ndarray, lines: dict[str, np.ndarray], horizontal: str, vertical: str, positive_log: bool = False
) -> "Figure":
    import plotly.graph_objects as go

    values = np.concatenate([np.asarray(line, np.float64) for line in lines.values()]) if lines else np.zeros(0)
    log, decades = wide(values)
    finite = values[np.isfinite(values)]
    log = log or (positive_log and bool(len(finite)) and bool(finite.min() > 0))
    figure = go.Figure(
        layout=layout(
            xaxis=number_axis(horizontal),
            yaxis=number_axis(html.escape(vertical, quote=False), log, decades),
            showlegend=len(lines) > 1,
        )
    )
    for place, (name, line) in enumerate(lines.items()):
        array = np.asarray(line, np.float64)
        kept = thinned(array, MOST_STEPS)
        figure.add_scatter(
            x=rounded(np.asarray(x, np.float64)[kept]),
            y=rounded(array[kept]),
            mode="lines+markers" if len(kept) < 3 else "lines",
            name=html.escape(name, quote=False),
            line={"color": LIGHT[f"series-{place}"], "width": 2, "dash": "dot" if name == "training" else "solid"},
            hovertemplate=f"{horizontal} %{{x}}: <b>%{{y:.4g}}</b>",
            meta={"role": f"series-{place}"},
        )
    return figure
