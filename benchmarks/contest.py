"""Contenders in processes of their own, measured on request, and the ratios between them."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("population.py")


class Process:
    """A contender's process: started and warmed at once, then asked for one measurement at a time."""

    def __init__(self, name: str, path: Path, epochs: int):
        settings = ["--only", name, "--paced", "--data", str(path), "--epochs", str(epochs)]
        environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        self.name, self.results = name, []
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *settings],
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
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
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


def paired(above: Process, below: Process) -> float:
    """Median over the rounds of the ratio of seconds a trial."""
    return statistics.median(a / b for a, b in zip(above.a_trial, below.a_trial, strict=True))


def best(processes: dict[str, Process], names: tuple[str, ...]) -> Process | None:
    """The fastest of those that ran."""
    ran = [processes[name] for name in names if name in processes]
    return min(ran, key=lambda process: statistics.median(process.a_trial), default=None)
