"""hyperjax lr-range prints what the range test says, and refuses in one line."""

import json

import pytest

import hyperjax as hj
from hyperjax.cli import main
from tests.training.made import classes


@pytest.fixture(scope="module")
def small():
    """A task that compiles fast, and only once."""
    return classes()


@pytest.fixture
def run(capsys, monkeypatch, small):
    """Runs the command on it, without a cache: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("hyperjax.tasks.find", lambda name: small)
    monkeypatch.setattr("hyperjax.cli.programs.keep_compiled_programs", lambda wanted: None)

    def runner(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["lr-range", "made", *map(str, arguments)])
        return stop.value.code, *capsys.readouterr()

    return runner


def test_it_says_what_the_test_says(run, small, tmp_path):
    asked = ("--optimizer", "sgd", "--batch-size", 8, "--low", "1e-3", "--rates", 8, "--seeds", 2, "--steps", 30)
    code, out, err = run(*asked, "--json", "--output", tmp_path)
    assert code == 0
    told = json.loads(out)
    recipe = hj.Recipe(optimizer="sgd", batch_size=8)
    test = hj.diagnostics.lr_range_test(small, recipe, 1e-3, rates=8, seeds=(0, 1), steps=30)
    assert told == json.loads(json.dumps(test.to_json()))
    assert told["rates"][0] == 1e-3
    assert "report.html" in err and (tmp_path / "report.html").exists()
    code, out, err = run(*asked)
    assert (code, err) == (0, "")
    assert " ".join(out.split()).startswith(test.answer)
    assert "loss reached" in out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--low", "abc"), "low must be a number in (0, inf), got 'abc'"),
        (("--low", 1, "--high", 0.5), "low must be below high, got 1 and 0.5"),
        (("--seeds", 0), "seeds must be a whole number of at least 1, got 0"),
        (("--method", "slope"), "method must be one of population, ramp, got 'slope'"),
    ],
)
def test_bad_input_is_one_line(run, asked, message):
    code, out, err = run(*asked)
    assert (code, out) == (2, "")
    assert err.strip() == f"hyperjax: {message}"
