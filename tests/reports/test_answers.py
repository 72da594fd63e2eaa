"""A study's answers as figures and pages: what was measured is what is drawn, first the honest winner."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from hyperjax.reports import plot, report
from hyperjax.reports.study_page import answer, study_page
from hyperjax.reports.winner import winner_notes
from hyperjax.statistics import Interval
from hyperjax.studies.study import Study, Trial
from hyperjax.studies.winner import Candidate, Winner
from hyperjax.training.recipe import Recipe


@pytest.fixture(scope="module")
def winner_of(run_of):
    """The maker of winners: of a study's second best trial, with a gain that is given."""

    def made(study, gain=(0.02, 0.01, 0.03), needed=4, lost=0, default_lost=0, wins=10, part="test"):
        trial = study.ranking[1]

        def runs(gone):
            return tuple(
                run_of(trial.recipe, seed, 0.9, diverged_at=5 if seed < 8 + gone else None) for seed in range(8, 18)
            )

        candidates = (
            Candidate(trial.number, 0.95, Interval(0.91, 0.9, 0.92)),
            Candidate(study.best.number, 0.96, Interval(0.9, 0.88, 0.92)),
        )
        return Winner(
            trial=trial,
            candidates=candidates,
            runs=runs(lost),
            default=Recipe(),
            default_runs=runs(default_lost),
            ranking_seeds=(3, 4, 5, 6, 7),
            seeds=tuple(range(8, 18)),
            metric="validation_accuracy",
            direction="max",
            claimed=0.96,
            validation=Interval(0.9125, 0.9, 0.925),
            test={"accuracy": Interval(0.905, 0.895, 0.915)} if part == "test" else {},
            flattery=Interval(0.0475, 0.035, 0.06),
            part=part,
            gain=Interval(*gain),
            seeds_needed=needed,
            wins=wins,
        )

    return made


@pytest.fixture(scope="module")
def study(study_of):
    return study_of(40)


def test_the_winner_is_first_in_one_sentence(study, winner_of):
    trial = study.ranking[1]
    better = replace(study, winner=winner_of(study))
    assert answer(better) == (
        f"Winner: trial {trial.number}, {trial.values['optimizer']} at learning rate "
        f"{trial.values['learning_rate']:.3g}, test accuracy 0.905 (95 % interval 0.895 to 0.915) over 10 fresh seeds, "
        "better than the default recipe by 0.02 (95 % interval 0.01 to 0.03)."
    )
    assert winner_notes(better.winner) == [
        "The search had claimed a validation accuracy of 0.96; fresh seeds gave the winner 0.9125: 0.048 of it was luck."
    ]
    text = study_page(better).render()
    body = text.split('<script type="application/json"')[0]
    places = [
        body.index(part)
        for part in (
            "<strong>Winner:</strong>",
            "was luck",
            "The recipe of trial",
            "The winner on fresh seeds",
            "Best recipes",
        )
    ]
    assert (
        places == sorted(places)
        and f"The recipe of trial {trial.number}" in body
        and "Chosen by validation" not in body
    )


@pytest.mark.parametrize(
    ("made", "said", "next_step"),
    [
        (
            {"gain": (0.004, -0.003, 0.011), "needed": 34},
            "not shown to be better than the default recipe: a gain of 0.004",
            "About 34 fresh seeds would show",
        ),
        ({"gain": (0.001, -0.1, 0.1), "needed": 9000}, "not shown", "more than 1000 seeds"),
        (
            {"gain": (-0.01, -0.02, 0.0), "needed": float("inf"), "wins": 2},
            "not shown to be better",
            "The default recipe was as good or better",
        ),
        ({"gain": (float("nan"),) * 3, "lost": 2}, "but it diverged with 2 of 10 fresh seeds", ""),
        (
            {"gain": (float("nan"),) * 3, "default_lost": 9},
            "better than the default recipe, which diverged with 9 of them",
            "",
        ),
        (
            {"gain": (float("nan"),) * 3, "needed": float("nan"), "default_lost": 1, "wins": 6},
            "not shown to be better than the default recipe, which diverged with 1 of them",
            "",
        ),
        ({"part": "validation"}, "validation accuracy 0.9125 (95 % interval 0.9 to 0.925) over 10 fresh seeds", ""),
    ],
)
def test_every_verdict_has_its_sentence_and_what_comes_next(study, winner_of, made, said, next_step):
    winner = winner_of(study, **made)
    assert said in answer(replace(study, winner=winner)) and answer(replace(study, winner=winner)).endswith(".")
    assert (next_step in winner_notes(winner)[-1]) and len(winner_notes(winner)) == 1 + bool(next_step)
    figure = plot(winner)
    claims, chosen, others = figure.data
    assert (
        claims.x == pytest.approx((0.95, 0.96))
        and chosen.x == pytest.approx((0.91,))
        and others.x == pytest.approx((0.9,))
    )
    assert chosen.error_x.array == pytest.approx((0.01,)) and chosen.error_x.arrayminus == pytest.approx((0.01,))


def test_answers_are_drawn_as_they_are(study, study_of, tmp_path):
    importance, isolation, joint = (
        study.importance(),
        study.isolate("optimizer"),
        study.effect("learning_rate", "optimizer"),
    )
    names = [name for name, share in importance.shares.items() if np.isfinite(share.mean)]
    (dots,) = plot(importance).data
    assert list(plot(importance).layout.yaxis.ticktext) == names
    assert dots.x == pytest.approx([100 * importance.shares[name].mean for name in names], rel=1e-4)
    (dots,) = plot(isolation).data
    ordered = sorted(isolation.points, key=lambda point: -point.interval.mean)
    assert list(plot(isolation).layout.yaxis.ticktext) == [point.label for point in ordered]
    assert dots.x == pytest.approx([point.interval.mean for point in ordered], rel=1e-4)
    heat, counts = plot(joint).data
    shown = np.array([[np.nan if cell is None else cell for cell in row] for row in heat.z])
    np.testing.assert_allclose(shown, joint.medians, rtol=1e-4)
    lower = plot(study_of(40, direction="min").effect("learning_rate", "optimizer")).data[0]
    assert lower.reversescale and not heat.reversescale  # better is stronger
    assert len(counts.text) == np.isfinite(joint.medians).sum() == sum(map(np.count_nonzero, joint.trials))
    for place, thing in enumerate((importance, isolation, joint)):
        assert "<table>" in report(thing, tmp_path / f"{place}.html").read_text()


def with_score(study, number, value):
    """The study with another score of one trial."""
    trials = list(study.trials)
    run = trials[number].runs[0]
    metrics = {**run.metrics, study.metric: np.append(run.metrics[study.metric][:-1], value)}
    trials[number] = Trial(number, trials[number].values, trials[number].recipe, (replace(run, metrics=metrics),))
    return replace(study, trials=tuple(trials))


def test_odd_studies_have_answers_and_a_page(study_of, run_of, winner_of, tmp_path):
    plain = study_of(12)
    alive = next(trial.number for trial in plain.trials if not trial.diverged)
    recipe = Recipe()
    alike = tuple(Trial(i, {"dropout": 0.1 * i}, recipe, (run_of(recipe, 0, 0.9),)) for i in range(12))
    odd = {
        "some trials diverged": plain,
        "a metric that is no number": with_score(plain, alive, np.nan),
        "all diverged": study_of(9, all_diverge=True),
        "nothing varies": study_of(9, search=False),
        "one trial": study_of(1),
        "none": study_of(0),
        "equal scores": Study("alike", {"dropout": "uniform"}, alike, "validation_accuracy", "max", (0,)),
        "lower is better": study_of(20, direction="min"),
    }
    said = {
        "all diverged": "there is no best recipe",
        "nothing varies": "Nothing was searched that varies",
        "one trial": "It takes 8 trials with a score: there are 1.",
        "equal scores": "All scores are equal",
    }
    for name, study in odd.items():
        text = report(study, tmp_path / f"{name}.html").read_text()
        body = text.split('<script type="application/json"')[0]
        json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
        assert said.get(name, "") in body and len(study.table) == len(study.trials)
        shares = study.importance().shares
        assert shares.keys() == study.space.keys()
        for hyperparameter in study.space:
            assert study.isolate(hyperparameter).draws >= 1
            others = [other for other in study.space if other != hyperparameter]
            if others:
                assert study.effect(hyperparameter, others[0]).names == (hyperparameter, others[0])
    lone = replace(
        odd["some trials diverged"],
        winner=replace(winner_of(plain), ranking_seeds=(), candidates=(Candidate(0, 0.9, Interval(*[np.nan] * 3)),)),
    )
    assert "trained again with 10 fresh seeds" in study_page(lone).render()
