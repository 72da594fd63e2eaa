"""The front drawn: every trial a dot, steps that reach what was best for each limit; and all metrics in the tables."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from hyperjax.reports import front, plot, report, study_table, trials_csv
from hyperjax.reports.folder import summary
from hyperjax.reports.study_page import study_page


@pytest.fixture(scope="module")
def study(study_of):
    """Two seeds; the model is larger where dropout is."""
    made = study_of(40, seeds=(0, 1))
    trials = [
        replace(t, costs={"parameters": float(100 + round(20 * t.values["dropout"]) * 5000)}) for t in made.trials
    ]
    return replace(made, trials=tuple(trials), further={"parameters": "min", "validation_loss": "min"})


def known(study):
    return [trial for trial in study.trials if not trial.diverged]


def test_every_trial_is_a_dot_and_the_steps_reach_the_best_for_each_limit(study):
    two = replace(study, further={"parameters": "min"})
    figure = plot(two.front)
    beaten, line, front = figure.data
    assert sorted((*beaten.customdata, *front.customdata)) == [trial.number for trial in known(study)]
    assert list(front.customdata) == [trial.number for trial in two.front]
    assert line.line.shape == "hv" and list(line.x) == sorted(line.x) and figure.layout.xaxis.type == "log"
    for limit in np.linspace(100, 60_000, 50):
        within = [trial.score for trial in known(study) if trial.costs["parameters"] <= limit]
        place = np.searchsorted(line.x, limit, side="right") - 1  # a step holds until the next one
        assert line.y[place] == pytest.approx(max(within), rel=1e-4) if within else place == -1
    shown = front.text[0]
    assert f"parameters {two.front.trials[0].costs['parameters']:.0f}" in shown and "learning_rate" in shown


def test_a_larger_second_metric_may_be_better(study):
    """Then the steps run from the right to the left."""
    line = plot(replace(study, further={"train_accuracy": "max"}).front).data[1]
    assert list(line.x) == sorted(line.x, reverse=True) and list(line.y) == sorted(line.y)


def test_the_page_has_a_figure_for_each_further_metric_and_the_front_as_a_table(study, tmp_path):
    page = study_page(study)
    assert {"front-1", "front-2"} <= page.figures.keys()
    assert page.figures["front-2"].layout.xaxis.title.text == "validation loss (lower is better)"
    whole = study.front
    assert {*page.figures["front-2"].data[2].customdata} == {trial.number for trial in whole}
    best = whole.trials[0]
    assert f"parameters {best.costs['parameters']:.0f}" in page.texts[best.number]
    assert f"Pareto front: {len(whole)} of {len(known(study))} trials are beaten by no other in" in page.render()
    assert "Pareto" not in study_page(replace(study, further={})).render()
    own = report(whole, tmp_path / "front.html").read_text("utf-8")
    assert f"Pareto front: {len(whole)} of" in own and f"<td class=short>{best.number}</td>" in own
    gone = replace(study, trials=tuple(trial for trial in study.trials if trial.diverged))
    assert "so there is no front" in study_page(gone).render()


def test_thousands_of_beaten_trials_are_thinned(study, monkeypatch):
    monkeypatch.setattr(front, "MOST_BEATEN", 5)
    page = study_page(study)
    count = len(study.front.others)
    assert len(page.figures["front-1"].data[0].x) == 5
    assert f"5 of {count} others are drawn" in "".join(page.sections)


def test_names_of_metrics_do_no_harm(study):
    evil = "<img src=x onerror=alert(1)>"
    trials = tuple(replace(trial, costs={evil: 1.0}) for trial in study.trials)
    page = study_page(replace(study, trials=trials, further={evil: "min"}))
    assert page.figures["front-1"].layout.xaxis.title.text == "&lt;img src=x onerror=alert(1)&gt; (lower is better)"
    assert "<img" not in page.render()


def test_all_metrics_are_in_every_table(study, tmp_path):
    with trials_csv(study, tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, trial in zip(rows, study.ranking, strict=True):
        loss = (
            float(np.mean([run.metrics["validation_loss"][-1] for run in trial.runs])) if not trial.diverged else None
        )
        assert row["parameters"] == ("nan" if trial.diverged else f"{trial.costs['parameters']:.0f}")
        assert float(row["validation_loss"]) == pytest.approx(loss) if loss else row["validation_loss"] == "nan"
    told = json.loads(json.dumps(summary(study), allow_nan=False))
    assert told["metrics"] == {"validation_accuracy": "max", "parameters": "min", "validation_loss": "min"}
    assert [row["trial"] for row in told["front"]] == [trial.number for trial in study.front]
    assert told["best"]["parameters"] == study.best.costs["parameters"] and "recipe" in told["front"][0]
    assert "front" not in summary(replace(study, further={}))
    console = Console(width=200)
    with console.capture() as caught:
        console.print(study_table(study, rows=3))
    first = next(line.split() for line in caught.get().splitlines() if line.split()[:1] == [str(study.best.number)])
    assert first[3] == f"{study.best.costs['parameters']:.0f}"


def test_a_dataframe_has_the_metrics_of_each_seed(study):
    pytest.importorskip("pandas")
    frame = study.dataframe()
    runs = [(trial, run) for trial in study.trials for run in trial.runs]
    for place, (trial, run) in enumerate(runs):
        loss, parameters = frame["validation_loss"][place], frame["parameters"][place]
        if trial.diverged:
            assert math.isnan(parameters)
        else:
            assert loss == run.metrics["validation_loss"][-1] and parameters == trial.costs["parameters"]
