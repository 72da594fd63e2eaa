"""A study's answers: against SciPy, plain loops, functions of known variance, and luck that is known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import hyperjax as hj
from hyperjax.studies.isolating import best_of
from hyperjax.studies.study import Study, Trial
from tests.studies.test_study import made, run


def test_two_trials_are_compared_seed_by_seed():
    one, other = (0.5, 0.6, 0.8, 0.7), (0.55, 0.64, 0.87, 0.75)
    found = made([one, (0.1, 0.2, 0.3, 0.4), other]).compare(0, 2)
    exact = stats.ttest_rel(other, one).confidence_interval(0.95)
    np.testing.assert_allclose(found.interval[1:], exact, rtol=1e-9)
    np.testing.assert_allclose(found.differences, np.subtract(other, one))
    assert (found.better, found.seeds) == (2, (0, 1, 2, 3)) and "Trial 2 is better than trial 0 by 0.0525" in str(found)
    assert made([one, other], direction="min").compare(0, 1).better == 0
    assert made([one, other]).compare(1, 0).better == 1 and made([one, other]).compare(1, 0).interval.mean < 0
    # unpaired, the seeds' own spread would hide it
    assert stats.ttest_ind(one, other).pvalue > 0.5


def test_what_cannot_be_told_apart_says_how_many_seeds_would():
    found = made([(0.5, 0.6, 0.7), (0.52, 0.57, 0.75)]).compare(0, 1)
    differences = np.array([0.02, -0.03, 0.05])
    effect = differences.mean() / differences.std(ddof=1)
    power = [
        stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, effect * math.sqrt(n))
        for n in (found.seeds_needed - 1, found.seeds_needed)
    ]
    assert found.better is None and power[0] < 0.8 <= power[1] and f"about {found.seeds_needed} seeds" in str(found)
    alone = made([0.5, 0.7]).compare(0, 1)
    assert alone.better is None and math.isnan(alone.seeds_needed) and "One seed cannot tell" in str(alone)
    alike = made([(0.5, 0.7), (0.5, 0.7)]).compare(0, 1)
    assert alike.better is None and alike.seeds_needed == math.inf and "no difference" in str(alike)
    gone = made([(0.5, 0.7), (0.5, -3)]).compare(0, 1)
    assert gone.better is None and math.isnan(gone.interval.mean) and "diverged" in str(gone)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (0, 2, "b must be the number of a trial, 0 to 1, got 2"),
        ("x", 1, "a must be the number of a trial, 0 to 1, got 'x'"),
        (1, 1, "b must be another trial than a, got 1 twice"),
    ],
)
def test_trials_that_cannot_be_compared(a, b, message):
    with pytest.raises(ValueError, match=message):
        made([0.5, 0.6]).compare(a, b)


def test_seeds_in_common_alone_are_compared():
    study = made([(0.5, 0.6, 0.7), (0.6, 0.8, 0.9)])
    other = replace(study.trials[1], runs=study.trials[1].runs[1:])
    found = replace(study, trials=(study.trials[0], other)).compare(0, 1)
    assert found.seeds == (1, 2) and found.differences == pytest.approx((0.2, 0.2))
    with pytest.raises(ValueError, match="a and b must have a seed in common"):
        replace(study, trials=(replace(study.trials[0], runs=study.trials[0].runs[:1]), other)).compare(0, 1)


@pytest.mark.parametrize(("count", "draws"), [(6, 3), (5, 1), (7, 2), (4, 4)])
def test_the_expected_best_is_that_of_all_subsets(count, draws):
    scores = np.random.default_rng(count).normal(size=count)
    found = best_of(scores, draws)
    assert found.mean == pytest.approx(np.mean([max(each) for each in itertools.combinations(scores, draws)]))
    if draws == count:
        assert found[1:] == (-math.inf, math.inf)
        return
    without = [best_of(np.delete(scores, at), draws).mean for at in range(count)]
    deviation = math.sqrt((count - 1) / count * np.sum((without - np.mean(without)) ** 2))
    half = stats.t.ppf(0.975, min(count // draws, count - 1)) * deviation
    assert found[1:] == pytest.approx((found.mean - half, found.mean + half))


@pytest.mark.parametrize("made_up", ["normal", "uniform", "standard_exponential"])
@pytest.mark.parametrize("count", [12, 32])
def test_the_interval_of_a_best_covers_it(made_up, count):
    draw = getattr(np.random.default_rng(1), made_up)
    truth = -draw(size=(100_000, count // 2)).min(1).mean()  # exponential downwards, as scores near their best are
    intervals = np.array([best_of(-draw(size=count), count // 2) for _ in range(1000)])
    covered = np.mean((intervals[:, 1] <= truth) & (truth <= intervals[:, 2]))
    assert 0.9 <= covered <= 0.99


def test_more_trials_are_no_better_by_luck():
    """Two activations that are equally good, one drawn eight times as often."""
    rng, names = np.random.default_rng(2), ["relu"] * 64 + ["tanh"] * 8
    gaps, tops = [], []
    for _ in range(200):
        scores = rng.uniform(0.1, 0.9, 72).tolist()
        trials = tuple(Trial(i, {"activation": names[i]}, None, (run(score),)) for i, score in enumerate(scores))
        found = Study("made", {"activation": ""}, trials, "accuracy", "max", (0,)).isolate("activation")
        many, few = found.points
        gaps.append(many.interval.mean - few.interval.mean)
        tops.append(scores[many.best] - scores[few.best])
    assert found.draws == 4 and abs(np.mean(gaps)) < 0.02 < 0.06 < np.mean(tops)


def test_values_are_isolated_at_their_best():
    values = [{"activation": name, "learning_rate": 0.1} for name in ("relu", "tanh", "relu", "tanh", "relu", "tanh")]
    found = made([0.9, 0.5, 0.7, 0.6, -4, 0.8], values).isolate("activation", draws=2)
    relu, tanh = found.points
    assert (found.kind, found.draws, relu.value, relu.trials, relu.diverged, relu.best) == (
        "choice",
        2,
        "relu",
        3,
        1,
        0,
    )
    assert relu.interval.mean == pytest.approx((0.9 + 0.9 + 0.7) / 3)  # with what diverged as the worst, 0.5
    assert (tanh.best, tanh.interval.mean) == (5, pytest.approx((0.8 + 0.8 + 0.6) / 3))
    least = made([0.9, 0.5, 0.7, 0.6, -4, 0.8], values, direction="min").isolate("activation", draws=1)
    assert least.points[1].best == 1 and least.points[1].interval.mean == pytest.approx((0.5 + 0.6 + 0.8) / 3)
    assert least.points[1].interval.low < least.points[1].interval.mean < least.points[1].interval.high
    gone = made([-1, -2], values[:2]).isolate("activation")
    assert [point.best for point in gone.points] == [None, None] and math.isnan(gone.points[0].interval.mean)
    with pytest.raises(ValueError, match="name must be one of activation, learning_rate, got 'activatoin'"):
        made([0.1, 0.2], values[:2]).isolate("activatoin")
    with pytest.raises(ValueError, match="draws must be a whole number of at least 1, got 0"):
        made([0.1, 0.2], values[:2]).isolate("activation", draws=0)


def test_two_names_make_a_grid():
    values = [{"learning_rate": rate, "optimizer": name} for rate in (0.1, 0.2, 0.3, 0.4) for name in ("sgd", "adam")]
    values[7] = {"learning_rate": 0.4}  # where the other could not matter
    study = made([0.1, 0.2, 0.3, 0.4, 0.5, -3, 0.7, 0.8], values, continuous=frozenset({"learning_rate"}))
    found = study.effect("learning_rate", "optimizer", bins=2)
    assert found.kinds == ("number", "choice") and found.labels == (("0.1 to 0.2", "0.2 to 0.4"), ("sgd", "adam"))
    # six trials count, sorted by rate: 0.1 0.1 0.2 | 0.2 0.3 0.4
    assert found.trials == ((2, 1), (2, 1))
    np.testing.assert_allclose(found.medians, [[0.2, 0.2], [0.6, 0.4]])
    assert found.intervals[0][0][1:] == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="other must be another hyperparameter than name, got 'optimizer' twice"):
        study.effect("optimizer", "optimizer")
    with pytest.raises(ValueError, match="other must be one of learning_rate, optimizer"):
        study.effect("optimizer", "momentum")
    assert made([-1, -2], values[:2]).effect("learning_rate", "optimizer").medians.shape == (0, 0)


RANGES = {"learning_rate": hj.log_uniform(1e-4, 1.0), "model.depth": hj.integer(1, 4)}


def known(count, seed=0, direction="max"):
    """Scores of known variance: 4 x for x in [0, 1] (16 / 12), 1, 2, 3, 4 (15 / 12) and 0 or 1 (1 / 4), and no more."""
    rng = np.random.default_rng(seed)
    values, scores = [], []
    for _ in range(count):
        x, depth, name = rng.random(), int(rng.integers(1, 5)), ["sgd", "adam"][int(rng.integers(2))]
        values.append(
            {"learning_rate": 1e-4 ** (1 - x), "model.depth": depth, "optimizer": name, "dropout": float(rng.random())}
        )
        scores.append(10 + 4 * x + depth + (name == "adam"))
    return made(scores, values, direction, ranges=RANGES | {"dropout": hj.uniform(0.0, 1.0)})


@pytest.mark.slow
def test_fanova_finds_known_variances():
    found = known(200).importance()
    total = 16 + 15 + 3
    for name, share in {"learning_rate": 16, "model.depth": 15, "optimizer": 3, "dropout": 0}.items():
        assert found.shares[name].mean == pytest.approx(share / total, abs=0.05), name
        assert found.shares[name].low <= found.shares[name].mean <= found.shares[name].high
    assert (found.trials, found.note, list(found.shares)[-1]) == (200, "", "dropout")


def test_importance_is_the_same_every_time_and_its_interval_narrows():
    few, again, many = (known(count).importance() for count in (24, 24, 96))
    assert few == again and few != known(24).importance(seed=1)

    def width(found):
        return found.shares["learning_rate"].high - found.shares["learning_rate"].low

    assert width(many) < width(few)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_ped_anova_finds_what_sets_the_best_apart(direction):
    rng = np.random.default_rng(0)
    values = [{"learning_rate": 1e-4 ** float(rng.random()), "dropout": float(rng.random())} for _ in range(200)]
    sign = 1 if direction == "max" else -1
    study = made(
        [5 - sign * abs(v["dropout"] - 0.5) for v in values],
        values,
        direction,
        ranges=RANGES | {"dropout": hj.uniform(0.0, 1.0)},
    )
    found = study.importance("ped_anova")
    assert found.shares["dropout"].low > 0.8 and sum(share.mean for share in found.shares.values()) == pytest.approx(
        1.0
    )


def test_a_name_that_is_missing_where_it_cannot_matter_does_not_stand_for_what_decides_that():
    rng = np.random.default_rng(0)
    values = [
        {"optimizer": "adam"} if i % 2 else {"optimizer": "sgd", "dropout": float(rng.random())} for i in range(80)
    ]
    scores = [float(v["optimizer"] == "adam") + 0.1 * rng.random() for v in values]
    found = made(scores, values, ranges={"dropout": hj.uniform(0.0, 1.0)}).importance()
    assert found.shares["optimizer"].mean > 0.95 and found.shares["dropout"].mean < 0.01


def test_importance_that_cannot_be_known_says_why():
    study = known(12)
    for found, note in (
        (made([0.5], ranges=RANGES).importance(), "It takes 8 trials with a score: there are 1."),
        (made([-1] * 9, ranges=RANGES).importance(), "there are 0, and 9 without one"),
        (made([0.5] * 9, ranges=RANGES).importance(), "All scores are equal"),
        (made([0.1 * i for i in range(9)], [{}] * 9).importance(), "Nothing was searched that varies"),
    ):
        assert note in found.note and all(math.isnan(share.mean) for share in found.shares.values())
    with pytest.raises(ValueError, match="method must be one of fanova, ped_anova, got 'anova'"):
        study.importance("anova")


def test_large_studies_are_thinned(monkeypatch):
    monkeypatch.setattr("hyperjax.studies.importance.MOST", {"fanova": 50, "ped_anova": 70})
    assert known(60).importance().trials == 50 and known(60).importance("ped_anova").trials == 60


def test_the_dataframe_has_a_row_for_each_trial_and_seed():
    pandas = pytest.importorskip("pandas", reason="pandas, an extra")
    values = [
        {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 32, "warmup": 0},
        {"optimizer": "adam", "learning_rate": 0.2, "batch_size": 64, "warmup": hj.fraction(0.1), "momentum": 0.9},
        {"optimizer": "sgd", "learning_rate": 0.3, "batch_size": 32, "warmup": 0},
    ]
    study = made([(0.5, 0.6), (0.8, 0.7), (0.9, -4)], values)
    frame = study.dataframe()
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds == {
        "trial": "int64",
        "rank": "int64",
        "seed": "int64",
        "optimizer": "category",
        "learning_rate": "float64",
        "batch_size": "Int64",
        "warmup": "category",
        "momentum": "float64",
        "validation_accuracy": "float64",
        "diverged_at": "Int64",
        "finished": "bool",
    }
    assert frame["trial"].tolist() == [0, 0, 1, 1, 2, 2] and frame["rank"].tolist() == [2, 2, 1, 1, 3, 3]
    assert frame["seed"].tolist() == [0, 1] * 3 and frame["warmup"].tolist()[2] == "fraction(0.1)"
    assert frame["momentum"].isna().tolist() == [True, True, False, False, True, True]
    assert frame["diverged_at"].tolist()[-1] == 4 and frame["diverged_at"].isna().sum() == 5
    means = frame.groupby("trial")["validation_accuracy"].apply(lambda each: each.mean(skipna=False))
    np.testing.assert_allclose(means, [trial.score for trial in study.trials])
    assert isinstance(frame, pandas.DataFrame) and len(made([]).dataframe()) == 0


def test_without_pandas_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setattr("hyperjax.studies.dataframe.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match="dataframe needs the package pandas, which is not installed: pip install pandas"
    ):
        made([0.5]).dataframe()
