"""hyperjax advise prints the advice, writes its recipe and its page, and refuses in one line."""

import json

import pytest

import hyperjax as hj
from hyperjax.advice import Advice, Comparison
from hyperjax.cli import main
from hyperjax.statistics import mean_interval
from tests.reports.conftest import make_run
from tests.training.made import classes


def made(task, budget="1m", **asked):
    """An advice without any training."""
    recipe, default = hj.Recipe(learning_rate=0.01, epochs=20), hj.Recipe(epochs=20)
    own, others = ([make_run(r, s, 0.9 - 0.1 * (r == default) + 0.01 * s) for s in range(3)] for r in (recipe, default))
    scores, rival = ([run.score for run in runs] for runs in (own, others))
    gain = mean_interval([a - b for a, b in zip(scores, rival, strict=True)])
    beside = (
        default,
        recipe,
        mean_interval(scores),
        mean_interval(rival),
        gain,
        "accuracy",
        "validation",
        (0, 1, 2),
        (0, 0),
    )
    return Advice(
        task=task.name, kind="a table of numbers", recipe=recipe, prior=default, prior_reason="so people do",
        default=default, evidence={"learning_rate": f"asked with {budget} and {asked}"},
        comparison=Comparison(*beside), own_length=None, candidate=recipe, verdict="better",
        metric="validation_accuracy", direction="max", seconds={"all": 1.0}, budget=60.0, tried=(), noise=None,
        cost=None, range=None, runs=tuple(own), default_runs=tuple(others), run=own[0],
    )  # fmt: skip


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command on a small task, whose advice is made up: exit code, standard output, standard error."""
    small = classes()
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("hyperjax.tasks.find", lambda name: small)
    monkeypatch.setattr("hyperjax.cli.programs.keep_compiled_programs", lambda wanted: None)

    def runner(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["advise", "made", *map(str, arguments)])
        return stop.value.code, *capsys.readouterr()

    return runner


def test_it_says_the_advice_and_writes_it(run, monkeypatch, tmp_path):
    monkeypatch.setattr("hyperjax.advice.advise", made)
    asked = ("--budget", "30s", "--seed", 3, "--metric", "accuracy")
    code, out, err = run(*asked, "--json", "--output", tmp_path)
    assert code == 0
    told = json.loads(out)
    assert told["recipe"] == {"learning_rate": 0.01, "epochs": 20}
    assert told["evidence"]["learning_rate"] == "asked with 30s and {'seed': 3, 'metric': 'accuracy'}"
    assert hj.Recipe.from_json((tmp_path / "recipe.json").read_text()) == hj.Recipe(learning_rate=0.01, epochs=20)
    assert "report.html" in err and "fresh seeds" in (tmp_path / "report.html").read_text("utf-8")
    code, out, err = run(*asked)
    assert (code, err) == (0, "")
    assert "better than Adam at 1e-3" in " ".join(out.split()) and "people start from" in out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--budget", "soon"), "budget must be"),
        (("--budget", "100 epochs"), "budget must be a time"),
        (("--seed", "x"), "seed must be a whole number of at least 0, got 'x'"),
        (("--metric", "f1"), "metric must be one that made has"),
    ],
)
def test_bad_input_is_one_line(run, asked, message):
    code, out, err = run(*asked)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"hyperjax: {message}")
