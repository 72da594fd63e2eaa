"""What a study and a recipe may ask of the bundled tasks."""

import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.studies import default_space
from hyperjax.studies.samplers import draw
from hyperjax.tasks import MemoryMap, Stream
from hyperjax.training.lowering import lower_together
from hyperjax.training.program import Program
from tests.training.made import classes


@pytest.mark.parametrize("name", [name for name in hj.tasks.bundled() if name != "mnist1d"])
def test_the_command_s_own_space_fits_every_task(name):
    task = hj.tasks.find(name)
    space = default_space(1, task)
    recipes = [space.recipe(values) for values in draw(space, 6, 0)]
    for recipe in recipes:
        assert lower_together([recipe], task)[1].batch_size <= task.size("train")
    assert "learning_rate" in space.searched
    assert ("dropout" in space.searched) == (
        "dropout" in Program(task, lower_together(recipes[:1], task)[1]).model.names
    )


def test_batches_of_the_command_s_own_space_are_no_larger_than_the_training_set():
    assert default_space(1, classes(examples=46)).entries["batch_size"] == 32
    assert default_space(1, classes(examples=20)).entries["batch_size"] == "full"
    assert default_space(1, classes(examples=128)).entries["batch_size"] == [32, 128]
    x, y = classes().data["train"]
    assert default_space(1, classes(data={"train": Stream([(x[:8], y[:8])])})).entries["batch_size"] == 8
    assert default_space(1, classes(data={"train": MemoryMap((x, y))})).entries["batch_size"] == 32


class Point(nnx.Module):
    def __init__(self, rngs):
        self.place = nnx.Param(np.float32(2.0))

    def __call__(self):
        return self.place[...]


def distance(model, batch, key):
    return model() ** 2, {"other": model(), "height": -model()}


def task(metrics):
    data = {part: np.zeros((8, 1), np.float32) for part in ("train", "validation")}
    return hj.Task(Point, data, objective=distance, metrics=metrics)


def test_early_stopping_follows_what_an_objective_declares():
    recipe = hj.Recipe(optimizer="sgd", learning_rate=0.1, batch_size=8, epochs=30)
    stopping = {"patience": 2, "min_gain": 0.05}
    run = hj.fit(task({"height": "max"}), recipe.replace(early_stopping=stopping))
    # The place is 2 * 0.8^n: its height gains 0.4 * 0.8^n an epoch, more than 0.05 over the best kept until epoch 11.
    assert run.metric == "validation_height" and run.direction == "max"
    heights = -2 * 0.8 ** np.arange(1, 31)
    best, waited, kept = -np.inf, 0, 0
    for epoch, height in enumerate(heights):
        if height > best + 0.05:
            best, waited, kept = height, 0, epoch
        else:
            waited += 1
        if waited == 2:
            break
    assert run.best == kept and run.steps_done == epoch + 1
    np.testing.assert_allclose(run.metrics["validation_height"], heights[: epoch + 1], rtol=1e-5)
    loss = hj.fit(task({}), recipe.replace(early_stopping=stopping | {"metric": "validation_loss"}))
    assert loss.metric == "validation_loss" and loss.finished


def test_a_declared_metric_that_the_objective_does_not_return_is_refused():
    with pytest.raises(ValueError, match=r"metrics' key .* must be one of height, other, got 'heigth'; did you mean"):
        hj.fit(task({"heigth": "max"}), hj.Recipe(batch_size=8))
