"""Roles: what is compared has as many trials of each value, whoever draws the rest."""

from collections import Counter

import optuna
import pytest

import hyperjax as hj
from hyperjax.reports.wording import compared_notes
from hyperjax.studies.samplers import SAMPLERS, draw, source_of
from tests.training.made import classes

SPACE = hj.space(
    optimizer=["sgd", "momentum", "adam"],
    learning_rate=hj.log_uniform(1e-3, 1.0),
    batch_size=[10, 20],
    epochs=2,
    constraints={"small batches with small rates": "learning_rate <= batch_size / 20"},
)
TURNS = [{"optimizer": name} for name in ("sgd", "momentum", "adam")]


def asked(sampler, trials=30, batch=6):
    """The values of all trials, told how far their rates are from 0.1."""
    source = source_of(sampler, SPACE, trials, batch, 0, "min", turns=TURNS)
    found = []
    while values := source.ask():
        source.tell({len(found) + n: abs(each["learning_rate"] - 0.1) for n, each in enumerate(values)})
        found += values
    return found


@pytest.mark.parametrize(
    "sampler",
    [*sorted(set(SAMPLERS) - {"gp", "grid"}), optuna.samplers.RandomSampler(seed=0)],
    ids=lambda s: s if isinstance(s, str) else "object",
)
def test_values_are_taken_in_turn_by_every_sampler(sampler):
    found = asked(sampler)
    assert [each["optimizer"] for each in found] == 10 * ["sgd", "momentum", "adam"]
    assert len({each["learning_rate"] for each in found}) > 10 and {each["batch_size"] for each in found} == {10, 20}
    assert all(each["learning_rate"] <= each["batch_size"] / 20 for each in found)


def test_a_sampler_that_learns_still_does():
    rates = [each["learning_rate"] for each in asked("tpe", 60)]
    assert sum(abs(rate - 0.1) < 0.05 for rate in rates[30:]) > sum(abs(rate - 0.1) < 0.05 for rate in rates[:30])


def test_a_part_of_a_grid_is_as_even_as_it_can_be():
    grid = hj.space(optimizer=["sgd", "momentum", "adam"], batch_size=[10, 20, 30, 40], epochs=2)
    found = draw(grid, 6, 0, turns=TURNS)
    assert Counter(each["optimizer"] for each in found) == {"sgd": 2, "momentum": 2, "adam": 2}
    assert len({(each["optimizer"], each["batch_size"]) for each in found}) == 6


def test_a_study_compares_them_and_says_so(tmp_path):
    task = classes()
    study = hj.study(task, SPACE, trials=18, scientific="optimizer", storage=tmp_path)
    assert study.roles == {
        "optimizer": "scientific",
        "learning_rate": "nuisance",
        "batch_size": "nuisance",
        "epochs": "fixed",
    }
    assert Counter(trial.values["optimizer"] for trial in study.trials) == {"sgd": 6, "momentum": 6, "adam": 6}
    (note,) = compared_notes(study)
    best = max(study.isolate("optimizer").points, key=lambda point: point.interval.mean)
    assert note.startswith(f"Optimizer, by the expected best validation accuracy of 3 of each: {best.label} ")
    assert "(scientific)" in hj.report(study, tmp_path / "page.html").read_text("utf-8")
    again = hj.study(task, SPACE, trials=18, scientific=["optimizer"], storage=tmp_path)
    assert again.conditions["trials_kept_before"] == 18
    with pytest.raises(ValueError, match=r"scientific is \['optimizer'\] there and None here"):
        hj.study(task, SPACE, trials=18, storage=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"scientific": "learning_rate"},
            "scientific must be names that the space gives lists of values, optimizer, batch_",
        ),
        ({"scientific": ["optimizer", "epochs"]}, "got 'epochs'"),
        ({"scientific": "optimizer", "pruner": "hyperband"}, "pruner must be None where values are compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        hj.study(classes(), SPACE, trials=6, **given)
