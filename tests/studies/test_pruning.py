"""Studies with a pruner: who is pruned follows from the full curves, and who survives is what it would have been."""

from dataclasses import replace

import numpy as np
import optuna
import pytest

import hyperjax as hj
from hyperjax.studies import StudyInterrupted
from hyperjax.studies.pruners import median, successive_halving, threshold
from hyperjax.studies.pruning import Pruning
from hyperjax.studies.race import Race
from hyperjax.training.chunk import Block
from tests.studies.test_pruners import raced
from tests.studies.test_study import made
from tests.training.made import classes
from tests.training.test_engine import same

TRIALS, EPOCHS = 14, 9
SPACE = hj.space(
    learning_rate=hj.log_uniform(1e-3, 0.3),
    optimizer=["sgd", "adam"],
    batch_size=[16, 23],
    epochs=EPOCHS,
    activation="relu",
)


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def full(task):
    return hj.study(task, SPACE, trials=TRIALS, seeds=2, width=4)


@pytest.fixture(scope="module")
def halved(task):
    return hj.study(task, SPACE, trials=TRIALS, seeds=2, width=4, pruner="successive_halving")


def curves(study):
    return np.array(
        [
            [np.mean(pair) for pair in zip(*(run.metrics[study.metric] for run in t.runs), strict=True)]
            for t in study.trials
        ]
    )


def ends(study):
    return [trial.pruned_at for trial in study.trials]


def agree(study, full):
    """Every run is the full study's, up to where it was pruned."""
    for trial, whole in zip(study.trials, full.trials, strict=True):
        assert trial.values == whole.values
        for run, complete in zip(trial.runs, whole.runs, strict=True):
            if trial.pruned_at is None:
                same(run, complete)
                continue
            assert not run.finished and run.epochs[-1] == trial.pruned_at
            np.testing.assert_array_equal(run.losses, complete.losses[: len(run.losses)])
            np.testing.assert_array_equal(run.metrics["train_loss"], complete.metrics["train_loss"][: trial.pruned_at])


@pytest.mark.parametrize("rule", ["successive_halving", "hyperband", median(warmup=1)])
def test_verdicts_follow_from_the_full_curves_and_survivors_keep_their_bits(task, full, halved, rule):
    study = (
        halved if rule == "successive_halving" else hj.study(task, SPACE, trials=TRIALS, seeds=2, width=4, pruner=rule)
    )
    agree(study, full)
    own = hj.studies.PRUNERS[rule]() if isinstance(rule, str) else rule
    assert ends(study) == raced(own, curves(full)) and any(ends(study))
    assert study.conditions["programs"] == 2 and study.conditions["pruner"] == (
        rule if isinstance(rule, str) else repr(rule)
    )


def test_the_best_ran_to_its_end_and_what_was_saved_is_counted(halved, full):
    ran = [trial for trial in halved.trials if trial.pruned_at is None]
    assert len(ran) == 1 and halved.best is ran[0] and halved.best.finished
    assert {t.number for t in halved.pruned} == set(range(TRIALS)) - {ran[0].number}
    assert [t.score for t in halved.ranking[1:]] == sorted((t.score for t in halved.pruned), reverse=True)
    saved = sum(2 * (EPOCHS - end) for end in ends(halved) if end)
    assert halved.epochs_saved == (saved, 2 * TRIALS * EPOCHS) and full.epochs_saved == (0, 2 * TRIALS * EPOCHS)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_no_pruned_trial_is_before_one_that_ran_to_its_end(direction):
    study = made([0.5, 0.9, 0.7, -3, 0.1], direction=direction)
    trials = [replace(trial, pruned_at=2 if trial.number in (1, 2, 4) else None) for trial in study.trials]
    early = [1, 2, 4] if direction == "max" else [4, 2, 1]
    assert [trial.number for trial in replace(study, trials=tuple(trials)).ranking] == [0, *early, 3]


def test_revived_trials_end_where_they_would_have(task, full, halved):
    chosen = [trial.number for trial in halved.pruned[:3]]
    found = halved.revive(3)
    assert [t.number for t in found.trials if t.revived_at] == sorted(chosen) and ends(halved).count(None) == 1
    for number in chosen:
        trial = found.trials[number]
        assert trial.pruned_at is None and trial.finished and trial.revived_at == halved.trials[number].pruned_at
        for run, whole in zip(trial.runs, full.trials[number].runs, strict=True):
            same(run, whole)
    assert found.best.score == max(full.trials[n].score for n in [*chosen, halved.best.number])
    assert len(halved.revive(3).pruned) == TRIALS - 4 and len(found.revive(99).pruned) == 0
    assert [t.score for t in found.revive(99).trials] == [t.score for t in full.trials]
    with pytest.raises(ValueError, match="study must have been searched with a pruner in this process to be revived"):
        full.revive()
    with pytest.raises(ValueError, match="study must have pruned trials whose states were kept to be revived"):
        found.revive(99).revive()


def optunas_own(pruner, curves, batch):
    """Optuna's verdicts on recorded curves: all trials of a batch in step, one after another, each a real trial."""
    study, out = optuna.create_study(direction="maximize", pruner=pruner, study_name="hyperjax"), []
    for first in range(0, len(curves), batch):
        trials = {number: study.ask() for number in range(first, min(first + batch, len(curves)))}
        out += [None] * len(trials)
        for epoch in range(1, EPOCHS):
            for number, trial in trials.items():
                if out[number] is None:
                    trial.report(curves[number][epoch - 1], epoch)
                    if trial.should_prune():
                        out[number] = epoch
                        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        for number, trial in trials.items():
            if out[number] is None:
                study.tell(trial, curves[number][-1])
    return out


@pytest.mark.parametrize(
    "make",
    [
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        lambda: optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2),
        lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3),
        lambda: optuna.pruners.ThresholdPruner(lower=0.5, n_warmup_steps=2),
    ],
)
def test_an_optuna_pruner_decides_as_optuna_lets_it_decide(task, full, make):
    study = hj.study(task, SPACE, trials=TRIALS, seeds=2, width=4, pruner=make(), batch=5)
    assert ends(study) == optunas_own(make(), curves(full), 5) and any(ends(study))
    agree(study, full)


def test_a_diverged_seed_takes_its_trial_out_and_a_metric_that_should_fall_is_understood(task):
    wild = hj.space(
        {"learning_rate": [0.01, 1e25, 0.1, 0.03], "optimizer": ["sgd", "adam"]},
        batch_size=16,
        epochs=EPOCHS,
        activation="relu",
    )
    found = hj.study(task, wild, seeds=2, width=4, pruner=threshold(low=0.0))
    gone = [trial for trial in found.trials if trial.diverged]
    assert len(gone) == 2 and all(trial.values["learning_rate"] == 1e25 for trial in gone)
    assert ends(found) == [None] * 8 and found.pruned == ()
    assert all(run.finished for trial in found.trials for run in trial.runs)


@pytest.mark.slow
def test_a_verdict_does_not_look_behind_its_epoch(task):
    """With one step an epoch a segment is two, so members are further than the verdict that they wait for."""
    own = hj.space(learning_rate=hj.log_uniform(1e-3, 0.3), optimizer=["sgd", "adam"], batch_size="full", epochs=8)
    rule = median(warmup=1, least=2)
    full, study = hj.study(task, own, trials=12), hj.study(task, own, trials=12, pruner=rule)
    assert ends(study) == raced(rule, curves(full)) and {1, 2} < set(ends(study))
    for trial, whole in zip(study.trials, full.trials, strict=True):
        run, complete = trial.runs[0], whole.runs[0]
        np.testing.assert_array_equal(run.losses, complete.losses[: len(run.losses)])
        assert trial.pruned_at is None or trial.pruned_at <= run.epochs[-1] <= trial.pruned_at + 1


def test_one_of_two_seeds_that_diverges_ends_the_other():
    class Cohort:
        held = ()

        def moving(self, members):
            return [m for m in members if m not in (1, *self.held)]  # member 1, seed 1 of trial 0, diverged

        def diverged(self, member):
            return member == 1

        def scores(self, members):
            return np.array([[0.9, 0.9], [0.9, np.nan], [0.1, 0.2], [0.1, 0.2], [0.5, 0.5], [0.5, 0.5]])[list(members)]

        def hold(self, members):
            self.held = tuple(members)

    for rule, pruned in [(successive_halving(least=2, factor=2), [0, 1]), (median(least=9), [0])]:
        pruning = Pruning(rule, 4, 2, "max")
        pruning._cohort, pruning._members = Cohort(), {trial: range(2 * trial, 2 * trial + 2) for trial in range(3)}
        race = Race(range(3))
        race.epoch = 2
        pruning._judge(race)
        assert pruning.pruned == dict.fromkeys(pruned, 2)
        assert set(pruning.cohort.held) == {2 * trial + seed for trial in pruned for seed in (0, 1)}


def test_states_beyond_the_memory_are_dropped_worst_first(task, halved, monkeypatch):
    one = halved._held.pruning.cohort.bytes(0)
    monkeypatch.setattr("hyperjax.studies.pruning.STATES_KEPT", 7 * one)
    short = hj.study(task, SPACE, trials=TRIALS, seeds=2, width=4, pruner="successive_halving")
    order = [trial.number for trial in short.pruned]
    assert ends(short) == ends(halved) and sorted(short._held.pruning.dropped) == sorted(
        order[3:]
    )  # three of two runs fit
    assert short.conditions["states_dropped"] == TRIALS - 1 - 3
    assert len(short.revive(99).pruned) == TRIALS - 1 - 3
    with pytest.raises(ValueError, match="model must be of a run whose state was kept"):
        _ = short.trials[order[-1]].runs[0].model


def test_samplers_hear_of_pruned_trials_and_ctrl_c_keeps_what_had_ended(task):
    seen = []

    def stop(done, total):
        seen.append(done)
        if done >= 9:
            raise KeyboardInterrupt

    with pytest.raises(StudyInterrupted) as caught:
        hj.study(
            task, SPACE, trials=TRIALS, width=4, sampler="tpe", batch=7, pruner="successive_halving", progress=stop
        )
    part = caught.value.study
    assert seen[0] == 0 and seen == sorted(seen) and 9 <= len(part.trials) == seen[-1] < TRIALS
    assert all(trial.pruned_at or trial.finished for trial in part.trials)
    cohort = part._held.pruning.cohort
    racing = set(cohort.moving(range(len(cohort)))) - {trial.number for trial in part.trials}
    assert all(trial.finished for trial in part.revive(99).trials)
    assert racing and set(cohort.moving(range(len(cohort)))) == racing  # nobody asked for those


def test_optuna_is_told_the_epoch_and_the_last_value():
    from hyperjax.studies.asking import Asked

    for name, state in [("tpe", "PRUNED"), ("nsga2", "COMPLETE")]:
        source = Asked(name, hj.space(dropout=hj.uniform(0.0, 0.5)), 3, 3, 0, "max")
        source.ask()
        source.tell({0: 0.5, 1: 0.25, 2: float("nan")}, {1: 3})
        told = source._study.trials
        assert [t.state.name for t in told] == ["COMPLETE", state, "COMPLETE"]
        assert [t.value for t in told] == [0.5, 0.25, -np.inf]
        assert told[1].intermediate_values == ({3: 0.25} if state == "PRUNED" else {})


def test_a_job_of_several_processes_is_refused(task, monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match="pruner must be None in a job of several processes, got 'median'"):
        hj.study(task, SPACE, trials=4, pruner="median")
    with pytest.raises(ValueError, match="got 'medium'; did you mean 'median'"):
        hj.study(task, SPACE, trials=4, pruner="medium")


@pytest.mark.slow
def test_a_race_that_was_killed_goes_on_from_what_was_kept(task, full, halved, tmp_path, monkeypatch):
    monkeypatch.setattr("hyperjax.studies.pruning.SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr("hyperjax.studies.rounds.MOST_AT_STAKE", 0.0)
    trained, advance = [], Block.advance

    def counted(block, fed, keep=True):
        trained.append(block.moving)
        if len(trained) == stop:
            raise KeyboardInterrupt
        advance(block, fed, keep)

    monkeypatch.setattr(Block, "advance", counted)
    asked = {"trials": TRIALS, "seeds": 2, "width": 4, "pruner": "successive_halving", "storage": tmp_path}
    stop, parts = 13, []
    while True:  # again and again, each time a little further
        trained.clear()
        try:
            study = hj.study(task, SPACE, **asked)
            break
        except StudyInterrupted:
            parts.append(sum(trained[:-1]))
    assert len(parts) > 1 and all(parts)
    agree(study, full)
    assert ends(study) == ends(halved) and [t.score for t in study.trials] == [t.score for t in halved.trials]
    assert not list(tmp_path.rglob("about.json"))  # the states are deleted at the end
