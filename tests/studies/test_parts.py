"""Schedules and lengths by their parts: their numbers are names of the space, and a sample makes what a call would."""

import json

import numpy as np
import optuna
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hyperjax as hj
from hyperjax import schedules
from hyperjax.studies import Range, from_optuna, plan, read_space, to_optuna, to_toml
from hyperjax.studies.distributions import from_params, to_params
from hyperjax.studies.samplers import draw
from hyperjax.studies.space import Space
from hyperjax.training.engine import Engine
from tests.training.made import classes

DECAY = {
    "schedule": schedules.cosine_decay,
    "init_value": hj.log_uniform(1e-3, 1.0),
    "decay_steps": hj.epochs(20),
    "alpha": [0.0, 0.01],
}
JOINED = {
    "schedule": "join",
    "schedules": [
        {"schedule": "linear", "init_value": 0.0, "end_value": hj.uniform(0.1, 0.3), "transition_steps": 5},
        {"schedule": "step_decay", "init_value": 0.2, "decay_rate": [0.5, 0.1], "transition_steps": 4},
        0.01,
    ],
    "boundaries": [5, [hj.epochs(2), hj.epochs(3)]],
}


def test_each_part_is_a_name_of_the_space():
    made = hj.space(learning_rate=DECAY, warmup={"epochs": hj.uniform(0.0, 3.0)}, optimizer=["sgd", "adam"])
    assert made.entries == {
        "learning_rate.schedule": "cosine_decay",
        "learning_rate.init_value": Range(1e-3, 1.0, log=True),
        "learning_rate.decay_steps": hj.epochs(20),
        "learning_rate.alpha": [0.0, 0.01],
        "warmup.epochs": Range(0.0, 3.0),
        "optimizer": ["sgd", "adam"],
    }
    assert list(made.searched) == ["learning_rate.init_value", "learning_rate.alpha", "warmup.epochs", "optimizer"]
    assert hj.space(made.entries).entries == made.entries  # by their dotted names as well
    for values in draw(made, 5, 0):
        recipe = made.recipe(values)
        rate, alpha = values["learning_rate.init_value"], values["learning_rate.alpha"]
        assert recipe.learning_rate == schedules.cosine_decay(rate, hj.epochs(20), alpha)
        assert recipe.warmup == hj.epochs(values["warmup.epochs"])


def test_schedules_of_schedules_are_made_from_the_inside():
    made = hj.space(
        {"optimizer_arguments.b1": {"schedule": "linear", "init_value": hj.uniform(0.5, 0.9), "end_value": 0.99}
         | {"transition_steps": {"fraction": [0.25, 0.5]}}},
        learning_rate=JOINED,
        l2={"schedule": schedules.warmup, "after": DECAY | {"alpha": 0.5}, "warmup_steps": hj.integer(1, 9)},
        dropout={"schedule": "piecewise_constant", "init_value": 0.1, "boundaries_and_scales": {3: [0.5, 2.0], 9: 0.5}},
        weight_decay={
            "schedule": "sgdr",
            "cosine_kwargs": [{"init_value": 0.0, "peak_value": hj.uniform(0.0, 1.0), "warmup_steps": 1, "decay_steps": 9}],
        },
    )  # fmt: skip
    assert "learning_rate.schedules.0.end_value" in made.searched and "learning_rate.boundaries.1" in made.searched
    for v in draw(made, 4, 0):
        recipe = made.recipe(v)
        rise = schedules.linear(0.0, v["learning_rate.schedules.0.end_value"], 5)
        fall = schedules.step_decay(0.2, v["learning_rate.schedules.1.decay_rate"], 4)
        assert recipe.learning_rate == schedules.join([rise, fall, 0.01], [5, v["learning_rate.boundaries.1"]])
        steps = hj.fraction(v["optimizer_arguments.b1.transition_steps.fraction"])
        b1 = schedules.linear(v["optimizer_arguments.b1.init_value"], 0.99, steps)
        assert recipe.optimizer_arguments == {"b1": b1}
        inner = schedules.cosine_decay(v["l2.after.init_value"], hj.epochs(20), 0.5)
        assert recipe.l2 == schedules.warmup(inner, v["l2.warmup_steps"])
        scale = v["dropout.boundaries_and_scales.0.1"]
        assert recipe.dropout == schedules.piecewise_constant(0.1, {3: scale, 9: 0.5})
        peak = v["weight_decay.cosine_kwargs.0.peak_value"]
        assert recipe.weight_decay == schedules.sgdr(
            [{"init_value": 0.0, "peak_value": peak, "warmup_steps": 1, "decay_steps": 9}]
        )


def test_a_constructor_of_the_users_own_and_several_constructors():
    def peak_and_fall(peak, share, steps=8):
        return schedules.join([peak, schedules.linear(peak, peak * share, steps)], [2])

    made = hj.space(learning_rate={"schedule": peak_and_fall, "peak": hj.log_uniform(0.01, 1.0), "share": [0.1, 0.5]})
    values = draw(made, 1, 0)[0]
    peak, share = values["learning_rate.peak"], values["learning_rate.share"]
    assert made.recipe(values).learning_rate == peak_and_fall(peak, share)
    assert "learning_rate.schedule" not in made.searched
    with pytest.raises(ValueError, match=r"learning_rate.schedule must be a number, text or length to be written"):
        to_toml(made)
    shapes = hj.space(
        l2={"schedule": ["cosine", schedules.linear], "init_value": 0.1, "end_value": [0.0, 0.2], "transition_steps": 3}
    )
    found = [shapes.recipe(v).l2 for v in draw(shapes, None, 0)]
    assert found == [make(0.1, end, 3) for make in (schedules.cosine, schedules.linear) for end in (0.0, 0.2)]


def test_a_schedule_is_left_out_where_its_field_cannot_matter():
    rise = {"schedule": "linear", "init_value": hj.uniform(0.5, 0.6), "end_value": 0.9, "transition_steps": 9}
    made = hj.space({"optimizer_arguments.b2": rise}, optimizer=["sgd", "momentum", "adam"], momentum=rise)
    for values in draw(made, 12, 0):
        recipe = made.recipe(values)
        assert (recipe.momentum is None) == (recipe.optimizer != "momentum")
        assert ("b2" in recipe.optimizer_arguments) == (recipe.optimizer == "adam")
        read = {"momentum": "momentum.init_value", "adam": "optimizer_arguments.b2.init_value"}.get(recipe.optimizer)
        assert [n for n in made.meaningful(values) if n.endswith("init_value")] == ([read] if read else [])
    with pytest.raises(ValueError, match=r"momentum.schedule must be left out, since optimizer adam can read"):
        hj.space(optimizer="adam", momentum=rise)


SEARCHED = Space(
    {
        "learning_rate": JOINED,
        "dropout": {"schedule": "exponential_decay", "init_value": hj.uniform(0.0, 0.5), "transition_steps": 9}
        | {"decay_rate": hj.uniform(0.5, 1.0), "staircase": [False, True], "end_value": [None, 0.1]},
        "weight_decay": {"schedule": "piecewise_interpolate", "interpolate_type": ["linear", "cosine"]}
        | {"init_value": 0.1, "boundaries_and_scales": [(3, hj.uniform(0.0, 1.0))]},
        "warmup": {"fraction": hj.uniform(0.0, 0.2)},
        "batch_size": 10,
        "epochs": [4, 5],
    }
)


@pytest.mark.slow
def test_all_of_a_space_shares_a_program_whatever_was_drawn():
    task, room = classes(), SEARCHED.room()
    assert str(plan(SEARCHED, task)) == "1 program"
    assert len({SEARCHED.structure(values) for values in draw(SEARCHED, 12, 0)}) == 1

    def programs(seed, trials):
        recipes = [SEARCHED.recipe(v) for v in draw(SEARCHED, trials, seed)]
        groups = Engine(task, recipes, width=1, also=room).groups
        return {repr((g.trainer.program.structure, g.trainer.shapes(1), g.trainer.total)) for g in groups}

    assert len(programs(0, 12)) == 1 and programs(0, 12) == programs(1, 1) == programs(2, 1)


def test_a_study_reports_the_numbers_of_a_schedule_and_what_to_search_next():
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    data = {"train": (x, 3 * x), "validation": (x, 3 * x)}
    task = hj.Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), data, loss="squared_error")
    fall = {"schedule": "linear", "init_value": hj.log_uniform(1e-2, 1.0), "end_value": 0.0, "transition_steps": 8}
    made = hj.space(learning_rate=fall, optimizer="sgd", batch_size=8, epochs=hj.integer(1, 2))
    found = hj.study(task, made, trials=2)
    assert found.conditions["programs"] == 1 and found.default == hj.Recipe(optimizer="sgd", batch_size=8)
    for trial in found.trials:
        rate = trial.values["learning_rate.init_value"]
        in_force = trial.runs[0].in_force("learning_rate")
        np.testing.assert_allclose(in_force, rate * (1 - np.arange(len(in_force)) / 8), rtol=1e-5)
        assert trial.recipe.learning_rate == schedules.linear(rate, 0.0, 8)
    rates = {trial.values["learning_rate.init_value"] for trial in found.trials}
    assert {row["learning_rate.init_value"] for row in found.table} == rates
    assert found.logs == {"learning_rate.init_value"} and len(found.effect("learning_rate.init_value").points) == 2
    assert found.fixed["learning_rate.schedule"] == "linear"
    assert "epochs" in found.edges and found.wider == made.wider(found.edges)
    assert found.wider["epochs"] == hj.integer(1, 2 if found.edges["epochs"] == "low" else 3)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"learning_rate": DECAY | {"alhpa": 1}}, r"learning_rate\.alhpa must be left out, since cosine_decay takes init_value, .*got 1; did you mean 'alpha'"),
        ({"learning_rate": {"schedule": "cosine_decay"}}, r"learning_rate must give init_value, decay_steps beside cosine_decay, got nothing"),
        ({"learning_rate": DECAY | {"exponent": hj.uniform(-1.0, 2.0)}}, r"learning_rate\.exponent must be a number in \[0, inf\), got -1.0"),
        ({"learning_rate": DECAY | {"decay_steps": hj.integer(0, 9)}}, r"learning_rate\.decay_steps must be a number in \(0, inf\), got 0"),
        ({"learning_rate": DECAY | {"decay_steps": {"epochs": hj.uniform(-1.0, 9.0)}}}, r"learning_rate\.decay_steps\.epochs must be a number in \[0, inf\), got -1.0"),
        ({"learning_rate": DECAY | {"decay_steps": [3, {"epochs": hj.uniform(1, 2)}]}}, r"learning_rate\.decay_steps must be one number or name at a time, got {'epochs'"),
        ({"learning_rate": DECAY | {"alpha": []}}, r"learning_rate\.alpha must have at least one choice"),
        ({"learning_rate": DECAY | {"schedule": "cosine_dacay"}}, r"learning_rate\.schedule must be one of .*'cosine_dacay'; did you mean 'cosine_decay'"),
        ({"learning_rate": DECAY | {"schedule": max}}, r"learning_rate\.schedule must be a constructor of schedules, got <built-in"),
        ({"learning_rate": {"schedule": lambda rate: rate, "rate": 3}}, r"learning_rate\.schedule must make a Schedule .* which made 3"),
        ({"learning_rate": [0.1, DECAY]}, "learning_rate must be one number or name at a time, got {'schedule'"),
        ({"learning_rate": DECAY, "schedule": "linear"}, "schedule must be 'constant' when learning_rate is itself a Schedule"),
        ({"learning_rate": DECAY, "learning_rate.alpha": 0.1}, r"learning_rate\.alpha must be given once, got it twice"),
        ({"learning_rate": 0.1, "learning_rate.schedule": "constant"}, "space must give learning_rate whole or by its parts, got both"),
        ({"warmup.epochs": 3, "warmup": 0}, "space must give warmup whole or by its parts, got both"),
        ({"learning_rate.schedule": "constant", "learning_rate.value": 1.0, "learning_rate.value.epochs": 1}, r"space must give learning_rate\.value whole or by its parts"),
        ({"learning_rate.alpha": 0.1}, r"space must name fields .*got 'learning_rate\.alpha'"),
        ({"learning_rate": {"epochs": 3}}, "learning_rate must be one number or name at a time, got {'epochs': 3}"),
        ({"optimizer": DECAY}, "optimizer must be one number or name at a time"),
        ({"epochs": DECAY}, "epochs must be one number or name at a time"),
        ({"learning_rate": JOINED | {"boundaries": [1]}}, r"learning_rate\.boundaries must be one fewer than schedules, got 1 for 3"),
        ({"learning_rate": JOINED | {"boundaries": []}}, r"learning_rate\.boundaries must hold at least one value, got none"),
        ({"learning_rate": JOINED | {"schedules": [0.1, JOINED["schedules"][1] | {"decay_rate": hj.uniform(-1, 1)}, 3]}}, r"learning_rate\.schedules\.1\.decay_rate must be a number in \[0, inf\), got -1"),
    ],
)  # fmt: skip
def test_what_no_constructor_allows_is_refused_by_its_dotted_name(entries, message):
    with pytest.raises(ValueError, match=message):
        hj.space(entries)


def test_what_is_no_number_of_a_recipe_stays_a_value():
    made = hj.space({"model.config": {"schedule": "cosine", "epochs": 3}}, plateau={"factor": 0.5})
    assert made.entries == {"model.config": {"schedule": "cosine", "epochs": 3}, "plateau": {"factor": 0.5}}


def numbers(low=0.0):
    floats = st.floats(low, 1.0).map(float)
    ranges = st.tuples(floats, floats).map(lambda ends: hj.uniform(min(ends), max(ends)))
    return st.one_of(floats, st.lists(floats, min_size=1, max_size=3, unique=True), ranges)


def lengths():
    whole = st.integers(1, 50)
    units = st.sampled_from([hj.epochs, lambda part: hj.fraction(part / 50)])
    searched = whole.map(lambda high: {"epochs": hj.log_uniform(0.5, high)})
    drawn = whole.map(lambda high: hj.integer(1, high))
    return st.one_of(whole, st.builds(lambda unit, part: unit(part), units, whole), searched, drawn)


SCHEDULES = st.recursive(
    st.one_of(
        numbers().map(lambda value: {"schedule": "constant", "value": value}),
        st.builds(
            lambda a, b, n: {"schedule": schedules.linear, "init_value": a, "end_value": b, "transition_steps": n},
            numbers(), numbers(), lengths(),
        ),
        st.builds(
            lambda a, n, e: {"schedule": "cosine_decay", "init_value": a, "decay_steps": n, "alpha": e},
            numbers(), lengths(), numbers(),
        ),
    ),
    lambda inner: st.builds(
        lambda a, b, n: {"schedule": "join", "schedules": [a, b], "boundaries": [n]}, inner, inner, lengths()
    ),
    max_leaves=3,
)  # fmt: skip


def exactly(entries):
    return {name: [(type(v), v) for v in e] if isinstance(e, list) else (type(e), e) for name, e in entries.items()}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate=SCHEDULES, other=SCHEDULES, name=st.sampled_from(["dropout", "optimizer_arguments.b1"]))
def test_a_space_with_schedules_comes_back_from_toml_and_from_optuna(tmp_path, rate, other, name):
    if name == "optimizer_arguments.b1":
        other = {"schedule": "constant", "value": [0.5, 0.9]}
    made = hj.space({name: other}, learning_rate=rate)
    (tmp_path / "s.toml").write_text(to_toml(made), encoding="utf-8")
    read = read_space(tmp_path / "s.toml")
    assert exactly(read.entries) == exactly(made.entries) and list(read.entries) == list(made.entries)
    stored = {n: optuna.distributions.distribution_to_json(d) for n, d in to_optuna(made).items()}
    again = {n: optuna.distributions.json_to_distribution(text) for n, text in stored.items()}
    fixed = {n: e for n, e in made.entries.items() if n not in again}
    assert exactly(from_optuna(again, fixed).entries) == exactly(made.entries)
    values = made.sample(np.random.default_rng(0))
    params = json.loads(json.dumps(to_params(made, values)))
    assert exactly(from_params(made, params)) == exactly(values)
    assert read.recipe(values) == made.recipe(values)


def test_a_file_says_a_schedule_as_python_does(tmp_path):
    (tmp_path / "s.toml").write_text(
        """
        learning_rate = {schedule = "cosine_decay", init_value = {low = 1e-3, high = 1, log = true}, decay_steps = {epochs = 20}, alpha = [0.0, 0.01]}
        warmup = {fraction = {low = 0.0, high = 0.2}}
        dropout.schedule = "cyclic"
        dropout.low = 0.0
        dropout.high = {low = 0.1, high = 0.5}
        dropout.half_period = [{epochs = 1}, 7]

        [l2]
        schedule = "join"
        schedules = [{schedule = "linear", init_value = 0.0, end_value = [0.1, 0.2], transition_steps = {fraction = {low = 0.1, high = 0.2}}}, 0.1]
        boundaries = [{low = 3, high = 9, integer = true}]

        [optimizer_arguments]
        b1 = {schedule = "piecewise_constant", init_value = 0.9, boundaries_and_scales = [[3, {low = 0.5, high = 1.0}], [{epochs = 2}, 0.5]]}
        """
    )
    steps = {"fraction": hj.uniform(0.1, 0.2)}
    rise = {"schedule": "linear", "init_value": 0.0, "end_value": [0.1, 0.2], "transition_steps": steps}
    falls = [(3, hj.uniform(0.5, 1.0)), (hj.epochs(2), 0.5)]
    wanted = hj.space(
        learning_rate=DECAY,
        warmup={"fraction": hj.uniform(0.0, 0.2)},
        dropout={"schedule": "cyclic", "low": 0.0, "high": hj.uniform(0.1, 0.5), "half_period": [hj.epochs(1), 7]},
        l2={"schedule": "join", "schedules": [rise, 0.1], "boundaries": [hj.integer(3, 9)]},
        **{
            "optimizer_arguments.b1": {
                "schedule": "piecewise_constant",
                "init_value": 0.9,
                "boundaries_and_scales": falls,
            }
        },
    )
    assert read_space(tmp_path / "s.toml").entries == wanted.entries
