"""The terminal's table, the CSV file and how numbers are written."""

import csv
import math
from dataclasses import replace

import pytest
from rich.console import Console

from hyperjax.reports import study_table, trials_csv
from hyperjax.reports.folder import summary
from hyperjax.reports.wording import number, recipe_code, seconds, value_text
from hyperjax.schedules import cosine_decay, epochs, fraction
from hyperjax.training.recipe import Recipe


def shown(table, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    console.file.close()
    return console.export_text()


def test_numbers_are_written_short():
    assert [number(v) for v in (3e-4, 0.1 + 0.2, 1234.5, 1.0, 0, -0.00012, 1e6, math.inf)] == [
        *("3e-4", "0.3", "1230", "1", "0", "-1.2e-4", "1e6", "∞")
    ]
    assert value_text({"b1": 0.9, "b2": 0.999}) == "b1 0.9, b2 0.999"
    assert value_text(True) == "True"
    assert seconds(3725) == "1 h 2 min"


def test_the_terminal_table_shows_the_best_first(study_of):
    study = study_of(24)
    text = shown(study_table(study, rows=3), width=80)
    lines = [line.split() for line in text.splitlines() if line.split() and line.split()[0].isdigit()]
    assert [int(line[0]) for line in lines] == [trial.number for trial in study.ranking[:3]]
    assert lines[0][1] == f"{study.best.score:.4f}"
    assert study.best.values["optimizer"] in lines[0]
    with pytest.raises(ValueError, match="rows"):
        study_table(study, rows=0)


def test_the_terminal_table_says_what_did_not_finish(study_of):
    narrow = shown(study_table(study_of(3, all_diverge=True)), width=80)
    assert narrow.count("diverged") == 3
    assert "stopped" in shown(study_table(study_of(4, unfinished=4)), width=120)
    assert "[red]" in shown(study_table(study_of(2, task="[red]x")))
    assert "±" in shown(study_table(study_of(4, seeds=(0, 1))), width=120)


def test_tables_tell_pruned_trials_from_others(study_of, tmp_path):
    study = pruned_of(study_of)
    assert shown(study_table(study, rows=24), width=120).count("pruned") == 5
    rows = list(csv.DictReader(trials_csv(study, tmp_path / "t.csv").read_text().splitlines()))
    ended = [row["state"] for row in rows if not row["state"].startswith("diverged")]
    assert ended[-5:] == ["pruned at epoch 10"] * 5 and set(ended[:-5]) == {"finished", "revived at epoch 3"}
    assert summary(study)["pruned"] == 5 and summary(study)["epochs_saved"] == 50


def pruned_of(study_of):
    """A study of which five trials were pruned after 10 of 20 epochs, and another was revived."""
    study = study_of(24, unfinished=5)
    trials = [replace(trial, pruned_at=10) if trial.number < 5 else trial for trial in study.trials]
    trials[8] = replace(trials[8], revived_at=3)
    return replace(study, trials=tuple(trials))


@pytest.mark.parametrize("width", [50, 60, 80, 95, 120, 200])
def test_the_terminal_table_cuts_nothing_at_any_width(study_of, width):
    study = study_of(24, seeds=(0, 1))
    table = study_table(study, rows=24)
    text = shown(table, width=width)
    assert all(len(line) <= width for line in text.splitlines()) and "…" not in text
    words = text.replace("\n", " ").split()
    for name in ("optimizer", "schedule", "decay", "dropout", "batch", "size"):
        assert name in words
    for trial in study.trials:
        assert str(trial.number) in words and trial.values["optimizer"] in words and trial.values["schedule"] in words
        assert value_text(trial.values["dropout"], 2) in words and value_text(trial.values["weight_decay"], 2) in words
    if width < 95:
        pairs = [f"weight decay {value_text(trial.values['weight_decay'], 2)}" for trial in study.trials]
        assert all(pair in text for pair in pairs) and " ·\n" not in text.replace(" \n", "\n")
    assert ("searched" in words) == (width < 95)


def test_lengths_are_shown_in_their_unit(study_of):
    study = study_of(4)
    lengths = (fraction(0.05), epochs(2), epochs(1), 0)
    trials = [replace(t, values={"warmup": v}) for t, v in zip(study.trials, lengths, strict=True)]
    text = shown(study_table(replace(study, trials=tuple(trials), space={"warmup": "lengths"})))
    assert all(words in text for words in ("5 %", "2 epochs", "1 epoch "))


def test_the_csv_holds_every_trial_and_seed(study_of, tmp_path):
    study = study_of(24, seeds=(3, 4))
    path = trials_csv(study, tmp_path / "new" / "trials.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in study.ranking]
    for row, trial in zip(rows, study.ranking, strict=True):
        assert float(row["learning_rate"]) == pytest.approx(trial.values["learning_rate"], rel=1e-9)
        for run in trial.runs:
            assert float(row[f"validation_accuracy_seed_{run.seed}"]) == pytest.approx(run.score, nan_ok=True)
        assert float(row["validation_accuracy"]) == pytest.approx(trial.score, nan_ok=True)
        steps = [run.diverged_at for run in trial.runs if run.diverged]
        assert row["diverged_at"] == (str(min(steps)) if steps else "")
    assert float(rows[0]["low"]) < float(rows[0]["validation_accuracy"]) < float(rows[0]["high"])


def test_a_file_is_written_whole_or_not_at_all(study_of, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="path"):
        trials_csv(study_of(2), tmp_path)
    assert list(tmp_path.iterdir()) == []
    trials_csv(study_of(2), tmp_path / "t.csv")
    trials_csv(study_of(3), tmp_path / "t.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4

    def refuse(source, target):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="no space"):
        trials_csv(study_of(9), tmp_path / "t.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4


def test_the_code_of_a_recipe_makes_an_equal_one():
    import hyperjax.schedules
    import hyperjax.training.recipe

    class Lifted:  # what `import hyperjax as hj` gives a user
        schedules = hyperjax.schedules
        Recipe = hyperjax.training.recipe.Recipe
        epochs = staticmethod(hyperjax.schedules.epochs)

    recipe = Recipe(learning_rate=cosine_decay(0.1, epochs(3)), warmup=epochs(1), optimizer_arguments={"b1": 0.8})
    code = recipe_code(recipe)
    assert code.startswith("import hyperjax as hj\n\nrecipe = hj.Recipe(\n")
    names = {"hj": Lifted}
    exec(code.split("\n", 1)[1], names)
    assert names["recipe"] == recipe
    assert recipe_code(Recipe()).endswith("hj.Recipe()")
