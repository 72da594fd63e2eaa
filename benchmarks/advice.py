"""What an advice is worth: `hj.advise` against Adam 1e-3, batch 32, constant rate, on eight bundled tasks.

    python benchmarks/advice.py                                # everything: about twenty minutes on two cores
    python benchmarks/advice.py --tasks digits,words --budget 2m
    python benchmarks/advice.py --quick                        # one task, a small budget: shows that it runs

Each task is given to `advise` as one that nobody has trained: its own recipe is not read. Then the advice and the
default are trained with five seeds that the advice never had, and measured on the test set.

default: Adam 1e-3, batch 32, constant rate, for as many epochs as the advice. The difference is paired by seed, above 0
where the advice is better, with its 95 % Student interval. `at its own length`: against the default with the number of
epochs at which it was best by validation while the advice was sought (up to the longest run tried); the same where that
is the advice's number. Where the advice is the default itself the difference is 0.

seconds: of `advise`, all of it, compilation and its own comparison too; and of the processor, of both cores together,
whose half is the least that two quiet cores would take.

target: of the ranking metric on the validation set, half-way between what both recipes end at (means over the seeds).
The time to it is counted from the start: for the advice its tuning and then the run; for the default the run alone,
which goes on for twice as many epochs. "never": not in those.

TUNED lists the tasks on which the advice was made to work; the others judge it.
"""

import argparse
import json
import math
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from contest import busy, conditions

import hyperjax as hj
from hyperjax.advice import Advice
from hyperjax.advice.comparison import Comparison, compare

TUNED = ("digits", "diabetes", "copying", "segmentation")
JUDGED = ("digits_cnn", "words", "embedding", "ring")
FRESH = (1000, 1001, 1002, 1003, 1004)
LONGER = 2  # times the advice's epochs, for the default's time to the target
WINS, SECONDS = 6, 120.0  # wanted


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def seconds_to(runs: hj.training.Runs, target: float, seconds_an_epoch: float) -> float:
    """Until the mean of the runs' validations first reaches a target; infinite where it does not."""
    curves = np.stack([run.metrics[run.metric] for run in runs])
    sign = 1.0 if runs[0].direction == "max" else -1.0
    reached = np.flatnonzero(sign * curves.mean(0) >= sign * target)
    return float(runs[0].epochs[reached[0]]) * seconds_an_epoch if len(reached) else math.inf


def judged(name: str, budget: str) -> dict[str, Any]:
    task = hj.tasks.find(name)
    begin, used = time.perf_counter(), processor_seconds()
    advice = hj.advise(task, budget)
    tuning, processor = time.perf_counter() - begin, processor_seconds() - used
    default = advice.default.replace(epochs=advice.recipe.epochs)
    own = advice.own_length.against if advice.own_length is not None else default
    recipes = dict.fromkeys([advice.recipe, default, own, default.replace(epochs=LONGER * default.epochs)])
    trained, cost = {}, {}
    for recipe in recipes:
        runs = hj.fit_population(task, [recipe], seeds=FRESH)
        trained[recipe] = runs
        cost[recipe] = runs.conditions["train_seconds"] / (len(FRESH) * recipe.epochs)
    same, shorter = (compare(task, trained[advice.recipe], trained[each]) for each in (default, own))
    ends = [float(np.mean(trained[each].scores)) for each in (advice.recipe, default)]
    target, long = float(np.mean(ends)), default.replace(epochs=LONGER * default.epochs)
    found = {
        "advised": repr(advice.recipe),
        "own length": own.epochs,
        "comparison": same._asdict() | {"verdict": same.verdict, "against": repr(default), "candidate": None},
        "at its own length": shorter.gain._asdict() | {"verdict": shorter.verdict},
        "said": advice.verdict,
        "fell back": advice.recipe != advice.candidate,
        "tried": len(advice.tried),
        "seconds": tuning,
        "processor": processor,
        "phases": dict(advice.seconds),
        "target": target,
        "to target": {
            "advice": tuning + seconds_to(trained[advice.recipe], target, cost[advice.recipe]),
            "default": seconds_to(trained[long], target, cost[long]),
        },
    }
    print(line(name, advice, same, shorter, found), flush=True)
    return found


def line(name: str, advice: Advice, same: Comparison, shorter: Comparison, found: dict[str, Any]) -> str:
    to = found["to target"]
    waits = [f"{to[who]:.1f} s" if math.isfinite(to[who]) else "never" for who in ("default", "advice")]
    own = f"{shorter.gain.mean:+.4f}" if advice.own_length is not None else "the same"
    return (
        f"{name:14s}{'*' if name in TUNED else ' '}{same.metric[:19]:20s}{same.other.mean:9.4f}{same.score.mean:9.4f}"
        f"{same.gain.mean:+10.4f} [{same.gain.low:+.4f}, {same.gain.high:+.4f}] {same.verdict:10s}{own:>9s}"
        f"{advice.recipe.epochs:5g}{found['seconds']:7.0f} s{found['processor'] / 2:6.0f} s"
        f"{found['target']:10.4f}{waits[0]:>9s}{waits[1]:>9s}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", metavar="A,B", default=",".join((*TUNED, *JUDGED)))
    parser.add_argument("--budget", default="1m", help="of each advice")
    parser.add_argument("--quick", action="store_true", help="one task, a small budget")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    given = parser.parse_args()
    names, budget = (["wine"], "5s") if given.quick else (given.tasks.split(","), given.budget)
    print(conditions() + ("; something else works on this machine" if busy() else ""))
    print(f"budget {budget}; seeds {FRESH[0]} to {FRESH[-1]}; * the advice was made to work on these\n")
    print(
        f"{'task':15s}{'test metric':20s}{'default':>9s}{'advice':>9s}{'difference':>10s} {'95 % interval':19s}"
        f"{'':11s}{'own len.':>9s}{'ep.':>5s}{'wall':>9s}{'cpu/2':>8s}{'target':>10s}{'default':>9s}{'advice':>9s}"
    )
    record: dict[str, Any] = {"conditions": conditions(), "budget": budget}
    record["tasks"] = {name: judged(name, budget) for name in names}
    verdicts = [one["comparison"]["verdict"] for one in record["tasks"].values()]
    means = [one["comparison"]["gain"][0] for one in record["tasks"].values()]
    slowest = max(one["seconds"] for one in record["tasks"].values())
    print(
        f"\nOf {len(names)} tasks: better beyond noise on {verdicts.count('better')}, better in the mean on "
        f"{sum(mean > 0 for mean in means)}, worse beyond noise on {verdicts.count('worse')} "
        f"(wanted: better on {WINS} of 8, worse on none)"
    )
    print(f"the slowest took {slowest:.0f} s (wanted: under {SECONDS:.0f})")
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1, default=repr), "utf-8")


if __name__ == "__main__":
    main()
