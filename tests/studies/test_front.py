"""Studies with several metrics: the front against brute force, samplers told all of them, kept and read back as one."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from flax import nnx
from optuna.samplers import CmaEsSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import hyperjax as hj
from hyperjax.studies.asking import Asked
from hyperjax.studies.front import unbeaten
from hyperjax.studies.measures import Measures
from hyperjax.studies.reading import StudyReader
from hyperjax.studies.study import Study, Trial
from tests.studies.kept import alike, stopped
from tests.studies.test_asking import numbered
from tests.training.made import classes

NAMES = ["accuracy", "parameters", "loss", "epochs", "flops"]
METRICS = ("validation_accuracy", "parameters", "validation_loss", "trained_epochs", "flops")
SPACE = hj.space({"model.width": [4, 8]}, learning_rate=hj.log_uniform(1e-3, 1e30), epochs=[2, 3], activation="relu")
ASKED = {"trials": 20, "seeds": 2, "sampler": "nsga2", "batch": 5, "metric": NAMES}
NUMBERS = hj.space({f"hyperparameters.{name}": hj.uniform(-8.0, 8.0) for name in "abc"})


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def kept(task, tmp_path_factory):
    """A study with its folder."""
    folder = tmp_path_factory.mktemp("front")
    return hj.study(task, SPACE, storage=folder, **ASKED), folder


def by_hand(rows, signs):
    """Places of the rows that no other one beats, pair by pair: best first by the first column, then the next."""
    losses = [tuple(sign * value for sign, value in zip(signs, row, strict=True)) for row in rows]
    known = [place for place, row in enumerate(losses) if all(map(math.isfinite, row))]

    def beats(i, j):
        one, other = losses[i], losses[j]
        return all(a <= b for a, b in zip(one, other, strict=True)) and (one != other or i < j)

    return sorted((j for j in known if not any(beats(i, j) for i in known if i != j)), key=losses.__getitem__)


@pytest.mark.parametrize("directions", [("max",), ("max", "min"), ("min", "min"), ("min", "max", "min")])
@pytest.mark.parametrize("levels", [3, 12, 10_000])
def test_the_front_is_that_of_all_pairs(directions, levels):
    rng = np.random.default_rng([levels, len(directions)])
    rows = rng.integers(0, levels, (150, len(directions))).astype(float)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    rows[7, 0] = np.inf
    names = [f"m{place}" for place in range(len(directions))]

    def trial(number, row):
        told = dict(zip(names, row.tolist(), strict=True))
        run = SimpleNamespace(diverged=False, metric="m0", score=told["m0"], score_of=told.__getitem__)
        return Trial(number, {}, None, (run,), pruned_at=3 if number == 11 else None)

    trials = tuple(trial(number, row) for number, row in enumerate(rows))
    further = dict(zip(names[1:], directions[1:], strict=True))
    front = Study("made", {}, trials, "m0", directions[0], (0,), further=further).front
    rows[11] = np.nan  # a pruned one is no part of it
    expected = by_hand(rows.tolist(), [-1 if direction == "max" else 1 for direction in directions])
    assert [trial.number for trial in front] == expected and len(front) == len(expected) > 0
    known = np.flatnonzero(np.isfinite(rows).all(1))
    assert [trial.number for trial in front.others] == [n for n in known if n not in expected]
    assert [tuple(row.values())[1:] for row in front.table] == [tuple(rows[n]) for n in expected]


def test_a_long_front_and_none():
    angles = np.linspace(0, np.pi / 2, 20_000)
    circle = np.stack([1 - np.sin(angles), 1 - np.cos(angles)], axis=1)
    assert unbeaten(circle) == list(range(20_000))[::-1]
    assert [unbeaten(np.zeros((0, columns))) for columns in (1, 2, 3)] == [[], [], []]
    empty = Study("made", {}, (), "loss", "min", (0,), further={"parameters": "min"}).front
    assert len(empty) == 0 and empty.table == [] and str(empty).startswith("0 of 0 trials")


def area(points):
    """What trials of two metrics, smaller ones better, cover below (40, 40)."""
    covered, height = 0.0, 40.0
    for one, other in sorted(points):
        if one < 40 and other < height:
            covered, height = covered + (40 - one) * (height - other), other
    return covered


def two_bowls(x):
    """Least at 0 and at 2: the front lies between them, where all numbers are equal."""
    return float((x**2).sum()), float(((x - 2) ** 2).sum())


def searched(sampler, seed, trials):
    source = Asked(sampler, NUMBERS, trials, 16, seed, ["min", "min"])
    while values := source.ask():
        source.tell(numbered(source, [two_bowls(np.array(list(row.values()))) for row in values]))
    return [scores for _, scores in source.told]


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_samplers_told_several_metrics_come_nearer_to_the_true_front_than_chance(sampler):
    true = area(two_bowls(np.full(3, 2 * t)) for t in np.linspace(0, 1, 10_001))
    drawn = [np.random.default_rng(seed).uniform(-8, 8, (240, 3)) for seed in range(16)]
    chance = [true - area(map(two_bowls, points)) for points in drawn]
    found = [true - area(searched(sampler, seed, 240)) for seed in range(3)]
    assert 0 < min(found) <= max(found) < np.median(chance) and np.mean(found) < 0.6 * np.mean(chance)
    assert searched(sampler, 0, 48) == searched(sampler, 0, 48)  # made anew for each batch, from seed and scores alone


@pytest.mark.slow
def test_a_gaussian_process_takes_several_metrics():
    pytest.importorskip("torch", reason="PyTorch, which Optuna's Gaussian process needs")
    assert len(set(searched("gp", 0, 18))) == 18


def test_what_diverged_is_told_as_bad_by_every_metric():
    told = []

    class Telling(RandomSampler):
        def after_trial(self, study, trial, state, values):
            told.append((state.name, values))

    source = Asked(Telling(seed=0), NUMBERS, 3, 3, 0, ["max", "min", "min"])
    source.ask()
    source.tell(numbered(source, [(0.5, 3.0, 1.0), (math.nan, math.nan, math.nan), (0.5, 3.0, math.nan)]))
    worst = ("COMPLETE", [-math.inf, math.inf, math.inf])
    assert told == [("COMPLETE", [0.5, 3.0, 1.0]), worst, worst]


def test_trials_have_every_metric_and_the_front_is_by_all(kept):
    study, _ = kept
    assert study.metrics == METRICS and study.directions == ("max", "min", "min", "min", "min")
    assert 0 < sum(trial.diverged > 0 for trial in study.trials) < 18
    rows = []
    for trial in study.trials:
        width, scores = trial.values["model.width"], study.scores_of(trial)
        rows.append(scores)
        if trial.diverged:
            assert all(map(math.isnan, scores))
            continue
        ends = [[run.metrics[f"validation_{name}"][-1] for run in trial.runs] for name in ("accuracy", "loss")]
        accuracy, loss = (float(np.mean(np.float64(end))) for end in ends)
        assert scores[:4] == (accuracy, 8 * width + 3, loss, trial.recipe.epochs) and scores[0] == trial.score
        assert 14 * width <= scores[4] <= 20 * width + 3  # products and sums of two layers, then biases and activations
    assert [trial.number for trial in study.front] == by_hand(rows, (-1, 1, 1, 1, 1))
    named = next(row for row in study.table if row["trial"] == study.front.trials[0].number)
    assert named["parameters"] in (35, 67) and named["epochs"] == named["trained_epochs"]


def test_the_sampler_was_told_all_metrics(kept):
    """Told each batch's scores as the table has them, it gives the next one."""
    study, _ = kept
    source = Asked("nsga2", SPACE, 20, 5, 0, study.directions)
    for first in range(0, 20, 5):
        batch = study.trials[first : first + 5]
        asked = source.ask()
        assert [row["learning_rate"] for row in asked] == [trial.values["learning_rate"] for trial in batch]
        source.tell(numbered(source, [study.scores_of(trial) for trial in batch]))


def test_optuna_reads_the_same_values(kept):
    study, folder = kept
    there = optuna.load_study(
        study_name="hyperjax", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    )
    assert [way.name for way in there.directions] == ["MAXIMIZE"] + ["MINIMIZE"] * 4
    assert tuple(there.metric_names) == METRICS
    own = {trial.user_attrs["trial"]: trial.values for trial in there.trials}
    for trial in study.trials:
        scores = list(study.scores_of(trial))
        assert own[trial.number] == ([-math.inf, *[math.inf] * 4] if trial.diverged else scores)
    best = {tuple(trial.values) for trial in there.best_trials}  # where equals stand side by side
    assert sorted(best) == sorted(map(study.scores_of, study.front))


def test_a_study_that_goes_on_has_the_same_front(task, kept, tmp_path):
    study, folder = kept
    read = StudyReader(str(folder)).read()
    assert alike(read, study) and read.front.table == study.front.table and read.further == study.further
    part = stopped(13, task, SPACE, storage=tmp_path, **ASKED)
    assert len(part.trials) < 20
    whole = hj.study(task, SPACE, storage=tmp_path, **ASKED)
    assert alike(whole, study) and whole.front.table == study.front.table
    assert whole.conditions["trials_kept_before"] == len(part.trials)
    there = (
        r"validation_accuracy \(max\), parameters \(min\), validation_loss .* there and validation_accuracy \(max\) "
    )
    with pytest.raises(ValueError, match=f"metric is {there}here"):
        hj.study(task, SPACE, storage=tmp_path, **(ASKED | {"metric": None}))


def test_a_lone_metric_has_a_front_of_the_best(task, kept):
    one = replace(kept[0], further={})
    assert [trial.number for trial in one.front] == [one.best.number] and "parameters" not in one.table[0]
    measures = Measures(task, ["loss"])
    assert measures.further == {} and measures.costs(hj.Recipe(), []) == {}


def test_only_weights_that_are_trained_count(task):
    frozen = classes(trainable=nnx.All(nnx.Param, nnx.PathContains("second")))
    costs = [Measures(one, ["loss", "parameters"]).costs(hj.Recipe(), []) for one in (task, frozen)]
    assert costs == [{"parameters": 67.0}, {"parameters": 27.0}]


def test_epochs_are_those_that_were_trained(task):
    runs = [SimpleNamespace(epochs=np.array([1.0, 2.0, end])) for end in (2.5, 4.0)]  # the first had stopped early
    assert Measures(task, ["loss", "epochs"]).costs(hj.Recipe(epochs=4), runs) == {"trained_epochs": 3.25}


def test_a_metric_of_the_task_goes_before_a_cost():
    own = classes(metrics={"accuracy": hj.metrics.accuracy, "parameters": hj.metrics.accuracy})
    found = Measures(own, ["validation_loss", "parameters", "trained_epochs"])
    assert found.metrics == {"validation_loss": "min", "validation_parameters": "max", "trained_epochs": "min"}
    assert Measures(own, "parameters").metrics == {"validation_parameters": "max"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"metric": ["accuracy", "f1"]}, "metric must be one that made has, accuracy, loss, or a cost, parameters, "),
        ({"metric": ["parameters", "loss"]}, "metric must begin with one that made has, accuracy, loss, which ranks"),
        ({"metric": "parameters"}, "metric must begin with one that made has"),
        ({"metric": ["loss", "accuracy", "validation_loss"]}, "metric must name each one once, got"),
        ({"metric": []}, r"metric must be a name or a list of names, got \[\]"),
        ({"metric": 3}, "metric must be a name or a list of names, got 3"),
        ({"sampler": "cmaes"}, "sampler must be one that can take several metrics, random, .*, got 'cmaes'"),
        ({"sampler": CmaEsSampler()}, "sampler must be one that can take several metrics"),
        ({"pruner": "median"}, "pruner must be None for several metrics, since a verdict goes by one, got 'median'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(task, asked, message):
    with pytest.raises(ValueError, match=message):
        hj.study(task, SPACE, 4, **({"metric": ["accuracy", "parameters"]} | asked))


def test_an_objective_has_no_flops():
    def objective(model, batch, key):
        return (model(batch[0]) ** 2).mean(1)

    own = classes(loss=None, metrics={}, objective=objective)
    with pytest.raises(ValueError, match="metric must be another than flops for made, whose objective calls the model"):
        Measures(own, ["loss", "flops"])
    assert Measures(own, ["loss", "parameters"]).costs(hj.Recipe(), []) == {"parameters": 67.0}
