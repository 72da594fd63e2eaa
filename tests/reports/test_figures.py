"""Figures hold what was measured: curves, crosses, means, shares; and say what they cannot draw."""

import math

import numpy as np
import pytest

from hyperjax.reports import plot
from hyperjax.reports.curves import mean_curve, thinned, wide
from hyperjax.reports.effects import effect_figure, ranked_effects, variance_share
from hyperjax.schedules import cosine_decay
from hyperjax.statistics import median_interval
from hyperjax.studies.study import Effect, EffectPoint
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Runs


def effect_of(groups, direction="max"):
    """An effect over choices a, b, ... with these scores."""
    points, values, scores = [], [], []
    for name, group in zip("abcdef", groups, strict=False):
        found = float(np.mean(group)), median_interval(group)
        points.append(EffectPoint(name, len(points), len(points), len(group), *found))
        values += [name] * len(group)
        scores += group
    return Effect("knob", "accuracy", direction, "choice", False, tuple(points), tuple(values), tuple(scores))


def test_every_trial_has_its_curve_and_every_divergence_its_cross(study_of):
    study = study_of(40)
    figure = plot(study)
    lines = [trace for trace in figure.data if trace.mode != "markers"]
    crosses = next(trace for trace in figure.data if trace.mode == "markers")
    drawn = {key for trace in lines for key in trace.customdata}
    assert drawn >= {trial.number for trial in study.trials if not trial.diverged}
    assert sorted(crosses.customdata) == [trial.number for trial in study.trials if trial.diverged]
    best = next(trace for trace in lines if set(trace.customdata) == {study.best.number})
    np.testing.assert_allclose(best.y, study.best.runs[0].metrics["validation_accuracy"], rtol=1e-4)
    assert best.line.width > max(trace.line.width for trace in lines if trace is not best)
    assert "learning_rate" in best.text[0]
    for trial in study.trials:
        if trial.diverged:  # 10 steps an epoch
            at = crosses.x[crosses.customdata.index(trial.number)]
            assert at == pytest.approx(trial.runs[0].diverged_at / 10, abs=1.0)


def test_curves_are_means_over_seeds_cut_where_they_end(run_of):
    recipe = Recipe()
    runs = [run_of(recipe, 0, 0.8), run_of(recipe, 1, 0.9), run_of(recipe, 2, 0.9, diverged_at=35)]
    curve = mean_curve(7, "", runs, "validation_accuracy")
    rows = np.stack([run.metrics["validation_accuracy"][:3] for run in runs])
    np.testing.assert_allclose(curve.y, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(curve.low, rows.min(0), rtol=1e-6)
    np.testing.assert_allclose(curve.high, rows.max(0), rtol=1e-6)
    assert curve.ended == 3.0  # three validations before step 35
    runs[0].metrics["validation_accuracy"][1] = np.nan
    assert len(mean_curve(7, "", runs, "validation_accuracy").y) == 1


def test_thinning_keeps_ends_and_spikes():
    values = np.ones(10_000)
    values[[777, 5000]] = 50, -50
    kept = thinned(values, 100)
    assert len(kept) <= 100
    assert {0, 777, 5000, 9999} <= set(kept.tolist())
    assert thinned(np.arange(5.0), 100).tolist() == [0, 1, 2, 3, 4]


def test_logarithmic_axes_are_for_positive_values_far_apart():
    assert wide([1e-4, 1.0]) == (True, pytest.approx(4.0))
    assert not wide([0.1, 0.9])[0]
    assert not wide([0.0, 100.0])[0]
    assert not wide([math.nan])[0]


def test_share_of_variance_by_hand():
    # groups 1, 3 and 5, 7: total sum of squares 20, between 16, eta^2 0.8, corrected 1 - 0.2 * 3 / 2
    assert variance_share(effect_of([[1.0, 3.0], [5.0, 7.0]])) == pytest.approx(0.7)
    assert variance_share(effect_of([[1.0, 3.0], [3.0, 1.0]])) == 0.0
    assert math.isnan(variance_share(effect_of([[1.0, 1.0], [1.0, 1.0]])))
    assert math.isnan(variance_share(effect_of([[1.0], [2.0]])))
    assert math.isnan(variance_share(effect_of([])))


def test_effects_are_ordered_by_their_share(study_of):
    pairs = ranked_effects(study_of(200))
    shares = [share for _, share in pairs]
    assert pairs[0][0].name == "learning_rate"
    assert shares == sorted(shares, reverse=True)


def test_an_effect_shows_medians_in_order_and_shares_diverged():
    effect = effect_of([[0.1, 0.2], [0.8, 0.9], [0.5, 0.5]])
    figure = effect_figure(effect, diverged=["a", "a", "b", "d"])
    medians = next(trace for trace in figure.data if trace.name == "median")
    assert medians.y == pytest.approx((0.85, 0.5, 0.15))
    bars = next(trace for trace in figure.data if trace.type == "bar")
    assert list(figure.layout.xaxis.ticktext) == ["b", "c", "a", "d"]
    assert bars.y == pytest.approx((1 / 3, 0.0, 0.5, 1.0), rel=1e-4)
    lowest = effect_figure(effect_of([[0.1, 0.2], [0.8, 0.9]], direction="min"))
    assert next(trace for trace in lowest.data if trace.name == "median").y == pytest.approx((0.15, 0.85))


def test_a_logarithmic_number_lies_on_a_logarithmic_axis(study_of):
    study = study_of(100)
    assert plot(study.effect("learning_rate")).layout.xaxis.type == "log"
    assert plot(study.effect("dropout")).layout.xaxis.type is None
    medians = next(trace for trace in plot(study.effect("learning_rate")).data if trace.name == "median")
    points = study.effect("learning_rate").points
    assert medians.x == pytest.approx([math.sqrt(p.low * p.high) for p in points], rel=1e-4)


def test_what_can_be_drawn(run_of, study_of):
    run = run_of(Recipe())
    figure = plot(run)
    losses = next(trace for trace in figure.data if trace.name == "training loss")
    np.testing.assert_allclose(losses.y, run.losses, rtol=1e-4)
    rates = next(trace for trace in figure.data if trace.name == "learning rate")
    np.testing.assert_allclose(rates.y, run.in_force("learning_rate"), rtol=1e-4)
    assert plot(Runs([run, run_of(Recipe(), diverged_at=0), run_of(Recipe(), diverged_at=42)])).data
    assert plot(study_of(6), metric="train_loss").layout.yaxis.title.text == "train loss"
    schedule = plot(cosine_decay(0.1, 100), steps=101)
    assert schedule.data[0].y[0] == pytest.approx(0.1)
    assert schedule.data[0].y[50] == pytest.approx(0.05, rel=1e-4)
    assert schedule.data[0].y[-1] == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (3, {}, "x must be a study.*got a int"),
        (Runs([]), {}, "x must hold at least one run"),
        (cosine_decay(0.1, 10), {"steps": 0}, "steps must be"),
        (cosine_decay(0.1, 10), {"metric": "loss"}, "metric applies to a study"),
        (Runs([]), {"steps": 5}, "steps applies to a schedule"),
    ],
)
def test_what_cannot_is_named(x, options, said):
    with pytest.raises(ValueError, match=said):
        plot(x, **options)
