"""Side by side, places that came free are taken by later batches, and nobody's result or verdict changes by that."""

import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

import hyperjax as hj
from hyperjax.studies import StudyInterrupted
from hyperjax.studies.asking import Asked
from hyperjax.studies.pruners import hyperband, median, patience, successive_halving, threshold
from hyperjax.studies.pruning import Pruning
from hyperjax.studies.race import ended_at
from hyperjax.studies.relay import is_relayed
from hyperjax.training.chunk import Block
from tests.studies.kept import SPACE as WILD
from tests.studies.kept import alike, line, stopped
from tests.studies.test_pruners import raced
from tests.studies.test_pruning import agree, curves, ends
from tests.training.made import classes

EPOCHS, TRIALS, BATCH = 9, 48, 4
SPACE = hj.space(
    learning_rate=hj.log_uniform(1e-3, 0.3), optimizer=["sgd", "adam"], batch_size=23, epochs=EPOCHS, activation="relu"
)
ASKED = {"trials": TRIALS, "batch": BATCH, "layout": "vmap"}
KEPT = {"trials": 40, "sampler": "tpe", "batch": 4, "layout": "vmap", "pruner": successive_halving(1, 2)}
LONG = hj.space(**WILD.entries | {"epochs": [3, 7.5, 8]})


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def full(task):
    """All of it, in blocks of one width."""
    return hj.study(task, SPACE, trials=TRIALS, layout="vmap", width=4 * BATCH)


@pytest.fixture(scope="module")
def plain():
    """A study that nothing disturbed, in which many trials diverge and some are shorter."""
    found = hj.study(line(), LONG, **KEPT)
    assert 3 < sum(trial.diverged > 0 for trial in found.trials) < 30
    assert {None, 1, 2} == set(ends(found))
    return found


@pytest.fixture
def advanced(monkeypatch):
    """How many members moved in each block that was advanced."""
    seen, advance = [], Block.advance

    def counted(block, fed, keep=True):
        seen.append(block.moving)
        advance(block, fed, keep)

    monkeypatch.setattr(Block, "advance", counted)
    return seen


@pytest.mark.parametrize("rule", ["successive_halving", "hyperband", patience(epochs=2), threshold(low=0.5)])
def test_verdicts_follow_from_a_batch_of_its_own_and_all_keep_their_bits(task, full, advanced, rule):
    study = hj.study(task, SPACE, pruner=rule, **ASKED)
    agree(study, full)
    own, whole = hj.studies.PRUNERS[rule]() if isinstance(rule, str) else rule, curves(full)
    judged = [raced(own, whole[first : first + BATCH]) for first in range(0, TRIALS, BATCH)]
    assert ends(study) == [end for batch in judged for end in batch] and any(ends(study))
    assert (study.conditions["batch"], study.conditions["places"], study.conditions["programs"]) == (4, 16, 1)
    assert max(advanced) <= 16 and sum(advanced) == sum(end or EPOCHS for end in ends(study))  # nothing twice


def test_places_are_taken_anew_as_soon_as_a_batch_fits(task, advanced, monkeypatch):
    hj.study(task, SPACE, pruner="successive_halving", **ASKED)
    assert advanced[:2] == [16, 16]  # four batches; then of each the best goes on, and three more take those places
    # A batch of four takes 12 places for an epoch each: in the mean 1.6 of them go through an epoch of 16 places.
    relayed = len(advanced)
    advanced.clear()
    monkeypatch.setattr("hyperjax.studies.search.is_relayed", lambda *_: False)
    hj.study(task, SPACE, pruner="successive_halving", **ASKED | {"batch": 16})
    assert len(advanced) == TRIALS // 16 * EPOCHS and relayed < 0.7 * len(advanced)


@pytest.mark.parametrize("count", [1, 9, 22, 39])
def test_a_relay_that_was_stopped_goes_on_to_the_same_table(plain, tmp_path, advanced, count):
    part = stopped(count, line(), LONG, storage=tmp_path, **KEPT)
    trained = sum(advanced)
    assert count <= len(part.trials) < 40
    again = hj.study(line(), LONG, storage=tmp_path, **KEPT)
    assert alike(again, plain) and ends(again) == ends(plain)
    assert again.conditions["trials_kept_before"] >= count
    advanced.clear()
    whole = hj.study(line(), LONG, storage=tmp_path, **KEPT)
    assert alike(whole, plain) and ends(whole) == ends(plain) and not advanced and trained
    assert whole.conditions["programs"] == 0 and whole.conditions["places"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [None, hj.Recipe(early_stopping={"patience": 1})], ids=["plain", "early_stopping"])
def test_wherever_it_is_stopped(tmp_path, recipe):
    asked = KEPT | {"recipe": recipe, "pruner": hyperband(1, 2)}
    plain = hj.study(line(), LONG, **asked)
    assert recipe is None or any(
        run.steps_done < run.total_steps and run.finished for t in plain.trials for run in t.runs
    )
    for count in range(1, 40, 6):
        folder = tmp_path / str(count)
        stopped(count, line(), LONG, storage=folder, **asked)
        assert alike(hj.study(line(), LONG, storage=folder, **asked), plain), count


def test_a_trial_that_has_ended_stays_at_its_last_score_and_leaves_with_its_segment():
    pruning = Pruning(successive_halving(), 5, 1, "max")
    nan = float("nan")
    scores = np.array([[0.5, 0.6, nan, nan], [0.5, 0.6, nan, nan], [0.5, 0.6, nan, nan]])
    found = pruning._means([0, 1, 2], scores, [2, 3, None], 5)
    np.testing.assert_array_equal(found[0], [0.5, 0.6, 0.6, 0.6, 0.6])
    np.testing.assert_array_equal(found[1:], [[0.5, 0.6, nan, nan, nan]] * 2)  # whose last score is none; still racing

    def run(epochs, diverged=False):
        return SimpleNamespace(epochs=np.array(epochs), diverged=diverged)

    assert [ended_at([run([1, 2, 2.5])], segment) for segment in (1, 2, 3)] == [3, 4, 3]
    assert ended_at([run([1.0, 2.0]), run([1.0], diverged=True)], 1) == ended_at([run([1.0], diverged=True)], 1) == 2


@pytest.mark.slow
def test_races_go_on_from_states_that_were_kept(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("hyperjax.studies.pruning.SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr("hyperjax.studies.rounds.MOST_AT_STAKE", 0.0)
    trained, advance = [], Block.advance

    def counted(block, fed, keep=True):
        trained.append(block.moving)
        if len(trained) == 4:
            raise KeyboardInterrupt
        advance(block, fed, keep)

    monkeypatch.setattr(Block, "advance", counted)
    moved, parts = 0, 0
    while True:  # again and again, each time a little further
        trained.clear()
        try:
            study = hj.study(line(), LONG, storage=tmp_path, **KEPT)
            break
        except StudyInterrupted:
            moved, parts = moved + sum(trained[:-1]), parts + 1
    moved += sum(trained)
    assert parts > 2 and alike(study, plain) and ends(study) == ends(plain)
    assert not list(tmp_path.rglob("about.json"))  # the states are deleted at the end
    needed = sum(trial.pruned_at or math.ceil(trial.recipe.epochs) for trial in plain.trials)
    assert moved < 1.5 * needed  # each time some states are a segment old


def test_a_sampler_sees_those_who_race_as_good_as_they_are():
    space = hj.space(dropout=hj.uniform(0.0, 1.0))

    def after(standing):
        source = Asked("tpe", space, 64, 16, 0, "max")
        first, second = source.ask(), source.ask()
        source.tell({n: -abs(values["dropout"] - 0.2) for n, values in enumerate(first)}, dict.fromkeys(range(16), 1))
        there = {16 + n: (-abs(values["dropout"] - 0.8), 3) for n, values in enumerate(second)}
        source.tell({}, {}, {n: place for n, place in there.items() if place[0] > -0.1} if standing else None)
        assert len(source.told) == 16
        return np.array([values["dropout"] for values in source.ask()]), source

    drawn, source = after(True)
    assert np.median(np.abs(drawn - 0.8)) < 0.25 and np.median(np.abs(after(False)[0] - 0.8)) > 0.45
    states = [trial.state.name for trial in source._study.trials]
    assert states == ["PRUNED"] * 16 + ["RUNNING"] * 32  # what was shown is no verdict
    source.tell(dict.fromkeys(range(16, 48), 0.5), {17: 2})
    assert source._study.trials[16].value == 0.5 and source._study.trials[17].state.name == "PRUNED"


def test_constraints_and_turns_hold_in_a_study_as_it_stands():
    rule = {"small rates want little dropout": "dropout <= 0.5"}
    space = hj.space(dropout=hj.uniform(0.0, 1.0), optimizer=["sgd", "adam"], constraints=rule)
    source = Asked("tpe", space, 48, 12, 0, "max", turns=[{"optimizer": "sgd"}, {"optimizer": "adam"}])
    found = []
    while asked := source.ask():
        first = len(found)
        source.tell({}, {}, {first + n: (values["dropout"], 1) for n, values in enumerate(asked)})
        found += asked
    assert len(found) == 48 and all(values["dropout"] <= 0.5 for values in found)
    assert [values["optimizer"] for values in found] == ["sgd", "adam"] * 24
    assert [trial.state.name for trial in source._study.trials].count("RUNNING") == 48  # shown as pruned elsewhere


def test_a_batch_drawn_ahead_and_one_that_ends_the_study(task):
    ahead = hj.study(task, SPACE, pruner="hyperband", sampler="tpe", ahead=True, **ASKED)
    again = hj.study(task, SPACE, pruner="hyperband", sampler="tpe", ahead=True, **ASKED)
    assert alike(ahead, again) and len(ahead.trials) == TRIALS
    seen = []

    def enough(study):
        seen.append(len(study.trials))
        return len(seen) == 2

    cut = hj.study(task, SPACE, pruner="hyperband", callbacks=[enough], **ASKED)
    assert len(seen) > 2 and seen[1] < len(cut.trials) < TRIALS  # those who raced by then came to their ends
    assert cut.conditions["ended"] == "a callback ended it" and len(cut.trials) % BATCH == 0
    assert all(trial.finished or trial.pruned_at for trial in cut.trials)
    epochs = hj.study(task, SPACE, pruner="hyperband", budget="60 epochs", **ASKED)
    assert epochs.conditions["ended"] == "its 60 epochs were spent" and epochs.epochs_saved[0] > 0
    spent = epochs.epochs_saved[1] - epochs.epochs_saved[0]
    assert 60 <= spent < 60 + 4 * BATCH * EPOCHS
    first = hj.study(task, SPACE, pruner="hyperband", budget="12 epochs", **ASKED)  # spent by those who race
    assert len(first.trials) == 4 * BATCH


def test_progress_counts_who_has_left_and_pruned_trials_are_revived(task, full):
    seen = []
    study = hj.study(task, SPACE, pruner="hyperband", progress=lambda *done: seen.append(done), **ASKED)
    assert seen[0] == (0, TRIALS) and seen[-1] == (TRIALS, TRIALS) and seen == sorted(set(seen))
    found = study.revive(5)
    for trial in (trial for trial in found.trials if trial.revived_at):
        assert trial.score == full.trials[trial.number].score
    assert study.conditions["train_seconds"] > 0 and study.conditions["compile_seconds"] >= 0


def test_where_it_is_worth_it(task, tmp_path):
    for pruner in ("successive_halving", "hyperband", patience(), threshold(low=0.1)):
        assert is_relayed(task, "tpe", pruner, "vmap", False) and not is_relayed(task, "tpe", pruner, "vmap", True)
        assert not is_relayed(task, "tpe", pruner, "map", False)
        assert not is_relayed(task, "tpe", pruner, "auto", False)  # "map" on a CPU
    for pruner in (None, "median", median(), optuna.pruners.MedianPruner()):
        assert not is_relayed(task, "tpe", pruner, "vmap", False)
    for sampler in ("cmaes", "nsga2", optuna.samplers.TPESampler()):
        assert not is_relayed(task, sampler, "hyperband", "vmap", False)
    from tests.training.test_streaming import MemoryMap, streamed

    assert not is_relayed(streamed(task, MemoryMap(task.data["train"])), "tpe", "hyperband", "vmap", False)


def test_a_study_stays_what_it_was_begun_as(plain, tmp_path):
    own = {name: value for name, value in KEPT.items() if name not in ("batch", "layout")}
    stopped(9, line(), LONG, storage=tmp_path / "a", **own | {"layout": "auto"})  # "map" here: a batch at a time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hyperjax.studies.relay.resolved", lambda _: "vmap")
        again = hj.study(line(), LONG, storage=tmp_path / "a", **own)
        assert "places" not in again.conditions and len(again.trials) == 40
        stopped(9, line(), LONG, storage=tmp_path / "b", **own)
    again = hj.study(line(), LONG, storage=tmp_path / "b", **own)  # a relay in the layout that is no reason for one
    assert again.conditions["places"] == 4 * again.conditions["batch"] and len(again.trials) == 40
    stopped(9, line(), LONG, storage=tmp_path / "c", **KEPT)
    with pytest.raises(ValueError, match="shared must be False for a study that one worker began, since its batches"):
        hj.study(line(), LONG, storage=tmp_path / "c", shared=True, **KEPT)
    at_once = own | {"sampler": "random"}
    stopped(9, line(), LONG, storage=tmp_path / "d", **at_once)
    with pytest.raises(ValueError, match="trials is 40 there and 44 here"):  # which a verdict compares
        hj.study(line(), LONG, storage=tmp_path / "d", **at_once | {"trials": 44})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hyperjax.studies.relay.resolved", lambda _: "vmap")
        one = hj.study(line(), LONG, storage=tmp_path / "d", **at_once)
    assert alike(one, hj.study(line(), LONG, **at_once))


def test_a_callback_sees_no_trial_before_its_time(tmp_path):
    seen = []

    def look(study):
        told.append([trial.number for trial in study.trials])

    told = seen
    hj.study(line(), LONG, storage=tmp_path, callbacks=[look], **KEPT)
    told = []
    hj.study(line(), LONG, storage=tmp_path, callbacks=[look], **KEPT)
    assert told == seen and len(seen[0]) < 30 and len(seen[-1]) == 40


def test_who_has_ended_leaves_at_the_same_epoch_when_it_is_gone_through_again(tmp_path, monkeypatch):
    told, advance = [], Pruning.advance

    def watched(pruning, races, epochs=None):
        left = advance(pruning, races, epochs)
        told.append([(race.epoch, sorted(race.left.items())) for race in races])
        return left

    monkeypatch.setattr(Pruning, "advance", watched)
    hj.study(line(), LONG, storage=tmp_path, **KEPT)
    live = list(told)
    told.clear()
    hj.study(line(), LONG, storage=tmp_path, **KEPT)
    assert told == live and len(live) > 10
