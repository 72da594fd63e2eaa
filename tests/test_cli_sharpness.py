"""hyperjax sharpness and hyperjax signal: the answer first, then the table; a page and JSON where asked for."""

import json

import numpy as np
import pytest

from hyperjax.cli import main
from hyperjax.diagnostics import Sharpness, Signal
from hyperjax.diagnostics.edge import edge_of
from hyperjax.diagnostics.faults import Fault
from hyperjax.statistics import Interval


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # which the command sets

    def runner(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return runner


def sharp():
    steps, values = 10 * np.arange(5), np.array([np.nan, 1000.0, 1950.0, 1990.0, 2010.0])
    limit, rate = np.full(5, 2000.0), np.full(5, 1e-3)
    given = {"optimizer": "rmsprop", "steps": steps, "loss": np.ones(5), "eigenvalue": np.arange(4.0, 9.0)}
    given |= {"residual": np.full(5, 1e-4), "trace": (Interval(10.0, 8.0, 12.0),) * 5, "preconditioned": values}
    given |= {
        "preconditioned_residual": np.full(5, 0.1),
        "learning_rate": rate,
        "limit": limit,
        "steepest": limit * rate,
    }
    given |= {
        "divides": True,
        "unknown": None,
        "tolerance": 1e-3,
        "examples": 5,
        "whole": 9,
        "notes": (),
        "diverged_at": None,
    }
    return Sharpness(**given, edge=edge_of(steps, given["eigenvalue"], values, limit, rate, limit * rate))


def passing():
    shares = np.array([[0.0, np.nan, 0.25], [0.5, np.nan, 0.75], [0.5, np.nan, 0.75]])
    sizes = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 400.0], [1.0, np.nan, 3.0]])
    names = ("mean", "variance", "activation_mean", "activation_variance", "gradient_norm", "update_share")
    given = dict.fromkeys(names, sizes) | dict.fromkeys(("zeros", "saturated", "dead"), shares)
    given |= {"steps": np.array([0, 5, 10]), "layers": ("a<b", "norm", "out"), "kinds": ("Linear", "", "Linear")}
    given |= {"activations": ("relu", None, "tanh"), "flat": 0.05, "examples": 9, "whole": 9, "diverged_at": None}
    fault = Fault("dead units", "a<b", "learning rate", "half of them are gone", "lower it")
    return Signal(**given, faults=(fault,))


@pytest.mark.parametrize(
    ("command", "made", "says", "row"),
    [
        ("sharpness", sharp, "hovers at the limit of the rule from step 20 on", ["2010", "2000", "10 ± 2"]),
        ("signal", passing, "To blame: the learning rate. Lower it.", ["relu", "1 → 1", "0% → 50%"]),
    ],
)
def test_an_answer_a_table_a_page_and_json(run, monkeypatch, tmp_path, command, made, says, row):
    asked = {}

    def stub(task, recipe, **arguments):
        asked.update(arguments, task=task.name, rate=recipe.learning_rate, batch=recipe.batch_size)
        return made()

    monkeypatch.setattr(f"hyperjax.diagnostics.{command}", stub)
    arguments = ["wine", "--learning-rate", "0.1", "--batch-size", "full", "--points", "4", "--examples", "9"]
    code, out, _ = run(command, *arguments, "--output", tmp_path)
    assert code == 0
    assert asked == {"task": "wine", "rate": 0.1, "batch": "full", "points": 4, "examples": 9, "seed": 0}
    answer, _, table = out.partition("\n\n")
    assert says in " ".join(answer.split())
    assert any(all(cell in line for cell in row) for line in table.splitlines())
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count('id="figure-') >= 3
    assert "a<b" not in page.split("<script")[0]
    code, out, _ = run(command, *arguments, "--json")
    data = json.loads(out, parse_constant=pytest.fail)  # NaN and Infinity are none of JSON's
    assert data["steps"] == made().steps.tolist()
    assert says in data["answer"]


@pytest.mark.slow
def test_the_command_measures(run):
    code, out, _ = run("sharpness", "wine", "--optimizer", "sgd", "--learning-rate", "0.1", "--batch-size", "full",
                       "--epochs", "20", "--points", "3", "--json")  # fmt: skip
    assert code == 0
    assert json.loads(out)["limit"] == pytest.approx([20.0] * 3)
    code, out, _ = run("signal", "wine", "--epochs", "1", "--points", "2", "--json")
    assert code == 0
    assert json.loads(out)["layers"][-1] == "output"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sharpness", "wien"), "did you mean 'wine'?"),
        (("sharpness", "wine", "--points", "1"), "points must be at least 2, got 1"),
        (("signal", "wine", "--seed", "-1"), "seed must be a whole number of at least 0, got -1"),
        (("signal", "wine", "--examples", "few"), "examples must be a whole number of at least 1, got 'few'"),
    ],
)
def test_bad_input_ends_with_one_line(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
