"""Commands refuse a folder that cannot be written before they measure anything, and print before they write."""

import pytest

from hyperjax.cli import main
from hyperjax.cli.diagnosing import show
from tests.diagnostics.test_batch_cost import result
from tests.training.made import classes

MEASURING = {
    "advise": "advice.advise",
    "batch-cost": "diagnostics.batch_cost",
    "diagnose": "diagnostics.diagnose",
    "lr-range": "diagnostics.lr_range_test",
    "noise-scale": "diagnostics.noise_scale",
    "sharpness": "diagnostics.sharpness",
    "signal": "diagnostics.signal",
}


@pytest.mark.parametrize(("command", "measuring"), MEASURING.items())
def test_an_output_that_is_a_file_is_refused_before_anything_is_measured(
    command, measuring, monkeypatch, tmp_path, capsys
):
    def measured(*arguments, **named):
        raise AssertionError("measured for nothing")

    monkeypatch.setattr(f"hyperjax.{measuring}", measured)
    monkeypatch.setattr("hyperjax.tasks.find", lambda name: classes())
    monkeypatch.setattr("hyperjax.cli.programs.keep_compiled_programs", lambda wanted: None)
    output, curve = tmp_path / "out", tmp_path / "curve.csv"
    output.touch()
    curve.write_text("step,loss\n" + "".join(f"{step},{1 / (step + 1)}\n" for step in range(40)))
    with pytest.raises(SystemExit) as stop:
        main([command, str(curve) if command == "diagnose" else "made", "--output", str(output)])
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("hyperjax: output must be a folder that can be written")


def test_what_was_measured_is_printed_though_the_page_cannot_be_written(monkeypatch, tmp_path, capsys):
    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("hyperjax.reports.report", full)
    measured = result()
    with pytest.raises(OSError, match="disk full"):
        show(measured, tmp_path, as_json=False)
    assert measured.answer.split()[0] in capsys.readouterr().out
