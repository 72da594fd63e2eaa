"""Flax's own PReLU, whose slope is a parameter: it needs no layer of ours, only to be trained as structure."""

import numpy as np
from flax import nnx

import hyperjax as hj


def test_the_slope_is_learnt():
    """A model that is a PReLU alone, on data of slope 0.3: descent on the slope has a closed form."""
    x = np.linspace(-2, 1, 64, dtype=np.float32)
    task = hj.Task(lambda rngs: nnx.PReLU(0.01), {"train": (x, np.where(x < 0, 0.3 * x, x))}, loss="squared_error")
    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.1, batch_size="full", epochs=25)
    run = hj.fit(task, recipe)
    curvature = 2 * np.mean(np.square(np.minimum(x, 0), dtype=np.float64))
    expected = 0.3 + (0.01 - 0.3) * (1 - 0.1 * curvature) ** 25
    np.testing.assert_allclose(run.model.negative_slope[...], expected, rtol=1e-5)
    assert abs(expected - 0.3) < 1e-2


class Net(nnx.Module):
    """A learnt slope beside dropout that a recipe binds."""

    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(2, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
        self.activation = nnx.PReLU(0.25)
        self.dropout = hj.layers.Dropout(0.0, rngs=rngs)

    def __call__(self, x):
        return self.second(self.dropout(self.activation(self.first(x))))


def test_each_member_of_a_population_learns_its_own():
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    task = hj.Task(Net, {"train": (x, np.sin(x[:, :1]) - x[:, 1:])}, loss="squared_error")
    common = {"epochs": 10, "batch_size": 16, "dropout": 0.0}
    recipes = [hj.Recipe(learning_rate=rate, **common) for rate in (0.01, 0.03)]
    runs = hj.fit_population(task, recipes)
    assert runs.conditions["programs"] == 1
    for run in runs:
        assert run.losses[-4:].mean() < 0.5 * run.losses[0]
    found = [float(runs[i].model.activation.negative_slope[...]) for i in (0, 1)]
    assert found[0] != found[1] and min(abs(slope - 0.25) for slope in found) > 1e-3
