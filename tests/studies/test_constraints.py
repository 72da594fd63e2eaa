"""Constraints: what breaks one is drawn again, and a space that they leave nothing of is refused before training."""

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.studies.asking import Asked
from hyperjax.studies.samplers import draw
from hyperjax.training.mapping import Population
from tests.studies.test_asking import numbered
from tests.training.made import classes


def narrow(values):
    return values["learning_rate"] * 100 <= values["batch_size"]


def made(**constraints):
    return hj.space(
        batch_size=[8, 16, 32],
        learning_rate=hj.log_uniform(1e-2, 1.0),
        constraints={name.replace("_", " "): predicate for name, predicate in constraints.items()},
    )


def test_a_thousand_samples_keep_them_and_what_is_left_stays_as_likely():
    values = draw(made(small_rates=narrow), 1000, seed=0)
    assert len(values) == 1000 and all(map(narrow, values))
    # with the rate's logarithm even over [-2, 0], P(rate <= batch / 100) is log10(batch) / 2
    shares = {size: np.log10(size) / 2 for size in (8, 16, 32)}
    for size, share in shares.items():
        expected = share / sum(shares.values())
        seen = np.mean([v["batch_size"] == size for v in values])
        assert abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / 1000)


def test_without_any_nothing_changes():
    plain, held = made(), made(always=lambda values: True)
    assert draw(plain, 20, 3) == draw(held, 20, 3)
    assert [plain.sample_freely(np.random.default_rng([3, i])) for i in range(20)] == draw(plain, 20, 3)


@pytest.mark.parametrize("trials", [None, 3])
def test_a_grid_leaves_out_what_breaks_one(trials):
    grid = hj.space(
        batch_size=[8, 16], epochs=[1, 2, 3], constraints={"short": lambda v: v["batch_size"] * v["epochs"] <= 24}
    )
    found = {(v["batch_size"], v["epochs"]) for v in draw(grid, trials, 0)}
    allowed = {(8, 1), (8, 2), (8, 3), (16, 1)}
    assert found == allowed if trials is None else found < allowed and len(found) == 3


@pytest.mark.parametrize("sampler", ["quasi_random", "tpe", "cmaes", "nsga2"])
def test_samplers_of_optuna_keep_them(sampler):
    source = Asked(sampler, made(small_rates=narrow), 48, 16, 0, "min")
    while batch := source.ask():
        assert all(map(narrow, batch))
        source.tell(
            numbered(source, [-v["learning_rate"] for v in batch])
        )  # the best lies at the constraint, and so do the proposals
    assert len(source.told) == 48


def test_a_sampler_that_insists_gives_way_to_chance():
    rare = made(rare=lambda v: v["learning_rate"] > 0.98)  # 0.4 % of the range
    source = Asked("quasi_random", rare, 4, 4, 0, "min")
    assert all(v["learning_rate"] > 0.98 for v in source.ask())


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_contradictions_are_refused_before_anything_is_trained(sampler, monkeypatch):
    monkeypatch.setattr(Population, "_compile_piece", lambda *_: pytest.fail("compiled"))
    both = {"more than 16": lambda v: v["batch_size"] > 16, "less than 16": lambda v: v["batch_size"] < 16}
    space = hj.space(batch_size=[8, 16, 32], epochs=[1, 2], constraints=both)
    with pytest.raises(ValueError, match=r"leave something to sample.*'more than 16' in \d+, 'less than 16' in \d+"):
        hj.study(classes(), space, trials=4 if sampler == "tpe" else None, sampler=sampler)


def test_what_no_recipe_allows_may_be_kept_out_by_one():
    given = {"batch_size": [8, 32], "micro_batches": [1, 16]}
    with pytest.raises(ValueError, match="micro_batches"):
        hj.space(given)
    allowed = hj.space(given, constraints={"parts of a batch": lambda v: v["micro_batches"] <= v["batch_size"]})
    found = {(r.batch_size, r.micro_batches) for r in map(allowed.recipe, draw(allowed, None, 0))}
    assert found == {(8, 1), (32, 1), (32, 16)}
    assert {(r.batch_size, r.micro_batches) for r in allowed.room()} < found


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"x": lambda v: v["width"] > 3}, "constraint 'x' must read names of the space, epochs, got 'width'"),
        ({"x": 3}, "constraints must map messages to functions of a sample's values, got 'x': 3"),
        ({" ": len}, "constraints must map messages to functions"),
        ([len], "constraints must map messages to functions of a sample's values, got"),
    ],
)
def test_what_is_no_constraint_is_refused(constraints, message):
    with pytest.raises(ValueError, match=message):
        hj.space(epochs=[1, 2], constraints=constraints)
