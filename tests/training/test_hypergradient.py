"""Derivatives of whole runs by the numbers of a recipe: closed forms, finite differences of `fit`, and what has none."""

import math

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers, metrics
from hyperjax.training import descend
from hyperjax.training.hypergradient import Differentiated
from hyperjax.training.program import Program
from hyperjax.training.recipe_numbers import CHOICE, COUNT, LIMIT, MASK, OFF, filled, numbers_by_name
from tests.training.made import Net, classes

CURVATURES = np.array([1.0, 0.1])
TARGET = np.array([1.0, 4.0], np.float32)


class Weights(nnx.Module):
    """One output, weights that begin at 0."""

    def __init__(self, rngs):
        self.w = nnx.Param(np.zeros((2, 1), np.float32))

    def __call__(self, x):
        return x @ self.w[...]


def quadratic():
    """Loss `sum of curvature / 2 (w - target)^2`, of linear regression on two orthogonal examples."""
    x = np.diag(np.sqrt(CURVATURES)).astype(np.float32)
    data = (x, x @ TARGET[:, None])
    return hj.Task(Weights, {"train": data, "validation": data}, loss="squared_error", name="quadratic")


def loss_by_hand(rate, steps, decay=0.0):
    """The loss after so many steps of gradient descent with decay: each weight goes to its own fixed point."""
    ends = CURVATURES * TARGET / (CURVATURES + decay)
    w = ends * (1 - (1 - rate * (CURVATURES + decay)) ** steps)
    return float(np.sum(CURVATURES / 2 * (w - TARGET) ** 2))


def slope_by_hand(at, h=1e-6):
    """A derivative of the closed form, in float64."""
    return (at(h) - at(-h)) / (2 * h)


RECIPE = hj.Recipe(optimizer="sgd", learning_rate=0.5, weight_decay=0.01, l2=0.02, batch_size="full", epochs=20)


@pytest.fixture(scope="module")
def program():
    return Differentiated(quadratic(), RECIPE)


def test_gradient_descent_on_a_quadratic_has_the_closed_form(program):
    found = program.at(RECIPE, [0])
    assert found.value == pytest.approx(loss_by_hand(0.5, 20, 0.03), rel=1e-5)
    by_rate = slope_by_hand(lambda h: loss_by_hand(0.5 + h, 20, 0.03))
    by_decay = slope_by_hand(lambda h: loss_by_hand(0.5, 20, 0.03 + h))
    assert found.gradient == pytest.approx(
        {"learning_rate": by_rate, "weight_decay": by_decay, "l2": by_decay}, rel=1e-4
    )
    assert found.elasticities == pytest.approx(
        {"learning_rate": 0.5 * by_rate, "l2": 0.02 * by_decay, "weight_decay": 0.01 * by_decay}, rel=1e-4
    )
    assert list(found.elasticities) == sorted(found.elasticities, key=lambda n: -abs(found.elasticities[n]))
    assert "depends most on learning_rate: when that is raised by 1 %, it falls" in found.answer
    assert (found.steps, found.metric, found.diverged_at) == (20, "validation_loss", (None,))
    assert found.bytes > found.plain_bytes > 0


def test_it_is_of_the_run_that_fit_trains(program):
    run = hj.fit(quadratic(), RECIPE)
    assert program.at(RECIPE, [0]).value == pytest.approx(run.metrics["validation_loss"][-1], rel=1e-6)


def test_a_run_that_diverges_has_no_derivative_and_says_where(program):
    found = program.at(RECIPE.replace(learning_rate=1e20), [0, 1])
    run = hj.fit(quadratic(), RECIPE.replace(learning_rate=1e20))
    assert found.diverged_at == (run.diverged_at, run.diverged_at)
    assert math.isnan(found.value)
    assert all(map(math.isnan, found.gradient.values()))
    assert found.answer.startswith(f"The run with seed 0 diverged at step {run.diverged_at}")
    with pytest.raises(ValueError, match="recipe must be one that does not diverge; The run with seed 0 diverged at"):
        descend(quadratic(), found.recipe, 1, seeds=[0])


def test_a_loss_s_own_number_counts_by_what_it_does_to_the_weights():
    task = quadratic()
    x, y = (np.asarray(array, np.float64) for array in task.data["train"])

    def by_hand(delta, judged=0.3):
        w = np.zeros((2, 1))
        for _ in range(20):
            w -= 0.5 * x.T @ np.clip(x @ w - y, -delta, delta) / 2
        size = np.abs(x @ w - y)
        return float(np.mean(np.where(size <= judged, size**2 / 2, judged * (size - judged / 2))))

    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.5, batch_size="full", epochs=20, loss="huber")
    recipe = recipe.replace(loss_arguments={"delta": 0.3})
    found = hj.hypergradient(task, recipe)
    assert found.value == pytest.approx(by_hand(0.3), rel=1e-5)
    assert found.gradient["loss_arguments.delta"] == pytest.approx(slope_by_hand(lambda h: by_hand(0.3 + h)), rel=1e-3)


def test_descent_finds_the_best_rate_of_the_closed_form():
    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.1, batch_size="full", epochs=20)
    rates = np.linspace(0.05, 2.1, 4001)
    best = rates[np.argmin([loss_by_hand(rate, 20) for rate in rates])]
    found = descend(quadratic(), recipe, 10, seeds=[0], fresh_seeds=[5, 6])
    assert found.best.learning_rate == pytest.approx(best, rel=0.03)
    assert found.names == ("learning_rate",)
    assert found.moves["learning_rate"] == (0.1, found.best.learning_rate)
    values = [attempt.value for attempt in found.attempts if attempt.better]
    assert values == sorted(values, reverse=True)
    gain = loss_by_hand(0.1, 20) - loss_by_hand(found.best.learning_rate, 20)
    assert found.improvement.mean == pytest.approx(gain, rel=1e-4)
    assert np.shape(found.fresh) == (2, 2)
    assert "On 2 fresh seeds the validation loss is lower" in found.answer


def numbers(task, recipe):
    recipe = filled(recipe)
    return numbers_by_name(task, recipe, Program(task, recipe.lower(task)[1]))


def test_every_number_is_there_by_its_name_and_the_rest_says_why_not():
    recipe = hj.Recipe(
        optimizer="rmsprop",
        momentum=0.5,
        activation="leaky_relu",
        schedule="step_decay",
        warmup=hj.fraction(0.1),
        dropout=0.1,
        average=0.9,
        rate_multipliers={"first": 1.0},
        plateau={"factor": 0.5},
        class_weights="balanced",
        batch_size=8,
    )
    found, left_out = numbers(classes(), recipe)
    assert {name: number.value for name, number in found.items()} == {
        "learning_rate": 1e-3,
        "momentum": 0.5,
        "average": 0.9,
        "warmup": 0.1,
        "plateau.factor": 0.5,
        "plateau.min_scale": 0.0,
        "optimizer_arguments.decay": 0.9,
        "optimizer_arguments.eps": 1e-8,
        "optimizer_arguments.initial_scale": 0.0,
        "loss_arguments.label_smoothing": 0.0,
        "activation_arguments.negative_slope": 0.01,
        "schedule_arguments.decay_rate": 0.1,
    }
    assert {name for name, number in found.items() if number.share} == {
        "momentum", "average", "warmup", "plateau.factor", "optimizer_arguments.decay"
    }  # fmt: skip
    reasons = {"dropout": MASK, "batch_size": COUNT, "epochs": COUNT, "optimizer": CHOICE, "activation": CHOICE}
    reasons |= {"class_weights": CHOICE, "schedule": CHOICE, "schedule_arguments.transition_steps": LIMIT}
    reasons |= {"plateau.patience": COUNT, "plateau.rtol": LIMIT, "rate_multipliers.first": OFF, "weight_decay": OFF}
    reasons |= {"clip_norm": OFF, "sam": OFF}
    assert reasons.items() <= left_out.items()
    assert not found.keys() & left_out.keys()
    # What a field means is left to the lowering: a slope in one leaf, or in several.
    base, moved = (r.lower(classes())[0] for r in (recipe, found["momentum"].put(filled(recipe), 0.6)))
    assert (base.rule.numbers["b1"], moved.rule.numbers["b1"]) == (0.5, 0.6)
    assert [float(slope.sum()) for slope in found["momentum"].slopes if slope.any()] == pytest.approx([1.0])


def test_a_schedule_has_the_numbers_of_its_pieces_and_a_mask_anywhere_has_none():
    class Masked(nnx.Module):
        def __init__(self, rngs):
            self.linear = layers.DropConnect(nnx.Linear(4, 3, rngs=rngs), 0.5, rngs=rngs, name="cut")
            self.slope = layers.Hyperparameter(0.1, name="slope")

        def __call__(self, x):
            y = self.linear(x)
            return y - self.slope[...] * y**2

    joined = hj.schedules.join([hj.schedules.linear(0.1, 0.2, 4), hj.schedules.constant(0.3)], [4])
    recipe = hj.Recipe(
        learning_rate=joined,
        batch_size=8,
        hyperparameters={"cut": 0.2, "slope": 0.3},
        optimizer_arguments={"b1": hj.schedules.cosine_decay(0.9, hj.epochs(2))},
    )
    found, left_out = numbers(classes(model=Masked), recipe)
    assert left_out["hyperparameters.cut"] == MASK
    assert found["hyperparameters.slope"].value == 0.3
    names = {name for name in found if name.startswith(("learning_rate", "optimizer_arguments.b1"))}
    assert names == {
        "learning_rate[0].init_value", "learning_rate[0].end_value", "learning_rate[0].transition_steps",
        "learning_rate[0].transition_begin", "learning_rate[1].value", "optimizer_arguments.b1.init_value",
        "optimizer_arguments.b1.decay_steps", "optimizer_arguments.b1.alpha", "optimizer_arguments.b1.exponent",
    }  # fmt: skip
    longer = found["optimizer_arguments.b1.decay_steps"].put(recipe, 3.0)
    assert longer.optimizer_arguments["b1"] == hj.schedules.cosine_decay(0.9, hj.epochs(3))
    slope = sum(float(each.sum()) for each in found["optimizer_arguments.b1.decay_steps"].slopes)
    assert slope == pytest.approx(6.0)  # steps an epoch
    assert found["learning_rate[1].value"].put(recipe, 0.5).learning_rate(9) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": RECIPE.replace(batch_size=1, batch_ramp={"epochs": (1,)})}, "recipe must have one batch size"),
        ({"part": "tests"}, "part must be one of train, validation, got 'tests'"),
        ({"metric": "accuracy"}, "metric must be one of loss, got 'accuracy'"),
        ({"seeds": 3}, "seeds must hold at least one whole number, got 3"),
        ({"recipe": "sgd"}, "recipe must be a Recipe or None, got 'sgd'"),
    ],
)
def test_what_has_no_derivative_is_refused(given, message):
    task = quadratic()
    with pytest.raises(ValueError, match=message):
        hj.hypergradient(task, **({"recipe": RECIPE} | given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"rate": 0.0}, r"rate must be a number in \(0, inf\), got 0.0"),
        ({"recipe": "sgd"}, "recipe must be a Recipe or None, got 'sgd'"),
        ({"numbers": []}, r"numbers must hold one that is above 0, got \[\]"),
        ({"numbers": ["learning_rat"]}, "numbers must be one of learning_rate, .*; did you mean 'learning_rate'"),
    ],
)
def test_what_cannot_be_descended_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        descend(quadratic(), **({"recipe": RECIPE} | given))


def test_a_metric_of_which_more_is_better_is_not_descended():
    def gain(predictions, targets):
        return 1 - ((predictions - targets) ** 2).mean(-1)

    task = hj.Task(Weights, quadratic().data, loss="squared_error", metrics={"gain": gain})
    with pytest.raises(ValueError, match="metric must be one of which less is better, got 'gain'"):
        descend(task, RECIPE, 1, metric="gain")


def test_a_number_of_0_that_is_asked_for_is_refused_by_its_name():
    recipe = RECIPE.replace(optimizer="adam", optimizer_arguments={"b1": 0.0})
    with pytest.raises(ValueError, match=r"numbers must be above 0 to move, got optimizer_arguments.b1 of 0"):
        descend(quadratic(), recipe, 1, numbers=["learning_rate", "b1"])


@pytest.mark.slow
def test_a_metric_that_counts_moves_with_no_number():
    with pytest.raises(ValueError, match="metric must be one that changes smoothly"):
        hj.hypergradient(classes(), RECIPE.replace(epochs=3), metric="accuracy")


@pytest.mark.slow
def test_a_run_that_stops_early_is_judged_at_its_best():
    recipe = hj.Recipe(optimizer="momentum", learning_rate=0.3, batch_size=10, epochs=6.5, dropout=0.2)
    recipe = recipe.replace(early_stopping={"patience": 2}, plateau={"factor": 0.5, "patience": 3})
    run, found = hj.fit(classes(), recipe, seed=1), hj.hypergradient(classes(), recipe, seeds=[1])
    assert run.best < len(run.epochs) - 1, "the last epoch is another"
    assert found.value == pytest.approx(run.metrics["validation_loss"][run.best], rel=1e-5)
    assert np.isfinite([*found.gradient.values()]).all()
    assert found.left_out["dropout"] == MASK


@pytest.mark.slow
def test_descent_from_a_tenth_of_the_rate_is_better_on_fresh_seeds():
    found = descend(classes(), hj.Recipe(optimizer="momentum", learning_rate=0.01, batch_size="full", epochs=20), 6)
    assert found.improvement.low > 0.1
    assert not set(found.seeds) & set(found.fresh_seeds)
    runs = hj.fit_population(classes(), [found.start, found.best], found.fresh_seeds)
    losses = np.reshape([run.metrics["validation_loss"][-1] for run in runs], (2, -1))
    np.testing.assert_allclose(found.fresh, losses, rtol=1e-5)


RULES = {
    "momentum": {"learning_rate": 0.05},
    "adamw": {"learning_rate": 0.02, "optimizer_arguments": {"eps_root": 1e-6}},
    "rmsprop": {"learning_rate": 0.02, "optimizer_arguments": {"eps": 1e-4}, "momentum": 0.5},
    "lion": {"learning_rate": 0.01},
}


@pytest.mark.slow
def test_derivatives_in_float64_agree_with_finite_differences_of_fit():
    """By a metric of the task, since the loss that is reported is label-smoothed itself."""
    with jax.enable_x64(True):
        plain = classes(examples=20)
        data = {part: (x.astype(np.float64), y) for part, (x, y) in plain.data.items()}
        surprise = metrics.Metric(optax.softmax_cross_entropy_with_integer_labels, "min", "surprise")
        task = classes(data=data, model=lambda rngs: Net(rngs, param_dtype=np.float64), metrics={"surprise": surprise})
        shared = {"batch_size": 10, "epochs": 4, "schedule": "cosine_decay", "warmup": 2.5, "weight_decay": 0.01}
        shared |= {"l2": 0.02, "clip_norm": 0.5, "label_smoothing": 0.1, "schedule_arguments": {"alpha": 0.1}}
        predicted, recipes = {}, []
        for rule, own in RULES.items():
            recipe = hj.Recipe(optimizer=rule, **shared, **own)
            program = Differentiated(task, recipe, metric="surprise")
            slopes = program.at(recipe, [3]).gradient
            for name, number in program.numbers.items():
                if number.value == 0:  # the edge of its range
                    continue
                width = 1e-5 * (min(number.value, 1 - number.value) if number.share else number.value)
                recipes += [number.put(program.recipe, number.value + side * width) for side in (-1, 1)]
                predicted[rule, name] = slopes[name] * 2 * width
        runs = hj.fit_population(task, recipes, [3])
        ends = np.reshape([run.metrics["validation_surprise"][-1] for run in runs], (-1, 2))
        differences = dict(zip(predicted, ends[:, 1] - ends[:, 0], strict=True))
        assert predicted == pytest.approx(differences, rel=1e-5, abs=3e-15)  # beside what 64 bits round
        assert sum(abs(difference) > 1e-10 for difference in differences.values()) > 30
