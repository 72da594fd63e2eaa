"""The commands about batch sizes: what they pass on, print and write."""

import json
import os

import jax
import pytest

import hyperjax as hj
from hyperjax.cli import main
from tests.diagnostics.test_batch_cost import result
from tests.training.made import classes


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own, terminals of one width, and the configuration as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"))
    monkeypatch.setattr("hyperjax.tasks.find", lambda name: classes())
    before = dict(jax.config.values)
    yield
    for name, value in before.items():
        if jax.config.values[name] != value:
            jax.config.update(name, value)


@pytest.fixture
def run(capsys):
    """Runs the command in this process: exit code, standard output, standard error."""

    def runner(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, *capsys.readouterr()

    return runner


def test_the_noise_scale_in_words_and_as_a_page_and_as_data(run, tmp_path):
    command = ("noise-scale", "made", "--optimizer", "sgd", "--learning-rate", "0.1", "--batch-size", "8")
    command = (*command, "--epochs", "2", "--points", "2", "--no-hessian", "--no-cache")
    code, said, errors = run(*command, "--output", tmp_path / "out")
    assert (code, errors) == (0, "")
    assert said.startswith("The critical batch size of made is")
    assert "steps needed" in said and "8, in use" in said and "Next: open" in said
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Noise scale along the run" in page and "batch size in use" in page
    code, said, _ = run(*command, "--json")
    found = json.loads(said)
    assert code == 0 and found["steps"] == [0, 12] and found["batch_size"] == 8
    assert len(found["simple"]) == 2 and found["with_hessian"] == []
    assert found["critical_batch"]["low"] <= found["critical_batch"]["mean"]


def test_the_cost_of_batches_passes_on_what_is_asked(run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("hyperjax.diagnostics.batch_cost", lambda *a, **named: asked.append((*a, named)) or result())
    command = ("batch-cost", "made", "--sizes", "8, 32", "--batch-size", "16", "--memory", "0.5", "--generalization")
    code, said, errors = run(*command, "--seeds", 3, "--no-cache", "--output", tmp_path / "out")
    assert (code, errors) == (0, "")
    ((task, recipe, sizes, named),) = asked
    assert (task.name, recipe, sizes) == ("made", hj.Recipe(batch_size=16), [8, 32])
    assert named == {"generalization": True, "seeds": 3, "memory": 5e8}
    assert "disagree by a factor of 64" in said and "s a step" in said
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Throughput" in page and "Time of a step" in page and "Memory" in page
    code, said, _ = run("batch-cost", "made", "--json", "--no-cache")
    found = json.loads(said)
    assert [each["batch_size"] for each in found["costs"]] == [8, 512]
    assert found["advice"][0]["by"] == "throughput"
    assert asked[1][2] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("noise-scale", "made", "--points", "many"), "points must be a whole number of at least 1, got 'many'"),
        (("noise-scale", "made", "--seed", "-1"), "seed must be a whole number of at least 0, got -1"),
        (
            ("noise-scale", "made", "--method", "half"),
            "method must be one of auto, per_example, two_batches, got 'half'",
        ),
        (("batch-cost", "made", "--sizes", "8,big"), "sizes must be a whole number of at least 1, got 'big'"),
        (("batch-cost", "made", "--memory", "all"), "memory must be a number in (0, inf), got 'all'"),
        (("batch-cost", "made", "--recipe", "none.json"), "recipe must be a file that can be read, got 'none.json'"),
    ],
)
def test_bad_arguments_end_with_one_line(run, arguments, message):
    code, said, errors = run(*arguments)
    assert (code, said) == (2, "")
    assert message in errors and errors.count("\n") == 1


def test_help_teaches(run):
    assert "hyperjax noise-scale digits" in run("noise-scale", "--help")[1]
    assert "--generalization" in run("batch-cost", "--help")[1]
