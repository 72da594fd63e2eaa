"""How far a population scales: members, devices, processes, and what a segment costs beside its steps.

    python benchmarks/scale.py                     # everything: about five minutes on two cores
    python benchmarks/scale.py --parts members     # one part of it
    python benchmarks/scale.py --quick             # few members and steps: shows that it runs

Digits, MLP 64-128-128-10, Adam, batches of 64, 5 epochs; members differ in their seed. Every setting is measured in a
fresh process: the first call apart (compilation), then in turns with the others of its part, round after round.

members    trials a second of 1 to 1024 members; the process's greatest resident memory, and by how much it lies over
           that before the first program; what XLA says that the chunks in work at a time need.
devices    the same members over 1, 2 and 4 virtual devices of this processor, under both layouts.
processes  one process on one core, then two on a core each with half of the seeds, at the same time.
segments   one run in segments of fewer and fewer steps, and milliseconds that a segment takes beside them.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from contest import Process, answer, busy, conditions, paired, take_turns

PARTS = ("members", "devices", "processes", "segments")
MEMBERS, QUICK_MEMBERS = (1, 4, 16, 64, 256, 1024), (1, 2, 4)
DEVICES, LAYOUTS = (1, 2, 4), ("map", "vmap")
SEGMENTS = (None, 115, 23, 8, 2)  # steps in a segment; None: the whole run. An epoch has 23
NEAR = 0.9  # of the best rate: from there on the curve counts as flat


@dataclass(frozen=True)
class Setting:
    """What one process trains."""

    members: int = 64
    epochs: int = 5
    first: int = 0  # seed
    layout: str = "auto"
    devices: int = 1
    core: int | None = None  # the only one that it may use
    segment_steps: int | None = None
    alone: bool = False  # one run by `fit`

    @property
    def label(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value != getattr(Setting, name))


def prepare(setting: Setting) -> tuple[Callable[[int], dict[str, float]], dict[str, float]]:
    """How to train a setting once, given a number that seeds come after, and what making and warming it told."""
    if setting.core is not None:
        os.sched_setaffinity(0, {setting.core})
    if setting.devices > 1:  # read when the first array is made
        flag = f"--xla_force_host_platform_device_count={setting.devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    import jax

    import hyperjax as hj

    task = hj.tasks.digits()
    recipe = hj.Recipe(batch_size=64, epochs=setting.epochs)
    jax.block_until_ready(task.arrays)
    before = resident()

    def measure(turn: int) -> dict[str, float]:
        seeds = [1024 * turn + setting.first + i for i in range(setting.members)]
        begin = time.perf_counter()
        if setting.alone:
            hj.fit(task, recipe, seeds[0], segment_steps=setting.segment_steps)
        else:
            hj.fit_population(task, [recipe], seeds, layout=setting.layout, devices=jax.devices())
        return {"seconds": time.perf_counter() - begin, "trials": setting.members, "resident": resident()}

    first = measure(0)["seconds"]
    return measure, {"first": first, "before": before, "xla": needed(task, recipe, setting)}


def resident() -> float:
    """Bytes of memory that this process has had at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def needed(task: Any, recipe: Any, setting: Setting) -> float:
    """Bytes that XLA's analysis gives for as many chunks as are in work at a time."""
    import jax

    from hyperjax.training.engine import Engine

    if setting.alone:
        return 0.0
    engine = Engine(task, [recipe], range(setting.members), layout=setting.layout, devices=jax.devices())
    (group,) = engine.groups
    trainer = group.trainer
    settings, roots = trainer.shapes(group.width)
    carry = jax.eval_shape(trainer.init.mapped, settings, roots)
    return float(trainer.advance.memory(carry, settings, roots, trainer.data, np.int32(0))[0])


def started(settings: Sequence[Setting]) -> list[Process]:
    """Processes of settings, each warm before the next begins."""
    program = Path(__file__)
    return [Process(each.label, program, ["--setting", json.dumps(asdict(each))]) for each in settings]


def rate(process: Process) -> float:
    """Trials a second, median over the rounds."""
    return 1 / statistics.median(process.a_trial)


def quiet(_: str) -> None:
    """Rounds are short here."""


def members(basis: Setting, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """The curve over members, and where it bends."""
    processes = started([replace(basis, members=size) for size in sizes])
    take_turns(processes, rounds, quiet)
    print(f"\n{'members':>8s}{'trials/s':>10s}{'of best':>9s}{'resident MB':>13s}{'training MB':>13s}{'XLA MB':>8s}")
    rates = [rate(process) for process in processes]
    for size, process, each in zip(sizes, processes, rates, strict=True):
        peak = max(process.column("resident"))
        rise, xla = peak - process.ready["before"], process.ready["xla"]
        print(f"{size:8d}{each:10.1f}{100 * each / max(rates):8.0f}%", end="")
        print(f"{peak / 1e6:13.0f}{rise / 1e6:13.0f}{xla / 1e6:8.1f}")
    for sentence in explained(sizes, rates):
        print(sentence)
    return {"members": list(sizes), "rates": rates}


def explained(sizes: Sequence[int], rates: Sequence[float]) -> list[str]:
    """Why the curve bends where it does: what a call costs beside its members, and cores that have nothing to do.

    Seconds of a call are `fixed + each * members` where all cores work, by least squares of relative errors over the
    sizes that keep them busy.

    >>> for sentence in explained([1, 2, 4, 8, 16], [4.0, 10.0, 14.3, 18.2, 21.05]):
    ...     print(sentence)
    The curve bends at 16 members: from there on the rate is at least 90 % of the best, 21.1 trials/s.
    A call costs 120 ms beside its members and 40 ms for each, so 3 members take as long as the call itself.
    Beside the call one member alone takes 130 ms: among others members pass 3.3 times as fast, on all cores.
    """
    best = max(rates)
    bend = next(size for size, each in zip(sizes, rates, strict=True) if each >= NEAR * best)
    found = [
        f"The curve bends at {bend} members: from there on the rate is at least {100 * NEAR:.0f} % of the best, "
        f"{best:.1f} trials/s."
    ]
    many = [(size, size / each) for size, each in zip(sizes, rates, strict=True) if size > 1]
    if len(many) > 1:
        count, seconds = np.array(many).T
        shape = np.stack([np.ones_like(count), count], 1) / seconds[:, None]
        fixed, each = np.linalg.lstsq(shape, np.ones_like(count), rcond=None)[0]
        found.append(
            f"A call costs {1e3 * fixed:.0f} ms beside its members and {1e3 * each:.0f} ms for each, so "
            f"{max(fixed, 0) / each:.0f} members take as long as the call itself."
        )
        if sizes[0] == 1:
            alone = 1 / rates[0] - fixed
            found.append(
                f"Beside the call one member alone takes {1e3 * alone:.0f} ms: among others members pass "
                f"{alone / each:.1f} times as fast, on all cores."
            )
    return found


def devices(basis: Setting, counts: Sequence[int], rounds: int) -> dict[str, Any]:
    """The same members over more and more virtual devices."""
    found = {}
    print(f"\n{'layout':>8s}{'devices':>9s}{'trials/s':>10s}{'to one':>8s}   ({basis.members} members)")
    for layout in LAYOUTS:
        processes = started([replace(basis, layout=layout, devices=count) for count in counts])
        take_turns(processes, rounds, quiet)
        for count, process in zip(counts, processes, strict=True):
            found[f"{layout} {count}"] = rate(process)
            print(f"{layout:>8s}{count:9d}{rate(process):10.1f}{paired(processes[0], process):7.2f}x")
    return found


def processes_apart(basis: Setting, rounds: int) -> dict[str, Any]:
    """One process on a core against two on a core each, with half of the seeds each."""
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        print("\nTwo processes on a core each are left out: this needs two cores that processes can be held to.")
        return {}
    half = basis.members // 2
    (one,) = started([replace(basis, core=cores[0])])
    two = started([replace(basis, members=half, first=half * i, core=core) for i, core in enumerate(cores)])
    alone, together = [], []
    for turn in range(rounds):
        one.measure(turn)
        for process in two:
            process.ask(turn)
        for process in two:
            process.take()
        alone.append(basis.members / one.results[-1]["seconds"])
        together.append(2 * half / max(process.results[-1]["seconds"] for process in two))
    for process in (one, *two):
        process.close()
    ratio = statistics.median(b / a for a, b in zip(alone, together, strict=True))
    print(f"\n1 process on a core: {statistics.median(alone):.1f} trials/s ({basis.members} members)")
    print(f"2 processes, a core each, half of the seeds each: {statistics.median(together):.1f} trials/s")
    print(f"{'met   ' if ratio >= 1.9 else 'MISSED'} two processes to one: {ratio:.2f} (at least 1.9)")
    return {"one": alone, "two": together, "ratio": ratio}


def segments(basis: Setting, lengths: Sequence[int | None], rounds: int) -> dict[str, Any]:
    """One run in shorter and shorter segments."""
    lone = replace(basis, members=1, alone=True)
    processes = started([replace(lone, segment_steps=length) for length in lengths])
    take_turns(processes, rounds, quiet)
    steps, whole = 23 * basis.epochs, processes[0]
    print(f"\n{'segments':>9s}{'steps each':>12s}{'s a run':>10s}{'ms a segment over its steps':>29s}")
    found = {}
    for length, process in zip(lengths, processes, strict=True):
        count = -(-steps // (length or steps))
        seconds = statistics.median(process.a_trial)
        over = [b - a for a, b in zip(whole.a_trial, process.a_trial, strict=True)]
        cost = 1e3 * statistics.median(over) / (count - 1) if count > 1 else float("nan")
        found[str(length)] = {"segments": count, "seconds": process.a_trial, "milliseconds": cost}
        print(f"{count:9d}{length or steps:12d}{seconds:10.4f}{f'{cost:.3f}' if count > 1 else '':>29s}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", metavar="A,B", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--quick", action="store_true", help="few members and steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    parser.add_argument("--paced", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.setting:
        setting = Setting(**json.loads(arguments.setting))
        answer(setting.label, lambda: prepare(setting), arguments.rounds, arguments.paced)
        return
    parts, quick, rounds = arguments.parts.split(","), arguments.quick, arguments.rounds
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"--parts must be among {', '.join(PARTS)}, got {', '.join(unknown)}")
    header = conditions()
    print(header)
    if busy():
        print("The machine is busy with something else: these figures will be disturbed.")
    basis = Setting(members=4, epochs=1) if quick else Setting()
    run = {
        "members": lambda: members(basis, QUICK_MEMBERS if quick else MEMBERS, rounds),
        "devices": lambda: devices(basis, DEVICES[:2] if quick else DEVICES, rounds),
        "processes": lambda: processes_apart(basis, rounds),
        "segments": lambda: segments(basis, (None, 8) if quick else SEGMENTS, rounds),
    }
    record = {"conditions": header.splitlines(), "setting": asdict(basis)} | {part: run[part]() for part in parts}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
