"""Studies: ranking, intervals, effects, divergence, the test set, and what Ctrl-C leaves."""

import math
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.studies import StudyInterrupted
from hyperjax.studies.study import Study, Trial
from hyperjax.training.mapping import Population
from tests.training.made import classes

T_TWO_DEGREES = 4.302652729911275  # two-sided 95 % of Student's t, from tables


def run(score, seed=0, diverged_at=None):
    """As much of a run as a study looks at."""
    diverged = diverged_at is not None
    return SimpleNamespace(
        score=math.nan if diverged else score, seed=seed, diverged=diverged, diverged_at=diverged_at, finished=True
    )


def made(scores, values=None, direction="max", **more):
    """A study of given scores: a number, or one a seed; a negative one diverged at that step."""
    rows = [row if isinstance(row, tuple) else (row,) for row in scores]
    values = values or [{"learning_rate": 0.1 * (i + 1)} for i in range(len(rows))]
    trials = tuple(
        Trial(i, v, hj.Recipe(), tuple(run(s, j, int(-s) if s < 0 else None) for j, s in enumerate(row)))
        for i, (row, v) in enumerate(zip(rows, values, strict=True))
    )
    space = dict.fromkeys((name for v in values for name in v), "anything")
    seeds = tuple(range(len(rows[0]))) if rows else (0,)
    return Study("made", space, trials, "validation_accuracy", direction, seeds, **more)


@pytest.mark.parametrize(("direction", "order"), [("max", [3, 0, 4, 1, 2, 5]), ("min", [1, 0, 4, 3, 2, 5])])
def test_trials_are_ranked_by_direction_and_those_that_diverged_come_last(direction, order):
    study = made([0.5, 0.2, -7, 0.9, 0.5, -3], direction=direction)
    assert [trial.number for trial in study.ranking] == order
    assert study.best.number == order[0]
    assert [row["trial"] for row in study.table] == order
    assert [row["rank"] for row in study.table] == [1, 2, 3, 4, 5, 6]
    assert [row["diverged_at"] for row in study.table] == [None, None, None, None, 7, 3]
    assert study.table[0].keys() == {"rank", "trial", "learning_rate", "validation_accuracy", "diverged_at"}
    assert study.table[0]["validation_accuracy"] == study.best.score
    assert math.isnan(study.table[-1]["validation_accuracy"])


def test_seeds_become_an_interval():
    study = made([(0.5, 0.6, 0.7), (0.9, 0.9, 0.9), (0.8, -4, -2)])
    mean, low, high = study.trials[0].interval
    half = T_TWO_DEGREES * 0.1 / math.sqrt(3)  # the sample's deviation is 0.1
    np.testing.assert_allclose([mean, low, high], [0.6, 0.6 - half, 0.6 + half], rtol=1e-9)
    np.testing.assert_allclose(study.trials[1].interval, 0.9)
    assert math.isnan(study.trials[2].score) and study.trials[2].diverged == 2
    assert [row["trial"] for row in study.table] == [1, 0, 2]
    assert study.table[1]["low"] == low and study.table[1]["high"] == high
    assert study.table[2]["diverged_at"] == 2
    lone = made([0.5]).trials[0].interval
    assert (lone.mean, lone.low, lone.high) == (0.5, -math.inf, math.inf)


def test_the_effect_of_a_number_is_binned_with_intervals():
    rates = [0.1, 0.4, 0.2, 0.3, 0.6, 0.5, 0.9]
    study = made(
        [0.1, 0.4, 0.3, 0.2, 0.8, 0.6, -5], [{"learning_rate": r} for r in rates], logs=frozenset({"learning_rate"})
    )
    effect = study.effect("learning_rate", bins=3)
    assert (effect.kind, effect.log, effect.metric, effect.direction) == ("number", True, "validation_accuracy", "max")
    assert [(p.low, p.high, p.trials) for p in effect.points] == [(0.1, 0.2, 2), (0.3, 0.4, 2), (0.5, 0.6, 2)]
    for point, middle in zip(effect.points, [0.2, 0.3, 0.7], strict=True):  # of two: nothing bounds the median
        np.testing.assert_allclose([point.mean, *point.interval], [middle, middle, -np.inf, np.inf], rtol=1e-9)
    assert effect.points[0].label == "0.1 to 0.2"
    assert effect.values == tuple(rates[:6]) and effect.scores == (0.1, 0.4, 0.3, 0.2, 0.8, 0.6)
    sizes = [p.trials for p in made([0.5] * 11).effect("learning_rate", bins=4).points]
    assert sizes == [3, 3, 3, 2]


def test_the_effect_of_a_choice_has_a_point_for_each():
    names = ["adam", "sgd", "adam", "sgd", "lion", "adam"]
    effect = made([0.5, 0.2, 0.6, 0.4, 0.9, 0.7], [{"optimizer": n} for n in names]).effect("optimizer")
    assert effect.kind == "choice"
    found = {p.label: (p.trials, round(p.mean, 9), round(p.interval.median, 9)) for p in effect.points}
    assert found == {"adam": (3, 0.6, 0.6), "sgd": (2, 0.3, 0.3), "lion": (1, 0.9, 0.9)}


def test_bins_hold_eight_trials_unless_somebody_says_otherwise():
    values = [{"learning_rate": rate} for rate in range(1, 33)]
    points = made([rate / 40 for rate in range(1, 33)], values).effect("learning_rate").points
    assert [point.trials for point in points] == [8, 8, 8, 8]
    # of eight, 1 - 2 / 2**8 of the intervals from the least to the greatest hold the median, 1 - 18 / 2**8 of the next
    gained = (254 / 256 - 0.95) / (254 / 256 - 238 / 256)
    inner = 7 * gained / (1 + 6 * gained)
    np.testing.assert_allclose(points[0].interval, [4.5 / 40, (1 + inner) / 40, (8 - inner) / 40])


def test_the_effect_of_a_few_numbers_is_that_of_choices_in_order_unless_they_come_from_a_range():
    values = [{"batch_size": n} for n in (128, 32, 64, 32)]
    study = made([0.1, 0.2, 0.3, 0.4], values)
    assert [(p.label, p.trials) for p in study.effect("batch_size").points] == [("32", 2), ("64", 1), ("128", 1)]
    ranged = made([0.1, 0.2, 0.3], continuous=frozenset({"learning_rate"})).effect("learning_rate")
    assert ranged.kind == "number" and [p.trials for p in ranged.points] == [2, 1]


def test_effects_of_lengths_lists_and_values_that_were_blanked():
    lengths = [0, hj.fraction(0.1), 0, hj.fraction(0.1)]
    values = [{"warmup": w, "model.hidden": h} for w, h in zip(lengths, [[8], [8, 8], [8], [8]], strict=True)]
    values[3] = {"warmup": hj.fraction(0.1)}
    study = made([0.1, 0.2, 0.3, 0.4], values)
    warm = {p.label: round(p.interval.median, 9) for p in study.effect("warmup").points}
    assert warm == {"0": 0.2, "fraction(0.1)": 0.3}
    assert {p.label: p.trials for p in study.effect("model.hidden").points} == {"[8]": 2, "[8, 8]": 1}


def test_a_winner_at_the_end_of_its_range_is_said_so():
    ranges = {
        "learning_rate": hj.log_uniform(1e-4, 1.0),
        "dropout": hj.uniform(0.0, 0.5),
        "model.depth": hj.integer(1, 4),
        "momentum": hj.uniform(0.5, 0.9),
        "l2": hj.uniform(0.1, 0.1),
    }

    def edges(score=0.5, **values):
        return made([score, 0.2], [values, dict.fromkeys(values, 0.3)], ranges=ranges).edges

    # the outer 5 % of four decades ends at 10 ** -3.8 = 1.585e-4 and 10 ** -0.2 = 0.631
    assert edges(learning_rate=1.58e-4, dropout=0.024) == {"learning_rate": "low", "dropout": "low"}
    assert edges(learning_rate=1.59e-4, dropout=0.026) == {}
    assert edges(learning_rate=0.63, dropout=0.474) == {}
    assert edges(learning_rate=0.64, dropout=0.476) == {"learning_rate": "high", "dropout": "high"}
    assert edges(**{"model.depth": 4}) == {"model.depth": "high"} and edges(**{"model.depth": 3}) == {}
    assert edges(l2=0.1) == {}
    assert edges(-5, learning_rate=1.0, dropout=0.3) == {} and made([]).edges == {}  # the best is the other one


def test_effects_that_cannot_be():
    study = made([0.1, 0.2])
    with pytest.raises(ValueError, match=r"name must be one of learning_rate, got 'learning_rat'; did you mean"):
        study.effect("learning_rat")
    with pytest.raises(ValueError, match="bins must be a whole number of at least 1, got 0"):
        study.effect("learning_rate", bins=0)
    assert made([-1, -2]).effect("learning_rate").points == ()
    with pytest.raises(ValueError, match="at least one finished trial"):
        _ = made([]).best
    assert made([]).ranking == () and made([]).table == []


RATES = hj.space(learning_rate=hj.log_uniform(1e-3, 1e-1), optimizer=["sgd", "adam"], batch_size=10, epochs=2)


@pytest.fixture(scope="module")
def task():
    """One task, so that the studies of as many runs share their programs."""
    return classes()


@pytest.fixture(scope="module")
def study(task):
    return hj.study(task, RATES, trials=6, seeds=2)


def test_trials_are_the_runs_of_their_recipes(study, task):
    assert [trial.number for trial in study.trials] == list(range(6)) and study.seeds == (0, 1)
    for trial in study.trials:
        assert trial.values.keys() == {"learning_rate", "optimizer"}
        assert trial.recipe == hj.Recipe(batch_size=10, epochs=2, **trial.values)
        assert [run.seed for run in trial.runs] == [0, 1] and all(run.recipe == trial.recipe for run in trial.runs)
    chosen = study.trials[3]
    alone = [hj.fit(task, chosen.recipe, seed=seed).metrics["validation_accuracy"][-1] for seed in (0, 1)]
    assert chosen.score == np.mean(np.asarray(alone, np.float64))
    assert study.space == {"learning_rate": "numbers from 0.001 to 0.1, log scale", "optimizer": "sgd, adam"}
    assert study.fixed == {"batch_size": "10", "epochs": "2"}
    assert study.logs == study.continuous == {"learning_rate"}
    assert study.conditions["programs"] == 1 and study.conditions["asked_trials"] == 6
    assert study.conditions["seconds"] >= study.conditions["train_seconds"] > 0


def test_the_best_is_measured_on_the_test_set(study, task):
    x, y = task.data["test"]
    shares = [np.mean(np.asarray(run.model(x)).argmax(1) == y) for run in study.best.runs]
    assert study.test["accuracy"] == pytest.approx(np.mean(shares), abs=1e-6)
    assert study.best.score == max(trial.score for trial in study.trials)


def test_a_longer_study_begins_with_the_same_runs(study, task):
    longer = hj.study(task, RATES, trials=12, seeds=1)
    for a, b in zip(study.trials, longer.trials, strict=False):
        assert a.values == b.values
        np.testing.assert_array_equal(a.runs[0].losses, b.runs[0].losses)


def test_progress_counts_trials_not_runs(task):
    seen = []
    hj.study(task, RATES, trials=6, seeds=[4, 2], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(7)]


@pytest.mark.parametrize("finished", [0, 1, 4])
def test_an_interruption_hands_over_what_had_finished(task, study, finished):
    def stop(done, total):
        if done == finished:
            raise KeyboardInterrupt

    with pytest.raises(StudyInterrupted, match=f"interrupted with {finished} trials finished") as caught:
        hj.study(task, RATES, trials=6, seeds=2, progress=stop)
    part = caught.value.study
    assert isinstance(caught.value, KeyboardInterrupt)
    assert len(part.trials) == finished and part.conditions["interrupted"] and part.conditions["asked_trials"] == 6
    for trial in part.trials:
        np.testing.assert_array_equal(trial.runs[0].losses, study.trials[trial.number].runs[0].losses)
        assert trial.recipe == study.trials[trial.number].recipe
    assert bool(part.test) == (finished > 0)


def test_a_study_run_from_sources_that_are_not_installed_is_not_lost(task, monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("hyperjax.studies.identity.version", absent)
    assert hj.study(task, RATES, trials=6, seeds=2).conditions["versions"]["hyperjax"] == "not installed"


def test_trials_that_diverge_are_counted_and_ranked_last(task):
    wild = hj.space(
        loss="squared_error", activation="relu", optimizer="sgd", learning_rate=[0.01, 1e6], batch_size=10, epochs=2
    )
    study = hj.study(task, wild, seeds=2)
    assert [trial.values["learning_rate"] for trial in study.ranking] == [0.01, 1e6]
    assert [trial.diverged for trial in study.ranking] == [0, 2]
    assert study.table[-1]["diverged_at"] >= 1 and study.test


def test_a_study_in_which_everything_diverges(task):
    wild = hj.space(
        loss="squared_error", activation="relu", optimizer="sgd", learning_rate=[2e6, 1e6], batch_size=10, epochs=2
    )
    study = hj.study(task, wild)
    assert [trial.diverged for trial in study.ranking] == [1, 1] and study.best.number == 0
    assert math.isnan(study.best.score) and study.test == {}
    assert study.effect("learning_rate").points == ()
    assert all(row["diverged_at"] is not None for row in study.table)


def test_one_trial_alone_and_a_space_where_nothing_varies(task):
    alone = hj.study(task, RATES, trials=1)
    assert alone.best is alone.ranking[0] and len(alone.table) == 1
    assert [p.trials for p in alone.effect("learning_rate").points] == [1]
    fixed = hj.study(task, hj.space(batch_size=10, epochs=2), trials=5)
    assert len(fixed.trials) == 1 and fixed.space == {} and fixed.best.values == {}


def test_a_loss_ranks_downwards_where_there_is_no_metric():
    task = classes(metrics={})
    study = hj.study(task, hj.space(learning_rate=[0.0, 0.05], batch_size=10, epochs=2))
    assert (study.metric, study.direction) == ("validation_loss", "min")
    assert study.best.values["learning_rate"] == 0.05 and study.best.score < study.ranking[1].score


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1, got 0"),
        ({"trials": -5}, "trials must be a whole number of at least 1, got -5"),
        ({"trials": "many"}, "trials must be a whole number of at least 1, got 'many'"),
        ({"trials": 2.5}, "trials must be a whole number of at least 1, got 2.5"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1, got 0"),
        ({"seeds": -5}, "seeds must be a whole number of at least 1, got -5"),
        ({"seeds": "many"}, "seeds must be a whole number of at least 1, got 'many'"),
        ({"seeds": 2.5}, "seeds must be a whole number of at least 1, got 2.5"),
        ({"seeds": None}, "seeds must be a whole number of at least 1, got None"),
        ({"seeds": True}, "seeds must be a whole number of at least 1, got True"),
        ({"seeds": []}, "seeds must hold at least one"),
        ({"seeds": [0.5]}, "seed must be a whole number, got 0.5"),
        ({"seeds": [1, 1]}, r"seeds must differ from one another, got \[1, 1\]"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
        ({"space": {"epochs": 2}}, r"space must come from hyperjax.space\(...\), got {'epochs': 2}"),
        (
            {"space": hj.space(batch_size=[10, 300])},
            "batch_size must be at most the 46 training examples of made, got 300; 'full'",
        ),
        ({"space": hj.space({"hyperparameters.slope": hj.uniform(0, 1)})}, "slope"),
        ({"space": hj.space(warmup=[0, 100], epochs=1)}, "warmup must be at most the run's 2 steps, got 100"),
        ({"space": hj.space(momentum=[0.5, 0.9])}, "momentum must be left out, since optimizer adam can read b1"),
        ({"layout": "rows"}, "layout must be one of auto, map, vmap, got 'rows'"),
    ],
)
def test_bad_input_is_refused_before_anything_compiles(monkeypatch, task, change, message):
    def refuse(*_):
        raise AssertionError("compiled")

    monkeypatch.setattr(Population, "_compile_piece", refuse)
    with pytest.raises(ValueError, match=message):
        hj.study(task, **({"space": RATES, "trials": 2} | change))


def test_a_task_without_a_validation_set_is_refused():
    x, y = classes().data["train"]
    with pytest.raises(ValueError, match=r"task must have data\['validation'\]"):
        hj.study(classes(data={"train": (x, y)}), RATES, trials=2)
