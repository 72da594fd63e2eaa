"""What the derivative of a whole run costs: seconds and memory against the run itself, by the number of its steps.

    python benchmarks/hypergradient.py            # 100, 400 and 1,600 steps: a few minutes
    python benchmarks/hypergradient.py --quick    # 16 and 64 steps: shows that it runs

Digits (1,408 images, so that all batches are alike), MLP 64-128-128-10 with tanh, Adam, batches of 64, one seed. Three
programs give the same loss: the run alone; the run with its derivatives, whose segments of about the root of the steps
are computed again; and the same kept whole, as one segment. Memory is XLA's count of what a program takes beside its
arguments. Compiling is timed apart; a time is the shortest of some turns. Memory that grows as the root doubles where
the steps are four times as many.
"""

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import hyperjax as hj
from hyperjax.training.hypergradient import Differentiated
from hyperjax.training.mapping import Population
from hyperjax.training.unrolled import Unrolled

STEPS, QUICK = (100, 400, 1600), (16, 64)
TURNS = 3
PER_EPOCH = 22  # steps
GOAL = 2.6  # most that memory may grow by where the steps are four times as many: 2 for the root, 4 for the steps


class Cost(NamedTuple):
    compiling: float  # seconds
    running: float  # seconds
    megabytes: float


def cost(mapped: Population, pieces: tuple[Any, ...], turns: int) -> tuple[Cost, float]:
    """What a program costs, and the loss that it gives."""
    begin = time.perf_counter()
    program = mapped.compile(*pieces)
    compiling, running = time.perf_counter() - begin, []
    for _ in range(turns):
        begin = time.perf_counter()
        out = jax.block_until_ready(program(*pieces))
        running.append(time.perf_counter() - begin)
    needs = program.memory_analysis()
    ended = out[0] if isinstance(out[0], tuple) else out
    megabytes = (needs.temp_size_in_bytes + needs.output_size_in_bytes) / 1e6
    return Cost(compiling, min(running), megabytes), float(ended[0][0])


def measured(steps: int, turns: int) -> dict[str, Cost]:
    digits = hj.tasks.digits()
    x, y = digits.data["train"]
    task = replace(digits, data={**digits.data, "train": (x[: 64 * PER_EPOCH], y[: 64 * PER_EPOCH])})
    recipe = hj.Recipe(batch_size=64, epochs=steps / PER_EPOCH, activation="tanh")
    again = Differentiated(task, recipe)
    pieces = again._pieces([again.recipe], [0])
    whole = Unrolled(task, again.recipe, segment_steps=steps)
    found = {
        "run": cost(again.unrolled.plain, pieces, turns),
        "derivatives": cost(again.unrolled.slopes, pieces, turns),
        "kept whole": cost(whole.slopes, pieces, turns),
    }
    losses = [loss for _, loss in found.values()]
    assert np.allclose(losses, losses[0], rtol=1e-3), losses
    return {name: each for name, (each, _) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    given = parser.parse_args()
    counts = QUICK if given.quick else STEPS
    table = {steps: measured(steps, 1 if given.quick else TURNS) for steps in counts}
    print(f"{'steps':>6}  {'program':12} {'compiling':>10} {'running':>9} {'memory':>10}")
    for steps, row in table.items():
        for name, each in row.items():
            shown = f"{each.compiling:8.1f} s {1000 * each.running:6.0f} ms {each.megabytes:7.1f} MB"
            print(f"{steps:6}  {name:12} {shown}")
    growth = {
        name: [table[b][name].megabytes / table[a][name].megabytes for a, b in itertools.pairwise(counts)]
        for name in ("derivatives", "kept whole")
    }
    for name, factors in growth.items():
        shown = ", ".join(f"{factor:.2f}" for factor in factors)
        print(f"memory of {name!r} grows by {shown} where the steps are 4 times as many")
    met = all(factor <= GOAL for factor in growth["derivatives"])
    print(f"goal: at most {GOAL}: {'met' if met else 'missed'}")
    if given.json:
        rows = {steps: {name: each._asdict() for name, each in row.items()} for steps, row in table.items()}
        given.json.write_text(json.dumps({"rows": rows, "growth": growth, "met": met}), "utf-8")


if __name__ == "__main__":
    main()
