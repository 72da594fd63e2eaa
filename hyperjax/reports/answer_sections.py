"""Sections of a study's page that answer: what mattered, and each choice at its best."""

import math

from hyperjax.reports.answers import importance_figure, isolated_label, isolation_figure, joint_figure
from hyperjax.reports.page import Page, escape, figure_holder, section
from hyperjax.reports.wording import number, plural, spoken
from hyperjax.studies.importance import Importance
from hyperjax.studies.study import Study

LEAST_TOGETHER = 16  # trials with a score, for a grid of two


def importance_section(study: Study, page: Page) -> str:
    """Shares of the variance with their intervals, and the two that explain most together."""
    found = study.importance()
    heading = "What mattered"
    if found.note:
        return section("importance", heading, f'<p class="note">{escape(found.note)}</p>')
    known = [name for name, share in found.shares.items() if math.isfinite(share.mean)]
    page.figures["importance"] = importance_figure(found)
    body = f'<p class="note">{escape(_explained(found, study))}</p>\n'
    panels = _panel("importance", "Importance", "share of the variance, each alone")
    if len(known) > 1 and found.trials >= LEAST_TOGETHER:
        joint = study.effect(known[0], known[1])
        if len(joint.labels[0]) < len(joint.labels[1]):  # the longer one runs downwards, where a narrow page has room
            joint = study.effect(known[1], known[0])
        page.figures["joint"] = joint_figure(joint)
        said = f"mean {spoken(study.metric)} (number of trials); stronger is better"
        panels += _panel("joint", f"{known[0]} and {known[1]}", said)
    return section("importance", heading, f'{body}<div class="panels wide">{panels}</div>')


def isolation_section(study: Study, page: Page) -> str:
    """Every searched choice, its values compared at their best."""
    panels = []
    for name in sorted(study.space, key=lambda name: name not in study.scientific):
        if name in study.ranges or name in study.continuous:
            continue
        found = study.isolate(name)
        finite = [point for point in found.points if math.isfinite(point.interval.mean)]
        if found.kind != "choice" or len(finite) < 2 or found.draws < 2:  # a best of one is a mean, as above
            continue
        page.figures[f"isolation-{name}"] = isolation_figure(found)
        counts = ", ".join(f"{isolated_label(point)} ({point.trials})" for point in found.points)
        heading = f"{name} (scientific)" if name in study.scientific else name
        panels.append(_panel(f"isolation-{name}", heading, f"best of {found.draws}; trials: {counts}"))
    if not panels:
        return ""
    note = (
        f"{spoken(study.metric).capitalize()} of each choice at its own best setting of everything else. The best of "
        "more trials is better by luck alone, so each choice is given equally many: the expected best of so many "
        "trials of its own, chosen at random, with a 95 % interval. Trials that diverged count as the worst."
    )
    body = f'<p class="note">{escape(note)}</p>\n<div class="panels">{"".join(panels)}</div>'
    return section("isolation", "Each choice at its best", body)


def _explained(found: Importance, study: Study) -> str:
    alone = sum(share.mean for share in found.shares.values() if math.isfinite(share.mean))
    scored = sum(math.isfinite(trial.score) for trial in study.trials)
    drawn = f"{found.trials} of {scored} trials" if found.trials < scored else plural(scored, "trial")
    return (
        f"Shares of the variance of the {spoken(study.metric)} that each hyperparameter explains alone, over the "
        f"whole space (fANOVA, over {drawn} with a score), with 95 % intervals. They add up "
        f"to {number(100 * alone, 2)} %; the rest lies in their interplay, or is noise."
    )


def _panel(figure: str, heading: str, said: str) -> str:
    holder = figure_holder(figure, f"{heading}: {said}", low=figure != "joint")
    return f"<section><h3>{escape(heading)}</h3><p>{escape(said)}</p>{holder}</section>\n"
