"""Boosting: each member learns what those before it got wrong; SAMME for classes, residuals for real targets."""

import math

import numpy as np

from hyperjax.checks import positive_integer, within
from hyperjax.ensembles.ensemble import Ensemble, check_task
from hyperjax.tasks import Task
from hyperjax.training import Recipe, Run, fit_population, predict
from hyperjax.training.members import recipe_of


def boosting(
    task: Task, recipe: Recipe | None = None, members: int = 10, seed: int = 0, learning_rate: float = 1.0
) -> Ensemble:
    """Train members one after another, each on what the ones before got wrong.

    Classes (SAMME): examples start with equal weights; a member with weighted error e of K classes gets the weight

        a = learning_rate * (log((1 - e) / e) + log(K - 1))

    and the examples that it gets wrong are multiplied by exp(a). The prediction is a vote by these weights. A member no
    better than guessing, or without any error, ends the sequence: what learns a training set by heart cannot be
    boosted, so members should be weak (narrow, few epochs).

    Real targets (gradient boosting of the squared error): members fit the residuals of the sum so far,

        F <- F + learning_rate * h,  h fitted to y - F,  F = mean of y at first

    All rounds are one compiled program; weights and residuals are its data.

    Args:
        task: with a metric, and targets that are classes, or real with the loss `squared_error`.
        recipe: how each member is trained; None is `Recipe()`.
        members: at most so many, at least 1.
        seed: of the first member; the next ones have the next seeds.
        learning_rate: shrinkage in (0, 1] of each member's part.
    Returns: an `Ensemble`, shorter than `members` where the sequence ended before.
    Raises: ValueError for a task of another kind, a number of members below 1, or a rate out of its range.
    Source: Zhu, Zou, Rosset & Hastie 2009, Multi-class AdaBoost, Statistics and its Interface 2:349, algorithm 2;
        Friedman 2001, Greedy function approximation: a gradient boosting machine, algorithm 2.

    >>> from hyperjax.tasks import diabetes
    >>> ensemble = boosting(diabetes(), Recipe(epochs=15), members=4, learning_rate=0.5)
    >>> scores = ensemble.staged_scores("train")
    >>> bool(scores[-1] < scores[0])
    True
    """
    check_task(task, "boosting", ("classes", "real"))
    positive_integer("members", members)
    within("learning_rate", learning_rate, 0.0, 1.0, open_low=True)
    recipe = recipe_of(recipe)
    if task.kind == "classes":
        return _samme(task, recipe, members, seed, learning_rate)
    loss = recipe.loss or task.loss
    if loss != "squared_error":
        raise ValueError(f"loss must be 'squared_error' for boosting of real targets, got {loss!r}")
    return _residuals(task, recipe, members, seed, learning_rate)


def _samme(task: Task, recipe: Recipe, members: int, seed: int, learning_rate: float) -> Ensemble:
    inputs, labels = (np.asarray(array) for array in task.data["train"])
    shares = np.full(len(labels), 1 / len(labels))
    runs: list[Run] = []
    weights: list[float] = []
    for number in range(members):
        run = fit_population(task, [recipe], [seed + number], example_weights=shares[None] * len(labels))[0]
        output = predict(run.model, inputs)
        wrong = output.argmax(-1) != labels
        error, classes = float(shares[wrong].sum()), output.shape[-1]
        useless, perfect = error >= 1 - 1 / classes, error <= 0
        if useless and runs:
            break
        bounded = min(max(error, 1e-10), 1 - 1e-10)
        weight = learning_rate * (math.log((1 - bounded) / bounded) + math.log(max(classes - 1, 1)))
        runs.append(run)
        weights.append(max(weight, 1e-10))
        if useless or perfect:
            break
        shares = shares * np.exp(weight * wrong)
        shares /= shares.sum()
    return Ensemble(task, tuple(runs), np.array(weights), "vote")


def _residuals(task: Task, recipe: Recipe, members: int, seed: int, learning_rate: float) -> Ensemble:
    inputs, targets = (np.asarray(array) for array in task.data["train"])
    base = targets.mean(0)
    total: np.ndarray = np.broadcast_to(base, targets.shape).astype(np.float32)
    runs: list[Run] = []
    for number in range(members):
        run = fit_population(task, [recipe], [seed + number], targets=(targets - total)[None])[0]
        total = total + learning_rate * predict(run.model, inputs)
        runs.append(run)
    return Ensemble(task, tuple(runs), np.full(members, learning_rate), "sum", base)
