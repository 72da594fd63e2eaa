"""HyperJAX as a process on each core: what two shells with `taskset` and half of the settings each would do.

XLA gives a process a pool of one thread for each core that it may use, and hands small operations from one to another.
A process that may use one core alone keeps them all in one thread.
"""

import contextlib
import multiprocessing
import os
import time
from typing import Any

import numpy as np
from setting import cores_available
from workloads import Arrays, Measure, Outcome, Workload, outcome


def _serve(name: str, workload: Workload, arrays: Arrays, core: int, ends: Any) -> None:
    """In a process of its own: for each seed that comes, train its rates and send their losses, f[rates, steps]."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # before XLA is imported, which counts cores then
    from models import task_of

    import hyperjax as hj

    task = task_of(name, arrays)
    recipes = [
        hj.Recipe(learning_rate=rate, batch_size=workload.batch, epochs=workload.epochs) for rate in workload.rates
    ]
    with contextlib.suppress(EOFError):  # whoever asks has ended
        while True:
            runs = hj.fit_population(task, recipes, seeds=[ends.recv()])
            ends.send([np.asarray(run.losses) for run in runs])


def process_a_core(name: str, workload: Workload, arrays: Arrays) -> Measure:
    """`fit_population` in a process on each core, each with its share of the rates."""
    context = multiprocessing.get_context("spawn")
    cores = [*range(cores_available())]
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    shares = [workload.rates[index :: len(cores)] for index in range(min(len(cores), len(workload.rates)))]
    pipes = []
    for core, rates in zip(cores, shares, strict=False):
        here, there = context.Pipe()
        given = (name, workload._replace(arrays=None, rates=rates), arrays, core, there)
        context.Process(target=_serve, args=given, daemon=True).start()
        pipes.append(here)

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        for pipe in pipes:
            pipe.send(seed)
        losses = {
            rate: each
            for pipe, rates in zip(pipes, shares, strict=True)
            for rate, each in zip(rates, pipe.recv(), strict=True)
        }
        return outcome(time.perf_counter() - begin, workload, losses)

    return measure
