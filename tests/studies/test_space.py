"""Spaces: what they sample, blank, refuse, and that one program serves all of it."""

import math
from collections import Counter

import numpy as np
import optax
import pytest

import hyperjax as hj
from hyperjax.studies.samplers import draw
from hyperjax.studies.space import default_space, space
from hyperjax.training.engine import Engine
from hyperjax.training.mapping import Population
from tests.training.made import classes


def many(entry, count=4000):
    rng = np.random.default_rng(0)
    return np.array([entry.sample(rng) for _ in range(count)])


def test_uniform_numbers_fill_their_range_evenly():
    values = many(hj.uniform(-2.0, 6.0))
    assert values.min() >= -2 and values.max() <= 6
    counts = np.histogram(values, 8, (-2, 6))[0]
    assert np.sum((counts - 500) ** 2 / 500) < 24.3  # chi-square of 7 degrees, 0.1 %
    assert np.isfinite(many(hj.uniform(-1.5e308, 1.5e308), 50)).all()


def test_logarithms_of_log_uniform_numbers_fill_their_range_evenly():
    values = many(hj.log_uniform(1e-4, 1.0))
    assert values.min() >= 1e-4 and values.max() <= 1
    counts = np.histogram(np.log10(values), 8, (-4, 0))[0]
    assert np.sum((counts - 500) ** 2 / 500) < 24.3


def test_whole_numbers_reach_both_ends_as_often_as_the_rest():
    values = many(hj.integer(-1, 3))
    assert all(type(hj.integer(-1, 3).sample(np.random.default_rng(i))) is int for i in range(3))
    counts = Counter(values.tolist())
    assert set(counts) == {-1, 0, 1, 2, 3}
    assert sum((n - 800) ** 2 / 800 for n in counts.values()) < 18.5  # 4 degrees, 0.1 %


def test_whole_numbers_on_a_logarithmic_scale_have_the_weight_of_their_width():
    values = many(hj.log_integer(1, 8))
    counts = Counter(values.tolist())
    width = math.log(8.5 / 0.5)
    expected = {n: 4000 * math.log((n + 0.5) / (n - 0.5)) / width for n in range(1, 9)}
    assert set(counts) == set(expected)
    assert sum((counts[n] - e) ** 2 / e for n, e in expected.items()) < 24.3


def test_a_range_of_one_number_gives_that_number():
    for entry in (hj.uniform(0.3, 0.3), hj.log_uniform(0.3, 0.3), hj.integer(3, 3), hj.log_integer(3, 3)):
        assert set(many(entry, 20).tolist()) == {entry.low}


def test_a_grid_is_gone_through_whole_and_in_order():
    grid = space(optimizer=["sgd", "adam"], learning_rate=[0.1, 0.2, 0.3], epochs=2)
    assert grid.is_grid
    points = [(o, r, 2) for o in ("sgd", "adam") for r in (0.1, 0.2, 0.3)]
    assert [tuple(values.values()) for values in draw(grid, None, 0)] == points
    assert draw(grid, 6, 3) == draw(grid, 100, 4) == draw(grid, None, 0)


def test_a_part_of_a_grid_is_sampled_without_repetition():
    grid = space(learning_rate=[i / 100 for i in range(1, 13)], dropout=[0.0, 0.1])
    for seed in range(5):
        found = [tuple(values.values()) for values in draw(grid, 20, seed)]
        assert len(set(found)) == len(found) == 20
        assert draw(grid, 7, seed) == draw(grid, 20, seed)[:7]
    assert draw(grid, 7, 0) != draw(grid, 7, 1)
    huge = space({f"hyperparameters.h{i}": list(range(100)) for i in range(12)})
    assert len({repr(values) for values in draw(huge, 5, 0)}) == 5


def test_combinations_that_differ_only_in_what_is_blanked_count_once():
    grid = space(optimizer=["adagrad", "momentum"], momentum=[0.8, 0.9, 0.95])
    assert len(draw(grid, None, 0)) == len(draw(grid, 5, 0)) == 4
    recipes = [grid.recipe(values) for values in draw(grid, None, 0)]
    assert [recipe.momentum for recipe in recipes] == [None, 0.8, 0.9, 0.95]


def test_a_longer_study_begins_with_the_trials_of_a_shorter_one():
    drawn = default_space()
    assert draw(drawn, 40, 7)[:9] == draw(drawn, 9, 7)
    assert len(draw(drawn, None, 0)) == 64
    assert draw(drawn, 9, 7) != draw(drawn, 9, 8)
    assert len({values["learning_rate"] for values in draw(drawn, 40, 7)}) == 40


def test_fields_that_cannot_matter_are_blanked():
    mixed = space(
        {"optimizer_arguments.b2": hj.uniform(0.9, 0.999), "schedule_arguments.alpha": [0.0, 0.1]},
        optimizer=["adagrad", "momentum", "adam", "rmsprop"],
        momentum=hj.uniform(0.5, 0.99),
        schedule=["constant", "cosine_decay"],
    )
    for values in draw(mixed, 60, 0):
        recipe = mixed.recipe(values)
        assert (recipe.momentum is None) == (values["optimizer"] in ("adagrad", "adam"))
        assert recipe.optimizer_arguments == (
            {"b2": values["optimizer_arguments.b2"]} if recipe.optimizer == "adam" else {}
        )
        wanted = {"alpha": values["schedule_arguments.alpha"]} if recipe.schedule == "cosine_decay" else {}
        assert recipe.schedule_arguments == wanted
    smooth = space(loss=["cross_entropy", "squared_error"], label_smoothing=[0.05, 0.1])
    found = {(r.loss, r.label_smoothing) for r in map(smooth.recipe, draw(smooth, None, 0))}
    assert found == {("cross_entropy", 0.05), ("cross_entropy", 0.1), ("squared_error", None)}


def test_loss_arguments_of_another_loss_are_blanked():
    mixed = space({"loss_arguments.label_smoothing": [0.05, 0.1]}, loss=["cross_entropy", "squared_error"])
    found = [(r.loss, dict(r.loss_arguments)) for r in map(mixed.recipe, draw(mixed, None, 0))]
    given = [{"label_smoothing": 0.05}, {"label_smoothing": 0.1}]
    assert found == [("cross_entropy", given[0]), ("squared_error", {}), ("cross_entropy", given[1])]


def test_the_base_recipe_decides_what_the_space_leaves_open():
    momentum = space(momentum=hj.uniform(0.5, 0.9))
    assert momentum.recipe({"momentum": 0.7}, hj.Recipe(optimizer="nesterov", epochs=3)) == hj.Recipe(
        optimizer="nesterov", epochs=3, momentum=0.7
    )
    momentum.refuse_unread(hj.Recipe(optimizer="nesterov"))
    with pytest.raises(
        ValueError, match=r"momentum must be left out, since optimizer adam can read b1.*numbers from 0.5"
    ):
        momentum.refuse_unread(hj.Recipe())


def test_dotted_names_reach_inside_a_field_and_keep_what_is_there():
    own = {"b1": 0.8}
    base = hj.Recipe(optimizer_arguments=own, model={"depth": 2})
    made = space({"model.width": [4, 8], "optimizer_arguments.b2": 0.99, "hyperparameters.slope": hj.uniform(0, 1)})
    recipe = made.recipe({"model.width": 8, "optimizer_arguments.b2": 0.99, "hyperparameters.slope": 0.25}, base)
    assert recipe.model == {"depth": 2, "width": 8}
    assert recipe.optimizer_arguments == {"b1": 0.8, "b2": 0.99}
    assert recipe.hyperparameters == {"slope": 0.25}
    assert own == {"b1": 0.8} and base.model == {"depth": 2}


def test_corners_show_every_choice_and_both_ends_for_each_structure():
    made = space(
        optimizer=["sgd", "adam", "lion"],
        schedule=["constant", "linear"],
        warmup=[0, hj.fraction(0.1), hj.epochs(1)],
        activation=["relu", "tanh"],
        learning_rate=hj.log_uniform(1e-3, 1.0),
        epochs=[2, 5],
        batch_size=[8, "full"],
    )
    corners = made.corners()
    for batch in (8, "full"):
        here = [c for c in corners if c["batch_size"] == batch]
        for name, options in made.entries.items():
            ends = [options.low, options.high] if name == "learning_rate" else options
            assert all(any(c[name] == end for c in here) for end in ends if name != "batch_size"), name
        pairs = {(c["schedule"], str(c["warmup"])) for c in here}
        assert len(pairs) == 2 * 3  # a schedule's pieces and the warm-up's add up


def test_a_length_is_a_choice_like_any_other():
    made = space(warmup=[0, hj.fraction(0.1), hj.epochs(2)])
    assert [made.recipe(v).warmup for v in draw(made, None, 0)] == [0, hj.fraction(0.1), hj.epochs(2)]
    assert made.described() == {"warmup": "0, fraction(0.1), epochs(2)"}


SPACES = {
    "momentum beside optimizers without": space(
        optimizer=["sgd", "adagrad", "rmsprop", "momentum", "adam"],
        momentum=hj.uniform(0.0, 0.9),
        learning_rate=hj.log_uniform(1e-3, 1e-1),
        batch_size=10,
        epochs=1,
    ),
    "warm-up beside schedules": space(
        schedule=["constant", "step_decay", "linear"], warmup=[0, hj.fraction(0.2)], batch_size=10, epochs=[1, 2]
    ),
    "a model's width": space(
        {"model.width": hj.integer(4, 5)},
        optimizer=["sgd", "lion"],
        activation=["relu", "tanh"],
        batch_size=10,
        epochs=1,
    ),
    "an activation or the model's own": space(
        activation=[None, "relu", "gelu"], optimizer=["sgd", "lion"], dropout=[None, 0.1, 0.2], batch_size=10, epochs=1
    ),
    "a factory beside rules": space(
        optimizer=["sgd", optax.lamb, "lion"], activation=["relu", "gelu", "tanh"], batch_size=10, epochs=1
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_what_is_compiled_depends_on_the_space_and_not_on_the_sample(name):
    task, made = classes(), SPACES[name]

    def programs(seed, trials):
        values = draw(made, trials, seed)
        recipes = [made.recipe(v) for v in values]
        engine = Engine(task, recipes, width=1, also=[made.recipe(v) for v in made.corners(values)])
        return {repr((g.trainer.program.structure, g.trainer.shapes(1), g.trainer.total)) for g in engine.groups}

    whole = programs(0, 40)
    assert all(programs(seed, 3) <= whole for seed in range(1, 6))


def test_a_second_study_of_a_space_compiles_nothing(monkeypatch):
    compiled, counted = Population._compile_piece, []

    def count(self, piece):
        counted.append(self.fn.__name__)
        return compiled(self, piece)

    monkeypatch.setattr(Population, "_compile_piece", count)
    task, made = classes(), SPACES["momentum beside optimizers without"]
    for seed in (0, 1, 2):
        hj.study(task, made, trials=4, seed=seed)
    assert counted == ["_start", "_advance"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hj.uniform(2, 1), "low of uniform must be at most high, got low 2 above high 1"),
        (lambda: hj.integer(5, 4), "low of integer must be at most high, got low 5 above high 4"),
        (lambda: hj.log_uniform(0, 1), "low of log_uniform must be above 0 for a logarithmic scale, got 0"),
        (lambda: hj.log_integer(0, 8), "low of log_integer must be above 0 for a logarithmic scale, got 0"),
        (lambda: hj.log_uniform(-1.0, 1), "low of log_uniform must be above 0 .* got -1.0"),
        (lambda: hj.uniform("a", 1), "low of uniform must be a number, got 'a'"),
        (lambda: hj.uniform(0, None), "high of uniform must be a number, got None"),
        (lambda: hj.uniform([0, 1], 2), r"low of uniform must be a number, got \[0, 1\]"),
        (lambda: hj.uniform(0, True), "high of uniform must be a number in .* got True"),
        (lambda: hj.uniform(0, math.inf), "high of uniform must be a number in .* got inf"),
        (lambda: hj.uniform(math.nan, 1), "low of uniform must be a number in .* got nan"),
        (lambda: hj.integer(0.5, 2), "low and high of integer must be whole numbers, got 0.5 and 2"),
        (lambda: space(optimizer=[]), "optimizer must have at least one choice, got an empty list"),
        (
            lambda: space(optimiser=["sgd"]),
            "space must name fields of a recipe, .*'optimiser'; did you mean 'optimizer'",
        ),
        (lambda: space({3: 4}), "space must name fields of a recipe, .* got 3"),
        (lambda: space({"learning_rate.x": 1}), "got 'learning_rate.x'; did you mean 'learning_rate'"),
        (lambda: space({"model.": 1}), r"got 'model\.'"),
        (
            lambda: space({"model.width": 4}, model={"depth": 2}),
            "space must give model whole or by its parts, got both",
        ),
        (lambda: space(optimizer=["sgd", "adan"]), "optimizer must be one of .*'adan'; did you mean 'adam'"),
        (lambda: space(optimizer=[["sgd"]]), r"optimizer must be one number or name at a time, got \['sgd'\]"),
        (lambda: space(schedule=[["linear"]]), r"schedule must be one number or name at a time, got \['linear'\]"),
        (lambda: space(activation=["relux"]), "activation must be one of .*'relux'; did you mean 'relu'"),
        (lambda: space(loss=["cross_entropie"]), "loss must be one of .*did you mean 'cross_entropy'"),
        (lambda: space(optimizer=hj.uniform(0, 1)), "optimizer must be one of .* got 0.0"),
        (lambda: space(dropout=hj.uniform(0, 2)), r"dropout must be a number in \[0, 1\], got 2.0"),
        (lambda: space(learning_rate="fast"), "learning_rate must be a number in .* got 'fast'"),
        (lambda: space(learning_rate=[0.1, "fast"]), "learning_rate must be a number in .* got 'fast'"),
        (lambda: space(learning_rate=[0.1, -0.1]), "learning_rate must be a number in .* got -0.1"),
        (lambda: space(learning_rate=[hj.uniform(0, 1)]), "learning_rate must be a number in .* got Range"),
        (lambda: space(batch_size=hj.uniform(16, 32)), "batch_size must be a whole number .* got 16.0"),
        (lambda: space(batch_size=[32, 0]), "batch_size must be a whole number of at least 1, or 'full', got 0"),
        (lambda: space(epochs=0), "epochs must be a number in .* got 0"),
        (
            lambda: space(optimizer=["adam"], momentum=[0.9]),
            "momentum must be left out, since optimizer adam can read b1",
        ),
        (
            lambda: space({"optimizer_arguments.eps_rot": 0}),
            "optimizer_arguments.eps_rot must be left out, .* mean 'eps_root'",
        ),
        (lambda: space(learning_rate=[[0.1]]), r"learning_rate must be one number or name at a time, got \[0.1\]"),
        (lambda: space(batch_size=np.array([8, 16])), r"batch_size must be one number or name at a time, got array"),
        (
            lambda: space({"optimizer_arguments.b2": hj.uniform(0.9, 1.5)}, optimizer=["sgd", "adam"]),
            r"b2 must be a number in \[0, 1.*got 1.5",
        ),
        (
            lambda: space({"schedule_arguments.alpha": 0.1}, schedule=["linear"]),
            "schedule_arguments.alpha must be left out",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_the_space_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_everything_around_the_rule_can_be_searched_and_shares_a_program():
    """Fields that are mappings by dotted names, choices as lists, strengths as ranges; what cannot matter is left out."""
    searched = hj.space(
        optimizer=["sgd", "adam"],
        activation=["relu", "leaky_relu"],
        **{"activation_arguments.negative_slope": hj.uniform(0.0, 0.5), "plateau.factor": hj.uniform(0.1, 0.9)},
        l1=hj.log_uniform(1e-6, 1e-3),
        max_norm=hj.uniform(0.5, 3.0),
        average=hj.uniform(0.5, 1.0),
        decay=["all", "matrices"],
        sampling=["permutation", "balanced"],
        sam=hj.uniform(0.0, 0.1),
        batch_size=12,
        epochs=2,
    )
    found = hj.study(classes(), searched, trials=6, seed=0)
    recipes = [run.recipe for trial in found.trials for run in trial.runs]
    assert len(recipes) == 6
    assert len(Engine(classes(), recipes).groups) == 1
    assert {r.activation for r in recipes} == {"relu", "leaky_relu"}
    assert all(("negative_slope" in r.activation_arguments) == (r.activation == "leaky_relu") for r in recipes)
    assert all(0.1 <= r.plateau["factor"] <= 0.9 for r in recipes)
