"""A trained model's measures over a set, where the task's objective does the measuring."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.reports.study_page import answer


class Net(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.dropout = nnx.Linear(3, 1, rngs=rngs), hj.layers.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.linear(x))[:, 0]


def objective(model, batch, key):
    errors = jnp.abs(model(batch["x"]) - batch["y"])
    return errors**2, {"far": (errors > 0.5).astype(jnp.float32), "error": errors, "largest": errors.max()}


def task(objective=objective, **changes):
    rng = np.random.default_rng(0)
    sizes = {"train": 64, "validation": 2500, "test": 4100}  # of one block and a part, and of two and a part
    x = {part: rng.normal(size=(size, 3)).astype(np.float32) for part, size in sizes.items()}
    data = {part: {"x": x[part], "y": x[part].sum(1)} for part in sizes}
    return hj.Task(Net, data, objective=objective, **({"metrics": {"error": "min"}} | changes))


RECIPE = hj.Recipe(learning_rate=0.1, batch_size=16, epochs=3)


def test_it_is_the_mean_over_the_set_of_what_the_objective_returns():
    given = task()
    run = hj.fit(given, RECIPE, seed=5)
    for part in ("validation", "test"):
        x, y = given.data[part]["x"], given.data[part]["y"]
        linear = run.model.linear
        errors = np.abs((x @ np.asarray(linear.kernel[...]) + np.asarray(linear.bias[...]))[:, 0] - y)
        found = hj.training.evaluate(given, run.model, part)
        assert list(found) == ["error", "far", "largest"]  # first what ranks
        blocks = [errors[i : i + 2048] for i in range(0, len(errors), 2048)]
        largest = np.average([block.max() for block in blocks], weights=[len(block) for block in blocks])
        expected = {"error": errors.mean(), "far": (errors > 0.5).mean(), "largest": largest}
        assert found == pytest.approx(expected, rel=1e-5)
    last = {name: run.metrics[f"validation_{name}"][-1] for name in ("error", "far", "largest")}
    assert hj.training.evaluate(given, run.model) == pytest.approx(last, rel=1e-6)


@pytest.mark.parametrize(("returned", "names"), [(objective, ["loss", "error", "far", "largest"]), (None, ["loss"])])
def test_without_a_declared_metric_the_loss_is_first_since_it_ranks(returned, names):
    given = task(returned or (lambda *arguments: objective(*arguments)[0]), metrics={})
    run = hj.fit(given, RECIPE.replace(epochs=1))
    found = hj.training.evaluate(given, run.model)
    assert list(found) == names and found["loss"] == pytest.approx(run.score, rel=1e-6)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("autoencoding", "ring")])
def test_what_draws_in_evaluation_too_draws_as_for_a_run_of_seed_0(name):
    given = hj.tasks.find(name)
    run = hj.fit(given, hj.Recipe(**{**given.recipe, "epochs": 1}))
    found = hj.training.evaluate(given, run.model)
    last = {metric: run.metrics[f"validation_{metric}"][-1] for metric in found}
    assert found == pytest.approx(last, rel=1e-4)
    assert next(iter(found.values())) == pytest.approx(run.score, rel=1e-4)


def test_a_study_measures_its_best_trial_on_the_test_set():
    given = task()
    found = hj.study(given, hj.space(learning_rate=[0.1, 1e-5], batch_size=16, epochs=3), seeds=2)
    rows = [hj.training.evaluate(given, run.model, "test") for run in found.best.runs]
    assert found.test == pytest.approx({name: np.mean([row[name] for row in rows]) for name in rows[0]})
    assert f"test error {found.test['error']:.4g}" in answer(found)
