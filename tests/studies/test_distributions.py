"""Spaces to Optuna's distributions, TOML and back: nothing is lost on the way."""

import json

import numpy as np
import optax
import optuna
import pytest

import hyperjax as hj
from hyperjax.studies import default_space, from_optuna, read_space, to_optuna, to_toml
from hyperjax.studies.distributions import from_params, labels, to_params
from hyperjax.studies.samplers import draw


def hidden(learning_rate):
    return optax.sgd(learning_rate)


hidden.__module__ = "__main__"


def own(learning_rate, b=0.9):
    return optax.sgd(learning_rate, b)


SPACES = {
    "ranges": hj.space(
        {"model.width": hj.log_integer(16, 256), "model.depth": hj.integer(1, 4)},
        learning_rate=hj.log_uniform(1e-4, 1.0),
        dropout=hj.uniform(0.0, 0.1 + 0.2),
        l2=hj.uniform(0.25, 0.25),
    ),
    "choices": hj.space(
        {"model.hidden": [[8], [8, 8]], "model.bias": [True, False]},
        optimizer=["sgd", "adam"],
        batch_size=[8, "full"],
        epochs=[1.5],
        warmup=[0, hj.fraction(0.1), hj.epochs(2)],
        activation=["relu"],
    ),
    "the command's": default_space(20),
}
BEYOND_TOML = {
    "factories": hj.space(optimizer=["sgd", optax.lamb, optax.contrib.muon]),
    "none and schedules": hj.space(
        dropout=[None, 0.1],
        learning_rate=[0.1, hj.schedules.warmup(hj.schedules.cosine_decay(0.3, hj.fraction(1.0)), 3)],
    ),
    "equal but not alike": hj.space({"model.size": [1, 1.0, True, False, 0, "1", "{}", (1, 2), [1, 2], {"a": (1,)}]}),
}


def exactly(entries):
    return {name: [(type(v), v) for v in e] if isinstance(e, list) else (type(e), e) for name, e in entries.items()}


@pytest.mark.parametrize("name", SPACES | BEYOND_TOML)
def test_a_space_comes_back_from_optunas_storage(name):
    made = (SPACES | BEYOND_TOML)[name]
    stored = {n: optuna.distributions.distribution_to_json(d) for n, d in to_optuna(made).items()}
    again = {n: optuna.distributions.json_to_distribution(text) for n, text in stored.items()}
    fixed = {n: e for n, e in made.entries.items() if n not in again}
    assert exactly(from_optuna(again, fixed).entries) == exactly(made.entries)


@pytest.mark.parametrize("name", SPACES | BEYOND_TOML)
def test_samples_come_back_from_optunas_parameters(name):
    made = (SPACES | BEYOND_TOML)[name]
    distributions = to_optuna(made)
    for values in draw(made, 20, seed=1):
        params = json.loads(json.dumps(to_params(made, values)))
        for key, label in params.items():
            inside = distributions[key].to_internal_repr(label)
            assert distributions[key]._contains(inside)
            assert type(distributions[key].to_external_repr(inside)) is type(label)
        assert exactly(from_params(made, params)) == exactly(values)


@pytest.mark.parametrize("name", SPACES)
def test_a_space_comes_back_from_its_file(name, tmp_path):
    made = SPACES[name]
    (tmp_path / "s.toml").write_text(to_toml(made))
    assert exactly(read_space(tmp_path / "s.toml").entries) == exactly(made.entries)


def test_ranges_are_what_optuna_calls_them():
    made = to_optuna(SPACES["ranges"])
    assert made["model.width"] == optuna.distributions.IntDistribution(16, 256, log=True)
    assert made["model.depth"] == optuna.distributions.IntDistribution(1, 4)
    assert made["learning_rate"] == optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    assert made["dropout"] == optuna.distributions.FloatDistribution(0.0, 0.1 + 0.2)


def test_a_function_of_the_users_own_is_known_by_its_place():
    made = hj.space(optimizer=["sgd", optax.sgd, hidden, own])
    assert labels(made.entries["optimizer"])[1:3] == ['{"$factory": "optax:sgd"}', '{"$choice": 2}']
    for choice in made.entries["optimizer"]:
        assert from_params(made, to_params(made, {"optimizer": choice})) == {"optimizer": choice}
    public = hj.space(optimizer=["sgd", own])
    with pytest.raises(ValueError, match=r"optimizer must come from one of optax, .*test_distributions:own"):
        from_optuna(to_optuna(public))
    assert from_optuna(to_optuna(public), allowed_modules=(__name__,)).entries == public.entries
    with pytest.raises(ValueError, match=r"optimizer must be of choices that another space can know, got .*choice"):
        from_optuna(to_optuna(made))
    numbers = hj.space(batch_size=list(np.array([8, 16])))
    assert to_optuna(numbers)["batch_size"].choices == (8, 16)


def test_what_has_no_counterpart_is_refused():
    stepped = optuna.distributions.FloatDistribution(0.0, 1.0, step=0.25)
    with pytest.raises(ValueError, match=r"dropout must be a range without steps of its own or a list .*step=0.25"):
        from_optuna({"dropout": stepped})
    made = SPACES["choices"]
    with pytest.raises(ValueError, match=r"optimizer must be one of its choices \['sgd', 'adam'\], got 'lion'"):
        to_params(made, {"optimizer": "lion"})
    with pytest.raises(ValueError, match=r"batch_size must be one of its choices .* got 9"):
        from_params(made, {"batch_size": 9})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (hj.space(dropout=[None, 0.1]), "dropout must be a number, text or length to be written as TOML, got None"),
        (hj.space(optimizer=optax.lamb), "optimizer must be a number, text or length to be written as TOML"),
        (hj.space(plateau={"factor": 0.5}), "plateau must be by its parts to be written as TOML"),
        (hj.space(epochs=[1, 2], constraints={"odd": lambda v: True}), "constraints must be none .* got odd"),
    ],
)
def test_what_toml_cannot_say_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        to_toml(made)
