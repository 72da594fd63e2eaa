"""Tasks by name, and those that a module of the user's holds."""

import sys

import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.tasks import find

MODULE = """
import numpy as np
from flax import nnx
import hyperjax as hj
x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
ready = hj.Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error", name="ready")
class Held:
    inner = ready
def made():
    import beside_it
    return beside_it.change(ready)
number = 3
def nothing():
    return None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with modules, which is not otherwise importable."""
    (tmp_path / "made_tasks_here.py").write_text(MODULE)
    (tmp_path / "beside_it.py").write_text(
        "import dataclasses\ndef change(t): return dataclasses.replace(t, name='made')"
    )
    (tmp_path / "needs_what_is_not_there.py").write_text("import no_such_package")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield tmp_path
    for name in ("made_tasks_here", "beside_it", "needs_what_is_not_there"):
        sys.modules.pop(name, None)


def test_tasks_of_a_module_in_the_current_folder(folder):
    before = list(sys.path)
    assert find("made_tasks_here:ready").name == "ready"
    assert find("made_tasks_here:made").name == "made"  # the function imports what lies beside it
    assert find("made_tasks_here:Held.inner").name == "ready"
    assert sys.path == before


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("made_tasks_here:", "task must be written as package.module:task, got 'made_tasks_here:'"),
        (":ready", "task must be written as package.module:task"),
        ("no_such_module:task", "task must be in a module that can be imported, got 'no_such_module:task'"),
        ("needs_what_is_not_there:task", "No module named 'no_such_package'"),
        ("made_tasks_here:redy", "task must be a name in made_tasks_here, .* no 'redy'"),
        ("made_tasks_here:number", "which gives a int"),
        ("made_tasks_here:nothing", "which gives a NoneType"),
        ("digitz", "task must be one of .*did you mean 'digits'"),
    ],
)
def test_what_is_no_task_is_said_so(folder, place, message):
    with pytest.raises(ValueError, match=message):
        find(place)


def test_every_bundled_task_is_a_public_name():
    assert set(hj.tasks.bundled()) <= set(hj.tasks.__all__)
    assert hj.tasks.bundled()["wine"].startswith("Wines of three growers")


def test_recipe_and_directions_are_checked():
    task = find("wine")
    given = {"model": lambda rngs: nnx.Linear(13, 3, rngs=rngs), "data": task.data}
    assert hj.Task(**given, loss="cross_entropy").recipe is None
    with pytest.raises(ValueError, match=r"recipe must be a mapping of hj.Recipe's arguments, got int"):
        hj.Task(**given, loss="cross_entropy", recipe=3)

    def objective(model, batch, key):
        return model(batch[0]).sum(1), {"reached": batch[0][:, 0]}

    ranked = hj.Task(**given, objective=objective, metrics={"reached": "max"})
    assert (ranked.ranking, ranked.direction, ranked.measures) == ("validation_reached", "max", {})
    assert hj.Task(**given, objective=objective).direction == "min"
    run = hj.fit(ranked, hj.Recipe(epochs=1))
    assert run.score == pytest.approx(task.data["validation"][0][:, 0].mean(), abs=1e-6) and run.direction == "max"
    with pytest.raises(ValueError, match=r"metrics\['reached'\] .* must be one of max, min, got 'up'"):
        hj.Task(**given, objective=objective, metrics={"reached": "up"})
