"""Run a study: sample recipes, train them as populations, rank them."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np

from hyperjax.checks import positive_integer
from hyperjax.studies.ranges import Range
from hyperjax.studies.samplers import draw
from hyperjax.studies.space import Space
from hyperjax.studies.study import Study, Trial
from hyperjax.tasks import Task
from hyperjax.training.engine import Engine
from hyperjax.training.evaluate import evaluate
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run


class StudyInterrupted(KeyboardInterrupt):
    """A study that was stopped by Ctrl-C; `study` holds the trials that had finished."""

    def __init__(self, study: Study):
        super().__init__(f"interrupted with {len(study.trials)} trials finished")
        self.study = study


def study(
    task: Task,
    space: Space,
    trials: int | None = None,
    seeds: int | Sequence[int] = 1,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    layout: str = "auto",
    width: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Search a space at random (or all of it, when it is made of lists) and rank what was found by validation.

    Args:
        task: what is learnt; it must have a validation set.
        space: what varies; see `hyperjax.space`.
        trials: how many recipes; None is the whole grid where the space is one, else 64.
        seeds: how many seeds to train each recipe with (0, 1, ...), or which.
        seed: of the sampling.
        recipe: what everything outside the space is; None is `Recipe()`.
        layout, width: as in `fit_population`.
        progress: called as `progress(trials done, trials in all)`, first with 0 when all programs are compiled.
    Returns: a `Study`; the best recipe's runs are also measured on the test set, if the task has one.
    Raises: ValueError for arguments that do not fit; StudyInterrupted on Ctrl-C, with what had finished.

    >>> import numpy as np
    >>> from flax import nnx
    >>> from hyperjax.studies import log_uniform, space
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(
    ...     lambda rngs: nnx.Linear(1, 1, rngs=rngs),
    ...     {"train": (x, 3 * x), "validation": (x, 3 * x)},
    ...     loss="squared_error",
    ... )
    >>> found = study(task, space(learning_rate=log_uniform(1e-3, 1.0), epochs=3), trials=8, seeds=2)
    >>> len(found.trials), found.metric, len(found.best.runs)
    (8, 'validation_loss', 2)
    """
    if "validation" not in task.data:
        raise ValueError(f"task must have data['validation'], by which a study ranks, got {task!r}")
    if trials is not None:
        positive_integer("trials", trials)
    if not isinstance(space, Space):
        raise ValueError(f"space must come from hyperjax.space(...), got {space!r}")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    chosen = _chosen(seeds)
    if jax.process_index() > 0:  # of a job, the first process alone reports
        progress = None
    space.refuse_unread(recipe or Recipe())
    begin = time.perf_counter()
    values = draw(space, trials, int(seed), recipe)
    recipes = [space.recipe(v, recipe) for v in values]
    also = [space.recipe(v, recipe) for v in space.corners(values)]
    engine = Engine(task, recipes, chosen, also=also, layout=layout, width=width)
    runs: dict[int, Run] = {}

    def gather(place: int, run: Run) -> None:
        runs[place] = run
        if progress is not None and len(runs) % len(chosen) == 0:
            progress(len(runs) // len(chosen), len(recipes))

    searched = space.searched

    def result(conditions: Mapping[str, Any]) -> Study:
        count = len(chosen)
        whole = [t for t in range(len(recipes)) if all(t * count + s in runs for s in range(count))]
        made = tuple(
            Trial(
                number=t,
                values={n: v for n, v in space.meaningful(values[t], recipe).items() if n in searched},
                recipe=recipes[t],
                runs=tuple(runs[t * count + s] for s in range(count)),
            )
            for t in whole
        )
        return Study(
            task=task.name,
            space={name: text for name, text in space.described().items() if name in searched},
            trials=made,
            metric=task.ranking,
            direction=task.direction,
            seeds=chosen,
            logs=frozenset(n for n, entry in searched.items() if isinstance(entry, Range) and entry.log),
            continuous=frozenset(n for n, entry in searched.items() if isinstance(entry, Range) and not entry.integer),
            fixed={name: text for name, text in space.described().items() if name not in searched},
            test=_on_test(task, made, task.direction),
            conditions={
                **_machine(),
                **conditions,
                "seconds": time.perf_counter() - begin,
                "asked_trials": len(recipes),
            },
        )

    try:
        engine.compile()
        if progress is not None:
            progress(0, len(recipes))
        conditions = engine.run(on_run=gather).conditions
    except KeyboardInterrupt:
        raise StudyInterrupted(result({"interrupted": True, "programs": len(engine.groups)})) from None
    return result(conditions)


def _chosen(seeds: Any) -> tuple[int, ...]:
    if isinstance(seeds, int | float | np.number | str) or not isinstance(seeds, Iterable):
        return tuple(range(positive_integer("seeds", seeds)))
    listed = tuple(seeds)
    if len(set(listed)) < len(listed):  # the interval would count one run twice
        raise ValueError(f"seeds must differ from one another, got {list(listed)}")
    return listed


def _on_test(task: Task, trials: tuple[Trial, ...], direction: str) -> dict[str, float]:
    """Means over the best trial's seeds on the test set."""
    if "test" not in task.data or not trials:
        return {}
    best = Study("", {}, trials, "", direction, ()).best
    if best.diverged:
        return {}
    rows = [evaluate(task, run.model, "test") for run in best.runs]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _machine() -> dict[str, Any]:
    packages = {name: _version(name) for name in ("hyperjax", "jax", "flax", "optax")}
    return {
        "versions": {"python": platform.python_version(), **packages},
        "backend": jax.default_backend(),
        "devices": len(jax.devices()),
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its sources: no reason to lose a study
        return "not installed"
