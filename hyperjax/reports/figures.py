"""`plot(x)`: the figure that belongs to a result."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.diagnostics import Diagnostic
from hyperjax.reports.answers import importance_figure, isolation_figure, joint_figure
from hyperjax.reports.curves import curves_figure, study_curves, study_texts
from hyperjax.reports.diagnostic_page import diagnostic_figures
from hyperjax.reports.effects import effect_figure
from hyperjax.reports.front import front_figure
from hyperjax.reports.hypergradients import descent_figure, hypergradient_figure
from hyperjax.reports.population_page import population_figures
from hyperjax.reports.runs import loss_figure, metric_figures, rate_figure, runs_figures, schedule_figure, stacked
from hyperjax.reports.tables import searched_names
from hyperjax.reports.winner import winner_figure
from hyperjax.schedules import Schedule
from hyperjax.studies import PopulationBased
from hyperjax.studies.front import Front
from hyperjax.studies.importance import Importance
from hyperjax.studies.isolating import Isolation
from hyperjax.studies.joint import JointEffect
from hyperjax.studies.study import Effect, Study
from hyperjax.studies.winner import Winner
from hyperjax.training import Descent, Hypergradient
from hyperjax.training.record import Run, Runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

KINDS = (
    "a study, one of its answers, population based training, a diagnostic, a hypergradient, a descent, a run, "
    "several runs or a schedule"
)
ANSWERS: "dict[type, Callable[[Any], Figure]]" = {
    Effect: effect_figure,
    JointEffect: joint_figure,
    Importance: importance_figure,
    Isolation: isolation_figure,
    Front: front_figure,
    Winner: winner_figure,
    Hypergradient: hypergradient_figure,
    Descent: descent_figure,
}


def plot(x: Any, *, metric: str | None = None, steps: int | None = None) -> "Figure":
    """Draw a result.

    Args:
        x: a study (learning curves of all trials), one of its answers (an effect of one name or two, an importance, an
            isolation, a winner, the front of several metrics), population based training (curves of all members and the
            schedules that they found), a diagnostic, a hypergradient (what each number does), a descent (its steps), a
            run (loss, metrics, learning rate), several runs (their curves), or a schedule.
        metric: for a study, which recorded metric to draw; None is the one that ranks.
        steps: for a schedule, how many steps from 0; None is 1000.
    Returns: a Plotly figure, which a notebook shows by itself.
    Raises: ValueError when there is no figure for `x`, it holds nothing to draw, or an argument does not belong to it.

    >>> from hyperjax.schedules import cosine_decay
    >>> len(plot(cosine_decay(0.1, 100), steps=100).data)
    1
    """
    if metric is not None and not isinstance(x, Study):
        raise ValueError(f"metric applies to a study alone, got it with a {type(x).__name__}")
    if steps is not None and not isinstance(x, Schedule):
        raise ValueError(f"steps applies to a schedule alone, got it with a {type(x).__name__}")
    if isinstance(x, Study):
        known = dict.fromkeys(name for trial in x.trials for run in trial.runs for name in run.metrics)
        chosen = x.metric if metric is None else one_of("metric", metric, known)
        return curves_figure(study_curves(x, chosen, study_texts(x, searched_names(x))), chosen)
    if type(x) in ANSWERS:
        return ANSWERS[type(x)](x)
    if isinstance(x, PopulationBased):
        return stacked(list(population_figures(x).values()))
    if isinstance(x, Diagnostic) and (figures := diagnostic_figures(x)):
        return stacked(list(figures.values()))
    if isinstance(x, Run):
        return stacked(list(run_figures(x).values()))
    if isinstance(x, Runs):
        if not len(x):
            raise ValueError("x must hold at least one run, got none")
        return stacked(runs_figures(x))
    if isinstance(x, Schedule):
        count = positive_integer("steps", 1000 if steps is None else steps)
        return schedule_figure(*schedule_values(x, count))
    raise ValueError(f"x must be {KINDS}, got a {type(x).__name__}")


def run_figures(run: Run) -> dict[str, "Figure"]:
    """The figures of a run by their headings."""
    figures = {"Training loss": loss_figure(run)}
    figures |= {figure.layout.yaxis.title.text.capitalize(): figure for figure in metric_figures(run)}
    rate = rate_figure(run)
    return figures if rate is None else figures | {"Learning rate": rate}


def schedule_values(schedule: Schedule, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps, at most 2000 of them evenly spread, and the schedule's value at each."""
    import jax

    places = np.unique(np.linspace(0, steps - 1, min(steps, 2000)).round().astype(np.int32))
    return places, np.asarray(jax.vmap(schedule)(places))
