"""Recipes: equality, JSON, repr, and errors that name the field, what is allowed and what came."""

import json

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperjax as hj
from hyperjax import schedules
from tests.training.made import Net, classes

FULL = hj.Recipe(
    optimizer="rmsprop",
    learning_rate=schedules.warmup(schedules.cosine_decay(0.1, hj.epochs(3)), hj.fraction(0.1)),
    batch_size="full",
    epochs=2.5,
    warmup=hj.epochs(0.5),
    momentum=0.9,
    optimizer_arguments={"decay": 0.95, "centered": True},
    weight_decay=schedules.linear(1e-3, 0.0, hj.fraction(1.0)),
    l2=1e-4,
    clip_norm=1.0,
    loss="cross_entropy",
    label_smoothing=0.1,
    activation="gelu",
    dropout=0.25,
    hyperparameters={"slope": 0.01},
    model={"width": 32},
)


def test_json_round_trip_is_exact():
    again = hj.Recipe.from_json(FULL.to_json())
    assert again == FULL and hash(again) == hash(FULL)
    assert json.loads(hj.Recipe().to_json()) == {}
    assert again != FULL.replace(dropout=0.26)
    several = hj.Recipe(batch_ramp={"epochs": [1, 2]}, model={"widths": (3, (4, 5))})
    assert hj.Recipe.from_json(several.to_json()) == several and several.model["widths"] == (3, (4, 5))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 1e3),
    st.floats(1e-6, 1e6),
    st.sampled_from(["adam", "adamw", "radam"]),
    st.floats(0, 0.999),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_any_number_survives_json(rate, epochs, optimizer, b1, dropout):
    recipe = hj.Recipe(
        optimizer=optimizer, learning_rate=rate, epochs=epochs, optimizer_arguments={"b1": b1}, dropout=dropout
    )
    assert hj.Recipe.from_json(recipe.to_json()) == recipe


def test_factories_travel_by_their_public_path():
    recipe = hj.Recipe(optimizer=optax.contrib.muon, learning_rate=0.02, optimizer_arguments={"beta": 0.9})
    assert json.loads(recipe.to_json())["optimizer"] == {"$factory": "optax.contrib:muon"}
    assert hj.Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(ValueError, match="optimizer must have a public import path"):
        hj.Recipe(optimizer=lambda learning_rate: optax.sgd(learning_rate)).to_json()
    with pytest.raises(ValueError, match=r"optimizer must come from one of optax.*got 'os:system'"):
        hj.Recipe.from_json('{"optimizer": {"$factory": "os:system"}}')


def test_scalars_of_any_library_are_numbers():
    assert hj.Recipe(learning_rate=np.float64(0.5), epochs=jax.numpy.float32(2)) == hj.Recipe(
        learning_rate=0.5, epochs=2
    )


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(hj.Recipe()) == "Recipe()"
    assert (
        repr(hj.Recipe(warmup=hj.fraction(0.1), model={"width": 4}))
        == "Recipe(warmup=fraction(0.1), model={'width': 4})"
    )
    assert repr(hj.Recipe(optimizer=optax.lamb)) == "Recipe(optimizer=lamb)"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adan"}, r"optimizer must be one of .*got 'adan'; did you mean 'adam'"),
        ({"optimizer": 3}, r"optimizer must be one of .*got 3"),
        ({"learning_rate": -0.1}, r"learning_rate must be a number in \[0, inf\), got -0.1"),
        ({"learning_rate": "high"}, r"learning_rate must be a number in \[0, inf\), got 'high'"),
        ({"learning_rate": float("nan")}, r"learning_rate must be a number in \[0, inf\), got nan"),
        ({"learning_rate": None}, r"learning_rate must be a number in \[0, inf\), got None"),
        ({"learning_rate": [0.1]}, r"learning_rate must be one number or a Schedule of .*got \[0.1\]"),
        ({"weight_decay": lambda step: 0.1}, r"weight_decay must be one number or a Schedule of .*got <function"),
        ({"batch_size": 0}, r"batch_size must be a whole number of at least 1, or 'full', got 0"),
        ({"batch_size": 1.5}, r"batch_size must be a whole number of at least 1, or 'full', got 1.5"),
        ({"batch_size": "all"}, r"batch_size must be a whole number of at least 1, or 'full', got 'all'"),
        ({"epochs": 0}, r"epochs must be a number in \(0, inf\), got 0"),
        ({"epochs": -5}, r"epochs must be a number in \(0, inf\), got -5"),
        ({"epochs": "many"}, r"epochs must be a number in \(0, inf\), got 'many'"),
        ({"dropout": 2}, r"dropout must be a number in \[0, 1\], got 2"),
        ({"activation": "rellu"}, r"activation must be one of .*got 'rellu'; did you mean 'relu'"),
        ({"schedule": "cosine"}, r"schedule must be one of .*got 'cosine'; did you mean 'cosine_decay'"),
        ({"schedule": "linear", "schedule_arguments": {"end": 0.1}}, r"argument of linear must be one of .*got 'end'"),
        ({"schedule": "linear", "learning_rate": schedules.constant(0.1)}, r"schedule must be 'constant' when"),
        ({"warmup": -1}, r"warmup must be a number in \[0, inf\), got -1"),
        (
            {"optimizer": "adagrad", "momentum": 0.9},
            r"momentum must be None for adagrad \(only momentum, nesterov, rmsprop",
        ),
        ({"optimizer": "momentum", "momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1.0"),
        ({"optimizer_arguments": {"b3": 0.9}}, r"b3"),
        ({"optimizer_arguments": {"b2": 1.5}}, r"b2 must be a number in \[0, 1\], got 1.5"),
        ({"optimizer_arguments": {"weight_decay": 0.1}}, r"must not hold 'weight_decay'; use the field"),
        ({"optimizer_arguments": [0.9]}, r"optimizer_arguments must be a mapping"),
        ({"weight_decay": -1e-3}, r"weight_decay must be a number in \[0, inf\), got -0.001"),
        ({"clip_norm": 0}, r"clip_norm must be a number in \(0, inf\), got 0"),
        ({"loss": "crossentropy"}, r"loss must be one of .*did you mean 'cross_entropy'"),
        ({"hyperparameters": {"dropout": 0.1}}, r"hyperparameters must not hold 'dropout'"),
        ({"label_smoothing": 0.1, "loss_arguments": {"label_smoothing": 0.1}}, r"label_smoothing must be given once"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        hj.Recipe(**fields)


def test_unknown_fields_suggest_the_nearest():
    with pytest.raises(ValueError, match=r"got 'learning_rat'; did you mean 'learning_rate'"):
        hj.Recipe().replace(learning_rat=0.1)
    with pytest.raises(ValueError, match=r"got 'epoch'; did you mean 'epochs'"):
        hj.Recipe.from_json('{"epoch": 3}')
    with pytest.raises(ValueError, match="not JSON"):
        hj.Recipe.from_json("epochs = 3")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 64}, r"batch_size must be at most the 46 training examples of made, got 64; 'full' takes all"),
        (
            {"hyperparameters": {"slope": 0.1}},
            r"slope must be bound by a hyperparameter .*which has activation, dropout",
        ),
        ({"model": {"widht": 4}}, r"model arguments must be among .*width.*got 'widht'; did you mean 'width'"),
        (
            {"loss": "absolute_error"},
            r"loss \(for a target of kind 'classes'\) must be one of cross_entropy, focal, multiclass_hinge, squared_error",
        ),
        (
            {"loss": "squared_error", "label_smoothing": 0.1},
            r"label_smoothing must be left out for the loss squared_error",
        ),
        ({"label_smoothing": 1.0}, r"label_smoothing must be a number in \[0, 1\), got 1.0"),
        (
            {"loss_arguments": {"label_smothing": 0.1}},
            r"label_smothing must be left out.*did you mean 'label_smoothing'",
        ),
        (
            {"weight_decay": schedules.linear(0.1, -0.1, hj.epochs(1))},
            r"weight_decay must stay in \[0, inf\) at every step, got a schedule that is -",
        ),
        ({"dropout": schedules.constant(2.0)}, r"dropout must stay in \[0, 1\] at every step, .* 2 at one"),
        ({"epochs": 1e300}, r"epochs must be at most 214748364 here, got 1e\+300"),
        ({"warmup": hj.epochs(20)}, r"warmup must be at most the run's 20 steps, got epochs\(20\)"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_before_compiling(fields, message):
    with pytest.raises(ValueError, match=message):
        hj.fit(classes(), hj.Recipe(**{"epochs": 2, "batch_size": 5} | fields))


def test_a_field_that_nothing_in_the_model_binds_is_refused():
    from flax import nnx

    plain = classes(model=lambda rngs: nnx.Linear(4, 3, rngs=rngs))
    with pytest.raises(ValueError, match=r"dropout must be bound by .*which has none; leave dropout out"):
        hj.fit(plain, hj.Recipe(dropout=0.1, batch_size=5))
    with pytest.raises(ValueError, match=r"activation must be bound by"):
        hj.fit(plain, hj.Recipe(activation="relu", batch_size=5))


def test_data_is_refused_with_a_count_and_a_place():
    good = classes().data
    x, y = good["train"]
    holes = x.copy()
    holes[3, 1], holes[7, 2] = np.nan, np.inf
    wrong = y.copy()
    wrong[4] = 7
    with pytest.raises(
        ValueError, match=r"data\['train'\]\[0\] must be finite, got 2 values that are not; the first, nan, at \(3, 1\)"
    ):
        classes(data=good | {"train": (holes, y)})
    with pytest.raises(ValueError, match=r"must be finite in float32, got 1 values that are not; the first, 1e\+300"):
        classes(data=good | {"train": (np.array([[1e300, 1.0]]), y[:1])})
    with pytest.raises(ValueError, match=r"must hold arrays of one length of at least 1, got a scalar$"):
        classes(data=good | {"train": ([1, 2, 3], [1, 2, 3])})
    with pytest.raises(ValueError, match=r"must be a tuple \(inputs, targets\), got list; batches in a list are given"):
        classes(data=good | {"train": [(x, y), (x, y)]})
    with pytest.raises(
        ValueError, match=r"data\['validation'\] must hold arrays of one length of at least 1, got 46, 12"
    ):
        classes(data=good | {"validation": (x, good["validation"][1])})
    with pytest.raises(ValueError, match="data must map 'train'"):
        classes(data={"validation": good["validation"]})
    with pytest.raises(
        ValueError,
        match=r"labels in data\['train'\] must be in \[0, 3\) for a model of 3 outputs, got 1 outside; the first, 7, at \(4,\)",
    ):
        hj.fit(classes(data=good | {"train": (x, wrong)}), hj.Recipe(batch_size=5))
    with pytest.raises(ValueError, match="loss or objective must be given, one of the two, got neither"):
        hj.Task(Net, good)
    with pytest.raises(
        ValueError,
        match=r"loss must be one of cross_entropy, focal, multiclass_hinge, squared_error, got 'absolute_error'",
    ):
        hj.Task(Net, good, loss="absolute_error")


def test_lowering_gives_leaves_and_a_hashable_structure():
    chosen = hj.Recipe(learning_rate=0.3, batch_size=5, dropout=0.1)
    leaves, structure = chosen.lower(classes())
    assert hash(structure) == hash(chosen.replace(learning_rate=0.5, dropout=0.2).lower(classes())[1])
    assert float(leaves.learning_rate) == 0.3 and float(leaves.numbers["dropout"]) == 0.1
    assert structure.batch_size == 5 and chosen.replace(batch_size="full").lower(classes())[1].batch_size == 46


def test_tracers_are_sent_to_the_leaves():
    with pytest.raises(ValueError, match=r"learning_rate must be a known value, got a tracer; .*recipe.lower"):
        jax.jit(lambda rate: hj.Recipe(learning_rate=rate).learning_rate)(0.1)


def test_members_that_are_not_in_a_list_are_named():
    recipe = hj.Recipe(epochs=1)
    for recipes in (recipe, [], [{"epochs": 1}], None):
        with pytest.raises(ValueError, match="recipes must hold at least one recipe, got"):
            hj.fit_population(classes(), recipes)
    with pytest.raises(ValueError, match="seeds must hold at least one whole number, got 3"):
        hj.fit_population(classes(), [recipe], seeds=3)
    with pytest.raises(ValueError, match=r"seed must be a whole number, got 0\.5"):
        hj.fit(classes(), recipe, seed=0.5)
    with pytest.raises(ValueError, match="recipe must be a Recipe or None, got"):
        hj.fit(classes(), {"epochs": 1})
