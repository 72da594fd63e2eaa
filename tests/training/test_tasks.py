"""Tasks of a user's own: objectives, several losses in one program, factories, real targets."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import metrics
from tests.training.made import classes


def line(**changes):
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    data = {"train": (x, 3 * x + 1), "validation": (x[::3], 3 * x[::3] + 1)}
    given = {"model": lambda rngs: nnx.Linear(1, 1, rngs=rngs), "data": data, "loss": "squared_error", "name": "line"}
    return hj.Task(**(given | changes))


def test_full_batch_descent_follows_the_closed_form():
    task = line()
    x, y = (np.asarray(a, np.float64) for a in task.data["train"])
    run = hj.fit(task, hj.Recipe(optimizer="sgd", learning_rate=0.1, batch_size="full", epochs=25))
    start = hj.fit(task, hj.Recipe(optimizer="sgd", learning_rate=0.0, batch_size="full", epochs=1)).model
    w, b, losses = float(start.kernel[...][0, 0]), float(start.bias[...][0]), []
    for _ in range(25):
        error = w * x + b - y
        losses.append(np.mean(error**2))
        w, b = w - 0.2 * np.mean(error * x), b - 0.2 * np.mean(error)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(run.model.kernel[...][0, 0], w, rtol=1e-5)
    assert run.metric == "validation_loss" and run.direction == "min"


def test_decay_clipping_and_smoothing_act_where_the_docstring_says():
    """One step of momentum-free descent by hand: clip, then l2, then decoupled decay, then the rate."""
    task = line()
    common = {"optimizer": "sgd", "batch_size": "full", "epochs": 1}
    start = hj.fit(task, hj.Recipe(learning_rate=0.0, **common)).model
    w, b = float(start.kernel[...][0, 0]), float(start.bias[...][0])
    x, y = (np.asarray(a, np.float64) for a in task.data["train"])
    gradient = np.array([np.mean(2 * (w * x + b - y) * x), np.mean(2 * (w * x + b - y))])
    norm = np.linalg.norm(gradient)
    direction = gradient * min(1, 0.3 / norm) + 0.2 * np.array([w, b]) + 0.05 * np.array([w, b])
    run = hj.fit(task, hj.Recipe(learning_rate=0.1, clip_norm=0.3, l2=0.2, weight_decay=0.05, **common))
    moved = np.array([float(run.model.kernel[...][0, 0]), float(run.model.bias[...][0])])
    np.testing.assert_allclose(moved, np.array([w, b]) - 0.1 * direction, rtol=1e-5)
    np.testing.assert_allclose(run.gradient_norms[0], norm, rtol=1e-5)
    np.testing.assert_allclose(run.update_norms[0], 0.1 * np.linalg.norm(direction), rtol=1e-5)


def test_losses_of_a_kind_share_a_program():
    recipes = [
        hj.Recipe(loss=name, learning_rate=0.05, epochs=8, batch_size=8) for name in ("squared_error", "absolute_error")
    ]
    runs = hj.fit_population(line(metrics={"mae": metrics.mean_absolute_error}), recipes)
    assert runs.conditions["programs"] == 1 and runs[0].metric == "validation_mae" and runs[0].direction == "min"
    for run in runs:
        np.testing.assert_array_equal(
            run.losses, hj.fit(line(metrics={"mae": metrics.mean_absolute_error}), run.recipe).losses
        )
    assert runs[1].losses[0] == pytest.approx(
        np.sqrt(runs[0].losses[0]), rel=0.6
    )  # another quantity of the same errors


def test_an_objective_of_two_players_in_one_model():
    class Pair(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Param(jnp.ones(())), nnx.Param(jnp.ones(()))

    def objective(model, batch, key):
        values = jnp.square(model.a[...] - 2) + jnp.square(model.b[...] + 1) + 0 * batch["x"]
        return values, {"distance": jnp.abs(model.a[...] - 2)}

    data = {"train": {"x": np.zeros(8, np.float32)}, "validation": {"x": np.zeros(4, np.float32)}}
    task = hj.Task(Pair, data, objective=objective)
    run = hj.fit(task, hj.Recipe(optimizer="sgd", learning_rate=0.25, batch_size=4, epochs=10))
    assert run.losses[0] == pytest.approx(5.0)
    np.testing.assert_allclose(run.losses[:4], 5 * 0.25 ** np.arange(4), rtol=1e-5)
    assert {"train_distance", "validation_distance", "validation_loss"} <= set(run.metrics)
    assert run.metrics["validation_distance"][-1] < 1e-4


def test_a_loss_function_of_the_user():
    task = line(loss=lambda predictions, targets: jnp.abs(predictions - targets)[:, 0] ** 1.5)
    run = hj.fit(task, hj.Recipe(learning_rate=0.1, batch_size=8, epochs=20))
    assert run.losses[-1] < 0.1 * run.losses[0]
    with pytest.raises(ValueError, match="label_smoothing must be left out, since line has a loss function of its own"):
        hj.fit(task, hj.Recipe(label_smoothing=0.1))


@pytest.mark.parametrize(
    "factory",
    [
        optax.adam,
        pytest.param(optax.lamb, marks=pytest.mark.slow),
        pytest.param(optax.contrib.muon, marks=pytest.mark.slow),
    ],
)
def test_any_optax_factory_follows_a_plain_optax_loop(factory):
    task = classes()
    x, y = task.data["train"]
    run = hj.fit(task, hj.Recipe(optimizer=factory, learning_rate=0.02, batch_size="full", epochs=6, schedule="linear"))
    model = hj.fit(task, hj.Recipe(optimizer="sgd", learning_rate=0.0, batch_size="full", epochs=1)).model
    graph, weights, rest = nnx.split(model, nnx.Param, ...)
    transform = factory(optax.linear_schedule(0.02, 0.0, 6))
    state, losses = transform.init(weights), []

    def objective(weights):
        logits = nnx.merge(graph, weights, rest)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    for _ in range(6):
        value, gradient = jax.value_and_grad(objective)(weights)
        updates, state = transform.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        losses.append(float(value))
    np.testing.assert_allclose(run.losses, losses, rtol=2e-4)


def test_factories_are_groups_of_their_own():
    recipes = [
        hj.Recipe(batch_size=8, epochs=1),
        hj.Recipe(optimizer=optax.lamb, batch_size=8, epochs=1),
        hj.Recipe(batch_size=8, epochs=2),
    ]
    runs = hj.fit_population(line(), recipes)
    assert runs.conditions["programs"] == 2
    assert [run.recipe for run in runs] == recipes


def test_digits_split_and_a_default_recipe():
    task = hj.tasks.digits()
    rows = np.concatenate([task.data[part][0] for part in ("train", "validation", "test")])
    assert rows.shape == (1797, 64) and rows.min() == 0 and rows.max() == 1
    run = hj.fit(task, hj.Recipe(epochs=5))
    assert run.score > 0.85


def test_a_binary_task_trains_by_each_of_its_losses_in_one_program():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 3)).astype(np.float32)
    y = (x @ np.array([[2.0], [-1.0], [0.5]], np.float32) > 0.3).astype(np.int32)
    task = hj.Task(
        lambda rngs: nnx.Linear(3, 1, rngs=rngs),
        {"train": (x[:200], y[:200]), "validation": (x[200:], y[200:])},
        loss="binary_cross_entropy",
        metrics={"accuracy": hj.metrics.binary_accuracy},
    )
    assert task.kind == "binary"
    names = list(hj.losses.LOSSES["binary"])
    runs = hj.fit_population(task, [hj.Recipe(loss=name, learning_rate=0.05, epochs=20) for name in names])
    assert runs.conditions["programs"] == 1
    assert np.all(runs.scores > 0.9), dict(zip(names, runs.scores, strict=True))
    with pytest.raises(ValueError, match=r"loss .*binary.*must be one of"):
        hj.fit(task, hj.Recipe(loss="cross_entropy"))
    with pytest.raises(ValueError, match=r"labels in data\['train'\] must be 0 or 1"):
        hj.Task(task.model, {"train": (x, 2 * y)}, loss="hinge")


def test_a_trained_model_is_the_callers_own():
    """Variables that no recipe bound can be set, and the model goes through Flax's transformations."""
    model = hj.fit(classes(), hj.Recipe(epochs=1)).model
    x = np.ones((2, 4), np.float32)
    before = model(x)
    hj.layers.bind(model, {"dropout": 0.5})
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x))(model, x), before, rtol=1e-6)
