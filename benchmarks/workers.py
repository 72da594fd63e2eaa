"""How much faster two workers are at one study than one: trials a second, each worker on a core of its own.

    python benchmarks/workers.py                               # a journal in a folder of its own
    python benchmarks/workers.py --storage postgresql+psycopg://me@127.0.0.1:5432/postgres
    python benchmarks/workers.py --sampler tpe --trials 320    # whose workers wait for each other after every batch
    python benchmarks/workers.py --quick                       # few short trials: shows that it runs

Digits by the default MLP for ten epochs; searched are rate, decay, dropout and activation. Each worker has compiled its
program before the clock starts, and all are let go at once; the clock ends when the last one has the whole study. One
and two workers take turns. The server of a database has no core of its own: it takes its time from the workers. Studies
are named anew each time, and deleted from a database at the end.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

GOAL = 1.8
WORKERS = (1, 2)


def work(storage: str, name: str, core: int, trials: int, epochs: int, sampler: str) -> None:
    """In a worker's process: compile, wait for a line, take part, and say from when to when."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    import hyperjax as hj

    task = hj.tasks.digits()
    space = hj.space(
        learning_rate=hj.log_uniform(1e-4, 1e-1),
        weight_decay=hj.log_uniform(1e-6, 1e-1),
        dropout=hj.uniform(0.0, 0.5),
        activation=["relu", "tanh"],
        epochs=epochs,
    )

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):  # when all is compiled
        hj.study(task, space, trials, sampler=sampler, progress=stop)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.time()
    found = hj.study(task, space, trials, sampler=sampler, storage=storage, name=name, shared=True)
    print(json.dumps([begin, time.time(), len(found.trials)]), flush=True)


def rate(storage: str, workers: int, given: argparse.Namespace) -> float:
    """Trials a second of so many workers at a new study."""
    name = f"workers-{uuid.uuid4().hex[:8]}"
    own = ["--trials", str(given.trials), "--epochs", str(given.epochs), "--sampler", given.sampler]
    command = [sys.executable, __file__, "--storage", storage, *own, "--worker", name]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, str(core)], **pipes) for core in range(workers)]
    for process in running:
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("a worker ended early; its words are above")
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    told = [json.loads(process.stdout.readline() or "null") for process in running]
    for process in running:
        process.wait()
    if None in told or any(count != given.trials for _, _, count in told):
        raise SystemExit(f"the workers did not have all {given.trials} trials at their end: {told}")
    forget(storage, name)
    return given.trials / (max(end for _, end, _ in told) - min(begin for begin, _, _ in told))


def forget(storage: str, name: str) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    where = storage if "://" in storage else optuna.storages.JournalStorage(JournalFileBackend(storage))
    for own in (name, f"{name}: workers"):
        optuna.delete_study(study_name=own, storage=where)


def main() -> None:
    from contest import busy, conditions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", metavar="URL", help="a database that is there; a journal if left out")
    parser.add_argument("--sampler", default="random", help="of the study; random if left out")
    parser.add_argument("--trials", type=int, help="of the study; 768 if left out")
    parser.add_argument("--epochs", type=int, help="of a trial; 10 if left out")
    parser.add_argument("--repeats", type=int, help="3 if left out")
    parser.add_argument("--quick", action="store_true", help="32 trials of two epochs, once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for option, (full, quick) in {"trials": (768, 32), "epochs": (10, 2), "repeats": (3, 1)}.items():
        if getattr(given, option) is None:
            setattr(given, option, quick if given.quick else full)
        elif getattr(given, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(given, option)}")
    if given.worker:
        name, core = given.worker
        work(given.storage, name, int(core), given.trials, given.epochs, given.sampler)
        return
    header = conditions()
    print(header)
    if busy():
        print("The machine is busy with something else: these figures will be disturbed.")
    rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(given.repeats):
            for workers in WORKERS[:: -1 if repeat % 2 else 1]:
                rates[workers].append(rate(given.storage or f"{folder}/study.journal", workers, given))
    for workers, own in rates.items():
        told = f"{statistics.median(own):.1f} trials/s ({min(own):.1f}-{max(own):.1f})"
        print(f"{workers} worker{'s' * (workers > 1)}: {told}")
    ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    met = ratio >= GOAL
    print(f"{'met   ' if met else 'MISSED'} two workers to one: {ratio:.2f} ({GOAL:g} wanted)")
    if given.json is not None:
        goal = {"measured": ratio, "wanted": GOAL, "met": met}
        told = {"conditions": header.splitlines(), "trials": given.trials, "sampler": given.sampler}
        given.json.write_text(json.dumps({**told, "rates": rates, "goal": goal}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
