"""Sixty-four trainings that differ in the learning rate: HyperJAX against PyTorch, Flax and scikit-learn.

    python benchmarks/population.py                      # everything: about five minutes on two cores
    python benchmarks/population.py --only ours          # one contender alone, as JSON

Digits, MLP 64-128-128-10 with ReLU, Adam, batches of 64, 20 epochs, learning rates `logspace(-4, -1, 64)`. Slower
contenders train an even share of the rates; figures are seconds a trial. Each contender lives in a process of its own
and is warmed up there (the first call apart: that is where the compilers work); then all are measured in turns, round
after round, so that drift of the machine meets all of them. Round r uses seed r. Reported: median over the rounds and
range; the accuracies are means over three rates near the best, with a 95 % Student interval over the seeds.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contenders import CONTENDERS
from contest import Process, answer, best, busy, conditions, paired, take_turns
from peak import peak_jax, peak_torch, training_flops
from setting import BATCH, RATES, WIDTHS, Data, cores_available

import hyperjax
from hyperjax.statistics import mean_interval

TORCH_EAGER, TORCH_ALL = ("torch-1", "torch-2"), ("torch-2", "torch-pool", "torch-vmap", "torch-vmap-pool")
PEAKS = {"peak-jax": ("matrix product, JAX", "jax"), "peak-torch": ("matrix product, PyTorch", "torch")}


def load(path: Path) -> Data:
    """The arrays of the digits task, one file for all contenders; made by whichever process comes first."""
    if not path.exists():
        task = hyperjax.tasks.digits()
        arrays = {f"{p}_x": np.asarray(task.data[p][0], np.float32) for p in ("train", "validation", "test")}
        arrays |= {f"{p}_y": np.asarray(task.data[p][1], np.int64) for p in ("train", "validation", "test")}
        np.savez(path, **arrays)
    with np.load(path) as file:
        return dict(file)


def prepare(name: str, data: Data, epochs: int) -> tuple[Callable[[int], dict[str, float]], dict[str, float]]:
    """How to measure a contender once, given a seed, and what making and warming it told."""
    if name == "peak-jax":
        flops = training_flops(WIDTHS, len(data["train_x"]), BATCH, epochs)
        return lambda seed: {"gflops": peak_jax()}, {"flops": flops}
    if name == "peak-torch":
        return lambda seed: {"gflops": peak_torch(cores_available())}, {}
    measure = CONTENDERS[name].make(data, epochs)
    return lambda seed: measure(seed)._asdict(), {"first": measure(0).seconds}


def table(processes: dict[str, Process], peaks: dict[str, Process], flops: float) -> Any:
    """One row a contender."""
    from rich.table import Table

    fastest = max((statistics.median(p.column("gflops")) for p in peaks.values()), default=float("nan"))
    made = Table(title=f"Seconds a trial; one trial is {flops / 1e9:.2f} GFLOP; peak {fastest:.0f} GFLOP/s")
    for heading in (
        "contender",
        "trials",
        "s a trial",
        "range",
        "to ours",
        "peak",
        "once, s",
        "validation %",
        "test %",
    ):
        made.add_column(heading, justify="left" if heading == "contender" else "right", no_wrap=True)
    ours = processes.get("ours")
    for name, process in processes.items():
        seconds = statistics.median(process.a_trial)
        accuracies = []
        for part in ("validation", "test"):
            interval = mean_interval(process.column(part))
            accuracies.append(f"{100 * interval.mean:.2f} ± {100 * (interval.high - interval.mean):.2f}")
        made.add_row(
            CONTENDERS[name].label,
            str(process.results[0]["trials"]),
            f"{seconds:.4f}",
            f"{min(process.a_trial):.4f}-{max(process.a_trial):.4f}",
            f"{paired(process, ours):.2f}x" if ours else "",
            f"{100 * flops / seconds / fastest / 1e9:.0f} %",
            f"{process.first_call:.2f}",
            *accuracies,
        )
    return made


def verdicts(
    processes: dict[str, Process], peaks: dict[str, Process], flops: float
) -> list[tuple[str, float, str, bool]]:
    """The goals: what, measured, wanted, met. Only those whose contenders ran."""
    found: list[tuple[str, float, str, bool]] = []
    ours = processes.get("ours")
    if ours is None:
        return found
    for names, label, goal in ((TORCH_EAGER, "one process", 6.0), (TORCH_ALL, "all cores", 3.0)):
        peer = best(processes, names)
        if peer is not None:
            ratio = paired(peer, ours)
            title = f"faster than PyTorch, {label} ({CONTENDERS[peer.name].label})"
            found.append((title, ratio, f"at least {goal:g}x", ratio >= goal))
    if peaks:
        fastest = max(statistics.median(p.column("gflops")) for p in peaks.values())
        share = 100 * flops / statistics.median(ours.a_trial) / fastest / 1e9
        found.append(("share of the measured matrix peak, %", share, "at least 60", share >= 60))
    if "ours-dropout" in processes:
        over = 100 * (paired(processes["ours-dropout"], ours) - 1)
        found.append(("dropout 0.2 over none, %", over, "at most 15", over <= 15))
    for name, peer in processes.items():
        if name not in ("ours", "ours-dropout") and len(ours.results) > 1:
            gaps = np.subtract(ours.column("validation"), peer.column("validation"))
            interval = mean_interval(100 * gaps)
            title = f"validation accuracy over {CONTENDERS[name].label}, points"
            wanted = f"0 within {interval.low:.2f} to {interval.high:.2f}"
            found.append((title, interval.mean, wanted, interval.low <= 0 <= interval.high))
    return found


def compare(names: list[str], path: Path, epochs: int, rounds: int, save: Path | None) -> None:
    """Start the contenders, measure them in turns, print the table and the goals."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    header = conditions()
    console.print(header, highlight=False)
    if busy():
        console.print("The machine is busy with something else: these figures will be disturbed.", style="bold")
    load(path)
    processes: dict[str, Process] = {}
    for name in names:
        settings = ["--only", name, "--data", str(path), "--epochs", str(epochs)]
        processes[name] = Process(name, Path(__file__), settings)
        console.print(f"{name} is warm", style="dim")
    take_turns(list(processes.values()), rounds, lambda told: console.print(told, style="dim"))
    peaks = {name: processes.pop(name) for name in PEAKS if name in processes}
    flops = peaks["peak-jax"].ready["flops"] if "peak-jax" in peaks else float("nan")
    console.print(table(processes, peaks, flops))
    for name, process in peaks.items():
        rates = process.column("gflops")
        console.print(
            f"{PEAKS[name][0]}: {statistics.median(rates):.0f} GFLOP/s ({min(rates):.0f} to {max(rates):.0f})"
        )
    found = verdicts(processes, peaks, flops)
    for title, value, wanted, met in found:
        console.print(f"{'met   ' if met else 'MISSED'} {title}: {value:.2f} (wanted {wanted})", highlight=False)
    if save is not None:
        everything = {**processes, **peaks}
        record = {
            "conditions": header.splitlines(),
            "settings": {"epochs": epochs, "rounds": rounds, "rates": len(RATES), "batch": BATCH, "widths": WIDTHS},
            "flops": flops,
            "contenders": {name: {"ready": p.ready, "rounds": p.results} for name, p in everything.items()},
            "goals": [dict(zip(("goal", "measured", "wanted", "met"), goal, strict=True)) for goal in found],
        }
        save.write_text(json.dumps(record, indent=1), encoding="utf-8")


def main() -> None:
    known = [*CONTENDERS, *PEAKS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="NAME", choices=known, help=f"one contender, as JSON lines: {', '.join(known)}"
    )
    parser.add_argument("--contenders", metavar="A,B", default=",".join(known), help="which to compare")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each; at least 5 for figures to report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--paced", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.data or Path(folder) / "digits.npz"
        if arguments.only:
            name, epochs = arguments.only, arguments.epochs
            answer(name, lambda: prepare(name, load(path), epochs), arguments.rounds, arguments.paced)
            return
        names = arguments.contenders.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"--contenders must be among {', '.join(known)}, got {', '.join(unknown)}")
        present = []
        for name in names:
            needs = CONTENDERS[name].needs if name in CONTENDERS else PEAKS[name][1]
            if importlib.util.find_spec(needs) is None:
                print(f"{name} is skipped: {needs} is not installed here (pip install 'hyperjax[bench]')")
            else:
                present.append(name)
        compare(present, path, arguments.epochs, arguments.rounds, arguments.json)


if __name__ == "__main__":
    main()
