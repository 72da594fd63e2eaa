"""Nothing that does not fit ever runs, and what is advised follows from what was measured."""

import importlib
import itertools
import math

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.diagnostics import NoiseScale, batch_cost
from hyperjax.diagnostics.batch_cost import BatchCost, BatchSize, _advice, _trained
from hyperjax.diagnostics.batch_generalization import Generalization, _scaled, paired_runs
from hyperjax.diagnostics.largest_batch import CLOSE, largest_batch
from hyperjax.diagnostics.step_cost import Memory, MemoryWatch, StepCost, Timing
from hyperjax.statistics import Interval, mean_interval
from tests.training.made import classes

MODULE = importlib.import_module(BatchCost.__module__)  # the package has the function under its name
WIDTH = 2048
RECIPE = hj.Recipe(optimizer="sgd", learning_rate=1e38, batch_size=8, epochs=1, model={"width": WIDTH})
CRITICAL = Interval(20.0, 10.0, 30.0)
UNKNOWN = Interval(math.nan, math.nan, math.nan)
NOISE = NoiseScale("made", (0, 1, 2), (CRITICAL,) * 3, (), (4.0, 3.0, 2.0), 8, CRITICAL, None, (), "", 1, 256, None)


@pytest.fixture(scope="module")
def wide():
    """A task whose steps need memory for hidden units of each example."""
    return classes(examples=256)


def test_memory_grows_by_what_a_hidden_layer_holds(wide):
    small, large = (StepCost(wide, RECIPE, size).memory().needed for size in (64, 256))
    layer = (256 - 64) * WIDTH * 4
    assert 1 <= (large - small) / layer <= 8


def test_what_does_not_fit_is_never_run(wide, monkeypatch):
    needed = StepCost(wide, RECIPE, 64).memory().needed
    ran, timed = [], StepCost.run
    monkeypatch.setattr(StepCost, "run", lambda step: ran.append(step.batch_size) or timed(step))
    calm = RECIPE.replace(learning_rate=0.08, batch_size=64)
    monkeypatch.setattr("hyperjax.diagnostics.largest_batch.CLOSE", 1.5)  # fewer compilations
    found = batch_cost(wide, calm, [8, 64, 256], noise=NOISE, memory=needed)
    assert ran == [8, 64]
    assert [each.seconds is None for each in found.costs] == [False, False, True]
    assert 64 <= found.largest < 256
    assert StepCost(wide, calm, found.largest).memory().needed <= needed
    assert StepCost(wide, calm, math.ceil(found.largest * 1.5)).memory().needed > needed
    assert found.memory_measured in ("process", "device")
    for each in found.costs[:2]:
        assert each.seconds.low <= each.seconds.median <= each.seconds.high
        assert each.examples_a_second == pytest.approx(each.batch_size / each.seconds.median)
    assert [each.gradient_variance for each in found.costs] == [3 / 8, 3 / 64, 3 / 256]
    assert f"The largest batch that fits is {found.largest}." in found.answer
    assert found.table.rows[2][1] == "does not fit"
    assert [each.by for each in found.advice] == ["throughput", "noise scale", "time"]


@pytest.mark.slow
def test_sizes_are_compared_by_runs_of_equal_seeds_and_epochs():
    task, recipe = classes(), hj.Recipe(optimizer="sgd", learning_rate=0.08, batch_size=32, epochs=2)
    found = {each.batch_size: each for each in paired_runs(task, recipe, [8, 32], 32, 2)}
    assert set(found) == {8, 32}
    scores = []
    for size, rate in ((8, 0.02), (32, 0.08)):  # SGD's goes with the batch size
        scores.append(
            [hj.fit(task, recipe.replace(batch_size=size, learning_rate=rate), seed=seed).score for seed in (0, 1)]
        )
        assert found[size].learning_rate == pytest.approx(rate)
        assert found[size].score.mean == pytest.approx(np.mean(scores[-1]))
    assert found[8].gain == pytest.approx(mean_interval(np.subtract(*scores)))


def test_a_step_is_timed_without_its_compilation_and_whatever_its_rate(wide, monkeypatch):
    step = StepCost(wide, RECIPE, 8)
    step.memory()
    ticks = itertools.count()
    monkeypatch.setattr("hyperjax.diagnostics.step_cost.time.perf_counter", lambda: float(next(ticks)))
    timing, rate, _ = step.run()
    assert timing == Timing(*[1 / 64] * 3)  # a call of 64 steps between two ticks
    assert rate == pytest.approx(8 * 64)
    start = step._trainer.init.compile(step._settings, step._root)(step._settings, step._root)
    after, record = step._compiled()(start, step._settings, step._root, step._data, np.int32(0))
    assert int(after.step[0]) == 64 and np.isfinite(np.asarray(record.loss)).all()


def test_a_recipe_for_larger_and_more_steps_is_measured_too(wide):
    assert StepCost(wide, hj.Recipe(batch_size=64, micro_batches=16), 8)._trainer.structure.micro_batches == 8
    falling = hj.schedules.linear(0.1, 0.0, hj.fraction(0.5))
    # Ten epochs are 80 steps with batches of 32, and 10 with all examples.
    for recipe in (hj.Recipe(learning_rate=falling), hj.Recipe(schedule="cosine_decay", warmup=20)):
        settings = StepCost(wide, recipe, 256)._settings
        assert not np.any(settings.learning_rate) and settings.shape is None


def test_batches_of_another_size_warm_up_for_the_same_share_of_the_run():
    task, recipe = classes(), hj.Recipe(batch_size=8, epochs=10, warmup=15, micro_batches=4, average=0.9)
    recipe = recipe.replace(average_start=30)  # of 60 steps
    assert _scaled(task, recipe, 8, 8) == recipe
    for size, steps in ((2, 230), (46, 10)):
        scaled = _scaled(task, recipe, 8, size)
        settings, structure = scaled.lower(task)
        assert int(settings.steps) == steps
        assert scaled.warmup == hj.fraction(0.25) and scaled.average_start == hj.fraction(0.5)
        assert structure.micro_batches == min(4, size)
    whole = recipe.replace(warmup=60)
    _scaled(task, whole, 8, 33).lower(task)
    assert _scaled(task, recipe.replace(warmup=hj.epochs(1)), 8, 33).warmup == hj.epochs(1)


def test_memory_that_something_takes_is_seen():
    with MemoryWatch() as watch:
        held = np.ones(64 << 20, np.uint8)
    assert watch.growth is None or watch.growth >= 0.9 * held.nbytes


@pytest.mark.parametrize("known", [1, 8, 300])
def test_the_largest_is_found_from_wherever_it_begins(known):
    for limit in (0, 1, 2, 7, 299, 300, 301, 5_000, 99_999, 100_000):
        asked = []
        found = largest_batch(lambda size: asked.append(size) or size <= limit, known, 100_000)  # noqa: B023
        if limit == 0:
            assert found is None
        elif limit >= 100_000:
            assert (found, len(asked)) == (100_000, 1)
        else:
            assert found <= limit < max(found + 1, math.ceil(found * CLOSE))
            assert len(asked) == len(set(asked)) < 24


def made(size, seconds):
    return BatchSize(size, Timing(seconds, seconds, seconds), 1.0, size / seconds, Memory(size, size), None, 1 / size)


def test_each_reason_has_its_own_batch_size():
    """Steps cost 1 ms and 10 us an example: hence 83, 95, 98.8 % of all throughput there is."""
    costs = [made(size, 1e-3 + 1e-5 * size) for size in (8, 32, 128, 512, 2048, 8192)]
    critical = Interval(500.0, 100.0, 1000.0)
    found = {each.by: each for each in _advice(costs, critical, 8, ())}
    assert found["throughput"].batch_size == 2048
    assert found["noise scale"].batch_size == 128
    # (1 + 500 / B) (1e-3 + 1e-5 B) is least at sqrt(500 * 100) = 224
    assert found["time"].batch_size == min((8, 32, 128, 512), key=lambda b: (1 + 500 / b) * (1 + b / 100))
    assert "; 128 to 512 by the interval" in found["time"].reason
    unknown = {each.by for each in _advice(costs, Interval(math.nan, 0.0, math.inf), 8, ())}
    assert unknown == {"throughput"}
    endless = {each.by: each.batch_size for each in _advice(costs, Interval(math.inf, 50.0, math.inf), 8, ())}
    assert endless["noise scale"] == endless["time"] == 8192


def result(**changes):
    costs = (made(8, 1e-3), made(512, 2e-3))
    critical = Interval(20.0, 10.0, 30.0)
    given = {"task": "made", "device": "cpu", "in_use": 8, "costs": costs, "memory_free": 100}
    given |= {"memory_measured": "process", "largest": 600, "examples": 1000, "critical_batch": critical}
    given |= {"advice": _advice(costs, critical, 8, ()), "generalization": (), "metric": "validation_accuracy"}
    return BatchCost(**(given | changes))


def test_disagreement_is_said():
    found = result()
    assert found.disagreement == 64
    assert "disagree by a factor of 64: noise scale is for 8, throughput for 512." in found.answer
    assert "agree to a factor of 2" in result(advice=found.advice[:1] * 2).answer
    assert "agree" not in result(advice=found.advice[:1]).answer
    assert "busy" not in found.answer
    unsteady = found.costs[0]._replace(seconds=Timing(2e-3, 1e-3, 3e-3), examples_a_second=4000.0)
    assert "differed by up to 3 times" in result(costs=(unsteady, found.costs[1])).answer
    assert _advice((unsteady,), CRITICAL, 8, ())[0].reason.startswith("8,000 examples a second")  # of the fastest call
    assert "Even all 1000 training examples fit" in result(largest=1000).answer


def test_that_nothing_fits_is_said():
    costs = tuple(each._replace(seconds=None, examples_a_second=None) for each in result().costs)
    found = result(costs=costs, advice=(), largest=None)
    assert found.answer == "Batch sizes for made on cpu, with 8 in use: none fits. Not even one example fits."
    unknown = result(largest=None, memory_free=None)
    assert unknown.answer.endswith("Nothing tells how much memory is free.")
    costs = tuple(each._replace(memory=None) for each in result().costs)
    assert result(costs=costs, largest=None).answer.endswith("Nothing tells how much memory batches need.")


def test_what_generalizes_is_advised_only_where_it_is_shown():
    def trained(size, low, high):
        return Generalization(size, 0.1, Interval(0.9, 0.8, 1.0), Interval((low + high) / 2, low, high), 0)

    base = Generalization(32, 0.1, Interval(0.9, 0.8, 1.0), Interval(0.0, 0.0, 0.0), 0)
    worse = _advice(
        [made(32, 1.0)], Interval(*[math.nan] * 3), 32, [base, trained(8, -0.1, 0.2), trained(512, -0.3, -0.1)]
    )
    assert worse[-1][:2] == ("generalization", 32)
    assert worse[-1].reason == "no size is shown better; 512 shown worse"
    better = _advice([made(32, 1.0)], Interval(*[math.nan] * 3), 32, [base, trained(8, 0.1, 0.2)])
    assert better[-1][:2] == ("generalization", 8)


def test_runs_that_diverged_count_against_a_size():
    """The base lost 1 of 5 runs. What lost more is not better whatever its survivors gain."""

    def advised(*trained):
        costs = [made(32, 1.0)]
        return {each.by: each for each in _advice(costs, UNKNOWN, 32, trained)}.get("generalization")

    def trained(size, diverged, gain=(0.1, 0.05, 0.15), score=0.9):
        return Generalization(size, 0.1, Interval(score, 0.8, 1.0), Interval(*gain), diverged)

    base = trained(32, 1, (0.0, 0.0, 0.0))
    found = advised(base, trained(8, 3))
    assert found[1:] == (32, "no size is shown better; runs that diverged: 1 with 32, 3 with 8")
    found = advised(base, trained(8, 3), trained(16, 1, (0.06, 0.05, 0.07)))
    assert found.batch_size == 16 and found.reason.startswith("shown better by 0.06")
    lost = Generalization(32, 0.1, UNKNOWN, Interval(0.0, 0.0, 0.0), 5)
    found = advised(lost, trained(8, 0, UNKNOWN), trained(16, 0, UNKNOWN), trained(64, 4, UNKNOWN))
    assert found[1:] == (16, "fewer runs diverge; runs that diverged: 5 with 32, 4 with 64")
    # One run that is left tells nothing of a gain, but four that are lost do.
    found = advised(trained(32, 4, (0.0, 0.0, 0.0)), trained(8, 0, (0.1, -math.inf, math.inf)))
    assert found[1:] == (8, "fewer runs diverge; runs that diverged: 4 with 32")
    assert advised(lost, lost._replace(batch_size=8)) is None


def test_only_what_fits_is_trained(monkeypatch):
    asked = []
    monkeypatch.setattr(MODULE, "paired_runs", lambda *given: asked.append(given[2:]) or ())
    costs = [made(8, 1.0), made(16, 1.0), made(32, 1.0)._replace(seconds=None)]
    _trained(None, None, costs, 8, 3, lambda size: size < 32)
    _trained(None, None, costs, 4, 3, lambda size: size < 32)  # it was not measured
    _trained(None, None, costs, 32, 3, lambda size: size < 32)
    assert asked == [([8, 16], 8, 3), ([8, 16], 4, 3)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_sizes": [8, 47]}, "batch_sizes must be at most the 46 training examples of made, got 47"),
        ({"batch_sizes": []}, "batch_sizes must hold at least one, got none"),
        ({"batch_sizes": [0]}, "batch_sizes must be a whole number of at least 1, got 0"),
        ({"memory": 0}, r"memory must be a number in \(0, inf\), got 0"),
        ({"generalization": True, "seeds": 1}, "seeds must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        batch_cost(classes(), hj.Recipe(batch_size=8), **given)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("sgd", "recipe must be a Recipe, got a str"),
        (hj.Recipe(batch_ramp={"epochs": (2,)}), "recipe must have one batch size, got batch_ramp="),
        (hj.Recipe(loss="huber"), "loss .for a target of kind .classes.. must be one of"),
        (hj.Recipe(batch_size=47), "batch_size must be at most the 46 training examples of made, got 47"),
        (hj.Recipe(epochs=1, warmup=3), "warmup must be at most the run's 2 steps"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_anything_is_measured(monkeypatch, recipe, message):
    monkeypatch.setattr(MODULE, "noise_scale", lambda *a, **named: pytest.fail("measured"))
    monkeypatch.setattr(StepCost, "memory", lambda step: pytest.fail("compiled"))
    for noise in (None, NOISE):
        with pytest.raises(ValueError, match=message):
            batch_cost(classes(), recipe, noise=noise)


def test_sizes_that_cannot_be_are_seen_before_the_noise_is_measured(monkeypatch):
    def refuse(*given):
        raise ValueError("no such size")

    monkeypatch.setattr(MODULE, "noise_scale", lambda *a, **named: pytest.fail("measured"))
    monkeypatch.setattr(MODULE, "StepCost", refuse)
    with pytest.raises(ValueError, match="no such size"):
        batch_cost(classes(), hj.Recipe())
