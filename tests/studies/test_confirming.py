"""The honest winner: coverage where the truth is known, weights bit for bit, verdicts, and odd studies."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import hyperjax as hj
from hyperjax.reports.folder import summary
from hyperjax.studies import confirm, confirming
from hyperjax.studies.study import Study, Trial
from tests.studies.kept import line
from tests.training.made import classes


def run(score, seed, recipe):
    """As much of a run as a study looks at; NaN is one that diverged."""
    gone = math.isnan(score)
    return SimpleNamespace(
        score=score, seed=seed, recipe=recipe, diverged=gone, diverged_at=3 if gone else None, finished=True
    )


@pytest.fixture
def by_formula(monkeypatch):
    """Populations whose scores are a function of recipe and seed, `task.score`."""

    class Training:
        def __init__(self, task, *_, **__):
            self.score = task.score

        def runs(self, recipes, seeds):
            return [tuple(run(self.score(recipe, seed), seed, recipe) for seed in seeds) for recipe in recipes]

    monkeypatch.setattr(confirming, "Training", Training)

    def confirmed(score, claims, top=8, seeds=10, direction="max"):
        """Trials whose recipes are their numbers, and the default "default"."""
        trials = tuple(Trial(i, {}, i, (run(claim, 0, i),)) for i, claim in enumerate(claims))
        study = Study("made", {}, trials, "validation_accuracy", direction, (0,), default="default")
        task = SimpleNamespace(score=score, data={}, ranked_by=lambda metric: task)
        return confirm(study, task, top, seeds).winner

    return confirmed


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_intervals_of_the_winner_cover_the_truth(by_formula, spread):
    """Trials of known worth under noise of deviation 1, half of it the seed's own."""
    rng = np.random.default_rng(0)
    covered, wrong, false = [], [], 0
    for _ in range(500):
        worth = {**dict(enumerate(spread * rng.normal(size=64))), "default": spread * rng.normal()}
        noise = rng.normal(size=(2, 200))
        count = iter(range(10_000))

        def score(recipe, seed, worth=worth, noise=noise, count=count):
            return worth[recipe] + math.sqrt(0.5) * (noise[0, seed] + noise[1, next(count)])

        winner = by_formula(score, [worth[i] + rng.normal() for i in range(64)])
        truth, rival = worth[winner.trial.number], worth["default"]
        covered.append(
            (
                winner.gain.low <= truth - rival <= winner.gain.high,
                winner.validation.low <= truth <= winner.validation.high,
            )
        )
        fresh = winner.candidates[0].fresh
        wrong.append((fresh.mean - truth, winner.validation.mean - truth, winner.claimed - truth))
        false += winner.verdict == "better" and truth <= rival
    gain, validation = np.mean(covered, axis=0)
    assert 0.93 <= gain <= 0.97 and 0.93 <= validation <= 0.97
    ranking, measuring, search = np.mean(wrong, axis=0)  # what chose it flatters it, what did not does not
    assert search > 1.0 and ranking > 0.1 and abs(measuring) < 0.05 and false / 500 <= 0.04


def test_candidates_are_ranked_by_fresh_seeds_and_measured_by_others(by_formula):
    asked = []

    def score(recipe, seed):
        asked.append((recipe, seed))
        return {0: 0.5, 1: 0.6, "default": 0.4}[recipe] + 0.01 * seed + (0.001 * seed**2 if recipe == 1 else 0)

    winner = by_formula(score, [0.9, 0.8, math.nan, 0.1], top=2, seeds=4)
    assert asked == [(r, s) for r in (0, 1) for s in (1, 2)] + [(r, s) for r in (1, "default") for s in (3, 4, 5, 6)]
    assert [c.trial for c in winner.candidates] == [1, 0] and winner.trial.number == 1
    assert (winner.ranking_seeds, winner.seeds, winner.default, winner.wins) == ((1, 2), (3, 4, 5, 6), "default", 4)
    gains = 0.2 + 0.001 * np.arange(3, 7) ** 2
    exact = stats.t.interval(0.95, 3, gains.mean(), stats.sem(gains))
    np.testing.assert_allclose(winner.gain, [gains.mean(), *exact], rtol=1e-9)
    assert winner.verdict == "better" and winner.part == "validation" and winner.run.seed == 6
    assert winner.claimed == 0.9 and winner.flattery.mean == pytest.approx(0.9 - winner.validation.mean)
    assert winner.flattery.low == pytest.approx(0.9 - winner.validation.high)


def test_a_loss_is_better_when_it_is_lower(by_formula):
    def score(recipe, seed):
        return {0: 0.3, 1: 0.5, "default": 0.4}[recipe] + 0.001 * (seed % 3) * (recipe == 0)

    winner = by_formula(score, [0.2, 0.25], direction="min")
    assert winner.trial.number == 0 and winner.gain.mean == pytest.approx(0.1, abs=2e-3) and winner.verdict == "better"
    assert winner.flattery.mean == pytest.approx(winner.validation.mean - 0.2) and winner.run.score == 0.3


def test_what_is_not_shown_says_how_many_seeds_would(by_formula):
    small = by_formula(lambda r, s: 0.5 + (0.02 * (s % 2) - 0.005 if r == 0 else 0.0), [0.9])
    assert small.verdict == "not shown" and small.gain.mean > 0 and 10 < small.seeds_needed < 40
    worse = by_formula(lambda r, s: 0.5 - 0.1 * (r == 0) + 0.001 * (s % 2), [0.9])
    assert worse.verdict == "not shown" and worse.seeds_needed == math.inf and worse.wins == 0


def test_what_diverges_on_fresh_seeds(by_formula):
    never = by_formula(lambda r, s: math.nan if r == 0 else 0.5 + 0.001 * s, [0.9, 0.8])
    assert never.trial.number == 1 and math.isnan(never.candidates[1].fresh.mean)
    late = by_formula(lambda r, s: math.nan if (r, s) == (0, 9) else 0.5 + (r == 0), [0.9])
    assert late.verdict == "not shown" and math.isnan(late.gain.mean) and late.wins == 9
    assert late.run.score == 1.5
    # of eleven pairs ten must be won: P(10 or 11 of 11) = 12 / 2048, P(9 or more) = 67 / 2048, above a half of 5 %
    nine = by_formula(lambda r, s: math.nan if r == "default" and s < 10 else 0.5, [0.9], seeds=11)
    assert nine.seeds == tuple(range(1, 12)) and nine.wins == 9 and nine.verdict == "not shown"
    assert by_formula(lambda r, s: math.nan if r == "default" and s < 10 else 0.5, [0.9]).verdict == "better"
    every = by_formula(lambda r, s: math.nan, [0.9])
    assert every.verdict == "not shown" and every.run.seed == 1


SPACE = hj.space(optimizer=["sgd", "adam"], learning_rate=hj.log_uniform(1e-3, 0.3), batch_size=10, epochs=2)


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def study(task):
    seen = []
    found = hj.study(task, SPACE, trials=5, seeds=[1, 4], width=2)
    found = confirm(found, task, top=3, seeds=3, width=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(13)]
    return found


def test_the_winner_is_what_a_lone_fit_gives_bit_for_bit(study, task):
    winner = study.winner
    assert (winner.ranking_seeds, winner.seeds) == ((0, 2), (3, 5, 6)) and len(winner.candidates) == 3
    alone = hj.fit(task, winner.trial.recipe, seed=winner.run.seed)
    weights = (nnx.to_pure_dict(nnx.state(model, nnx.Param)) for model in (alone.model, winner.model))
    jax.tree.map(np.testing.assert_array_equal, *weights)
    assert alone.score == winner.run.score == max(run.score for run in winner.runs)
    default = hj.fit(task, hj.Recipe(batch_size=10, epochs=2), seed=5)
    assert winner.default == default.recipe and default.score == winner.default_runs[1].score
    x, y = task.data["test"]
    shares = [
        [np.mean(np.asarray(r.model(x)).argmax(1) == y) for r in runs] for runs in (winner.runs, winner.default_runs)
    ]
    np.testing.assert_allclose(winner.test["accuracy"].mean, np.mean(shares[0]), atol=1e-6)
    np.testing.assert_allclose(winner.gain.mean, np.mean(shares[0]) - np.mean(shares[1]), atol=1e-6)
    assert winner.part == "test" and study.chosen is winner.trial


@pytest.mark.parametrize("pruner", [None, "successive_halving"])
def test_the_programs_of_the_study_train_the_winner_again(pruner):
    task = line()
    space = hj.space(learning_rate=hj.log_uniform(1e-3, 1.0), optimizer=["sgd", "adam"], batch_size=[8, 16], epochs=4)
    found = hj.study(task, space, trials=9, pruner=pruner)
    compiled = dict(task.trainers)
    confirmed = confirm(found, task, top=3, seeds=2, default=found.best.recipe)
    assert task.trainers == compiled and len(compiled) == 2
    elsewhere = confirm(replace(found, _segment_epochs=None, _width=None), line(), top=3, seeds=2)
    assert [run.score for run in confirmed.winner.runs] == [run.score for run in elsewhere.winner.runs]


def test_the_winner_as_json(study):
    told = json.loads(json.dumps(summary(study), allow_nan=False))["winner"]
    assert told["verdict"] == study.winner.verdict and told["trial"] == study.winner.trial.number
    assert told["gain"]["low"] == study.winner.gain.low and told["gain_of"] == "test_accuracy"
    assert hj.Recipe.from_json(json.dumps(told["recipe"])) == study.winner.trial.recipe
    assert summary(replace(study, winner=None))["winner"] is None


def test_the_default_recipe_is_what_was_not_searched():
    base = hj.Recipe(max_norm=1.0)
    space = hj.space(
        {"optimizer": ["momentum", "adam"], "model.width": [4, 8], "schedule_arguments.alpha": 0.1},
        schedule=["cosine_decay", "constant"],
        momentum=0.8,
        batch_size=[10],
        epochs=3,
    )
    assert space.default(base) == hj.Recipe(max_norm=1.0, batch_size=10, epochs=3)  # Adam reads no momentum
    fixed = hj.space(optimizer="momentum", momentum=0.8, learning_rate=[0.1, 0.2])
    assert fixed.default() == hj.Recipe(optimizer="momentum", momentum=0.8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 0}, "top must be a whole number of at least 1, got 0"),
        ({"seeds": 1}, "seeds must be a whole number of at least 2, got 1"),
        ({"seeds": "many"}, "seeds must be a whole number of at least 1, got 'many'"),
        ({"default": hj.Recipe(batch_size=500)}, "batch_size must be at most the 46 training examples"),
    ],
)
def test_bad_input_is_refused(study, task, change, message):
    with pytest.raises(ValueError, match=message):
        confirm(study, task, **change)


def test_a_study_without_a_score_or_a_default_has_no_winner(study, task):
    with pytest.raises(ValueError, match="study must have a trial with a score, got 0 trials and none"):
        confirm(replace(study, trials=()), task)
    with pytest.raises(ValueError, match="default must be given for a study that knows no default recipe"):
        confirm(replace(study, default=None), task)
