"""Diagnoses are right where the truth is known: faults written down by hand, and planted in runs."""

import json
from dataclasses import replace

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.cli import main
from hyperjax.diagnostics import Curve, Diagnosis, Times, diagnose
from hyperjax.diagnostics.curves.advice import advise
from hyperjax.diagnostics.curves.noise import cycles, falling, replicates, smoother
from hyperjax.diagnostics.curves.seen import Seen
from hyperjax.diagnostics.curves.signs import NOTHING
from tests.training.made import classes

EPOCHS = np.arange(1, 61)
NOISE = np.random.default_rng(0).normal(size=(2, 60))


def named(diagnosis):
    return {finding.name for finding in diagnosis.findings}


def curve(train, validation=None, noise=0.01, **beside):
    shown = None if validation is None else validation + noise / 3 * NOISE[1]
    return Curve(EPOCHS, train + noise * NOISE[0], shown, unit="epoch", **beside)


FALL = 0.1 + 2 * np.exp(-EPOCHS / 6.0)
WAVE = 0.4 * np.abs((EPOCHS % 12) / 6 - 1) * (EPOCHS > 6)
SHORT = 0.3 * (1 + np.cos(2 * np.pi * EPOCHS / 5))
OVERFIT = 0.5 + 2 * np.exp(-EPOCHS / 4.0) + 0.015 * np.maximum(EPOCHS - 20, 0)
PLANTED = {
    "healthy": (curve(FALL, FALL + 0.05), {"healthy"}, {}),
    "noise": (curve(FALL, FALL + 0.05, noise=0.15), {"healthy"}, {}),
    "cycles": (curve(FALL + WAVE, FALL + 0.05 + WAVE), {"healthy"}, {}),
    "short cycles": (curve(FALL + SHORT, FALL + 0.05 + SHORT), {"healthy"}, {}),
    "overfit": (curve(FALL, OVERFIT), {"overfitting"}, {"epochs"}),
    "slow": (curve(3 - EPOCHS / 40, 3.1 - EPOCHS / 40), {"too_slow"}, {"learning_rate"}),
    "stuck": (curve(2.3 + 0 * EPOCHS, 2.3 + 0 * EPOCHS), {"stalled"}, {"learning_rate"}),
    "wait": (curve(np.where(EPOCHS < 35, 2.3, FALL[(EPOCHS - 35).clip(0)])), {"stalled"}, {"learning_rate"}),
    "weak": (
        curve(2 + 0.4 * np.exp(-EPOCHS / 4.0), 2 + 0.4 * np.exp(-EPOCHS / 4.0)),
        {"stalled", "underfitting"},
        {"learning_rate", "dropout", "weight_decay"},
    ),
    "jumps": (curve(1 + FALL / 2, 1 + FALL / 2 + 0.25 * (-1.0) ** EPOCHS), {"oscillating"}, {"learning_rate"}),
    "alternates": (curve(1 + FALL / 2 + 0.4 * (-1.0) ** EPOCHS), {"oscillating"}, {"learning_rate"}),
    "lost": (curve(FALL + np.exp((EPOCHS - 52.0).clip(-30) / 3)), {"diverged"}, {"learning_rate"}),
    "more": (curve(FALL, FALL + 0.3 * np.exp(-EPOCHS / 40)), {"healthy", "still_improving"}, {"epochs"}),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_written_down_by_hand(fault):
    given, expected, fields = PLANTED[fault]
    diagnosis = diagnose(given)
    assert named(diagnosis) - {"still_improving"} == expected - {"still_improving"}
    assert expected <= named(diagnosis)
    assert set(fields) <= set(diagnosis.changes)


def test_gaps_and_units_change_nothing():
    for fault, (given, expected, _) in PLANTED.items():
        if fault in ("jumps", "alternates"):
            continue  # what opposes its neighbour needs one
        holes = np.arange(len(given.train)) % 7 == 2
        with_gaps = Curve(
            given.steps * 100.0,
            np.where(holes, np.nan, given.train) * 1e6,
            np.where(holes, np.nan, given.validation) * 1e6 if len(given.validation) else None,
        )
        assert expected - {"still_improving", "healthy"} <= named(diagnose(with_gaps)), fault


def test_from_which_epoch():
    (finding,) = (f for f in diagnose(PLANTED["overfit"][0]).findings if f.name == "overfitting")
    assert 17 <= finding.at <= 24, "the minimum of the noiseless curve is at epoch 20"
    assert "95 % interval" in finding.evidence


def test_a_schedule_in_force_explains_a_late_rise():
    rate = 0.1 + 0.9 * np.abs((EPOCHS % 20) / 10 - 1)
    given = FALL + 0.8 * (rate - 0.1) * (EPOCHS > 8)
    assert named(diagnose(curve(given, rate=rate))) <= {"healthy", "still_improving"}


def test_too_few_to_tell():
    diagnosis = diagnose(Curve([1, 2, 3], [3.0, 2.0, 1.0]))
    assert named(diagnosis) == {"too_short"}
    assert diagnosis.apply(hj.Recipe(epochs=3)).epochs == 21


def test_statistics_against_what_is_known():
    draw = np.random.default_rng(1)
    # Mann and Kendall's test rejects at its level under noise, and their replicates spread as means of noise do.
    levels = [falling(draw.normal(size=12)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(levels) > 0.95) < 0.09
    smooth = smoother(np.arange(60.0))
    spread = [replicates(draw.normal(size=60), smooth)[:, 30].std() for _ in range(60)]
    assert 0.7 < np.mean(spread) / np.sqrt((smooth[30] ** 2).sum()) < 1.3
    line = np.arange(60.0)
    np.testing.assert_allclose(smooth @ line, line, atol=1e-9)
    assert sum(cycles(draw.normal(size=60)) > 0 for _ in range(200)) <= 2


@pytest.fixture(scope="module")
def runs():
    """A healthy recipe, one that is 300 times too slow, one that blows up, of a task that takes a moment."""
    rates = (0.3, 1e-4, 1e30)
    recipes = [hj.Recipe(optimizer="sgd", learning_rate=rate, batch_size=8, epochs=20) for rate in rates]
    return hj.fit_population(classes(), recipes, seeds=[0, 1])


def test_runs_of_several_recipes(runs):
    diagnosis = diagnose(runs)
    calm, slow, blown = diagnosis.by_recipe
    assert named(blown) == {"diverged"}
    assert blown.apply().learning_rate < 1e30
    assert named(slow) & {"too_slow", "stalled"}
    assert slow.apply().learning_rate > 2e-4
    assert not named(calm) & {"diverged", "oscillating", "too_slow"}
    assert "in 2 of 2 runs" in blown.findings[0].evidence
    assert diagnosis.runs == 6
    with pytest.raises(ValueError, match="by_recipe"):
        diagnosis.apply()
    text = json.dumps(diagnosis.to_json())
    assert "recipe 2, Recipe(optimizer='sgd', learning_rate=1e+30" in text


def test_a_run_read_back_and_one_alone(runs):
    assert named(diagnose(runs[4])) == {"diverged"}
    told = Curve.of(runs[0])
    assert told.recipe == runs[0].recipe
    assert told.validation_steps.tolist() == runs[0].epochs.tolist()
    np.testing.assert_array_equal(told.train, runs[0].losses)
    np.testing.assert_allclose(told.rate, 0.3)
    for wrong in ("run", [], hj.training.Runs([])):
        with pytest.raises(ValueError, match="source must be"):
            diagnose(wrong)


@pytest.mark.parametrize("end", [{"diverged_at": 11}, {"finished": False}])
def test_a_run_that_ends_within_an_epoch_is_as_long_as_it_was(runs, end):
    """46 examples in batches of 8 are 6 steps an epoch; of 11 steps only the first epoch was validated."""
    run = runs[0]
    parts = {name: getattr(run, name)[:11] for name in ("steps", "losses", "gradient_norms", "update_norms")}
    parts |= {"epochs": run.epochs[:1], "metrics": {name: values[:1] for name, values in run.metrics.items()}}
    told = Curve.of(replace(run, **parts, steps_done=11, **end))
    np.testing.assert_allclose(told.steps, np.arange(1, 12) / 6)
    assert told.diverged_at == (pytest.approx(11 / 6) if "diverged_at" in end else None)


def test_a_loss_that_only_rises_wants_a_lower_rate():
    given = Curve(EPOCHS - 1, FALL + 0.01 * NOISE[0], 0.5 + 0.05 * EPOCHS + 0.003 * NOISE[1], unit="epoch")
    (finding,) = (f for f in diagnose(given).findings if f.name == "overfitting")
    assert finding.at == 0
    assert finding.changes == {"learning_rate": Times(1 / 3)}
    assert finding.advice.startswith("it rises from the beginning: learning_rate x 0.33")
    known = Curve(given.steps, given.train, given.validation, unit="epoch", recipe=hj.Recipe(learning_rate=0.3))
    assert diagnose(known).apply().learning_rate == pytest.approx(0.1)


def test_only_widths_are_doubled():
    model = {"width": 8, "widths": (4, 4), "hidden": [3], "layers": 2, "vocabulary": 100, "shape": (8, 8, 1)}
    seen = Seen(curve(FALL, recipe=hj.Recipe(model=model)))
    words, changes = advise("underfitting", seen, NOTHING)
    assert changes == {"model": {**model, "hidden": (6,), "width": 16, "widths": (8, 8)}}
    assert "layers" not in words
    deep = Seen(curve(FALL, recipe=hj.Recipe(model={"layers": 2})))
    assert advise("underfitting", deep, NOTHING)[1] == {}


def test_changes_meet_a_recipe():
    made = Diagnosis(diagnose(PLANTED["slow"][0]).findings)
    with pytest.raises(ValueError, match="recipe must be given"):
        made.apply()
    rate = made.changes["learning_rate"]
    assert isinstance(rate, Times)
    assert made.apply(hj.Recipe(learning_rate=1e-4)).learning_rate == pytest.approx(1e-4 * rate.times, rel=0.05)
    with pytest.raises(ValueError, match="learning_rate must be a plain number"):
        made.apply(hj.Recipe(learning_rate=hj.schedules.linear(0.1, 0.0, 10)))


def test_page_and_figure_mark_where_it_begins(tmp_path):
    diagnosis = diagnose(PLANTED["overfit"][0])
    figures = hj.reports.diagnostic_page.diagnostic_figures(diagnosis)
    (figure,) = figures.values()
    at = next(f.at for f in diagnosis.findings if f.at is not None)
    assert [line.x0 for line in figure.layout.shapes] == [at]
    assert f"overfits from epoch {at:.3g}" in [note.text for note in figure.layout.annotations]
    assert [len(trace.x) for trace in figure.data] == [60, 60]
    assert "overfits from epoch" in hj.report(diagnosis, tmp_path / "page.html").read_text("utf-8")


def test_the_command(tmp_path, capsys):
    given = PLANTED["overfit"][0]
    rows = zip(given.steps, given.train, given.validation, strict=True)
    path = tmp_path / "curve.csv"
    path.write_text("epoch,loss,val_loss\n" + "\n".join(",".join(map(str, row)) for row in rows), "utf-8")
    (tmp_path / "recipe.json").write_text(hj.Recipe(epochs=60).to_json(), "utf-8")

    def run(*more):
        with pytest.raises(SystemExit) as ended:
            main(["diagnose", str(path), *map(str, more)])
        return ended.value.code, capsys.readouterr()

    code, printed = run("--recipe", tmp_path / "recipe.json", "--output", tmp_path / "out")
    assert code == 0
    assert printed.out.startswith("Overfitting. The validation loss rises")
    assert "epochs: 60 ->" in " ".join(printed.out.split())
    assert (tmp_path / "out" / "report.html").is_file()
    code, printed = run("--json")
    told = json.loads(printed.out)
    assert list(told) == ["findings"]
    assert [list(finding) for finding in told["findings"]] == [["name", "confidence", "evidence", "advice"]]
    assert told["findings"][0]["name"] == "overfitting"
    path.write_text("epoch,loss\n1,2\n2,x\n", "utf-8")
    code, printed = run()
    assert code == 2
    assert printed.err.startswith("hyperjax: ")
    assert "line 3: column 'loss' must hold numbers, got 'x'" in printed.err
