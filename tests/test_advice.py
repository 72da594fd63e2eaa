"""An advice rests on what was measured, and never holds what was measured to be worse."""

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.advice import PRIORS, Advice, clock, prior_for
from hyperjax.advice.advising import _advised, _best_length
from hyperjax.advice.candidates import draw, neighbours, offspring
from hyperjax.advice.comparison import compare
from hyperjax.advice.description import Description, default_for, describe
from hyperjax.advice.evidence import evidence_for
from hyperjax.advice.race import Entry, best_first, race
from hyperjax.statistics import mean_interval
from tests.reports.conftest import make_run
from tests.training.made import classes


@pytest.fixture(scope="module")
def task():
    return classes(examples=64)


@pytest.fixture(scope="module")
def rankings():
    """Seeds by which `advise` ranks, call by call; the races rank by themselves."""
    return []


@pytest.fixture(scope="module")
def advice(task, rankings):
    """On a clock that stands still, so that counts do not depend on this machine; few of everything, no range test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: 0.0)
        for module, names in {
            "plan": {"MOST_CANDIDATES": 9, "EPOCHS": (6, 12), "FRESH": (5, 5), "FINAL": (4, 4)},
            "advising": {"MOST_CANDIDATES": 9},
            "measuring": {"SHARE": -1.0},
        }.items():
            for name, value in names.items():
                patch.setattr(f"hyperjax.advice.{module}.{name}", value)

        def noted(entries, direction, seeds=None):
            rankings.append((len(entries), seeds))
            return best_first(entries, direction, seeds)

        patch.setattr("hyperjax.advice.advising.best_first", noted)
        yield hj.advise(task, "1m")


@pytest.mark.slow
def test_the_comparison_is_that_of_fresh_runs(task, advice):
    """Trained again here, by the public entrance alone."""
    found = advice.comparison
    assert isinstance(advice, Advice) and found.part == "test" and len(found.seeds) == 5
    assert advice.default.changed() == {"epochs": advice.candidate.epochs, "dropout": 0.0}
    x, y = (np.asarray(each) for each in task.data["test"])
    scores = []
    for recipe in (advice.candidate, advice.default):
        runs = hj.fit_population(task, [recipe], seeds=found.seeds)
        scores.append([float(np.mean(np.argmax(run.model(x), 1) == y)) for run in runs])
    assert found.gain == pytest.approx(mean_interval(np.subtract(*scores)))
    assert (found.score.mean, found.other.mean) == pytest.approx(tuple(map(np.mean, scores)))
    raced = {seed for one in advice.tried for seed in range(one.seeds)}
    assert not raced & set(found.seeds), "seeds of the comparison took no part"


@pytest.mark.slow
def test_the_finals_are_ranked_by_seeds_of_their_own(advice, rankings):
    count, seeds = rankings[0]
    assert count == 4 and len(seeds) == 4 and seeds.stop == advice.comparison.seeds[0]


@pytest.mark.slow
def test_every_number_has_its_evidence(advice):
    decided = {*advice.candidate.changed(), "optimizer", "learning_rate", "batch_size", "epochs"}
    if advice.recipe == advice.candidate:
        assert decided <= set(advice.evidence)
    assert all(len(text) > 20 for text in advice.evidence.values())
    assert [row[0] for row in advice.table.rows if row[1] != row[2]] == list(advice.differences)
    told = json.loads(json.dumps(advice.to_json()))
    assert told["recipe"]["epochs"] == advice.recipe.epochs and told["verdict"] in ("better", "not shown", "worse")
    assert advice.run.recipe == advice.recipe and advice.run.model is not None
    assert advice.verdict == advice.comparison.verdict and advice.verdict.split()[0] in advice.answer
    fallen = dataclasses.replace(advice, recipe=advice.default, candidate=hj.Recipe(epochs=3), own_length=None)
    assert fallen.answer.endswith(" It gained nothing over that default, which is the advice.")
    fallen = dataclasses.replace(fallen, own_length=advice.comparison)
    assert fallen.answer.endswith(" It gained nothing over one of the two, so that default is the advice.")


def test_a_field_that_was_not_tried_alone_is_held_against_the_first_round(task):
    changes = [{}, {"schedule": "linear"}, {"schedule": "linear", "weight_decay": 0.1}, {"weight_decay": 0.3}]
    scores = (0.6, 0.8, 0.9, 0.7)
    entries = []
    for change, score in zip(changes, scores, strict=True):
        recipe = hj.Recipe(epochs=20, **change)
        entries.append(Entry(recipe, {seed: make_run(recipe, seed, score) for seed in (0, 1)}))
    measured = SimpleNamespace(range=None, cost=SimpleNamespace(answer="Sizes: none."))
    without = {"schedule": entries[3]}
    found = evidence_for(task, entries[2], without, entries, measured, hj.Recipe(clip_norm=1.0), "so they do")
    assert "gains +0.2 (+0.2 to +0.2)" in found["schedule"], "0.9 against 0.7, paired"
    assert "the 2 with one have a mean validation accuracy of 0.8, the 2 others 0.7" in found["weight_decay"]
    assert "Not tried alone" in found["clip_norm"]
    assert {"optimizer", "learning_rate", "batch_size", "epochs"} <= set(found)


@pytest.mark.slow
def test_figures_show_the_comparison_and_the_candidates(advice):
    figure = hj.plot(advice)
    shown = [trace for trace in figure.data if trace.mode == "markers" and trace.name != "won the race"]
    assert sum(len(trace.x) for trace in shown) == sum(math.isfinite(one.score) for one in advice.tried)
    found = next(trace for trace in figure.data if trace.name == "what was found" and trace.mode == "lines")
    assert found.y[-1] == pytest.approx(np.mean([run.score for run in advice.runs]), abs=1e-4)


def test_bad_input_is_refused(task):
    part = {name: task.data[name] for name in ("train", "test")}
    with pytest.raises(ValueError, match=r"data\['validation'\]"):
        hj.advise(classes(data=part))
    x, y = task.data["train"]
    with pytest.raises(ValueError, match="at least two classes"):
        hj.advise(classes(data={"train": (x, 0 * y), "validation": (x, 0 * y)}))
    for budget in ("soon", 0, "100 epochs", None):
        with pytest.raises(ValueError, match="budget"):
            hj.advise(task, budget)
    with pytest.raises(ValueError, match="seed"):
        hj.advise(task, seed=-1)
    with pytest.raises(ValueError, match="metric"):
        hj.advise(task, metric="f1")
    with pytest.raises(ValueError, match=r"task must have at least 32 training examples for an advice, got .*train 31"):
        hj.advise(classes(examples=31))


@pytest.mark.parametrize(
    ("gains", "verdict", "falls_back"),
    [
        ([0.02, 0.03, 0.025, 0.03, 0.02], "better", False),
        ([0.02, -0.01, 0.03, -0.02, 0.01], "not shown", False),
        ([-0.02, 0.01, -0.03, 0.02, -0.01], "not shown", True),
        ([-0.02, -0.03, -0.025, -0.03, -0.02], "worse", True),
    ],
)
def test_what_gains_nothing_is_not_advised(task, gains, verdict, falls_back):
    task = dataclasses.replace(task, data={part: task.data[part] for part in ("train", "validation")})
    default, candidate = hj.Recipe(epochs=20), hj.Recipe(learning_rate=0.01, epochs=20)
    others = [make_run(default, seed, 0.8) for seed in range(5)]
    own = [make_run(candidate, seed, 0.8 + gain) for seed, gain in enumerate(gains)]
    found = compare(task, own, others)
    assert (found.part, found.verdict) == ("validation", verdict)
    assert found.gain == pytest.approx(mean_interval(gains), abs=1e-6)
    recipe, run = _advised(candidate, own, [found], [others], "max")
    assert (recipe, run.recipe) == ((default, default) if falls_back else (candidate, candidate))


def test_the_stronger_of_two_defaults_wins(task):
    own = [make_run(hj.Recipe(learning_rate=0.01, epochs=20), seed, 0.85) for seed in range(5)]
    rivals = [[make_run(hj.Recipe(epochs=e), seed, s) for seed in range(5)] for e, s in ((20, 0.8), (10, 0.9))]
    task = dataclasses.replace(task, data={part: task.data[part] for part in ("train", "validation")})
    compared = [compare(task, own, runs) for runs in rivals]
    assert [each.verdict for each in compared] == ["better", "worse"]
    assert _advised(own[0].recipe, own, compared, rivals, "max")[0] == hj.Recipe(epochs=10)


def test_by_the_loss_the_test_set_decides_too():
    rng = np.random.default_rng(0)
    data = {part: (rng.normal(size=(size, 1)),) * 2 for part, size in (("train", 8), ("validation", 8), ("test", 2500))}
    task = hj.Task(Line, data, loss="squared_error")
    own, others = ([trained(factor, seed) for seed in range(3)] for factor in (0.9, 0.6))
    found = compare(task, own, others)
    square = float((data["test"][0] ** 2).mean())
    assert (found.part, found.metric) == ("test", "loss")
    assert (found.score.mean, found.other.mean) == pytest.approx((0.01 * square, 0.16 * square), rel=1e-4)
    assert found.gain.mean == pytest.approx(0.15 * square, rel=1e-4), "less is better"


def test_by_the_loss_of_an_objective_the_test_set_decides_too():
    rng = np.random.default_rng(0)
    data = {part: rng.normal(size=(8, 1)).astype(np.float32) for part in ("train", "validation", "test")}

    def objective(model, batch, key):
        errors = (model(batch) - batch)[:, 0]
        return errors**2, {"far": abs(errors)}

    task = hj.Task(Line, data, objective=objective, metrics={"far": "min"}, ranks_by="loss")
    found = compare(task, [trained(0.9, seed) for seed in range(3)], [trained(0.6, seed) for seed in range(3)])
    assert (found.part, found.metric) == ("test", "loss")
    assert found.score.mean == pytest.approx(0.01 * float((data["test"] ** 2).mean()), rel=1e-4)


class Line(nnx.Module):
    """A known factor, as if it had been learnt."""

    def __init__(self, rngs, factor=1.0):
        self.factor = nnx.Param(np.float32(factor))

    def __call__(self, x):
        return self.factor[...] * x


def trained(factor, seed):
    run = make_run(hj.Recipe(), seed, direction="min")
    return dataclasses.replace(run, _model=lambda: Line(None, factor))


def test_runs_that_diverge_decide_without_a_mean(task):
    task = dataclasses.replace(task, data={part: task.data[part] for part in ("train", "validation")})
    lost = [make_run(hj.Recipe(learning_rate=9.0), seed, 0.8, diverged_at=50) for seed in range(5)]
    safe = [make_run(hj.Recipe(), seed, 0.8) for seed in range(5)]
    assert compare(task, lost, safe).verdict == "worse"
    assert math.isnan(compare(task, lost, safe).gain.mean)


def test_the_default_is_given_its_own_best_length():
    runs = {seed: make_run(hj.Recipe(epochs=20), seed) for seed in range(3)}
    for run in runs.values():
        curve = np.concatenate([np.linspace(0.1, 0.9, 7), np.linspace(0.89, 0.7, 13)])
        run.metrics["validation_accuracy"][:] = curve
    assert _best_length(Entry(hj.Recipe(epochs=20), runs)) == 7.0


class Known:
    """In place of a track: scores are known, a seed's noise is that of its number."""

    def __init__(self, worth):
        self.task, self.worth, self.runs = classes(), worth, 0

    def extend(self, entries, seeds):
        self.runs += len(entries) * len(seeds)
        for entry in entries:
            for seed in seeds:
                entry.runs[seed] = make_run(entry.recipe, seed, self.worth[entry.recipe] + 0.01 * math.sin(seed))

    def cost(self, recipe):
        return 0.0


def test_the_race_finds_the_best_and_spends_on_it(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: 0.0)
    recipes = [hj.Recipe(learning_rate=0.001 * (i + 1)) for i in range(36)]
    worth = {recipe: 0.5 + 0.4 * math.exp(-abs(i - 20) / 6) for i, recipe in enumerate(recipes)}
    entries = [Entry(recipe) for recipe in recipes]
    track = Known(worth)
    ranked, used = race(track, entries, entries[0], 0, 2, clock.Clock(60))
    assert ranked[0].recipe == recipes[20]
    assert (used, track.runs) == (4, 2 * (36 + 13)), "a third goes on, and the default, with the next seeds"
    assert set(entries[0].runs) == {0, 1, 2, 3}


def test_a_race_ranks_by_its_own_seeds(monkeypatch):
    """What a parent was chosen for counts no more."""
    monkeypatch.setattr(clock, "now", lambda: 0.0)
    parent, child = hj.Recipe(learning_rate=0.01), hj.Recipe(learning_rate=0.02)
    track = Known({hj.Recipe(): 0.4, parent: 0.5, child: 0.7})
    lucky = Entry(parent, {seed: make_run(parent, seed, 0.99) for seed in (0, 1)})
    entries = [Entry(hj.Recipe()), lucky, Entry(child)]
    ranked, used = race(track, entries, entries[0], 2, 2, clock.Clock(60))
    assert [entry.recipe for entry in ranked] == [child, parent, hj.Recipe()] and used == 4
    assert lucky.score > ranked[0].score, "it would have won by all of its seeds"
    assert best_first(entries, "max", range(2, 4)) == ranked and best_first(entries, "max")[0] is lucky


def test_candidates_stay_in_their_ranges():
    described = Description("tabular", 1000, 100, 10, 0.0, True)
    prior = PRIORS["tabular"]
    found = draw(prior, described, 0.01, (32, 128), 40, 64, 0)
    assert len(set(found)) == 64 and found == draw(prior, described, 0.01, (32, 128), 40, 64, 0)
    rates = [r.learning_rate for r in found if r.optimizer in ("adam", "adamw")]
    assert 4.9e-4 < min(rates) < 7e-4 and 0.015 < max(rates) < 0.021
    assert {r.batch_size for r in found} == {32, 128} and {r.epochs for r in found} == {40, 20, 10}
    assert all(0.0 <= r.dropout <= 0.5 for r in found)
    young = offspring(found[:4], described, 30, 0)
    assert {r.optimizer for r in young} <= {r.optimizer for r in found[:4]} and not set(young) & set(found[:4])
    best = hj.Recipe(learning_rate=0.01, warmup=hj.fraction(0.1), dropout=0.3)
    assert neighbours(best, described)["dropout"] == best.replace(dropout=0.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("wine", "tabular"), ("copying", "sequence"), ("digits_cnn", "vision"), ("autoencoding", "objective")],
)
def test_tasks_are_taken_for_what_they_are(name, kind):
    described = describe(hj.tasks.find(name))
    assert described.kind == kind
    assert described.parameters > 0 and prior_for(described) is PRIORS[kind]
    assert default_for(described, 7).replace(dropout=None) == hj.Recipe(epochs=7)
