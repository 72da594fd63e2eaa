"""Real trainings with planted faults: what `diagnoses.py` judges diagnoses by, and repairs.

A fault is planted in a recipe that suits its task, or in the task's data. A fault that a task shrugs off, whose end is
no worse than the unfaulted recipe's over the seeds, is left out: there is nothing to find.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

import hyperjax as hj
from hyperjax.schedules import fraction, piecewise_constant
from hyperjax.tasks import Task, find
from hyperjax.training import Recipe, Runs

HEALTHY = ("healthy", "cosine decay", "warm-up", "cyclic schedule", "restarts")
OF_DATA = ("few examples", "label noise")
FAULTS = ("rate x30", "rate /30", "plateau", "late divergence", "too much decay", *OF_DATA)


class Planted(NamedTuple):
    """A task and a recipe with a fault, and the runs of it."""

    kind: str
    task: Task
    recipe: Recipe
    runs: Runs


def suited(name: str) -> tuple[Task, Recipe]:
    """A bundled task with a recipe that suits it at a constant rate, long enough to be looked at."""
    if name == "mnist1d":
        task = hj.tasks.mnist1d("mlp")
        data = {part: tuple(a[:1000] for a in arrays) for part, arrays in task.data.items()}
        return replace(task, data=data), Recipe(
            **{**task.recipe, "schedule": "constant", "learning_rate": 2e-3, "dropout": 0.5, "epochs": 20}
        )
    task = find(name)
    return task, Recipe(**{"epochs": 20, **task.recipe, "schedule": "constant"}).replace(epochs=20)


def planted(name: str, seeds: list[int], data: int = 0) -> list[Planted]:
    """All kinds of runs of a task; recipes on the same data share a program."""
    task, recipe = suited(name)
    rate = recipe.learning_rate
    assert isinstance(rate, float)
    recipes = {
        "healthy": recipe,
        "cosine decay": recipe.replace(schedule="cosine_decay"),
        "warm-up": recipe.replace(warmup=fraction(0.1)),
        "cyclic schedule": recipe.replace(schedule="triangular"),
        "restarts": recipe.replace(schedule="cosine_restarts"),
        "rate x30": recipe.replace(learning_rate=rate * 30),
        "rate /30": recipe.replace(learning_rate=rate / 30),
        "plateau": recipe.replace(learning_rate=piecewise_constant(rate / 3, {fraction(0.04): 1e-4})),
        "late divergence": recipe.replace(learning_rate=piecewise_constant(rate, {fraction(0.7): 3000.0})),
        "too much decay": recipe.replace(weight_decay=0.05 / rate),
    }
    found = _trained(task, recipes, seeds)
    few, noisy = _few(task, data), _noisy(task, data)
    plain = recipe.replace(dropout=None if recipe.dropout is None else 0.0, weight_decay=0.0)
    found += _trained(few, {"few examples": plain.replace(epochs=120, batch_size=8)}, seeds)
    return found + _trained(noisy, {"label noise": plain.replace(epochs=40)}, seeds)


def _trained(task: Task, recipes: dict[str, Recipe], seeds: list[int]) -> list[Planted]:
    runs = hj.fit_population(task, list(recipes.values()), seeds=seeds)
    return [
        Planted(kind, task, recipe, runs[i * len(seeds) : (i + 1) * len(seeds)])
        for i, (kind, recipe) in enumerate(recipes.items())
    ]


def _few(task: Task, seed: int) -> Task:
    x, y = task.data["train"]
    kept = np.random.default_rng(seed).permutation(len(x))[: max(25, len(x) // 20)]
    return replace(task, data={**task.data, "train": (x[kept], y[kept])})


def _noisy(task: Task, seed: int, share: float = 0.4) -> Task:
    x, y = task.data["train"]
    draw = np.random.default_rng(seed)
    hit = draw.permutation(len(y))[: int(share * len(y))]
    y = np.array(y)
    y[hit] = y[draw.permutation(hit)]
    return replace(task, data={**task.data, "train": (x, y)})


def worse(planted: Planted, healthy: Planted) -> bool:
    """True where the fault did harm: the end is worse than without, by two standard errors over the seeds."""
    if any(run.diverged for run in planted.runs):
        return True
    ends, others = (np.array([end(run) for run in each.runs]) for each in (planted, healthy))
    error = np.sqrt(ends.var(ddof=1) / len(ends) + others.var(ddof=1) / len(others))
    return bool(ends.mean() - others.mean() > 2 * error)


def end(run: hj.training.Run) -> float:
    """The validation loss over the last tenth of a run."""
    losses = run.metrics["validation_loss"]
    return float(losses[-max(1, len(losses) // 10) :].mean())
