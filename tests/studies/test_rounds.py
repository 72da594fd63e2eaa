"""Studies in rounds: what a sampler proposes is what is trained, once, by programs that are compiled once."""

import math

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.studies import StudyInterrupted
from hyperjax.studies.asking import Asked
from hyperjax.studies.rounds import batch_for
from hyperjax.training.mapping import Population
from tests.training.made import classes

SPACE = hj.space(learning_rate=hj.log_uniform(1e-3, 0.3), optimizer=["sgd", "adam"], batch_size=[10, 23], epochs=[1, 2])


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def compiled():
    """Names of what was compiled, as it is."""
    compile_piece, counted = Population._compile_piece, []

    def count(self, piece):
        counted.append(self.fn.__name__)
        return compile_piece(self, piece)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Population, "_compile_piece", count)
        yield counted


@pytest.fixture(scope="module")
def study(task, compiled):
    found = hj.study(task, SPACE, trials=14, seeds=2, sampler="tpe", batch=4)
    assert sorted(compiled) == ["_advance"] * 2 + ["_start"] * 2  # one each for a batch size, in all of four rounds
    return found


def rows(study):
    return [(t.number, t.values, t.recipe, [run.score for run in t.runs]) for t in study.trials]


def test_all_trials_are_there_with_the_runs_of_their_recipes(study, task):
    assert [t.number for t in study.trials] == list(range(14))
    assert (study.conditions["sampler"], study.conditions["batch"], study.conditions["programs"]) == ("tpe", 4, 2)
    assert study.conditions["sampling_seconds"] > 0 and study.conditions["asked_trials"] == 14
    for trial in study.trials:
        assert [run.seed for run in trial.runs] == [0, 1] and all(run.recipe == trial.recipe for run in trial.runs)
    alone = hj.fit(task, study.trials[13].recipe, seed=1)
    assert alone.metrics["validation_accuracy"][-1] == study.trials[13].runs[1].score


def test_the_same_seed_gives_the_same_table_and_compiles_nothing(study, task, compiled):
    before = len(compiled)
    assert rows(hj.study(task, SPACE, trials=14, seeds=2, sampler="tpe", batch=4)) == rows(study)
    assert rows(hj.study(task, SPACE, trials=6, seeds=2, sampler="tpe", batch=4, seed=1)) != rows(study)[:6]
    assert len(compiled) == before


@pytest.mark.slow
def test_rounds_of_what_is_known_beforehand_change_nothing(task):
    whole = hj.study(task, SPACE, trials=9)
    cut = hj.study(task, SPACE, trials=9, batch=2)
    assert rows(cut) == rows(whole)
    assert (whole.conditions["batch"], cut.conditions["batch"]) == (9, 2)


def test_progress_counts_over_rounds_and_an_interruption_keeps_the_rounds_before(task, study):
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(StudyInterrupted) as caught:
        hj.study(task, SPACE, trials=14, seeds=2, sampler="tpe", batch=4, progress=stop)
    assert seen == [(done, 14) for done in range(7)]
    part = caught.value.study
    assert part.conditions["interrupted"] and len(part.trials) == 6
    assert set(map(str, rows(part))) <= set(map(str, rows(study)))


@pytest.mark.slow
def test_a_sampler_hears_of_divergence(task):
    wild = hj.space(
        loss="squared_error",
        activation="relu",
        optimizer="sgd",
        learning_rate=hj.log_uniform(1e-3, 1e12),
        batch_size=10,
        epochs=1,
    )
    found = hj.study(task, wild, trials=48, sampler="tpe", batch=12)
    gone = [trial.diverged > 0 for trial in found.trials]
    assert np.mean(gone[24:]) < np.mean(gone[:12]) and not math.isnan(found.best.score)


def test_a_batch_keeps_the_machine_busy(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert (batch_for(64, "map"), batch_for(1024, "map"), batch_for(64, "vmap")) == (32, 64, 64)
    with pytest.raises(ValueError, match="batch must be a whole number of at least 1, got 0"):
        hj.study(classes(), SPACE, batch=0)


def test_drawn_ahead_a_batch_knows_the_scores_of_all_but_the_last(tmp_path):
    task = classes()
    space = hj.space(learning_rate=hj.log_uniform(1e-3, 1e-1), batch_size=10, epochs=2)
    asked = {"trials": 24, "sampler": "tpe", "batch": 4, "seed": 1}
    study = hj.study(task, space, ahead=True, **asked)
    source, told, rates = Asked("tpe", space, 24, 4, 1, "max"), 0, []
    batches = [source.ask(), source.ask()]
    while batches:
        rates += [values["learning_rate"] for values in batches.pop(0)]
        source.tell({trial.number: trial.score for trial in study.trials[told : told + 4]})
        told += 4
        if drawn := source.ask():
            batches.append(drawn)
    assert [trial.values["learning_rate"] for trial in study.trials] == rates
    assert rates != [trial.values["learning_rate"] for trial in hj.study(task, space, **asked).trials]

    def stop(done, total):
        if done == 14:
            raise KeyboardInterrupt

    with pytest.raises(StudyInterrupted):
        hj.study(task, space, ahead=True, storage=tmp_path, progress=stop, **asked)
    again = hj.study(task, space, ahead=True, storage=tmp_path, **asked)
    assert [trial.score for trial in again.trials] == [trial.score for trial in study.trials]
    with pytest.raises(ValueError, match="ahead is True there and None here"):
        hj.study(task, space, storage=tmp_path, **asked)
