"""Parallel coordinates hold each trial's values at the heights that their scales say, and say what is left out."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hyperjax.reports import parallel
from hyperjax.reports.curves import curves_figure, study_curves, study_texts
from hyperjax.reports.parallel import ABSENT, MOST_LINES, parallel_figure
from hyperjax.reports.study_page import study_page
from hyperjax.reports.tables import searched_names
from hyperjax.studies.ranges import log_uniform, uniform
from tests.reports.test_tables import pruned_of


def lines_of(study, **texts):
    """Heights by number of trial, as they are drawn, and the axes' names."""
    figure = parallel_figure(study, study_texts(study, searched_names(study)))
    found = {}
    for trace in figure.data:
        for key, height in zip(trace.customdata or (), trace.y, strict=False):
            if height is not None:
                found.setdefault(key, []).append(height)
    return figure, found


def test_values_lie_where_their_scales_say(study_of):
    ranges = {"learning_rate": log_uniform(1e-4, 1.0), "dropout": uniform(0.0, 0.5)}
    study = replace(study_of(30), ranges=ranges)
    without = replace(study.trials[3], values={n: v for n, v in study.trials[3].values.items() if n != "dropout"})
    study = replace(study, trials=(*study.trials[:3], without, *study.trials[4:]))
    _, found = lines_of(study)
    names = searched_names(study)
    rate, dropout, batch = (names.index(name) for name in ("learning_rate", "dropout", "batch_size"))
    scores = [trial.score for trial in study.trials if math.isfinite(trial.score)]
    for trial in study.trials:
        heights = found[trial.number]
        assert len(heights) == len(names) + 1
        assert heights[rate] == pytest.approx(1 + math.log10(trial.values["learning_rate"]) / 4, abs=1e-3)
        expected = 2 * trial.values["dropout"] if trial.number != 3 else ABSENT
        assert heights[dropout] == pytest.approx(expected, abs=1e-3)
        assert (heights[batch] > 0.5) == (trial.values["batch_size"] == 128)
        assert (heights[-1] == ABSENT) == bool(trial.diverged)
    order = sorted((t for t in study.trials if not t.diverged), key=lambda t: t.score)
    assert np.all(np.diff([found[trial.number][-1] for trial in order]) >= 0)
    assert found[study.best.number][-1] == 1.0 and len(scores) < 30


def test_lower_is_on_top_where_lower_is_better(study_of):
    study = study_of(20, direction="min")
    _, found = lines_of(study)
    assert found[study.best.number][-1] == 1.0
    assert found[study.ranking[5].number][-1] < 1.0


def test_diverged_and_pruned_ones_are_told_apart(study_of):
    study = pruned_of(study_of)
    figure, _ = lines_of(study)
    by_name = {trace.name: trace for trace in figure.data}
    assert set(by_name["pruned (5)"].customdata) == set(range(5)) and by_name["pruned (5)"].line.dash == "dot"
    assert set(by_name["diverged"].customdata) == {t.number for t in study.trials if t.diverged}
    assert "Dotted ones were pruned." in study_page(study).render()


def test_of_many_the_first_and_others_evenly_are_drawn_and_it_is_said(study_of, monkeypatch):
    monkeypatch.setattr(parallel, "MOST_LINES", 20)
    monkeypatch.setattr(parallel, "FIRST", 5)
    study = study_of(60)
    figure, found = lines_of(study)
    places = sorted([trial.number for trial in study.ranking].index(key) for key in found)
    assert len(places) == 20 and places[:5] == [0, 1, 2, 3, 4] and places[-1] == 59
    assert max(np.diff(places)) - min(np.diff(places[5:])) <= 3
    ranked = sum(not trial.diverged for trial in study.trials)  # names tell ranks in the whole study
    assert [trace.name for trace in figure.data if f" to {ranked}" in (trace.name or "")]
    assert MOST_LINES == 400


def test_of_many_curves_some_are_drawn_and_it_is_said(study_of, monkeypatch):
    monkeypatch.setattr("hyperjax.reports.curves.MOST_CURVES", 20)
    monkeypatch.setattr("hyperjax.reports.curves.FIRST", 5)
    study = study_of(60)
    texts = study_texts(study, ())
    figure = curves_figure(study_curves(study, study.metric, texts), study.metric)
    assert figure.layout.xaxis.title.text == "epoch (20 of 60 curves drawn)"
    drawn = {key for trace in figure.data for key in trace.customdata or ()}
    assert len(drawn) == 20 and {trial.number for trial in study.ranking[:5]} <= drawn
    gone = sum(trial.diverged > 0 for trial in study.trials)
    assert f"diverged ({gone})" in [trace.name for trace in figure.data]


def test_the_page_says_what_it_leaves_out(study_of, monkeypatch):
    for name, value in (("MOST_ROWS", 10), ("MOST_CURVES", 20), ("MOST_LINES", 30)):
        monkeypatch.setattr(f"hyperjax.reports.study_page.{name}", value)
    page = study_page(study_of(60), table="trials.csv")
    text = page.render().split('<script type="application/json"')[0]
    assert "20 of 60 curves are drawn" in text and "30 of 60 trials are drawn" in text
    assert 'The best 10 of 60 trials are listed; <a href="trials.csv">trials.csv</a> has all of them.' in text
    assert text.count("<tr>") == 1 + 10 + 1 + 10 + 1 + 6
