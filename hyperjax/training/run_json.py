"""Runs to JSON and back: what a table and a page need, exactly. Trained weights lie elsewhere, as arrays."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from hyperjax import random
from hyperjax.models.adapters import given_back
from hyperjax.tasks import Task
from hyperjax.training.functional import Functional
from hyperjax.training.in_force import in_force
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

Arrays = Mapping[str, np.ndarray]
STEP = "step"  # the array that is no leaf of the model


def about(run: Run) -> dict[str, Any]:
    """A run as JSON holds it: metrics at each validation and how it ended, but nothing step by step.

    >>> from hyperjax.tasks import digits
    >>> from hyperjax.training import fit
    >>> about(fit(digits(), Recipe(epochs=1, batch_size=512)))["epochs"]
    [1.0]
    """
    return {
        "seed": int(run.seed),
        "epochs": run.epochs.tolist(),
        "metrics": {name: _numbers(values) for name, values in run.metrics.items()},
        "dtypes": {name: str(v.dtype) for name, v in run.metrics.items() if v.dtype != np.float32},
        "total_steps": run.total_steps,
        "steps_done": run.steps_done,
        "diverged_at": run.diverged_at,
        "finished": run.finished,
        "best": run.best,
        "layout": run.layout,
    }


def recalled(task: Task, recipe: Recipe, told: Mapping[str, Any], arrays: Callable[[], Arrays] | None = None) -> Run:
    """The run that `about` told of: equal metrics and score, no record of steps.

    Args:
        task, recipe: what was trained.
        told: what `about` gave.
        arrays: gives what `trained_arrays` took from the run; None where that was not kept, and the run has no model.
    Raises: ValueError for JSON that tells of no run.
    """
    nothing = np.zeros(0, np.float32)
    try:
        metrics = {
            name: np.array([float(value) for value in values], told["dtypes"].get(name, np.float32))
            for name, values in told["metrics"].items()
        }
        return Run(
            recipe=recipe,
            seed=told["seed"],
            steps=np.zeros(0, np.int64),
            losses=nothing,
            gradient_norms=nothing,
            update_norms=nothing,
            epochs=np.asarray(told["epochs"], np.float64),
            metrics=metrics,
            metric=task.ranking,
            direction=task.direction,
            total_steps=told["total_steps"],
            steps_done=told["steps_done"],
            diverged_at=told["diverged_at"],
            finished=told["finished"],
            layout=told["layout"],
            best=told["best"],
            _numbers=partial(_in_force, task, recipe),
            _model=partial(_model, task, recipe, told["seed"], arrays),
            _task=task,
            has_model=arrays is not None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"JSON must tell of a run, got {str(told)[:60]}, where {error!r}") from None


def trained_arrays(run: Run) -> dict[str, np.ndarray]:
    """What a run's model was trained to, by paths; of a run that was trained by this process."""
    assert run._trained is not None
    step, weights, rest = run._trained()
    return {STEP: np.asarray(step), **{name: np.asarray(leaf) for name, leaf in _named((weights, rest))}}


def _named(parts: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(parts)]


def _numbers(values: np.ndarray) -> list[float | str]:
    """The shortest numbers that become these again; as text where JSON has none.

    >>> _numbers(np.array([0.1, np.nan], np.float32)), _numbers(np.array([0.1], np.float32).astype(np.float64))
    ([0.1, 'nan'], [0.10000000149011612])
    """
    short = [float(str(value)) for value in values]
    same = np.array(short).astype(values.dtype) == values  # all, but for what lies halfway between two in float64 too
    return [
        (close if right else float(value)) if math.isfinite(close) else str(value)
        for close, right, value in zip(short, same, values, strict=True)
    ]


def _in_force(task: Task, recipe: Recipe, name: str, steps: np.ndarray) -> np.ndarray:
    settings, structure = recipe.lower(task)
    return in_force(task, structure.member(settings.parts), recipe, settings, None, name, steps)


def _model(task: Task, recipe: Recipe, seed: int, arrays: Callable[[], Arrays] | None) -> Any:
    if arrays is None:
        raise ValueError(
            f"model must be that of a run whose weights were kept, got one of which only the metrics were, {recipe!r} "
            f"with seed {seed}; hj.fit(task, run.recipe, run.seed) trains it again"
        )
    settings, structure = recipe.lower(task)
    functional = Functional(task, dict(structure.model), dict(structure.choices), structure.numbers)
    found, expected, leaves = arrays(), (functional.weights, functional.rest), []
    for name, like in _named(expected):
        array = found.get(name)
        if array is None or array.shape != like.shape or array.dtype.itemsize != like.dtype.itemsize:
            kind = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise ValueError(
                f"weights that were kept must be those of this task's model, {like.dtype}{list(like.shape)} at {name}, "
                f"got {kind}"
            )
        leaves.append(jax.numpy.asarray(array.view(like.dtype)))  # NumPy reads bfloat16 as bytes
    weights, rest = jax.tree.unflatten(jax.tree.structure(expected), leaves)
    numbers = settings.model_numbers_at(max(int(found[STEP]) - 1, 0))
    model = functional.model(weights, rest, numbers, random.streams(seed).masks, training=True)
    model.eval()
    return given_back(model)
