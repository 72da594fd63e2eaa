"""The plan agrees with what the engine groups."""

import optax
import pytest

import hyperjax as hj
from hyperjax.studies import plan
from hyperjax.studies.samplers import draw
from hyperjax.training.engine import Engine
from tests.training.made import classes

SPACES = {
    "1 program": hj.space(optimizer=["sgd", "adam"], learning_rate=hj.log_uniform(1e-3, 1.0), batch_size=8),
    "3 programs: batch_size 8, 16, full": hj.space(batch_size=[8, 16, "full"], optimizer=["sgd", "lion"]),
    "4 programs: model.width 4, 6; batch_size 8, 16": hj.space({"model.width": [4, 6]}, batch_size=[8, 16]),
    "2 programs: optimizer by name, lamb": hj.space(optimizer=["sgd", optax.lamb, "adam"]),
    "2 programs: activation the model's own, given": hj.space(activation=[None, "relu", "tanh"]),
    "1 program ": hj.space(batch_size=[46, "full"]),  # of 46 examples
    "up to 3 programs: model.width whole numbers from 4 to 6": hj.space({"model.width": hj.integer(4, 6)}),
    "up to 4 programs: batch_size 8, 16; micro_batches 1, 2": hj.space(
        batch_size=[8, 16],
        micro_batches=[1, 2],
        constraints={"same": lambda v: v["batch_size"] * v["micro_batches"] != 32},
    ),
}


@pytest.mark.parametrize("said", SPACES)
def test_the_plan_counts_what_the_engine_would_compile(said):
    task, space = classes(), SPACES[said]
    assert str(plan(space, task)) == said.strip()
    recipes = [space.recipe(v) for v in draw(space, 60, 0)]
    groups = len(Engine(task, recipes, width=1).groups)
    assert groups == int(said.removeprefix("up to ").split()[0]) - bool(space.constraints.given)


def test_a_plan_without_end_and_one_that_does_not_fit():
    endless = hj.space({"model.scale": hj.uniform(0.5, 1.0)})
    assert str(plan(endless, classes())) == "a program for each trial: model.scale numbers from 0.5 to 1"
    with pytest.raises(ValueError, match="batch_size must be at most the 46 training examples of made, got 64"):
        plan(hj.space(batch_size=[8, 64]), classes())
