"""What ends a study before its trials are out: a budget, no gain, a callback; and what ranks it."""

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.studies.ending import Budget, Ending, budget_of
from tests.training.made import classes

RATES = hj.space(learning_rate=hj.log_uniform(1e-3, 1e-1), optimizer=["sgd", "adam"], batch_size=10, epochs=2)


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def whole(task):
    return hj.study(task, RATES, trials=24, batch=4)


def test_budgets_as_people_write_them():
    seconds = {90: 90.0, "90": 90.0, "90s": 90.0, " 10m": 600.0, "1.5h": 5400.0, "2 m": 120.0}
    assert {text: budget_of(text) for text in seconds} == {text: Budget(seconds=s) for text, s in seconds.items()}
    assert budget_of("5e3 epochs") == budget_of(hj.epochs(5000)) == Budget(epochs=5000.0)
    assert not budget_of(None).given
    for bad in ("", "ten minutes", "10 parsecs", "-3", 0, True, float("nan"), [3], hj.fraction(0.5), "1.2.3s"):
        with pytest.raises(ValueError, match="budget must be"):
            budget_of(bad)


def test_a_job_of_several_processes_has_no_clock_in_common(task, monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match="budget must be in epochs in a job of several processes, got '10m'"):
        hj.study(task, RATES, budget="10m")


def test_epochs_pay_for_whole_trials(task, whole):
    found = hj.study(task, RATES, batch=4, budget="21 epochs")
    assert len(found.trials) == 10 and found.conditions["ended"] == "its 21 epochs were spent"
    assert found.conditions["asked_trials"] == 10
    for own, other in zip(found.trials, whole.trials, strict=False):
        assert np.array_equal(own.runs[0].losses, other.runs[0].losses)
    assert len(hj.study(task, RATES, batch=4, seeds=2, budget=hj.epochs(1)).trials) == 1  # one at least
    assert "ended" not in hj.study(task, RATES, trials=4, budget=hj.epochs(8)).conditions


def test_time_ends_a_batch_in_its_middle(task, whole, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hyperjax.studies.ending.time.perf_counter", lambda: now[0])
    seen = []

    def progress(done, total):
        seen.append(total)
        now[0] = 10.0 * done

    found = hj.study(task, RATES, batch=8, budget=85.0, progress=progress)
    assert 9 <= len(found.trials) <= 8 + 64 and found.conditions["ended"] == "its 85 seconds were over"
    assert set(seen) == {0}  # nobody knows how many there will be
    for trial in found.trials[:8]:
        assert np.array_equal(trial.runs[0].losses, whole.trials[trial.number].runs[0].losses)


def test_time_that_is_over_keeps_what_had_finished_and_the_next_call_goes_on(task, whole, tmp_path):
    kept = {"batch": 4, "storage": tmp_path}
    part = hj.study(task, RATES, budget=1e-3, **kept)
    assert part.conditions["ended"] == "its 0.001 seconds were over" and len(part.trials) == 0
    part = hj.study(task, RATES, budget="12 epochs", **kept)
    assert len(part.trials) == 6
    again = hj.study(task, RATES, trials=24, **kept)
    assert again.conditions["trials_kept_before"] == 6
    assert [trial.score for trial in again.trials] == [trial.score for trial in whole.trials]


def test_a_race_ends_between_its_batches(task):
    found = hj.study(task, RATES, batch=8, budget=hj.epochs(14), pruner="successive_halving")
    trained = sum(run.epochs[-1] for trial in found.trials for run in trial.runs)
    assert found.trials and len(found.trials) % 8 == 0 and 14 <= trained <= 14 + 16


def test_no_gain_of_the_later_half():
    ending = Ending(Budget(), 0.01, "max")
    ending.judge([0.5] * 15)
    assert ending.reason is None  # too few
    ending.judge([*[0.5] * 8, *[0.4] * 7, 0.52])
    assert ending.reason is None
    ending.judge([*[float("nan")] * 8, *[0.5] * 8])
    assert ending.reason is None
    ending.judge([*[0.5] * 8, float("nan"), *[0.4] * 6, 0.505])
    assert ending.reason == "its last 8 trials had gained 0.005, no more than 0.01"
    lower = Ending(Budget(), 0.01, "min")
    lower.judge([*[0.5] * 8, *[0.6] * 8])
    assert lower.reason is not None


def test_a_study_ends_where_no_gain_is_to_come(task, whole):
    scores = [trial.score for trial in whole.trials]
    ends = [n for n in range(16, 25, 4) if max(scores[:n]) - max(scores[: n // 2]) <= 0.05]
    found = hj.study(task, RATES, trials=24, batch=4, min_gain=0.05)
    assert ends and len(found.trials) == ends[0]
    with pytest.raises(ValueError, match=r"min_gain must be a number in \[0, inf\), got -1.0"):
        hj.study(task, RATES, min_gain=-1.0)


def test_callbacks_see_every_batch_and_may_end_it(task, whole):
    seen = []
    found = hj.study(task, RATES, trials=24, batch=4, callbacks=[seen.append, lambda study: len(study.trials) >= 12])
    assert [len(study.trials) for study in seen] == [4, 8, 12] == [4, 8, len(found.trials)]
    assert seen[0].best.score == max(trial.score for trial in whole.trials[:4])
    assert found.test and found.conditions["ended"] == "a callback ended it"


def test_another_metric_ranks(task, whole):
    found = hj.study(task, RATES, trials=24, batch=4, metric="loss")
    assert (found.metric, found.direction) == ("validation_loss", "min")
    losses = [trial.runs[0].metrics["validation_loss"][-1] for trial in whole.trials]
    assert found.best.number == int(np.argmin(losses)) and found.best.score == min(losses)
    winner = hj.studies.confirm(found, task, top=2, seeds=2).winner
    assert winner.metric == "validation_loss" and winner.gain.mean > 0
    assert task.ranked_by("validation_accuracy") is task
    with pytest.raises(ValueError, match="metric must be one that made has, accuracy, loss, got 'f1'"):
        hj.study(task, RATES, metric="f1")
