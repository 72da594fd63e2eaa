"""What `import hyperjax` adds to `import jax, flax, optax`: medians of fresh interpreters, taken in turns.

    python benchmarks/import_time.py [ROUNDS]

The goal is at most 0.3 s. Wall time of the whole interpreter, files already in the page cache, bytecode compiled.
"""

import statistics
import subprocess
import sys
import time

BASE = "import jax, flax, optax"
FULL = "import jax, flax, optax; import hyperjax"
GOAL = 0.3  # seconds


def seconds(program: str) -> float:
    """Wall time of one fresh interpreter that runs `program`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - begin


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for program in (BASE, FULL):
        seconds(program)  # fills the page cache and writes bytecode
    pairs = [(seconds(BASE), seconds(FULL)) for _ in range(rounds)]
    base, full = (statistics.median(column) for column in zip(*pairs, strict=True))
    for program, median, column in zip((BASE, FULL), (base, full), zip(*pairs, strict=True), strict=True):
        print(f"{median:6.3f} s  ({min(column):.3f} to {max(column):.3f}, {rounds} interpreters)  {program}")
    added = statistics.median(b - a for a, b in pairs)
    print(f"{added:6.3f} s  added (median of the paired differences); goal: at most {GOAL} s")


if __name__ == "__main__":
    main()
