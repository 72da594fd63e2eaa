"""How soon a search has a good answer: HyperJAX against Optuna over PyTorch, and a vmapped Flax loop.

    python benchmarks/search.py                        # everything: hours on two cores
    python benchmarks/search.py --tasks mlp --repeats 1
    python benchmarks/search.py --only tpe             # one contender alone, as JSON lines
    python benchmarks/search.py --quick                # few short trials: shows that it runs

Digits by an MLP 64-128-128-10 (20 epochs) and by a CNN with two norms (8 epochs); searched are optimizer, rate,
schedule, decay, dropout, activation and batch size (see `searched.py`). Contenders: Optuna's TPE and Hyperband over a
PyTorch function, a process on each core; a vmapped Flax loop with random search, a program for each batch size; and
ours by random search, TPE, TPE with Hyperband, the same with a quarter of the trials and its best eight trained again
on fresh seeds (`hj.studies.confirm`), a quarter of the trials by successive halving and its best four, which is what
the command takes, and population based training (a quarter of the trials as members; it has an answer at its end alone,
its best member's last recipe, and the weights that it found are told apart).

Each search is a process alone on the machine, with no compiled program from before, and has equally many trials but
where it is said. It tells a recipe when that is the best so far by one seed's accuracy on validation; the clock runs
from the start of the process, so imports and compilation count; `--limit` ends one that takes too long (a vmapped
convolution does, on a processor), and what it told by then counts. Contenders take turns, repeat after repeat; repeat r
is seeded by r. When all have ended, one judge, `hyperjax.fit_population`, trains every recipe that was told on fresh
seeds, outside of the clock; its mean accuracy on the test set is what the recipe is worth, whoever found it. A search
reaches an accuracy when it has a recipe that is worth it and no later one of its is worth less; the goals are shares of
all of the peer's time, since its last answer is known as such at its end. Shown are medians over the repeats and
ranges; and, since which of two equally good answers is worth a hair more is luck, by how much what a search has when
that share has passed differs from the peer's last answer, repeat by repeat, with an interval.
"""

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from searched import BATCHES, EPOCHS, PARTS, Setting

PEER = "optuna"  # whose final answer is to be reached
GOALS = {"mlp": 0.2, "cnn": 0.5}  # share of the peer's time
FRESH = 4  # seeds of trials that are trained again: half of them rank, as many measure
MOST_OVERHEAD = 0.15  # sampling and storage, of all of ours
ONE_IMAGE = 1 / 180  # of the test set
FIRST_JUDGING_SEED = 1000


class Contender(NamedTuple):
    label: str
    needs: str  # the module without which it is skipped
    search: Callable[[Setting], None]


def by_optuna(setting: Setting) -> None:
    from search_torch import search

    search(setting)


def by_flax(setting: Setting) -> None:
    from search_flax import search

    search(setting)


def by_us(sampler: str, pruner: str | None, setting: Setting) -> None:
    from search_ours import study

    study(sampler, pruner, setting)


def by_us_confirmed(pruner: str, top: int, setting: Setting) -> None:
    from search_ours import study

    study("tpe", pruner, setting._replace(trials=-(-setting.trials // 4)), top, FRESH)


def by_population(setting: Setting) -> None:
    from search_ours import population

    population(setting)


CONTENDERS = {
    "optuna": Contender("Optuna TPE + Hyperband, PyTorch", "torch", by_optuna),
    "flax": Contender("random, vmapped Flax loop", "flax", by_flax),
    "random": Contender("HyperJAX random", "hyperjax", lambda setting: by_us("random", None, setting)),
    "tpe": Contender("HyperJAX TPE", "hyperjax", lambda setting: by_us("tpe", None, setting)),
    "hyperband": Contender("HyperJAX TPE + Hyperband", "hyperjax", lambda setting: by_us("tpe", "hyperband", setting)),
    "confirmed": Contender(
        "HyperJAX TPE + Hyperband, confirmed", "hyperjax", lambda setting: by_us_confirmed("hyperband", 8, setting)
    ),
    "halved": Contender(
        "HyperJAX TPE + halving, confirmed",
        "hyperjax",
        lambda setting: by_us_confirmed("successive_halving", 4, setting),
    ),
    "population": Contender("HyperJAX population based", "hyperjax", by_population),
}


class Answer(NamedTuple):
    seconds: float  # since the start of the process
    recipe: dict[str, Any]
    validation: float  # of the one seed that it was searched with


class Search(NamedTuple):
    """What one process did."""

    seconds: float  # in all
    answers: list[Answer]
    ended: dict[str, Any]


def run(name: str, task: str, epochs: int, seed: int, data: Path, given: argparse.Namespace) -> Search:
    """One search in a process of its own, ended when it takes too long; what it tells is timed here."""
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    numbers = ["--trials", str(given.trials), "--epochs", str(epochs), "--seed", str(seed), *["--quick"] * given.quick]
    command = [sys.executable, __file__, "--only", name, "--tasks", task, *numbers, "--data", str(data)]
    begin, answers, ended = time.perf_counter(), [], {}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    late = threading.Event()

    def stop() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)  # its workers too

    clock = threading.Timer(given.limit, stop)
    clock.start()
    for line in process.stdout:
        seconds, told = time.perf_counter() - begin, json.loads(line)
        if "recipe" in told:
            answers.append(Answer(seconds, told["recipe"], told["validation"]))
        else:
            ended = told["ended"]
    process.wait()
    clock.cancel()
    if late.is_set():
        ended = {"stopped": given.limit}
    elif process.returncode or not ended or not answers:
        raise SystemExit(f"{name} ended with code {process.returncode}, without an answer; its words are above")
    return Search(time.perf_counter() - begin, answers, ended)


def judge(task: str, data: Path, recipes: Sequence[Mapping[str, Any]], epochs: int, seeds: int) -> list[float]:
    """Mean accuracy of each recipe on the test set, over fresh seeds; 0 for one that diverges."""
    from search_ours import task_of

    import hyperjax as hj
    from hyperjax.training import evaluate

    with np.load(data) as held:
        own = task_of(task, dict(held))
    fresh = [FIRST_JUDGING_SEED + n for n in range(seeds)]
    runs = hj.fit_population(own, [hj.Recipe(**recipe, epochs=epochs) for recipe in recipes], fresh)
    scores = [0.0 if run.diverged else evaluate(own, run.model, "test")["accuracy"] for run in runs]
    return [float(mean) for mean in np.reshape(scores, (len(recipes), seeds)).mean(1)]


def reached(answers: Sequence[Answer], worth: Mapping[str, float], wanted: float) -> float:
    """Seconds until a search has what is worth so much, and nothing worse later; infinite if it never has."""
    since = math.inf
    for answer in reversed(answers):
        if worth[key(answer.recipe)] < wanted:
            break
        since = answer.seconds
    return since


def in_hand(answers: Sequence[Answer], worth: Mapping[str, float], seconds: float) -> float:
    """What the answer is worth that a search has told by some time; NaN before the first."""
    return next((worth[key(answer.recipe)] for answer in reversed(answers) if answer.seconds <= seconds), math.nan)


def key(recipe: Mapping[str, Any]) -> str:
    return json.dumps(recipe, sort_keys=True)


def overhead(search: Search) -> float:
    """Share of a study's time that sampling and storage took; NaN of what is no study of ours."""
    told = search.ended
    if "study_seconds" not in told:
        return math.nan
    return float((told["sampling_seconds"] + told["storage_seconds"]) / told["study_seconds"])


def spread(values: Sequence[float], form: str) -> str:
    """Median and range."""
    if not values or math.isnan(values[0]):
        return ""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def table(task: str, searches: Mapping[str, list[Search]], worth: Mapping[str, float]) -> tuple[Any, dict[str, Any]]:
    """A row a contender, and the same as numbers."""
    from rich.table import Table

    made = Table(title=f"{task}: test accuracy in points on fresh seeds, seconds of wall time")
    headings = ("contender", "answer", "all s", "reaches it", "within an image", "overhead %")
    for heading in headings:
        made.add_column(heading, justify="left" if heading == "contender" else "right", no_wrap=True)
    record: dict[str, Any] = {}
    peer = searches.get(PEER)
    wanted = [worth[key(search.answers[-1].recipe)] for search in peer or ()]
    for name, own in searches.items():
        numbers = {
            "final": [100 * worth[key(search.answers[-1].recipe)] for search in own],
            "seconds": [search.seconds for search in own],
            "reached": [reached(s.answers, worth, w) for s, w in zip(own, wanted, strict=False)],
            "nearly": [reached(s.answers, worth, w - ONE_IMAGE) for s, w in zip(own, wanted, strict=False)],
            "overhead": [overhead(search) for search in own],
            "ahead": [
                100 * (in_hand(search.answers, worth, GOALS[task] * theirs.seconds) - final)
                for search, theirs, final in zip(own, peer or (), wanted, strict=False)
            ],
        }
        shown = [spread(numbers[each], ".1f") for each in ("final", "seconds", "reached", "nearly")]
        made.add_row(CONTENDERS[name].label, *shown, spread([100 * share for share in numbers["overhead"]], ".1f"))
        record[name] = {**numbers, "ended": [search.ended for search in own]}
        record[name]["answers"] = [
            [[a.seconds, a.recipe, a.validation, worth[key(a.recipe)]] for a in search.answers] for search in own
        ]
    return made, record


def verdicts(task: str, record: Mapping[str, Any]) -> list[tuple[str, float, float, bool]]:
    """The goals: what, measured, wanted at most, met."""
    found = []
    for name in ("random", "tpe", "hyperband", "confirmed", "halved", "population"):
        if name not in record:
            continue
        if PEER in record:
            for kind, words in (("reached", "the peer's answer"), ("nearly", "within an image of it")):
                pairs = zip(record[name][kind], record[PEER]["seconds"], strict=True)
                share = statistics.median(mine / theirs for mine, theirs in pairs)
                found.append((f"{task}, {name}: share of the peer's time until {words}", share, GOALS[task]))
        if name not in ("confirmed", "halved", "population"):
            share = statistics.median(record[name]["overhead"])
            found.append((f"{task}, {name}: share of sampling and storage", share, MOST_OVERHEAD))
    return [(title, value, wanted, value <= wanted) for title, value, wanted in found]


def ahead(name: str, task: str, points: Sequence[float]) -> str:
    """How much more than the peer's last answer is worth what a search has when the goal's share of time has passed."""
    from hyperjax.statistics import mean_interval

    told = np.array([each for each in points if not math.isnan(each)])
    words = f"{task}, {name}: in hand after {GOALS[task]:g} of the peer's time"
    if len(told) < 2:
        return f"{words}: too few answers to tell"
    mean, low, high = mean_interval(told)
    left = f", of the {len(told)} searches that had one" if len(told) < len(points) else ""
    return f"{words}, less the peer's answer: {mean:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}{left}"


def save_data(path: Path) -> None:
    from hyperjax.tasks import digits

    task = digits()
    arrays = {f"{part}_x": np.asarray(task.data[part][0], np.float32) for part in PARTS}
    np.savez(path, **arrays, **{f"{part}_y": np.asarray(task.data[part][1], np.int64) for part in PARTS})


def compare(names: Sequence[str], tasks: Sequence[str], given: argparse.Namespace) -> None:
    """Let the contenders search in turns, judge their answers, print the tables and the goals."""
    from contest import busy, conditions
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    header = conditions()
    console.print(header, highlight=False)
    if busy():
        console.print("The machine is busy with something else: these figures will be disturbed.", style="bold")
    if given.quick:
        console.print("The goals are for the whole of it: this is a try.", style="bold")
    record: dict[str, Any] = {"conditions": header.splitlines(), "trials": given.trials, "repeats": given.repeats}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits.npz"
        save_data(data)
        for task in tasks:
            epochs = given.epochs or EPOCHS[task]
            searches: dict[str, list[Search]] = {name: [] for name in names}
            for repeat in range(given.repeats):
                start = repeat % len(names)
                for name in [*names[start:], *names[:start]]:
                    if name in searches:
                        search = run(name, task, epochs, repeat, data, given)
                        searches[name].append(search)
                        if not search.answers:
                            console.print(f"{name} is left out: it had no answer in {given.limit:g} s", highlight=False)
                            del searches[name]
                console.print(f"{task}: repeat {repeat + 1} of {given.repeats} done", style="dim", highlight=False)
            told = {key(a.recipe): a.recipe for own in searches.values() for search in own for a in search.answers}
            if not told:
                console.print(f"{task}: nobody had an answer, there is nothing to compare", highlight=False)
                continue
            worth = dict(zip(told, judge(task, data, list(told.values()), epochs, given.judging_seeds), strict=True))
            console.print(
                f"{task}: {given.trials} trials of {epochs} epochs; {len(told)} answers, "
                f"judged by {given.judging_seeds} fresh seeds each",
                highlight=False,
            )
            shown, record[task] = table(task, searches, worth)
            console.print(shown)
            for name, own in searches.items():
                if any("stopped" in search.ended for search in own):
                    console.print(f"{name} was ended after {given.limit:g} s", highlight=False)
            for search in (one for one in searches.get("population", ()) if "own_test" in one.ended):
                console.print(
                    f"the population's own weights: {100 * search.ended['own_test']:.2f} on the test set, one run",
                    style="dim",
                    highlight=False,
                )
            for name in searches if PEER in searches else ():
                console.print(ahead(name, task, record[task][name]["ahead"]), highlight=False)
            found = verdicts(task, record[task])
            for title, value, wanted, met in found:
                words = f"{'met   ' if met else 'MISSED'} {title}: {value:.3f} (at most {wanted:g})"
                console.print(words, highlight=False)
            goals = [dict(zip(("goal", "measured", "wanted", "met"), goal, strict=True)) for goal in found]
            record[task]["goals"] = goals
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


def alone(name: str, task: str, given: argparse.Namespace) -> None:
    """In a contender's process: search, and tell on what was standard output."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints goes to standard error
    with tempfile.TemporaryDirectory() as folder:
        data = given.data
        if data is None:
            data = Path(folder) / "digits.npz"
            save_data(data)
        setting = Setting(
            task,
            given.trials,
            given.epochs or EPOCHS[task],
            given.seed,
            BATCHES[1:2] if given.quick else BATCHES,
            data,
            out,
        )
        CONTENDERS[name].search(setting)


def main() -> None:
    from importlib.util import find_spec

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="NAME", choices=CONTENDERS, help=f"one, as JSON lines: {', '.join(CONTENDERS)}"
    )
    parser.add_argument("--contenders", metavar="A,B", default=",".join(CONTENDERS), help="which to compare")
    parser.add_argument("--tasks", metavar="A,B", default=",".join(EPOCHS), help=f"of {', '.join(EPOCHS)}")
    parser.add_argument("--trials", type=int, help="of each search; 256 if left out")
    parser.add_argument("--repeats", type=int, help="of each search; 5 if left out")
    parser.add_argument("--epochs", type=int, help=f"of a trial; {EPOCHS} if left out")
    parser.add_argument("--judging-seeds", type=int, help="of each answer; 5 if left out")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds after which a search is ended")
    parser.add_argument("--seed", type=int, default=0, help="with --only")
    parser.add_argument("--quick", action="store_true", help="eight trials of three epochs and one batch size, once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    usual = {"trials": (256, 8), "repeats": (5, 1), "judging_seeds": (5, 2), "epochs": (None, 3)}
    for option, (full, quick) in usual.items():
        if getattr(given, option) is None:
            setattr(given, option, quick if given.quick else full)
        elif getattr(given, option) < 1:
            parser.error(f"--{option.replace('_', '-')} must be at least 1, got {getattr(given, option)}")
    tasks, names = given.tasks.split(","), given.contenders.split(",")
    for option, listed, known in (("tasks", tasks, EPOCHS), ("contenders", names, CONTENDERS)):
        unknown = [name for name in listed if name not in known]
        if unknown:
            parser.error(f"--{option} must be among {', '.join(known)}, got {', '.join(unknown)}")
    if given.only:
        alone(given.only, tasks[0], given)
        return
    present = [name for name in names if find_spec(CONTENDERS[name].needs) is not None]
    for name in (name for name in names if name not in present):
        print(f"{name} is skipped: {CONTENDERS[name].needs} is not installed here (pip install 'hyperjax[bench]')")
    compare(present, tasks, given)


if __name__ == "__main__":
    main()
