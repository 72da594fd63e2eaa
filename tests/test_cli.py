"""The command: what it writes and says, what it refuses in one line, and how it ends when interrupted."""

import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import jax
import pytest

import hyperjax as hj
from hyperjax.cli import main
from hyperjax.cli.interrupting import heeded, heeding
from hyperjax.reports.folder import prepare_folder, summary, write_study
from hyperjax.training.mapping import Population
from tests.training.made import classes

COMMAND = [sys.executable, "-c", "from hyperjax.cli import main; main()"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own, terminals of one width, and the configuration as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"))  # which the command sets
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = dict(jax.config.values)
    yield tmp_path
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
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return runner


@pytest.fixture(scope="module")
def small():
    """A task that compiles fast, and what it has compiled only once."""
    return classes()


@pytest.fixture
def made(monkeypatch, small):
    """The bundled digits give way to a small task."""
    monkeypatch.setattr("hyperjax.tasks.find", lambda name: small)
    return small


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        "learning_rate = {low = 1e-3, high = 0.1, log = true}\noptimizer = ['sgd', 'adam']\nbatch_size = 10\n"
    )
    return path


def retrained(task, best):
    return float(hj.fit(task, hj.Recipe.from_json(json.dumps(best["recipe"]))).metrics["validation_accuracy"][-1])


def table(folder):
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


@pytest.mark.slow
def test_a_study_from_nothing_to_files_that_agree(run, tmp_path):
    out = tmp_path / "new" / "out"
    code, said, errors = run("study", "digits", "--trials", 2, "--epochs", 1, "--output", out, "--no-cache")
    assert code == 0 and errors == ""
    files = ["best.json", "report.html", "study.arrays", "study.journal", "trials.csv"]
    assert sorted(path.name for path in out.iterdir()) == files
    assert "digits: best 2 of 2 by validation_accuracy (max)" in said and "Next: open" in said
    best = json.loads((out / "best.json").read_text())
    rows = table(out)
    assert [row["rank"] for row in rows] == ["1", "2"] and best["trials"] == 2 and best["seeds"] == [0]
    first = best["best"]
    assert int(rows[0]["trial"]) == first["trial"]
    assert float(rows[0]["validation_accuracy"]) == pytest.approx(first["validation_accuracy"], rel=1e-9)
    assert float(rows[0]["validation_accuracy"]) >= float(rows[1]["validation_accuracy"])
    assert f"{first['validation_accuracy']:.4g}"[:5] in said
    recipe = hj.Recipe.from_json(json.dumps(first["recipe"]))
    assert recipe.epochs == 1 and recipe.optimizer == rows[0]["optimizer"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(recipe.learning_rate, rel=1e-9)
    assert retrained(hj.tasks.digits(), first) == first["validation_accuracy"] == first["scores"][0]
    page = (out / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>") and recipe.optimizer in page
    assert not (tmp_path / "cache").exists()


def test_json_alone_goes_to_standard_output(run, made, tiny, tmp_path):
    arguments = ("--trials", 3, "--seeds", 2, "--epochs", 2, "--space", tiny, "--output", tmp_path / "o", "--no-cache")
    code, out, err = run("study", "made", *arguments, "--json")
    result = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert code == 0 and "Wrote" not in out + err
    assert result == json.loads((tmp_path / "o" / "best.json").read_text())
    assert result["seeds"] == [0, 1] and len(result["best"]["scores"]) == 2
    assert result["fixed"] == {"epochs": "2", "batch_size": "10"} and set(result["space"]) == {
        "learning_rate",
        "optimizer",
    }
    assert retrained(made, result["best"]) == result["best"]["scores"][0]
    code, out, err = run("study", "made", *arguments, "--json")  # and once more, what is there already
    assert code == 0 and "Going on: 3 of 3 trials were there." in err and json.loads(out)["best"] == result["best"]


def test_a_sampler_and_its_batches(run, made, tiny, tmp_path):
    common = ("--epochs", 1, "--space", tiny, "--output", tmp_path / "o", "--no-cache", "--overwrite")
    code, out, err = run("study", "made", "--trials", 5, "--sampler", "tpe", "--batch", 3, *common)
    assert (code, err) == (0, "") and "Trained in 1 program." in out and "best 5 of 5" in out
    conditions = json.loads((tmp_path / "o" / "best.json").read_text())["conditions"]
    assert (conditions["sampler"], conditions["batch"], conditions["asked_trials"]) == ("tpe", 3, 5)
    grid = hj.space(learning_rate=[0.01, 0.1], optimizer=["sgd", "adam"], batch_size=10)
    tiny.write_text(hj.studies.to_toml(grid))
    assert run("study", "made", "--sampler", "grid", *common)[0] == 0
    assert len(table(tmp_path / "o")) == 4


def test_a_script_can_ask_for_a_gain(run, made, tmp_path):
    space = tmp_path / "s.toml"
    common = ("--epochs", 3, "--space", space, "--output", tmp_path / "o", "--no-cache", "--overwrite", "--fresh", 4)
    space.write_text("learning_rate = [0.1, 0.05]\nbatch_size = 10\n")
    code, out, err = run("study", "made", "--require-gain", *common)
    winner = json.loads((tmp_path / "o" / "best.json").read_text())["winner"]
    assert (code, err, winner["verdict"]) == (0, "", "better") and winner["gain"]["low"] > 0
    assert winner["default"] == {"batch_size": 10, "epochs": 3} and len(winner["seeds"]) == 4
    first = " ".join(out.split()).index("Winner: trial ")
    assert "test accuracy" in out and first < " ".join(out.split()).index("best 2 of 2")
    assert "<strong>Winner:</strong>" in (tmp_path / "o" / "report.html").read_text()
    space.write_text("learning_rate = [1e-6, 2e-6]\nbatch_size = 10\n")
    code, out, err = run("study", "made", "--require-gain", "--json", *common)
    assert (code, json.loads(out)["winner"]["verdict"]) == (3, "not shown")
    assert run("study", "made", *common)[0] == 0
    code, out, _ = run("study", "made", "--confirm", 0, *common)
    assert (
        code == 0 and "Winner" not in out and json.loads((tmp_path / "o" / "best.json").read_text())["winner"] is None
    )


def test_a_study_without_a_winner_is_kept(run, made, tiny, tmp_path, monkeypatch):
    common = ("study", "made", "--trials", 2, "--epochs", 1, "--space", tiny, "--output", tmp_path / "o", "--no-cache")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperjax.studies.confirm", interrupted)
    code, out, _ = run(*common)
    assert code == 130 and "Interrupted: 2 finished trials were kept." in out and len(table(tmp_path / "o")) == 2

    def refused(*_, **__):
        raise ValueError("batch_size must be at most the 20 training examples of made, got 32")

    monkeypatch.setattr("hyperjax.studies.confirm", refused)
    code, out, _ = run(*common, "--overwrite", "--require-gain")
    assert code == 3 and "No winner: batch_size must be at most the 20 training examples" in out
    assert len(table(tmp_path / "o")) == 2


def test_a_pruner(run, made, tiny, tmp_path):
    arguments = ("--trials", 9, "--epochs", 4, "--space", tiny, "--output", tmp_path / "o", "--no-cache")
    code, out, err = run("study", "made", "--pruner", "successive_halving", *arguments)
    assert (code, err) == (0, "") and "8 of 9 trials pruned, which saved 56 % of the epochs" in " ".join(out.split())
    states = [row["state"] for row in table(tmp_path / "o")]
    assert sorted(states) == ["finished", *["pruned at epoch 1"] * 6, *["pruned at epoch 3"] * 2]
    assert json.loads((tmp_path / "o" / "best.json").read_text())["conditions"]["pruner"] == "successive_halving"


def test_a_folder_goes_on_with_its_own_study_and_keeps_it_from_another(run, made, tiny, tmp_path):
    common = ("study", "made", "--epochs", 1, "--space", tiny, "--no-cache", "--output", tmp_path / "o")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "notes.txt").write_text("mine")
    assert run(*common, "--trials", 2)[0] == 0
    first = table(tmp_path / "o")
    code, out, err = run(*common, "--trials", 4)
    assert (code, err) == (0, "") and "Going on: 2 of 4 trials were there." in out and "best 4 of 4" in out
    rows = table(tmp_path / "o")
    assert (
        len(rows) == 4
        and {row["trial"]: row["learning_rate"] for row in first}.items()
        <= {row["trial"]: row["learning_rate"] for row in rows}.items()
    )
    code, out, err = run(*common, "--trials", 4)
    assert (code, err) == (0, "") and table(tmp_path / "o") == rows and "Trained" not in out
    before = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir() if path.is_file()}
    refused(run(*common, "--trials", 4, "--seed", 5), "which holds another: seed is 0 there and 5 here; give another")
    message = "which holds report.html, trials.csv, best.json; see --overwrite"
    refused(run(*common, "--trials", 4, "--storage", tmp_path / "other.journal"), message)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir() if path.is_file()}
    code, out, err = run(*common, "--trials", 2, "--seed", 5, "--overwrite")
    assert (code, err) == (0, "") and "Going on" not in out and table(tmp_path / "o") != first
    assert (tmp_path / "o" / "notes.txt").read_text() == "mine"


def test_a_report_of_what_is_kept(run, made, tiny, tmp_path, monkeypatch):
    out = tmp_path / "o"
    asked = ("--space", tiny, "--trials", 4, "--epochs", 2, "--output", out, "--confirm", 0)
    assert run("study", "digits", *asked)[0] == 0
    own = (out / "trials.csv").read_bytes()
    code, said, _ = run("report", out, "--watch")  # it has all trials, so there is nothing to wait for
    assert code == 0 and "is the study's own, of the same 4 trials: left as it is" in said
    for name in ("report.html", "trials.csv", "best.json"):
        (out / name).unlink()
    monkeypatch.setattr("hyperjax.tasks.find", None)  # no task is looked for
    monkeypatch.setattr(Population, "_compile_piece", None)
    code, said, err = run("report", out)
    assert (code, err) == (0, "") and f"Wrote {out}/report.html, trials.csv and best.json: 4 of 4 trials." in said
    assert (out / "trials.csv").read_bytes() == own
    assert json.loads((out / "best.json").read_text())["best"]["trial"] == int(table(out)[0]["trial"])
    code, _, err = run("report", out, "--name", "other")
    assert code == 2 and "got 'other' for" in err and "which holds hyperjax" in err


def test_several_metrics_and_their_front(run, made, tiny, tmp_path):
    out = tmp_path / "o"
    asked = ("--space", tiny, "--trials", 5, "--epochs", 2, "--batch", 4, "--output", out, "--confirm", 0)
    code, said, err = run("study", "made", *asked, "--metric", "accuracy, loss,parameters", "--sampler", "nsga2")
    assert (
        (code, err) == (0, "")
        and "Pareto front: " in said
        and "validation loss and parameters." in " ".join(said.split())
    )
    told = json.loads((out / "best.json").read_text())
    assert told["metrics"] == {"validation_accuracy": "max", "validation_loss": "min", "parameters": "min"}
    assert told["front"][0]["validation_accuracy"] == told["best"]["validation_accuracy"]
    own = (out / "trials.csv").read_bytes()
    assert {row["parameters"] for row in table(out)} == {"67"} and "The Pareto front" in (
        out / "report.html"
    ).read_text()
    for name in ("report.html", "trials.csv", "best.json"):
        (out / name).unlink()
    assert run("report", out)[0] == 0 and (out / "trials.csv").read_bytes() == own
    assert json.loads((out / "best.json").read_text())["front"] == told["front"]
    code, _, err = run("study", "made", *asked, "--metric", "accuracy,loss", "--sampler", "nsga2")
    assert code == 2 and "metric is validation_accuracy (max), validation_loss (min), parameters (min) there" in err


def test_a_database_by_url_with_the_rest_in_the_folder(run, made, tiny, tmp_path):
    common = ("study", "made", "--epochs", 1, "--space", tiny, "--no-cache", "--output", tmp_path / "o")
    kept = ("--storage", f"sqlite:///{tmp_path}/all.db", "--name", "night")
    assert run(*common, "--trials", 2, *kept)[0] == 0
    assert not (tmp_path / "o" / "study.journal").exists()
    assert {path.name for path in (tmp_path / "o" / "study.arrays").iterdir()} == {"trial-0.npz", "trial-1.npz"}
    code, out, _ = run(*common, "--trials", 3, *kept)
    assert code == 0 and "Going on: 2 of 3 trials were there." in out
    refused(run(*common, "--trials", 3), "which holds report.html, trials.csv, best.json; see --overwrite")
    elsewhere = (*common[:-1], tmp_path / "new", "--storage", "nosuch://me:secret@host/x")
    refused(run(*elsewhere), "storage must be a database that can be opened, got 'nosuch://me:***@host/x'")


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_nothing_of_the_table_is_cut(run, made, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    space = tmp_path / "s.toml"
    space.write_text(
        "optimizer = ['adagrad', 'nesterov']\nschedule = ['exponential_decay']\nwarmup = [{fraction = 0.05}, {epochs = 0.5}]\n"
        "activation = ['sigmoid', 'swish']\ndropout = [0.125, 0.375]\nweight_decay = [0.003, 0.004]\nbatch_size = 10\nl2 = [0, 1e-5]"
    )
    code, out, _ = run(
        "study", "made", "--epochs", 1, "--trials", 4, "--space", space, "--output", tmp_path / "o", "--no-cache"
    )
    assert code == 0 and all(len(line) <= columns for line in out.splitlines())
    best = json.loads((tmp_path / "o" / "best.json").read_text())["best"]
    for word in (best["recipe"]["optimizer"], best["recipe"]["activation"], f"{best['validation_accuracy']:#.4g}"):
        assert word in out
    assert "5 %" in out or "0.5 epochs" in out
    assert "0.12" in out or "0.38" in out
    assert "…" not in out.partition("best 4 of 4")[2]  # the bar's clock may be cut


def test_version_tasks_and_help_teach(run):
    assert run("--version") == (0, f"hyperjax {hj.__version__}\n", "")
    code, out, _ = run("tasks")
    assert code == 0 and "digits" in out and "Next: hyperjax study digits" in out
    code, out, _ = run("--help")
    assert code == 0 and "hyperjax study digits --trials 64 --output out" in out and "tasks" in out
    code, out, _ = run("study", "--help")
    assert code == 0 and "hyperjax study digits --trials 256 --output out" in out and "{low = 1e-4, high = 1.0" in out
    for option in (
        "--sampler",
        "--confirm",
        "--fresh",
        "--require-gain",
        "--batch",
        "--trials",
        "--seeds",
        "--epochs",
        "--space",
        "--output",
        "--storage",
        "--name",
        "--overwrite",
        "--json",
        "--no-cache",
    ):
        assert option in out
    code, out, _ = run("report", "--help")
    assert code == 0 and "hyperjax report out --watch" in out and "--storage" in out and "--every" in out
    assert "Usage: hyperjax" in run()[1]


BAD = [
    (("study", "digitz"), ", got 'digitz'; did you mean 'digits'?"),
    (("study",), "Missing argument 'task'; see: hyperjax study --help"),
    (("studdy",), "No such command 'studdy'. Did you mean 'study'?; see: hyperjax --help"),
    (("study", "digits", "more"), "Got unexpected extra argument(s) (more); see: hyperjax study --help"),
    (("study", "digits", "--trails", "5"), "No such option: --trails (Possible options: --metric, --trials); see"),
    (("--verbose",), "No such option: --verbose"),
    (("study", "digits", "--trials"), "'--trials'"),
    (("study", "digits", "--trials", "0"), "trials must be a whole number of at least 1, got 0"),
    (("study", "digits", "--trials", "-5"), "trials must be a whole number of at least 1, got -5"),
    (("study", "digits", "--trials", "many"), "trials must be a whole number of at least 1, got 'many'"),
    (("study", "digits", "--trials", "2.5"), "trials must be a whole number of at least 1, got 2.5"),
    (("study", "digits", "--trials", ""), "trials must be a whole number of at least 1, got ''"),
    (("study", "digits", "--seeds", "0"), "seeds must be a whole number of at least 1, got 0"),
    (("study", "digits", "--seeds", "-5"), "seeds must be a whole number of at least 1, got -5"),
    (("study", "digits", "--seeds", "many"), "seeds must be a whole number of at least 1, got 'many'"),
    (("study", "digits", "--epochs", "0"), "epochs must be a number in (0, inf), got 0"),
    (("study", "digits", "--epochs", "-5"), "epochs must be a number in (0, inf), got -5"),
    (("study", "digits", "--epochs", "many"), "epochs must be a number above 0, got 'many'"),
    (("study", "digits", "--epochs", "nan"), "epochs must be a number in (0, inf), got nan"),
    (("study", "digits", "--epochs", "inf"), "epochs must be a number in (0, inf), got inf"),
    (("study", "digits", "--seed", "-1"), "seed must be a whole number of at least 0, got -1"),
    (("study", "digits", "--seed", "x"), "seed must be a whole number of at least 0, got 'x'"),
    (("study", "digits", "--sampler", "tpee"), "got 'tpee'; did you mean 'tpe'?"),
    (("study", "digits", "--sampler", "grid"), "sampler must be another than 'grid' for ranges, got 'grid' with lea"),
    (("study", "digits", "--confirm", "-1"), "confirm must be a whole number of at least 0, got -1"),
    (("study", "digits", "--confirm", "0", "--require-gain"), "confirm must be at least 1 with --require-gain, got 0"),
    (("study", "digits", "--fresh", "1"), "fresh must be a whole number of at least 2, got 1"),
    (("study", "digits", "--pruner", "hyperbend"), "got 'hyperbend'; did you mean 'hyperband'?"),
    (("study", "digits", "--metric", "f1"), "metric must be one that digits has, accuracy, loss, got 'f1'"),
    (("study", "digits", "--metric", "loss,f1"), "that digits has, accuracy, loss, or a cost, parameters, epochs, flo"),
    (("study", "digits", "--metric", "epochs"), "metric must begin with one that digits has, accuracy, loss, which ra"),
    (("study", "digits", "--metric", "loss,flops", "--sampler", "cmaes"), "that can take several metrics, random, qua"),
    (("study", "digits", "--metric", "loss,flops", "--pruner", "median"), "pruner must be None for several metrics, s"),
    (
        ("study", "digits", "--budget", "soon"),
        "budget must be seconds, text such as '90s', '10m', '1.5h', '5000 epochs'",
    ),
    (("study", "digits", "--budget", "0s"), "budget must be a number in (0, inf), got 0"),
    (("study", "digits", "--min-gain", "much"), "min_gain must be a number of at least 0, got 'much'"),
    (("study", "digits", "--batch", "0"), "batch must be a whole number of at least 1, got 0"),
    (("study", "digits", "--batch", "many"), "batch must be a whole number of at least 1, got 'many'"),
    (
        ("study", "digits", "--space", "absent.toml"),
        "space must be a TOML file, got 'absent.toml', which does not exist",
    ),
    (("report",), "Missing argument 'DIR'; see: hyperjax report --help"),
    (("report", "absent"), "a folder that holds one, got 'absent/study.journal': No such file or directory"),
    (("report", "absent", "--storage", "sqlite:///absent.db"), "a database that is there, got 'sqlite:///absent.db'"),
    (("report", "absent", "--watch", "--every", "0"), "every must be a number in (0, inf), got 0"),
    (("report", "absent", "--every", "often"), "every must be a number above 0, got 'often'"),
    (("study", "digits", "--output", "a" * 300), "output must be a folder that can be written, got 'aaa"),
]


@pytest.fixture
def nothing_compiles(monkeypatch):
    def refuse(*_):
        raise AssertionError("compiled before everything was checked")

    monkeypatch.setattr(Population, "_compile_piece", refuse)


def refused(outcome, message):
    code, out, err = outcome
    assert code == 2
    assert out == ""
    assert err.startswith("hyperjax: ") and err.endswith("\n") and err.count("\n") == 1
    assert message in err


@pytest.mark.usefixtures("nothing_compiles")
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a)[:40] for a, _ in BAD])
def test_bad_arguments_end_with_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    refused(run(*arguments), message)
    assert list(tmp_path.iterdir()) == []


BAD_SPACES = [
    ("optimizer = []", "optimizer must have at least one choice, got an empty list"),
    ("optimizer = ['sgd', 'adan']", "optimizer must be one of sgd, momentum"),
    ("activation = 'relux'", "activation must be one of"),
    ("optimiser = ['sgd']", "got 'optimiser'; did you mean 'optimizer'?"),
    ("dropout = 2", "dropout must be a number in [0, 1], got 2"),
    ("learning_rate = -0.1", "learning_rate must be a number in [0, inf), got -0.1"),
    ("learning_rate = {low = 1.0, high = 0.1}", "low of uniform must be at most high, got low 1.0 above high 0.1"),
    (
        "learning_rate = {low = 0, high = 0.1, log = true}",
        "low of log_uniform must be above 0 for a logarithmic scale, got 0",
    ),
    ("learning_rate = {low = 'a', high = 0.1}", "low of uniform must be a number, got 'a'"),
    ("learning_rate = 'fast'", "learning_rate must be a number"),
    ("[", "space must be a TOML file"),
    (
        "batch_size = [32, 5000]",
        "batch_size must be at most the 1437 training examples of digits, got 5000; 'full' takes all",
    ),
    ("hyperparameters.slope = [0.1, 0.2]", "slope must be bound by a hyperparameter of that name in the model"),
    ("model.width = [8, 16]", "got 'width'"),
    ("warmup = 1e6", "warmup must be at most the run's"),
    ("optimizer = 'adam'\nmomentum = 0.9", "momentum must be left out, since optimizer adam can read"),
]


@pytest.mark.usefixtures("nothing_compiles")
@pytest.mark.parametrize("json_wanted", [(), ("--json",)], ids=["table", "json"])
@pytest.mark.parametrize(("text", "message"), BAD_SPACES, ids=[text[:40] for text, _ in BAD_SPACES])
def test_bad_spaces_end_with_one_line(run, tmp_path, text, message, json_wanted):
    (tmp_path / "s.toml").write_text(text)
    outcome = run(
        "study", "digits", "--trials", 4, "--space", tmp_path / "s.toml", "--output", tmp_path / "o", *json_wanted
    )
    refused(outcome, message)


@pytest.mark.usefixtures("nothing_compiles")
def test_folders_that_cannot_be_written_end_with_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    refused(run("study", "digits", "--output", tmp_path / "file"), "output must be a folder that can be written, got")
    refused(run("study", "digits", "--output", tmp_path / "file" / "o"), "Not a directory")
    (tmp_path / "o" / "report.html").mkdir(parents=True)
    message = "output must be a folder where report.html can be written"
    refused(run("study", "digits", "--output", tmp_path / "o", "--overwrite"), message)
    (tmp_path / "random").write_bytes(bytes(range(256)) * 16)
    refused(run("study", "digits", "--space", tmp_path / "random"), "space must be a TOML file, got")


def test_a_disk_that_fills_up_is_told_in_one_line(run, made, tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("hyperjax.reports.folder.report", full)
    code, _, err = run(
        "study", "made", "--trials", 2, "--epochs", 1, "--space", tiny, "--output", tmp_path / "o", "--no-cache"
    )
    assert (code, err) == (1, "hyperjax: report.html could not be written or read: No space left on device\n")
    written = {path.name for path in (tmp_path / "o").iterdir() if path.is_file()} - {"study.journal"}
    assert written == {"best.json", "trials.csv"}  # the small ones first


def test_a_study_without_a_score_is_still_json(tmp_path):
    wild = hj.space(
        loss="squared_error", activation="relu", optimizer="sgd", learning_rate=[1e6, 2e6], batch_size=10, epochs=2
    )
    study = hj.study(classes(), wild)
    write_study(study, prepare_folder(tmp_path / "o"))
    best = json.loads((tmp_path / "o" / "best.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert best["diverged"] == 2 and best["best"]["validation_accuracy"] is None and best["best"]["scores"] == [None]
    assert math.isnan(study.best.score) and summary(study) == best


def stopping_after(count):
    """The study that the command calls, with a Ctrl-C after so many trials."""
    search = hj.studies.study

    def stopped(task, space, *rest, progress, **named):
        def watched(done, total):
            progress(done, total)
            if done == count:
                raise KeyboardInterrupt

        return search(task, space, *rest, progress=watched, **named)

    return stopped


@pytest.mark.parametrize("count", [0, 2])
def test_an_interruption_keeps_what_had_finished(run, made, tiny, tmp_path, monkeypatch, count):
    monkeypatch.setattr("hyperjax.studies.study", stopping_after(count))
    arguments = ("--trials", 6, "--epochs", 1, "--space", tiny, "--output", tmp_path / "o", "--no-cache")
    code, out, err = run("study", "made", *arguments)
    assert code == 130
    if count == 0:
        assert (out, err) == ("", "hyperjax: interrupted before a trial had finished\n")
        assert [path.name for path in (tmp_path / "o").iterdir()] == ["study.journal"]
        return
    assert (
        "Interrupted: 2 finished trials were kept. The same command goes on." in out
        and "best 2 of 2" in out
        and err == ""
    )
    best = json.loads((tmp_path / "o" / "best.json").read_text())
    assert best["trials"] == 2 and best["conditions"]["interrupted"] and best["conditions"]["asked_trials"] == 6
    assert len(table(tmp_path / "o")) == 2
    assert (tmp_path / "o" / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_ctrl_c_in_a_real_process(tmp_path):
    (tmp_path / "s.toml").write_text(
        "learning_rate = {low = 1e-3, high = 0.1, log = true}\nepochs = 20\nbatch_size = 32\n"
    )
    arguments = ["study", "digits", "--trials", "2000", "--space", "s.toml", "--output", "o"]
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in the background
    command = [*COMMAND[:2], f"{heard}; {COMMAND[2]}", *arguments]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path)
    ) as process:
        kept = tmp_path / "cache" / "hyperjax" / "programs"
        deadline = time.monotonic() + 120
        while len(list(kept.glob("jit_mapped-*-cache"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)  # both programs compile
        time.sleep(4)  # trains for a minute or more
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=90)
        finally:
            process.kill()  # else leaving waits for one that does not end
    assert process.returncode == 130, err.decode()
    assert b"Traceback" not in err and b"Traceback" not in out
    best = json.loads((tmp_path / "o" / "best.json").read_text())
    rows = table(tmp_path / "o")
    assert 0 < best["trials"] == len(rows) < 2000
    assert {row["state"] for row in rows} <= {"finished"} and (tmp_path / "o" / "report.html").exists()


def environment(tmp_path, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMPILATION", "TF_CPP"))}
    return kept | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)} | more


@pytest.mark.slow
def test_compiled_programs_are_kept_unless_told_otherwise(tmp_path):
    (tmp_path / "s.toml").write_text("learning_rate = [0.01, 0.02]\nepochs = 0.1\n")

    def files(folder):
        return [path for path in folder.rglob("*") if path.is_file()]

    def study(*more, **variables):
        command = [*COMMAND, "study", "digits", "--space", "s.toml", "--output", "o", "--overwrite", "--confirm", "0"]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, *more], cwd=tmp_path, env=environment(tmp_path, **variables), capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        return time.perf_counter() - begin, json.loads((tmp_path / "o" / "best.json").read_text())["conditions"]

    study("--no-cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "chosen"))
    assert not (tmp_path / "cache").exists() and not files(tmp_path / "chosen")
    _, cold = study()
    kept = files(tmp_path / "cache" / "hyperjax")
    assert kept
    _, warm = study()
    assert warm["compile_seconds"] < cold["compile_seconds"]
    largest = max(path.stat().st_size for path in kept)  # what takes a tenth of a second is kept, which varies
    after = files(tmp_path / "cache" / "hyperjax")
    assert {path for path in after if path.stat().st_size > largest / 2} <= set(kept)
    study(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "chosen"), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
    assert files(tmp_path / "chosen")


@pytest.fixture
def heard():
    """Ctrl-C as Python hears it, also where the shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_that_python_drops_is_heeded_at_the_next_report(heard):
    reported = []
    with heeded():
        report = heeding(reported.append)
        report(1)
        with contextlib.suppress(KeyboardInterrupt):  # as where garbage is collected
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            report(2)
    assert reported == [1] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with heeded():
        report(3)
    assert reported == [1, 3]
