"""The benchmark scripts run as a person runs them, on little data, and what they write down fits what was asked."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def told(tmp_path, script, *arguments):
    """What a script printed, and what it wrote."""
    path = tmp_path / "record.json"
    command = [sys.executable, str(FOLDER / script), *arguments, "--rounds", "1", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text("utf-8"))


@pytest.mark.slow
def test_models(tmp_path):
    printed, record = told(tmp_path, "models.py", "--quick", "--workloads", "lstm", "--contenders", "flax,ours")
    assert "HyperJAX fit_population" in printed
    assert "Flax NNX loop" in printed
    # Steps of 16 and 8 sequences, twice: products of 28 and 128 features with 4 x 128 gates at 6 times, and of the last
    # output with 10 classes; once forward and twice backward, but for what the inputs would be told.
    by_products = 2 * (16 + 8) * 2 * (6 * 512 * (3 * 128 + 2 * 28) + 3 * 128 * 10)
    assert record["flops"]["lstm"] == pytest.approx(by_products, rel=0.1)
    (goal,) = record["lstm"]["goals"]
    rounds = {name: contender["rounds"][0] for name, contender in record["lstm"]["contenders"].items()}
    assert rounds["ours"]["trials"] == 4
    a_trial = {name: one["seconds"] / one["trials"] for name, one in rounds.items()}
    assert goal["measured"] == pytest.approx(a_trial["flax"] / a_trial["ours"])
    assert goal["met"] == (goal["measured"] >= goal["wanted"])
    for one in rounds.values():
        assert 0.5 < one["loss"] / math.log(10) < 2, "a few steps from a guess among ten classes"


@pytest.mark.slow
def test_scale(tmp_path):
    printed, record = told(tmp_path, "scale.py", "--quick", "--parts", "members,segments")
    assert "The curve bends at" in printed
    assert record["members"]["members"] == [1, 2, 4]
    assert all(rate > 0 for rate in record["members"]["rates"])
    assert [one["segments"] for one in record["segments"].values()] == [1, 3]  # 23 steps, whole and by 8
