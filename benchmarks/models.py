"""Networks larger than `population.py`'s: HyperJAX against PyTorch and Flax on four trainings.

    python benchmarks/models.py                                # everything: about ten minutes on two cores
    python benchmarks/models.py --workloads lstm --rounds 2    # one training
    python benchmarks/models.py --only ours --workloads cnn    # one contender alone, as JSON
    python benchmarks/models.py --quick                        # small data and few steps: shows that it runs

A CNN, a residual network, a decoder-only transformer and an LSTM (see `workloads.py`), each trained by Adam at several
learning rates. Contenders are measured as in `population.py`: a process each, warmed apart, then in turns, round after
round; round r uses seed r. PyTorch trains its trials one after another with all threads, eager and by `torch.compile`
(which needs a C++ compiler), or side by side with a process on each core. Flax calls a jitted step from a loop. Ours is
`fit_population` over all rates, by threads of one process or by a process on each core, and `fit` of one run after
another ("alone"). Shown are medians over the rounds and the range of seconds a trial, the same as milliseconds a step,
the time to ours within a round, the share of the measured matrix peak (FLOPs by XLA's count of stock modules), seconds
that the first call took over a later one (compilation), and the training loss at one rate over the last quarter of the
steps, with a 95 % Student interval over the seeds.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from contest import Process, answer, best, busy, conditions, paired, take_turns
from peak import peak_jax
from workloads import (
    CHANNELS,
    CLASSES,
    HEADS,
    HIDDEN,
    LAYERS,
    VOCABULARY,
    WIDTH,
    WIDTHS,
    WORKLOADS,
    Arrays,
    Measure,
    Outcome,
    Workload,
    find,
    outcome,
)

OURS = ("ours", "ours-pool")
PEERS, ALONE = ("torch", "torch-pool", "torch-compile", "flax"), ("torch", "torch-compile", "flax")


def task_of(name: str, arrays: Arrays) -> Any:
    """A workload as a task of ours."""
    import hyperjax as hj

    shape = arrays[0].shape[1:]
    models: dict[str, Callable[[Any], Any]] = {
        "cnn": lambda rngs: hj.models.CNN(shape, CLASSES, CHANNELS, rngs=rngs),
        "resnet": lambda rngs: hj.models.ResNet(shape, CLASSES, WIDTHS, rngs=rngs),
        "transformer": lambda rngs: hj.models.Transformer(VOCABULARY, WIDTH, LAYERS, HEADS, shape[0], rngs=rngs),
        "lstm": lambda rngs: hj.models.LSTM(shape[1], CLASSES, HIDDEN, rngs=rngs),
    }
    return hj.Task(models[name], {"train": arrays}, loss="cross_entropy", name=name)


def ours(alone: bool, name: str, workload: Workload, arrays: Arrays) -> Measure:
    """All rates by `fit_population`, records included; `alone`: some of them, one after another, by `fit`."""
    import hyperjax as hj

    task = task_of(name, arrays)
    rates = workload.few if alone else workload.rates
    recipes = [hj.Recipe(learning_rate=rate, batch_size=workload.batch, epochs=workload.epochs) for rate in rates]

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        if alone:
            runs = [hj.fit(task, recipe, seed) for recipe in recipes]
        else:
            runs = hj.fit_population(task, recipes, seeds=[seed])
        seconds = time.perf_counter() - begin
        return outcome(seconds, workload, {rate: run.losses for rate, run in zip(rates, runs, strict=True)})

    return measure


def ours_pool(*given: Any) -> Measure:
    from ours_pool import process_a_core

    return process_a_core(*given)


def flax(*given: Any) -> Measure:
    from flax_models import flax_loop

    return flax_loop(*given)


def torch(way: str, *given: Any) -> Measure:
    import torch_models

    ways = {
        "eager": partial(torch_models.torch_lone, False),
        "compiled": partial(torch_models.torch_lone, True),
        "pool": torch_models.torch_pool,
    }
    return ways[way](*given)


class Contender(NamedTuple):
    label: str
    needs: str  # the module without which it is skipped
    make: Callable[[str, Workload, Arrays], Measure]


CONTENDERS = {
    "torch": Contender("PyTorch eager, all threads", "torch", partial(torch, "eager")),
    "torch-pool": Contender("PyTorch eager, a process a core", "torch", partial(torch, "pool")),
    "torch-compile": Contender("torch.compile, all threads", "torch", partial(torch, "compiled")),
    "flax": Contender("Flax NNX loop", "flax", flax),
    "ours": Contender("HyperJAX fit_population", "hyperjax", partial(ours, False)),
    "ours-pool": Contender("HyperJAX, a process a core", "hyperjax", ours_pool),
    "ours-alone": Contender("HyperJAX fit, alone", "hyperjax", partial(ours, True)),
}


def prepare(name: str, workload: str, quick: bool) -> tuple[Callable[[int], dict[str, float]], dict[str, Any]]:
    """How to measure a contender once, given a seed, and what making and warming it told."""
    if name == "peak":
        from flax_models import flops_of

        flops = {each: flops_of(each, *find(each, quick)) for each in workload.split(",")}
        return lambda seed: {"gflops": peak_jax()}, {"flops": flops}
    try:
        measure = CONTENDERS[name].make(workload, *find(workload, quick))
        first = measure(0).seconds
    except Exception as problem:
        if name != "torch-compile":  # which works on some machines alone
            raise
        return lambda seed: {}, {"failed": f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"}
    return lambda seed: measure(seed)._asdict(), {"first": first}


def start(names: list[str], workload: str, quick: bool, say: Callable[[str], None]) -> dict[str, Process]:
    """The processes of those contenders that can be made here, warm."""
    processes = {}
    for name in names:
        process = Process(name, Path(__file__), ["--only", name, "--workloads", workload, *["--quick"] * quick])
        if "failed" in process.ready:
            process.close()
            say(f"{name} is left out: {process.ready['failed']}")
        else:
            processes[name] = process
            say(f"{name} is warm")
    return processes


def table(processes: dict[str, Process], workload: Workload, flops: float, peak: float) -> Any:
    """One row a contender."""
    from rich.table import Table

    from hyperjax.statistics import mean_interval

    title = f"{workload.label}; {workload.steps} steps of {flops / workload.steps / 1e9:.3g} GFLOP a trial"
    made = Table(title=title)
    headings = ("contender", "trials", "s a trial", "range", "ms a step", "to ours", "peak", "once, s", "loss")
    for heading in headings:
        made.add_column(heading, justify="left" if heading == "contender" else "right", no_wrap=True)
    for name, process in processes.items():
        seconds = statistics.median(process.a_trial)
        losses = process.column("loss")
        interval = mean_interval(losses) if len(losses) > 1 else None
        made.add_row(
            CONTENDERS[name].label,
            str(process.results[0]["trials"]),
            f"{seconds:.4f}",
            f"{min(process.a_trial):.4f}-{max(process.a_trial):.4f}",
            f"{1e3 * seconds / workload.steps:.2f}",
            f"{paired(process, processes['ours']):.2f}x" if "ours" in processes else "",
            f"{100 * flops / seconds / peak / 1e9:.0f} %",
            f"{process.first_call:.1f}",
            f"{losses[0]:.3f}" if interval is None else f"{interval.mean:.3f} ± {interval.high - interval.mean:.3f}",
        )
    return made


def verdicts(processes: dict[str, Process], workload: Workload) -> list[tuple[str, float, float, bool]]:
    """The goals: what, measured, at least wanted, met. A lone run should be no slower than the peers' lone runs.

    Of ours as of PyTorch's the better counts, of threads and of a process a core.
    """
    found = []
    for ways, names, goal in ((OURS, PEERS, workload.goal), (("ours-alone",), ALONE, 1.0)):
        own, peer = best(processes, ways), best(processes, names)
        if own is not None and peer is not None:
            ratio = paired(peer, own)
            title = f"{CONTENDERS[own.name].label} to the best peer ({CONTENDERS[peer.name].label})"
            found.append((title, ratio, goal, ratio >= goal))
    return found


def compare(names: list[str], workloads: list[str], quick: bool, rounds: int, save: Path | None) -> None:
    """For each workload: start the contenders, measure them in turns, print the table and the goals."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    header = conditions()
    console.print(header, highlight=False)
    if busy():
        console.print("The machine is busy with something else: these figures will be disturbed.", style="bold")

    def say(words: str) -> None:
        console.print(words, style="dim", highlight=False)

    peaks = start(["peak"], ",".join(workloads), quick, say)["peak"]
    take_turns([peaks], rounds, lambda _: None)
    peak, flops = statistics.median(peaks.column("gflops")), peaks.ready["flops"]
    console.print(f"Matrix product, JAX: {peak:.0f} GFLOP/s")
    record: dict[str, Any] = {"conditions": header.splitlines(), "peak": peaks.results, "flops": flops}
    for name in workloads:
        workload, _ = find(name, quick)
        processes = start(names, name, quick, say)
        take_turns(list(processes.values()), rounds, say)
        console.print(table(processes, workload, flops[name], peak))
        found = verdicts(processes, workload)
        for title, value, wanted, met in found:
            console.print(
                f"{'met   ' if met else 'MISSED'} {title}: {value:.2f} (at least {wanted:g})", highlight=False
            )
        record[name] = {
            "contenders": {each: {"ready": p.ready, "rounds": p.results} for each, p in processes.items()},
            "goals": [dict(zip(("goal", "measured", "wanted", "met"), goal, strict=True)) for goal in found],
        }
    if save is not None:
        save.write_text(json.dumps(record, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    only = [*CONTENDERS, "peak"]
    parser.add_argument("--only", metavar="NAME", choices=only, help=f"one contender, as JSON lines: {', '.join(only)}")
    parser.add_argument("--contenders", metavar="A,B", default=",".join(CONTENDERS), help="which to compare")
    parser.add_argument("--workloads", metavar="A,B", default=",".join(WORKLOADS), help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each; at least 5 for figures to report")
    parser.add_argument("--quick", action="store_true", help="small data and few steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--paced", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = {"contenders": arguments.contenders.split(","), "workloads": arguments.workloads.split(",")}
    for option, known in (("contenders", CONTENDERS), ("workloads", WORKLOADS)):
        unknown = [name for name in chosen[option] if name not in known]
        if unknown:
            parser.error(f"--{option} must be among {', '.join(known)}, got {', '.join(unknown)}")
    if arguments.only:
        name, workload, quick = arguments.only, arguments.workloads, arguments.quick
        if name != "peak" and len(chosen["workloads"]) > 1:
            parser.error(f"--workloads must be one with --only, got {workload}")
        answer(name, lambda: prepare(name, workload, quick), arguments.rounds, arguments.paced)
        return
    present = []
    for name in chosen["contenders"]:
        if importlib.util.find_spec(CONTENDERS[name].needs) is None:
            print(f"{name} is skipped: {CONTENDERS[name].needs} is not installed here (pip install 'hyperjax[bench]')")
        else:
            present.append(name)
    compare(present, chosen["workloads"], arguments.quick, arguments.rounds, arguments.json)


if __name__ == "__main__":
    main()
