"""Pages of single runs, sets of runs, a study's answers and schedules."""

import math
from typing import TYPE_CHECKING

from hyperjax.reports.answers import importance_figure, isolated_label, isolation_figure, joint_figure
from hyperjax.reports.effects import effect_figure, variance_share
from hyperjax.reports.figures import run_figures, schedule_values
from hyperjax.reports.front import front_figure, front_sentence
from hyperjax.reports.html_tables import plain_table
from hyperjax.reports.page import Page, code_block, escape, facts, figure_holder, section
from hyperjax.reports.runs import ranked_runs, run_text, runs_figures, schedule_figure
from hyperjax.reports.wording import metric_text, number, plural, recipe_code, spoken, value_text
from hyperjax.schedules import Schedule
from hyperjax.studies.front import Front
from hyperjax.studies.importance import Importance
from hyperjax.studies.isolating import Isolation
from hyperjax.studies.joint import JointEffect
from hyperjax.studies.study import Effect
from hyperjax.training.record import Run, Runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def run_page(run: Run) -> Page:
    """One run: its score, its recipe, its curves."""
    state = f"diverged at step {run.diverged_at}" if run.diverged else f"{spoken(run.metric)} {number(run.score, 4)}"
    stopped = "" if run.finished else f" Stopped after {run.steps_done} of {run.total_steps} steps."
    counted = [("steps done", f"{run.steps_done} of {run.total_steps}"), ("seed", str(run.seed))]
    header = _header("HyperJAX run", "One training run", f"{state[:1].upper()}{state[1:]}.{stopped}") + facts(counted)
    page = Page("A training run", header + code_block(recipe_code(run.recipe), "The recipe"))
    for place, (heading, figure) in enumerate(run_figures(run).items()):
        page.figures[f"figure-{place}"] = figure
        page.sections.append(section(f"figure-{place}", heading, figure_holder(f"figure-{place}", heading)))
    return page


def runs_page(runs: Runs) -> Page:
    """Several runs: which was best, their curves, a table."""
    ranked = ranked_runs(runs)
    if not ranked:
        return Page("No runs", _header("HyperJAX runs", "No runs", "There is nothing to show."))
    place, best = ranked[0]
    metric, diverged = spoken(best.metric), sum(run.diverged for run in runs)
    scored = not math.isnan(best.score)
    said = (
        f"Best: run {place}, seed {best.seed}, {metric} {number(best.score, 4)}." if scored else "No run has a score."
    )
    counted = [("runs", str(len(runs))), ("diverged", str(diverged))]
    header = _header("HyperJAX runs", plural(len(runs), "training run"), said) + facts(counted)
    header += code_block(recipe_code(best.recipe), f"The recipe of run {place}") if scored else ""
    page = Page(plural(len(runs), "training run"), header, texts={i: run_text(i, run) for i, run in ranked})
    for name, heading, figure in zip(
        ("metric", "loss"), (metric.capitalize(), "Training loss"), runs_figures(runs), strict=True
    ):
        page.figures[name] = figure
        page.sections.append(section(name, heading, figure_holder(name, f"{heading} of all runs")))
    rows = [
        [str(i), str(run.seed), number(run.score, 4), value_text(run.diverged_at), repr(run.recipe)]
        for i, run in ranked
    ]
    table = plain_table(["run", "seed", best.metric, "diverged_at", "recipe"], rows, "All runs, best first")
    page.sections.append(section("runs", "All runs", table))
    return page


def effect_page(effect: Effect) -> Page:
    """One hyperparameter's effect: the figure and its numbers."""
    share = variance_share(effect)
    said = "" if math.isnan(share) else f" {100 * share:.0f} % of the variance of the scores (epsilon squared)."
    heading = f"{spoken(effect.metric).capitalize()} over {effect.name}"
    lead = f"{plural(len(effect.scores), 'trial')} that did not diverge.{said}"
    page = Page(heading, _header("HyperJAX effect", heading, lead))
    page.figures["effect"] = effect_figure(effect)
    rows = [
        [point.label, str(point.trials), *(number(value, 4) for value in point.interval)] for point in effect.points
    ]
    table = plain_table([effect.name, "trials", "median", "low", "high"], rows, "Medians with 95 % intervals")
    page.sections.append(section("effect", "Effect", figure_holder("effect", heading) + table))
    return page


def joint_page(joint: JointEffect) -> Page:
    """Two hyperparameters together: the heat map and its numbers."""
    heading = f"{spoken(joint.metric).capitalize()} over {joint.names[0]} and {joint.names[1]}"
    counted = sum(map(sum, joint.trials))
    rows = [
        [row, column, str(joint.trials[i][j]), *(number(value, 4) for value in joint.intervals[i][j])]
        for i, row in enumerate(joint.labels[0])
        for j, column in enumerate(joint.labels[1])
    ]
    heads = [*joint.names, "trials", "median", "low", "high"]
    lead = f"{plural(counted, 'trial')} that did not diverge."
    return _answer_page(heading, lead, joint_figure(joint), heads, rows, "Medians with 95 % intervals")


def importance_page(importance: Importance) -> Page:
    """What mattered: the shares with their intervals."""
    heading = f"What mattered for the {spoken(importance.metric)}"
    lead = importance.note or f"By {importance.method}, over {plural(importance.trials, 'trial')} with a score."
    rows = [[name, *(number(value) for value in share)] for name, share in importance.shares.items()]
    heads = ["hyperparameter", "share", "low", "high"]
    return _answer_page(heading, lead, importance_figure(importance), heads, rows)


def isolation_page(isolation: Isolation) -> Page:
    """One hyperparameter's values at their best: the figure and its numbers."""
    heading = f"{spoken(isolation.metric).capitalize()} of each {isolation.name} at its best"
    lead = f"The expected best of {plural(isolation.draws, 'trial')} of each."
    rows = [
        [isolated_label(point), str(point.trials), str(point.diverged), value_text(point.best)]
        + [number(value, 4) for value in point.interval]
        for point in isolation.points
    ]
    heads = [isolation.name, "trials", "diverged", "best trial", "expected best", "low", "high"]
    return _answer_page(heading, lead, isolation_figure(isolation), heads, rows)


def front_page(front: Front) -> Page:
    """The front of several metrics: the figure and its trials."""
    figure, names = front_figure(front), list(dict.fromkeys(name for trial in front for name in trial.values))
    rows = [
        [str(trial.number), *(metric_text(name, trial.measured(name)) for name in front.metrics)]
        + [value_text(trial.values.get(name)) for name in names]
        for trial in front
    ]
    heads = ["trial", *front.metrics, *names]
    return _answer_page("The Pareto front", front_sentence(front), figure, heads, rows, "The trials of the front")


def _answer_page(
    heading: str,
    lead: str,
    figure: "Figure",
    heads: list[str],
    rows: list[list[str]],
    caption: str = "Means with 95 % intervals",
) -> Page:
    page = Page(heading, _header("HyperJAX study", heading, lead))
    page.figures["answer"] = figure
    table = plain_table(heads, rows, caption)
    page.sections.append(section("answer", "Answer", figure_holder("answer", heading) + table))
    return page


def schedule_page(schedule: Schedule) -> Page:
    """A schedule's value over its first 1000 steps."""
    steps, values = schedule_values(schedule, 1000)
    lead = f"From {number(values[0])} at step 0 to {number(values[-1])} at step {steps[-1]}."
    page = Page("A schedule", _header("HyperJAX schedule", "A schedule", lead))
    page.figures["schedule"] = schedule_figure(steps, values)
    page.sections.append(section("schedule", "Value by step", figure_holder("schedule", "Value by step")))
    return page


def _header(kind: str, heading: str, lead: str) -> str:
    return f'<p class="eyebrow">{kind}</p>\n<h1>{escape(heading)}</h1>\n<p class="answer">{escape(lead)}</p>\n'
