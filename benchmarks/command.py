"""The whole command, `hyperjax study digits`, against PyTorch eager for the same trainings.

    python benchmarks/command.py                         # about five minutes on two cores
    python benchmarks/command.py --trials 8 --sample 2   # a try

The command is timed from its start to its end: imports, compilation, training, page. Once a round it begins with an
empty cache of compiled programs, then it runs again with the full one. PyTorch draws the same recipes and trains a
sample of them in a process that is warm, data in place, so neither its import nor its first steps are counted; the
sample is spread evenly over the trials of each batch size, and each size's mean stands for its other trials. All are
measured in turns, round after round; reported are medians over the rounds and ranges. Before the first round the
command runs once on two short trials without any cache, so that its files are in memory and its bytecode is written.

PyTorch lacks Lion, which is trained by Adam instead. Where its classes offer no decoupled weight decay (SGD, Adagrad,
RMSprop) they do what they can, the coupled one.
"""

import argparse
import csv
import importlib.util
import inspect
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from contest import Process
from population import conditions, load
from setting import Data
from torch_peer import torch_model, torch_tensors

from hyperjax import Recipe
from hyperjax.studies import default_space
from hyperjax.studies.samplers import draw

THREADS, WARM_RUNS = (1, 2), 2  # PyTorch's better number of threads counts; runs with a full cache in each round
PROMISED = (256, 20)  # the trials and epochs that the goals speak of
SEED = 0  # of the sampling, and of every training: the command's defaults
OPTIMIZERS = {  # name -> PyTorch's class, and what makes it the same rule
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-7}),
    "rmsprop": ("RMSprop", {"alpha": 0.9}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "nadam": ("NAdam", {}),
    "radam": ("RAdam", {}),
    "lion": ("Adam", {}),
}
WHERE_OFFERED = {"fused": True, "decoupled_weight_decay": True}
SHAPES: dict[str, Callable[[float], float]] = {  # factor of the rate over the share of what follows the warm-up
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine_decay": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "exponential_decay": lambda share: 0.01**share,
    "step_decay": lambda share: 0.1 ** math.floor(3 * share),
}


def drawn(trials: int, epochs: float) -> list[Recipe]:
    """The recipes that the command draws."""
    space = default_space(epochs)
    return [space.recipe(values) for values in draw(space, trials, SEED)]


def sampled(recipes: list[Recipe], sample: int) -> list[int]:
    """Trials that stand for all: from each batch size its share, at least one, evenly spaced."""
    chosen: list[int] = []
    for members in strata(recipes).values():
        count = min(max(1, round(sample * len(members) / len(recipes))), len(members))
        chosen += [members[(2 * i + 1) * len(members) // (2 * count)] for i in range(count)]
    return sorted(chosen)


def strata(recipes: list[Recipe]) -> dict[Any, list[int]]:
    """Batch size -> its trials."""
    found: dict[Any, list[int]] = {}
    for trial, recipe in enumerate(recipes):
        found.setdefault(recipe.batch_size, []).append(trial)
    return found


def extrapolated(recipes: list[Recipe], seconds: dict[int, float]) -> tuple[float, float]:
    """Seconds for all trials from those of some, and the standard error that sampling leaves in them."""
    total, variance = 0.0, 0.0
    for members in strata(recipes).values():
        known = [seconds[trial] for trial in members if trial in seconds]
        total += len(members) * statistics.mean(known)
        if len(known) > 1:
            unseen = 1 - len(known) / len(members)
            variance += unseen * len(members) ** 2 * statistics.variance(known) / len(known)
    return total, math.sqrt(variance)


def rate_factor(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Schedule and warm-up as `LambdaLR` wants them: step -> multiple of the learning rate."""
    warmup = recipe.warmup if isinstance(recipe.warmup, int | float) else recipe.warmup.value * steps
    shape, span = SHAPES[recipe.schedule], max(steps - warmup, 1.0)
    return lambda step: step / warmup if step < warmup else shape(min((step - warmup) / span, 1.0))


def torch_train(recipe: Recipe, t: dict[str, Any], epochs: int) -> float:
    """One training as PyTorch's tutorials write it, validated after each epoch; returns the last accuracy."""
    import torch
    import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
    from torch import nn

    activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "swish": nn.SiLU, "gelu": lambda: nn.GELU("tanh")}
    torch.manual_seed(SEED)
    *hidden, last = torch_model()[::2]
    after = activations[recipe.activation]
    model = nn.Sequential(*(part for linear in hidden for part in (linear, after(), nn.Dropout(recipe.dropout))), last)
    name, arguments = OPTIMIZERS[recipe.optimizer]
    make = getattr(torch.optim, name)
    offered = inspect.signature(make).parameters
    extra = {option: value for option, value in WHERE_OFFERED.items() if option in offered}
    optimizer = make(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **arguments, **extra
    )
    scheduler = None
    if recipe.schedule != "constant" or recipe.warmup != 0:
        steps = epochs * math.ceil(len(t["train_x"]) / recipe.batch_size)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(recipe, steps))
    accuracy = math.nan
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(t["train_x"])).split(recipe.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(t["train_x"][index]), t["train_y"][index]).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(t["validation_x"]).argmax(1) == t["validation_y"]).float().mean().item()
    return accuracy


def peer(data: Data, trials: int, sample: int, epochs: int) -> None:
    """In a process of its own: warm up, then train the sample once for each number of threads on standard input."""
    import torch

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to standard error
    recipes, tensors = drawn(trials, epochs), torch_tensors(data)
    chosen = sampled(recipes, sample)
    for threads in THREADS:
        torch.set_num_threads(threads)
        for trial in chosen:
            torch_train(recipes[trial], tensors, 1)
    print(json.dumps({"trials": chosen}), file=out, flush=True)
    for threads in map(int, sys.stdin):
        torch.set_num_threads(threads)
        seconds, accuracies = [], []
        for trial in chosen:
            begin = time.perf_counter()
            accuracies.append(torch_train(recipes[trial], tensors, epochs))
            seconds.append(time.perf_counter() - begin)
        print(json.dumps({"threads": threads, "seconds": seconds, "validation": accuracies}), file=out, flush=True)


class Peer(Process):
    """PyTorch's process: started and warmed at once, then `measure(threads)` trains the sample."""

    def __init__(self, path: Path, trials: int, sample: int, epochs: int):
        settings = ["--peer", str(path), "--trials", str(trials), "--sample", str(sample), "--epochs", str(epochs)]
        self.name, self.results = "PyTorch", []
        self._process = subprocess.Popen(
            [sys.executable, __file__, *settings], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._read()

    def totals(self, recipes: list[Recipe], threads: int) -> list[tuple[float, float]]:
        """Seconds for all trials and their standard error, in each round."""
        rounds = [result["seconds"] for result in self.results if result["threads"] == threads]
        return [extrapolated(recipes, dict(zip(self.ready["trials"], s, strict=True))) for s in rounds]


class Finished(NamedTuple):
    seconds: float  # wall time of the process
    compiling: float  # of these, by the study's own clock
    training: float
    programs: int  # compiled programs added to the cache


class Command:
    """The command with a folder for its caches and one for its output."""

    def __init__(self, recipes: list[Recipe], epochs: int, folder: Path):
        self.recipes, self.epochs, self.folder = recipes, epochs, folder
        self.cold: list[Finished] = []
        self.warm: list[list[Finished]] = []  # in each round

    def prepare(self) -> None:
        """One short study without a cache: files come into memory and bytecode is written."""
        settings = ["--trials", "2", "--epochs", "1", "--no-cache", "--output", str(self.folder / "first")]
        self._time(settings, self.folder / "unused")

    def measure(self, warm: bool) -> None:
        """One study, with an empty cache or with the one that the last such study left."""
        cache = self.folder / f"cache-{len(self.cold) - warm}"
        before = self._programs(cache)
        output = self.folder / "output"
        settings = ["--trials", str(len(self.recipes)), "--seeds", "1", "--epochs", str(self.epochs)]
        seconds = self._time([*settings, "--seed", str(SEED), "--output", str(output), "--overwrite"], cache)
        told = json.loads((output / "best.json").read_text("utf-8"))
        best, clock = told["best"], told["conditions"]
        same = Recipe.from_json(json.dumps(best["recipe"])) == self.recipes[best["trial"]]
        if told["trials"] != len(self.recipes) or not same or not (output / "report.html").stat().st_size:
            raise SystemExit(f"the command did not do the work that PyTorch does: see its best trial, {best}")
        done = Finished(seconds, clock["compile_seconds"], clock["train_seconds"], self._programs(cache) - before)
        if warm:
            self.warm[-1].append(done)
        else:
            self.cold.append(done)
            self.warm.append([])

    def accuracies(self) -> dict[int, float]:
        """Trial -> accuracy on validation in the latest study, without those that diverged."""
        with open(self.folder / "output" / "trials.csv", encoding="utf-8", newline="") as file:
            scores = {int(row["trial"]): float(row["validation_accuracy"]) for row in csv.DictReader(file)}
        return {trial: score for trial, score in scores.items() if math.isfinite(score)}

    @staticmethod
    def _programs(cache: Path) -> int:
        return len(list((cache / "hyperjax" / "programs").glob("*-cache")))

    @staticmethod
    def _time(settings: list[str], cache: Path) -> float:
        """Wall seconds of the process; no cache of JAX's that the user has set up is seen by it."""
        script = shutil.which("hyperjax", path=str(Path(sys.executable).parent))
        start = [script] if script else [sys.executable, "-c", "from hyperjax.cli import main; main()"]
        environment = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
        environment["XDG_CACHE_HOME"] = str(cache)
        begin = time.perf_counter()
        done = subprocess.run([*start, "study", "digits", *settings], env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"the command ended with code {done.returncode}: {done.stderr.strip()[-2000:]}")
        return seconds


def table(ours: Command, torch: Peer | None) -> Any:
    """A row for each number of PyTorch's threads and for each state of the cache."""
    from rich.table import Table

    made = Table()
    for heading in ("all trainings by", "times", "seconds", "range", "compiling", "training", "new programs"):
        made.add_column(heading, justify="left" if heading == "all trainings by" else "right", no_wrap=True)
    for threads in THREADS if torch is not None else ():
        totals = torch.totals(ours.recipes, threads)
        seconds, error = (statistics.median(column) for column in zip(*totals, strict=True))
        label = f"PyTorch eager, {threads} thread{'s' if threads > 1 else ''}, from {len(torch.ready['trials'])} trials"
        spread = f"{min(totals)[0]:.2f}-{max(totals)[0]:.2f}"
        made.add_row(label, str(len(totals)), f"{seconds:.2f} ± {error:.2f}", spread, "", "", "")
    for label, runs in (("empty", ours.cold), ("warm", [run for turn in ours.warm for run in turn])):
        seconds, compiling, training, programs = (statistics.median(column) for column in zip(*runs, strict=True))
        spread = f"{min(runs).seconds:.2f}-{max(runs).seconds:.2f}"
        numbers = (f"{seconds:.2f}", spread, f"{compiling:.2f}", f"{training:.2f}", f"{programs:g}")
        made.add_row(f"the whole command, {label} cache", str(len(runs)), *numbers)
    return made


def verdicts(ours: Command, torch: Peer) -> list[tuple[str, float, str, bool]]:
    """The goals: what, measured, wanted, met; ratios are medians of each round's own."""
    totals = {threads: [seconds for seconds, _ in torch.totals(ours.recipes, threads)] for threads in THREADS}
    threads = min(THREADS, key=lambda threads: statistics.median(totals[threads]))
    warm = [statistics.median(run.seconds for run in turn) for turn in ours.warm]
    found = []
    for label, column, goal in (("empty", [run.seconds for run in ours.cold], 1.0), ("warm", warm, 0.5)):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(column, totals[threads], strict=True))
        title = f"command with {label} cache over PyTorch eager with {threads} thread{'s' if threads > 1 else ''}"
        wanted, met = (f"at most {goal:g}", ratio <= goal) if goal < 1 else (f"below {goal:g}", ratio < goal)
        found.append((title, ratio, wanted, met))
    return found


def agreement(ours: Command, torch: Peer) -> list[float]:
    """How far ours is above PyTorch in points of accuracy, for each trial that both trained by one rule to its end."""
    mine, theirs = ours.accuracies(), zip(torch.ready["trials"], torch.results[-1]["validation"], strict=True)
    return [100 * (mine[t] - score) for t, score in theirs if t in mine and ours.recipes[t].optimizer != "lion"]


def compare(trials: int, sample: int, epochs: int, rounds: int, save: Path | None) -> None:
    """Measure the command and PyTorch in turns, print the table and the goals."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    header = conditions()
    console.print(header, highlight=False)
    if (trials, epochs) != PROMISED:
        console.print("The goals are for {} trials of {} epochs: this is a try.".format(*PROMISED), style="bold")
    recipes = drawn(trials, epochs)
    found: list[tuple[str, float, str, bool]] = []
    with tempfile.TemporaryDirectory() as folder:
        ours, torch = Command(recipes, epochs, Path(folder)), None
        ours.prepare()
        if importlib.util.find_spec("torch") is None:
            console.print("PyTorch is skipped: it is not installed here (pip install 'hyperjax\\[bench]')")
        else:
            load(Path(folder) / "digits.npz")
            torch = Peer(Path(folder) / "digits.npz", trials, sample, epochs)
        console.print("both are warm" if torch else "the command is warm", style="dim")
        for turn in range(rounds):
            first, second = THREADS if turn % 2 == 0 else THREADS[::-1]
            if torch:
                torch.measure(first)
            ours.measure(warm=False)
            if torch:
                torch.measure(second)
            for _ in range(WARM_RUNS):
                ours.measure(warm=True)
            console.print(f"round {turn + 1} of {rounds} done", style="dim")
        console.print(table(ours, torch))
        if torch:
            torch.close()
            found = verdicts(ours, torch)
            for title, value, wanted, met in found:
                console.print(
                    f"{'met   ' if met else 'MISSED'} {title}: {value:.2f} (wanted {wanted})", highlight=False
                )
            gaps = agreement(ours, torch)
            if len(gaps) > 1:
                low, middle, high = statistics.quantiles(gaps, n=4, method="inclusive")
                told = f"median {middle:.1f}, quartiles {low:.1f} and {high:.1f} over {len(gaps)} trials of one seed"
                console.print(f"validation accuracy over PyTorch's, points: {told}", highlight=False)
    if save is not None:
        record = {
            "conditions": header.splitlines(),
            "settings": {"trials": trials, "sample": sample, "epochs": epochs, "rounds": rounds},
            "torch": {"ready": torch.ready, "rounds": torch.results} if torch else None,
            "cold": [run._asdict() for run in ours.cold],
            "warm": [[run._asdict() for run in turn] for turn in ours.warm],
            "goals": [dict(zip(("goal", "measured", "wanted", "met"), goal, strict=True)) for goal in found],
        }
        save.write_text(json.dumps(record, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=PROMISED[0])
    parser.add_argument("--sample", type=int, default=16, help="how many of the trials PyTorch trains")
    parser.add_argument("--epochs", type=int, default=PROMISED[1])
    parser.add_argument("--rounds", type=int, default=3, help="one empty and two warm caches in each; at least 2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name, least in (("trials", 1), ("sample", 1), ("epochs", 1), ("rounds", 2)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(arguments, name)}")
    if arguments.peer:
        peer(load(arguments.peer), arguments.trials, arguments.sample, arguments.epochs)
    else:
        compare(arguments.trials, arguments.sample, arguments.epochs, arguments.rounds, arguments.json)


if __name__ == "__main__":
    main()
