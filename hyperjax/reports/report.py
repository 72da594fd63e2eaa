"""`report(x, path)`: the page that belongs to a result."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyperjax.diagnostics import Diagnostic
from hyperjax.reports.diagnostic_page import diagnostic_page
from hyperjax.reports.figures import KINDS
from hyperjax.reports.files import write_whole
from hyperjax.reports.hypergradients import descent_page, hypergradient_page
from hyperjax.reports.page import Page
from hyperjax.reports.population_page import population_page
from hyperjax.reports.result_pages import (
    effect_page,
    front_page,
    importance_page,
    isolation_page,
    joint_page,
    run_page,
    runs_page,
    schedule_page,
)
from hyperjax.reports.study_page import study_page
from hyperjax.schedules import Schedule
from hyperjax.studies import PopulationBased
from hyperjax.studies.front import Front
from hyperjax.studies.importance import Importance
from hyperjax.studies.isolating import Isolation
from hyperjax.studies.joint import JointEffect
from hyperjax.studies.study import Effect, Study
from hyperjax.training import Descent, Hypergradient
from hyperjax.training.record import Run, Runs

PAGES: dict[type, Callable[[Any], Page]] = {
    Study: study_page,
    Effect: effect_page,
    JointEffect: joint_page,
    Importance: importance_page,
    Isolation: isolation_page,
    Front: front_page,
    PopulationBased: population_page,
    Diagnostic: diagnostic_page,
    Hypergradient: hypergradient_page,
    Descent: descent_page,
    Run: run_page,
    Runs: runs_page,
    Schedule: schedule_page,
}


def report(x: Any, path: str | os.PathLike[str]) -> Path:
    """Write a result as one HTML file that needs no network; it appears whole or not at all.

    Args:
        x: a study, one of its answers (an effect, an importance, an isolation, a front), population based training, a
            diagnostic, a hypergradient, a descent, a run, several runs or a schedule; or a page that was made of one.
        path: the file to write; folders are made where missing, an older file is replaced.
    Returns: the path written.
    Raises: ValueError when `x` has no page or `path` is a folder; OSError when it cannot be written.

    >>> import tempfile
    >>> from hyperjax.schedules import cosine_decay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report(cosine_decay(0.1, 100), f"{folder}/schedule.html").name
    'schedule.html'
    """
    if isinstance(x, Page):
        return write_whole(path, x.render())
    for kind, page in PAGES.items():
        if isinstance(x, kind):
            return write_whole(path, page(x).render())
    raise ValueError(f"x must be {KINDS}, got a {type(x).__name__}")
