"""Optuna's samplers in batches, scored by formulas: inside the space, replayable, better than chance, not misled."""

import logging
import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

import hyperjax as hj
from hyperjax.studies.asking import Asked
from hyperjax.studies.samplers import SAMPLERS, check_sampler, draw

LEARNING = ["tpe", "cmaes", "nsga2"]
BUILT = ["quasi_random", *LEARNING]
SPACE = hj.space(
    {"model.width": hj.log_integer(4, 64), "schedule_arguments.alpha": hj.uniform(0.0, 0.5)},
    learning_rate=hj.log_uniform(1e-4, 1.0),
    optimizer=["sgd", "adam", "momentum"],
    momentum=hj.uniform(0.5, 0.99),
    schedule=["constant", "cosine_decay"],
    warmup=[0, hj.fraction(0.1), hj.epochs(1)],
    epochs=3,
)
NUMBERS = hj.space(
    {f"hyperparameters.{name}": hj.uniform(0.0, 1.0) for name in "abcd"}, learning_rate=hj.log_uniform(1e-4, 1.0)
)


def bowl(values):
    """Best at 0: rates of 0.01 and numbers of 0.3."""
    numbers = [v for name, v in values.items() if name.startswith("hyper")]
    return (np.log10(values["learning_rate"]) + 2) ** 2 / 4 + float(np.sum((np.array(numbers) - 0.3) ** 2))


def numbered(source, scores):
    """The scores of the oldest trials that have none, by number."""
    return dict(enumerate(scores, len(source.told)))


def gone_through(sampler, space, score, total, batch, seed=0, direction="min"):
    source = Asked(sampler, space, total, batch, seed, direction)
    while values := source.ask():
        source.tell(numbered(source, [score(v) for v in values]))
    return source.told


@pytest.mark.parametrize("sampler", BUILT)
def test_what_is_sampled_lies_in_the_space_and_makes_recipes(sampler):
    told = gone_through(sampler, SPACE, lambda v: v["learning_rate"], 40, 16)
    assert len(told) == 40
    for values, _ in told:
        assert values.keys() == SPACE.entries.keys() and values["epochs"] == 3
        for name, entry in SPACE.searched.items():
            inside = values[name] in entry if isinstance(entry, list) else entry.low <= values[name] <= entry.high
            assert inside, name
        assert type(values["model.width"]) is int
        recipe = SPACE.recipe(values)  # what cannot matter is blanked
        assert (recipe.momentum is None) == (values["optimizer"] != "momentum")
        assert set(recipe.schedule_arguments) == ({"alpha"} if recipe.schedule == "cosine_decay" else set())


@pytest.mark.parametrize("sampler", BUILT)
def test_equal_seeds_give_equal_trials_and_others_do_not(sampler):
    def trials(seed):
        return [v for v, _ in gone_through(sampler, SPACE, lambda v: v["learning_rate"], 24, 8, seed)]

    assert trials(1) == trials(1) != trials(2)


@pytest.mark.parametrize("sampler", LEARNING)
def test_a_study_is_gone_through_again_from_its_scores_and_goes_on(sampler):
    table = gone_through(sampler, NUMBERS, bowl, 40, 8)
    source = Asked(sampler, NUMBERS, 40, 8, 0, "min")
    for first in range(0, 24, 8):
        assert source.ask() == [values for values, _ in table[first : first + 8]]
        source.tell(numbered(source, [score for _, score in table[first : first + 8]]))
    assert source.ask() == [values for values, _ in table[24:32]]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_samplers_that_learn_beat_chance_on_a_bowl(sampler, direction):
    sign = 1 if direction == "min" else -1
    chance = np.median([min(map(bowl, draw(NUMBERS, 80, seed))) for seed in range(30)])
    best = [
        min(sign * s for _, s in gone_through(sampler, NUMBERS, lambda v: sign * bowl(v), 80, 8, seed, direction))
        for seed in range(3)
    ]
    assert max(best) < chance / 2, (best, chance)


@pytest.mark.parametrize("sampler", LEARNING)
def test_every_score_of_a_batch_counts(sampler):
    def fourth_batch(last):
        source = Asked(sampler, NUMBERS, 80, 16, 0, "min")
        for number in range(3):
            scores = [bowl(v) for v in source.ask()]
            source.tell(numbered(source, [*scores[:-1], last if number == 1 else scores[-1]]))
        return source.ask()

    assert fourth_batch(-100.0) != fourth_batch(100.0)


@pytest.mark.parametrize("sampler", LEARNING)
def test_what_diverges_is_avoided(sampler):
    """Rates above 0.01, half of the range, diverge; below, all are alike."""

    def score(values):
        return math.nan if values["learning_rate"] > 0.01 else float(values["hyperparameters.a"])

    told = gone_through(sampler, NUMBERS, score, 72, 12)
    later = [math.isnan(s) for _, s in told[36:]]
    assert np.mean(later) < 0.25 < np.mean([math.isnan(s) for _, s in told[:12]])


def test_a_study_in_which_all_diverge_goes_on():
    for sampler in LEARNING:
        assert len(gone_through(sampler, NUMBERS, lambda _: math.nan, 24, 8)) == 24


def test_a_scrambled_sequence_covers_more_evenly_than_chance():
    line = hj.space(dropout=hj.uniform(0.0, 1.0))
    told = gone_through("quasi_random", line, lambda v: 0.0, 65, 16)
    counts = np.histogram([v["dropout"] for v, _ in told[1:]], 64, (0, 1))[0]  # the first one is drawn at random
    assert (counts == 1).all()  # 64 points of a Sobol sequence, one in each 64th, across the borders of batches


def test_a_sampler_object_is_used_as_it_is_until_it_stops():
    grid = optuna.samplers.GridSampler({"batch_size": [8, 16], "epochs": [1, 2]}, seed=0)
    told = gone_through(grid, hj.space(batch_size=[8, 16], epochs=[1, 2]), lambda v: 0.0, 10, 2)
    assert sorted((v["batch_size"], v["epochs"]) for v, _ in told) == [(8, 1), (8, 2), (16, 1), (16, 2)]
    told = gone_through(optuna.samplers.RandomSampler(seed=3), NUMBERS, bowl, 6, 2)
    assert len({str(v) for v, _ in told}) == 6


def test_nothing_of_optunas_is_left_changed(caplog):
    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO, "optuna"):
        gone_through("tpe", NUMBERS, bowl, 4, 2)
    assert not caplog.records and optuna.logging.get_verbosity() == before


def test_the_gaussian_process():
    pytest.importorskip("torch", reason="PyTorch, which Optuna's Gaussian process needs")
    line = hj.space(dropout=hj.uniform(0.0, 1.0))
    told = gone_through("gp", line, lambda v: math.nan if v["dropout"] > 0.8 else (v["dropout"] - 0.3) ** 2, 14, 12)
    assert min(abs(v["dropout"] - 0.3) for v, _ in told[12:]) < 0.05


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("tpee", r"sampler must be one of random, quasi_random, .*, got 'tpee'; did you mean 'tpe'\?"),
        (3, "sampler must be one of random, .* or one of optuna.samplers, got 3"),
        (SimpleNamespace(), "or one of optuna.samplers, got namespace"),
        ("grid", "sampler must be another than 'grid' for ranges, got 'grid' with learning_rate, hyperparameters.a"),
    ],
)
def test_what_is_no_sampler_here_is_refused(sampler, message):
    space = hj.space({"hyperparameters.a": hj.uniform(0, 1)}, optimizer=["sgd", "adam"])
    space = hj.space(learning_rate=hj.log_uniform(1e-4, 1.0), **space.entries)
    with pytest.raises(ValueError, match=message):
        check_sampler(sampler, space)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("hyperjax.studies.samplers.find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(ValueError, match=r"got 'gp', which needs torch: pip install torch$"):
        check_sampler("gp")
    for name in SAMPLERS.keys() - {"gp"}:
        check_sampler(name)
