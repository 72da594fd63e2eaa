"""The learning-rate range test: what it costs over bare training, and what its suggestion is worth.

    python benchmarks/range.py                                 # everything: about ten minutes on two cores
    python benchmarks/range.py --parts cost
    python benchmarks/range.py --parts regret --tasks digits --optimizers lion,rmsprop --batch-size 128
    python benchmarks/range.py --quick                         # few rates and steps: shows that it runs

cost: the population test (128 rates, 3 seeds, 100 steps, digits) beside `fit_population` of as many members for as many
steps, in turns within one process, both compiled before; the ratio is the median over the rounds. The test's own runs
(untrained weights, finer rates, shuffled targets) are in its time.

regret: the test suggests a rate; then whole trainings at a grid of constant rates, with seeds that the test did not
have, say how much better the best of the grid scores than the suggestion (between two rates of the grid the score is
interpolated). Beside it: the ramp's suggestion, and what finders take from the same ramp: where the loss falls fastest,
and a tenth of the rate where it is lowest. The best of a grid is best partly by luck, so that regrets are a little too
large for all. "-": nothing was suggested.

noise: how often a rate is suggested where labels are drawn at random, over fresh data.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from contest import busy, conditions

import hyperjax as hj
from hyperjax.diagnostics import RangeTest, lr_range_test

PARTS = ("cost", "regret", "noise")
EPOCHS = {"digits": 20, "mnist1d": 15, "wine": 60, "breast_cancer": 40, "diabetes": 40}
RULES = ("population", "ramp", "steepest", "a tenth")
SEEDS, FRESH = (0, 1, 2), (10, 11, 12)
MOST = 1.2  # wanted of the cost


def cost(rounds: int, rates: int, steps: int) -> dict[str, Any]:
    task, recipe = hj.tasks.digits(), hj.Recipe()
    per_epoch = -(-task.size("train") // int(recipe.batch_size))
    recipe = recipe.replace(epochs=steps / per_epoch)
    recipes = [recipe.replace(learning_rate=float(rate)) for rate in np.geomspace(1e-7, 10.0, rates)]
    ways = {
        "test": lambda: lr_range_test(task, recipe, rates=rates, seeds=SEEDS, steps=steps),
        "bare": lambda: hj.fit_population(task, recipes, seeds=SEEDS),
    }
    first, taken = {}, {name: [] for name in ways}
    for name, way in ways.items():
        begin = time.perf_counter()
        way()
        first[name] = time.perf_counter() - begin
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - begin)
    ratio = statistics.median(a / b for a, b in zip(taken["test"], taken["bare"], strict=True))
    seconds = {name: statistics.median(each) for name, each in taken.items()}
    print(f"\n{rates} rates, {len(SEEDS)} seeds, {steps} steps each, digits, Adam; median of {rounds} rounds")
    for name, label in {"test": "lr_range_test", "bare": "fit_population"}.items():
        print(f"{label:16s}{seconds[name]:8.2f} s   compiled and trained the first time {first[name]:6.2f} s")
    print(f"{'met   ' if ratio <= MOST else 'MISSED'} test to bare training: {ratio:.2f}, wanted at most {MOST:g}")
    return {"ratio": ratio, "rounds": taken, "first": first}


def of_ramp(test: RangeTest) -> dict[str, float]:
    """What finders take from a ramp."""
    means = test.progress.mean(1)
    lowest = int(np.argmax(means))
    steepest = int(np.argmax(np.gradient(means[: lowest + 1]))) if lowest > 1 else 0
    return {"steepest": float(test.rates[steepest]), "a tenth": float(test.rates[lowest]) / 10}


def regret(name: str, optimizer: str, batch_size: int, rates: int, grid: int, epochs: float) -> dict[str, Any]:
    task = hj.tasks.find(name)
    recipe = hj.Recipe(optimizer=optimizer, batch_size=batch_size, epochs=epochs)
    population = lr_range_test(task, recipe, rates=rates, seeds=SEEDS)
    ramp = lr_range_test(task, recipe, method="ramp", seeds=SEEDS)
    found = {"population": population.suggestion, "ramp": ramp.suggestion} | of_ramp(ramp)
    tried = np.geomspace(1e-5, 10.0, grid)
    runs = hj.fit_population(task, [recipe.replace(learning_rate=float(rate)) for rate in tried], seeds=FRESH)
    sign = 1.0 if task.direction == "max" else -1.0
    scores = sign * runs.scores.reshape(grid, len(FRESH)).mean(1)
    scores = np.where(np.isfinite(scores), scores, np.nanmin(scores))  # one that diverges is as bad as any
    logs = np.log(tried)
    regrets = {
        rule: None if r is None else float(scores.max() - np.interp(np.log(r), logs, scores))
        for rule, r in found.items()
    }
    best = int(scores.argmax())
    line = f"{name:14s}{optimizer:10s}{tried[best]:10.2g}{sign * scores[best]:9.3f}"
    for rule in RULES:
        cell = "-" if found[rule] is None else f"{found[rule]:.2g} ({regrets[rule]:.3f})"
        line += f"{cell:>18s}"
    print(line, flush=True)
    upper = population.upper._asdict()
    return {"best": float(tried[best]), "suggested": found, "regret": regrets, "upper": upper}


def regrets(tasks: list[str], optimizers: list[str], batch_size: int, quick: bool) -> dict[str, Any]:
    rates, grid = (16, 7) if quick else (64, 37)
    print(f"\nbatches of {batch_size}; the grid's best rate and its validation score, then suggestions (regret)")
    print(f"{'':24s}{'best rate':>10s}{'score':>9s}" + "".join(f"{rule:>18s}" for rule in RULES))
    found = {}
    for name in tasks:
        for optimizer in optimizers:
            epochs = 4 if quick else EPOCHS[name]
            found[f"{name} {optimizer}"] = regret(name, optimizer, batch_size, rates, grid, epochs)
    for rule in RULES:
        own = [one["regret"][rule] for one in found.values() if one["regret"][rule] is not None]
        if own:
            print(f"{rule:12s} mean regret {statistics.mean(own):.3f}, greatest {max(own):.3f}, {len(own)} suggestions")
    return found


def noise(repeats: int) -> dict[str, Any]:
    """Suggestions, by method, on ten classes drawn at random for the inputs of digits, as the seeds of `numpy` go."""
    digits, counts = hj.tasks.digits(), {"population": 0, "ramp": 0}
    inputs, labels = digits.data["train"]
    for repeat in range(repeats):
        drawn = np.random.default_rng(repeat).permutation(labels)
        task = hj.Task(digits.model, {"train": (inputs, drawn)}, loss="cross_entropy", name="random labels")
        for method in counts:
            test = lr_range_test(task, method=method, rates=32)
            counts[method] += test.suggestion is not None
    print(
        f"\nlabels at random: {counts['population']} of {repeats} populations and {counts['ramp']} ramps suggest a rate"
    )
    return {"repeats": repeats, "suggested": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", metavar="A,B", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--tasks", metavar="A,B", default=",".join(EPOCHS), help="on which regret is measured")
    parser.add_argument("--optimizers", metavar="A,B", default="sgd,momentum,adam", help="with which")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="of the cost")
    parser.add_argument("--repeats", type=int, default=20, help="of the noise")
    parser.add_argument("--quick", action="store_true", help="few rates and steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    given = parser.parse_args()
    parts, tasks = given.parts.split(","), given.tasks.split(",")
    for name, allowed in [*((part, PARTS) for part in parts), *((task, EPOCHS) for task in tasks)]:
        if name not in allowed:
            parser.error(f"--parts and --tasks must be among {', '.join(allowed)}, got {name}")
    print(conditions() + ("; something else works on this machine" if busy() else ""))
    record: dict[str, Any] = {"conditions": conditions()}
    if "cost" in parts:
        record["cost"] = cost(1, 8, 20) if given.quick else cost(given.rounds, 128, 100)
    if "regret" in parts:
        record["regret"] = regrets(tasks, given.optimizers.split(","), given.batch_size, given.quick)
    if "noise" in parts:
        record["noise"] = noise(1 if given.quick else given.repeats)
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1), "utf-8")


if __name__ == "__main__":
    main()
