"""Where a training step's time goes, on one core: matrix products and how fast they are, and everything beside them.

    python benchmarks/step_profile.py                      # the four workloads of models.py: two minutes
    python benchmarks/step_profile.py --workloads lstm --top 20

Each workload is trained by `hj.fit` in this process, pinned to one core, under JAX's profiler. What XLA's CPU backend
executes is named by instructions of the compiled program, which says of each what it is: a matrix product (whose
operations follow from its shapes), anything else that computes, or data that is moved. Shown are milliseconds a step,
shares, and for products the GFLOP/s that they reach beside the core's best on large matrices. The last line is what a
step would take with every product at that peak and nothing beside them: no contender can be faster.
"""

import argparse
import collections
import glob
import gzip
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

CONTROL = ("while", "conditional", "call", "tuple", "get-tuple-element", "parameter")
MOVING = (
    "copy",
    "transpose",
    "slice",
    "dynamic-slice",
    "dynamic-update-slice",
    "concatenate",
    "pad",
    "bitcast",
    "gather",
)


class Instruction(NamedTuple):
    """What a compiled program says of one of its instructions."""

    kind: str  # "product", "moving" or "computing"
    flops: float  # of a product, once
    told: str  # shapes of a product, the name of anything else


def instructions(text: str) -> dict[str, Instruction]:
    """By name, all that may take time; `text` is a compiled program's."""
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if (head := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line)) is not None:
            name = head[1]
            blocks[name] = []
        elif name:
            blocks[name].append(line)
    shapes = {
        found[1]: [int(n) for n in found[2].split(",") if n]
        for lines in blocks.values()
        for line in lines
        if (found := re.match(r"\s*(?:ROOT )?%([\w.\-]+) = \w+\[([\d,]*)\]", line))
    }

    def product(line: str) -> Instruction:
        found = re.search(r"%[\w.\-]+ = \w+\[([\d,]*)\].* dot\(%([\w.\-]+), %([\w.\-]+)\)", line)
        assert found is not None
        out = [int(n) for n in found[1].split(",") if n]
        left, right = shapes[found[2]], shapes[found[3]]
        over = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)
        inner = math.prod(left[int(axis)] for axis in over[1].split(",")) if over else 1
        return Instruction("product", 2.0 * math.prod(out) * inner, f"{left} x {right}")

    found = {}
    for lines in blocks.values():
        for line in lines:
            told = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = .*? ([a-z][\w\-]*)\(", line)
            if told is None or told[2] in CONTROL:
                continue
            own, operation = told[1], told[2]
            called = re.search(r"calls=%([\w.\-]+)", line)
            inside = [inner for inner in blocks.get(called[1], []) if " dot(" in inner] if called else []
            if operation == "dot":
                found[own] = product(line)
            elif inside:
                found[own] = product(inside[0])
            else:
                moves = operation in MOVING or re.sub(r"[_.\d]*fusion[.\d]*$", "", own).split("_")[-1] in MOVING
                found[own] = Instruction("moving" if moves else "computing", 0.0, re.sub(r"[.\d]+$", "", own))
    return found


def traced(work: Any) -> Iterator[tuple[str, float]]:
    """Name and microseconds of all that ran while `work()` did."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            work()
        (file,) = glob.glob(f"{folder}/**/*perfetto_trace.json.gz", recursive=True)
        with gzip.open(file) as opened:
            events = json.load(opened)
    for event in events if isinstance(events, list) else events["traceEvents"]:
        if event.get("ph") == "X":
            yield event["name"], float(event.get("dur", 0.0))


def profile(name: str, quick: bool) -> tuple[int, dict[str, Instruction], dict[str, tuple[float, int]]]:
    """Steps that were trained, the program's instructions, and milliseconds and calls of each."""
    from models import task_of
    from workloads import find

    import hyperjax as hj

    workload, arrays = find(name, quick)
    task, recipe = task_of(name, arrays), hj.Recipe(learning_rate=1e-3, batch_size=workload.batch, epochs=1)
    steps = len(hj.fit(task, recipe).losses)
    (trainer,) = task.trainers.values()
    (program,) = trainer.advance.compiled
    known = instructions(program.as_text())
    spent: dict[str, tuple[float, int]] = collections.defaultdict(lambda: (0.0, 0))
    for event, micros in traced(lambda: hj.fit(task, recipe)):
        if event in known:
            spent[event] = spent[event][0] + micros / 1e3, spent[event][1] + 1
    return steps, known, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", metavar="A,B", default="cnn,resnet,transformer,lstm")
    parser.add_argument("--top", type=int, default=12, help="rows of a table")
    parser.add_argument("--quick", action="store_true", help="small data: shows that it runs")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before XLA makes its threads
    from contest import conditions
    from peak import peak_jax
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    peak = peak_jax()
    console.print(f"{conditions()}\none core, whose best matrix product reaches {peak:.0f} GFLOP/s", highlight=False)
    for name in arguments.workloads.split(","):
        steps, known, spent = profile(name, arguments.quick)
        rows: dict[tuple[str, str], list[float]] = collections.defaultdict(lambda: [0.0, 0.0, 0.0])
        for own, (milliseconds, calls) in spent.items():
            row = rows[known[own].kind, known[own].told]
            row[0], row[1], row[2] = row[0] + milliseconds, row[1] + calls, row[2] + calls * known[own].flops
        total = sum(row[0] for row in rows.values())
        table = Table(title=f"{name}: {total / steps:.2f} ms a step that XLA's instructions account for", box=None)
        for heading in ("what", "", "ms a step", "share", "calls a step", "GFLOP/s"):
            table.add_column(heading, justify="left" if heading in ("what", "") else "right")
        for (kind, told), (milliseconds, calls, flops) in sorted(rows.items(), key=lambda item: -item[1][0])[
            : arguments.top
        ]:
            reached = f"{flops / milliseconds / 1e6:.0f}" if flops else ""
            cells = [
                f"{milliseconds / steps:.2f}",
                f"{100 * milliseconds / total:.0f} %",
                f"{calls / steps:g}",
                reached,
            ]
            table.add_row(kind, told, *cells)
        console.print(table)
        kinds = {kind: sum(row[0] for (of, _), row in rows.items() if of == kind) for kind, _ in rows}
        flops = sum(row[2] for row in rows.values())
        shares = ", ".join(
            f"{kind} {100 * ms / total:.0f} %" for kind, ms in sorted(kinds.items(), key=lambda k: -k[1])
        )
        console.print(
            f"{shares}; products reach {flops / kinds['product'] / 1e6:.0f} GFLOP/s; "
            f"at the peak and alone they would take {flops / steps / peak / 1e6:.2f} ms a step\n",
            highlight=False,
        )


if __name__ == "__main__":
    main()
