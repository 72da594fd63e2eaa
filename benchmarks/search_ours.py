"""HyperJAX's searches, kept in a journal as by default, and what sampling and storage take of them."""

import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from searched import (
    ACTIVATIONS,
    CHANNELS,
    DECAYS,
    DROPOUTS,
    OPTIMIZERS,
    PARTS,
    RATES,
    SCHEDULES,
    WIDTHS,
    Data,
    Setting,
    better,
    tell,
)

import hyperjax as hj
from hyperjax.studies.archive import Archive
from hyperjax.studies.samplers import Source


def task_of(name: str, held: Data) -> hj.Task:
    """The network that all contenders train, on the arrays that they read, without scikit-learn and its second."""
    shape = (-1, 8, 8) if name == "cnn" else (-1, 64)
    data = {part: (held[f"{part}_x"].reshape(shape), held[f"{part}_y"].astype(np.int32)) for part in PARTS}

    def model(rngs: nnx.Rngs) -> nnx.Module:
        if name == "cnn":
            return hj.models.CNN(shape[1:], WIDTHS[-1], CHANNELS, norm="batch", rngs=rngs)
        return hj.models.MLP(WIDTHS[0], WIDTHS[-1], WIDTHS[1:-1], rngs=rngs)

    return hj.Task(model, data, loss="cross_entropy", metrics={"accuracy": hj.metrics.accuracy}, name=name)


def space(setting: Setting) -> Any:
    return hj.space(
        optimizer=list(OPTIMIZERS),
        learning_rate=hj.log_uniform(*RATES),
        schedule=list(SCHEDULES),
        weight_decay=hj.log_uniform(*DECAYS),
        dropout=hj.uniform(*DROPOUTS),
        activation=list(ACTIVATIONS),
        batch_size=list(setting.batches),
        epochs=setting.epochs,
    )


class Watched:
    """A source of trials that tells the best of them after each batch, and how long it took itself."""

    def __init__(self, source: Source, setting: Setting):
        self.total, self.seconds = source.total, 0.0
        self._source, self._setting, self._asked, self._best = source, setting, dict[int, dict[str, Any]](), -1.0

    def ask(self) -> list[dict[str, Any]]:
        begin = time.perf_counter()
        asked = self._source.ask()
        self.seconds += time.perf_counter() - begin
        self._asked |= enumerate(asked, len(self._asked))
        return asked

    def tell(self, scores: Mapping[int, float], pruned: Mapping[int, int], standing: Any = None) -> None:
        begin = time.perf_counter()
        self._source.tell(scores, pruned, standing)
        self.seconds += time.perf_counter() - begin
        for number, score in scores.items():
            if number not in pruned and score > self._best:
                self._best = score
                best = {name: value for name, value in self._asked[number].items() if name != "epochs"}
                better(self._setting, best, score)


def watched(setting: Setting) -> tuple[list[Watched], list[float]]:
    """Have the study's source watched, and its storage timed: seconds of each write, beside the training."""
    search, write = import_module("hyperjax.studies.search"), Archive._write_all
    sources, writes, made = list[Watched](), list[float](), search.source_of

    def source_of(*given: Any) -> Watched:
        sources.append(Watched(made(*given), setting))
        return sources[-1]

    def write_all(self: Archive, finished: Any) -> None:
        begin = time.perf_counter()
        write(self, finished)
        writes.append(time.perf_counter() - begin)

    search.source_of, Archive._write_all = source_of, write_all
    return sources, writes


def study(sampler: str, pruner: str | None, setting: Setting, top: int = 0, seeds: int = 0) -> None:
    """A study by `hyperjax.study`. At random it would be one batch, of which nothing is known before its end.

    With a `top` the best trials are trained again on fresh seeds, and the winner by those is the last answer.
    """
    batch = -(-setting.trials // 4) if sampler == "random" else None
    sources, writes = watched(setting)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        ways: dict[str, Any] = {"sampler": sampler, "pruner": pruner, "batch": batch, "storage": Path(folder)}
        task = task_of(setting.task, setting.load())
        found = hj.study(task, space(setting), setting.trials, seed=setting.seed, **ways)
        seconds = time.perf_counter() - begin
    if top:
        numbers = {"activation": ACTIVATIONS[0], "dropout": DROPOUTS[0], "weight_decay": DECAYS[0]}
        default = hj.Recipe(**numbers, epochs=setting.epochs)  # by a program that is there
        winner = hj.studies.confirm(found, task, top, seeds, default=default).winner
        better(setting, winner.trial.values, winner.candidates[0].fresh.mean)
    clock = {name: found.conditions[name] for name in ("compile_seconds", "train_seconds", "programs", "batch")}
    own = {"sampling_seconds": sources[0].seconds, "storage_seconds": sum(writes), "study_seconds": seconds}
    tell(setting.out, ended={"trials": len(found.trials), "pruned": len(found.pruned), **clock, **own})


def population(setting: Setting) -> None:
    """Population based training, which has an answer at its end: the best member's last recipe, and its own weights."""
    from hyperjax.training import evaluate

    task, members = task_of(setting.task, setting.load()), max(setting.trials // 4, 2)
    found = hj.studies.population_based(task, space(setting), members, seed=setting.seed)
    last = found.best.history[-1]
    better(setting, {**last.values, "batch_size": last.recipe.batch_size}, found.best.run.score)
    test = evaluate(task, found.best.run.model, "test")["accuracy"]
    tell(
        setting.out,
        ended={"trials": members, "own_test": float(np.float64(test)), "copies": found.conditions["copies"]},
    )
