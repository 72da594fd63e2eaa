"""Contenders in processes of their own, measured on request, and the ratios between them."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from setting import cores_available

import hyperjax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "scikit-learn", "numpy")


class Process:
    """A contender's process: started and warmed at once, then asked for one measurement at a time.

    Args:
        name: of the contender.
        program: a script that answers as `answer` does when it is called with `--paced`.
        settings: its other arguments.
    """

    def __init__(self, name: str, program: Path, settings: Sequence[str]):
        environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        self.name, self.results = name, []
        self._process = subprocess.Popen(
            [sys.executable, str(program), "--paced", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ready = self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early with code {self._process.wait()}; its words are above")
        return json.loads(line)

    def measure(self, seed: int) -> None:
        self.ask(seed)
        self.take()

    def ask(self, seed: int) -> None:
        """Let it begin a measurement, beside others perhaps; `take` waits for it."""
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()

    def take(self) -> None:
        self.results.append(self._read())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def column(self, key: str) -> list[float]:
        return [result[key] for result in self.results]

    @property
    def a_trial(self) -> list[float]:
        """Seconds a trial in each round."""
        return [result["seconds"] / result["trials"] for result in self.results]

    @property
    def first_call(self) -> float:
        """Seconds that the first call took over a later one: compilation, and whatever else happens once."""
        return max(0.0, self.ready["first"] - statistics.median(self.column("seconds")))


def answer(
    name: str,
    prepare: Callable[[], tuple[Callable[[int], dict[str, float]], dict[str, float]]],
    rounds: int,
    paced: bool,
) -> None:
    """In a contender's process: prepare it, then measure it for each seed on standard input, or `rounds` times.

    Args:
        name: of the contender.
        prepare: gives how to measure once, given a seed, and what making and warming it told; all as JSON lines.
        rounds, paced: how often, or whether seeds come on standard input.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to standard error
    measure, told = prepare()
    print(json.dumps({"name": name, **told}), file=out, flush=True)
    for seed in map(int, sys.stdin) if paced else range(rounds):
        print(json.dumps(measure(seed)), file=out, flush=True)


def take_turns(processes: Sequence[Process], rounds: int, told: Callable[[str], None]) -> None:
    """Measure all, round after round, each round beginning with another, so that drift meets all of them; then end."""
    for turn in range(rounds):
        start = turn % len(processes)
        for process in [*processes[start:], *processes[:start]]:
            process.measure(turn)
        told(f"round {turn + 1} of {rounds} done")
    for process in processes:
        process.close()


def conditions() -> str:
    """Processor, cores, system, versions and how busy the machine was."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    versions = [f"hyperjax {hyperjax.__version__}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} (not installed here)")
    load = f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    machine = f"{model}, {cores_available()} cores, {platform.system()} {platform.release()}; {load}"
    return f"{machine}\nPython {platform.python_version()}, {', '.join(versions)}"


def busy() -> bool:
    """Whether something else works on this machine, which disturbs what is measured."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5


def paired(above: Process, below: Process) -> float:
    """Median over the rounds of the ratio of seconds a trial."""
    return statistics.median(a / b for a, b in zip(above.a_trial, below.a_trial, strict=True))


def best(processes: dict[str, Process], names: tuple[str, ...]) -> Process | None:
    """The fastest of those that ran."""
    ran = [processes[name] for name in names if name in processes]
    return min(ran, key=lambda process: statistics.median(process.a_trial), default=None)
