"""Bagging: every member learns from a bootstrap sample of the examples, all members in one compiled program."""

from typing import Literal

import jax
import numpy as np

from hyperjax import random
from hyperjax.checks import one_of, positive_integer
from hyperjax.ensembles.ensemble import Ensemble, check_task, join, score
from hyperjax.tasks import Task
from hyperjax.training import Recipe, fit_population, predict
from hyperjax.training.members import recipe_of


def bagging(
    task: Task,
    recipe: Recipe | None = None,
    members: int = 10,
    seed: int = 0,
    combine: Literal["mean", "vote"] = "mean",
    bootstrap: bool = True,
) -> Ensemble:
    """Train members that differ in initial weights, order and bootstrap sample, and let them predict together.

    A bootstrap of n draws from n examples holds each example a number of times that multiplies its loss, and leaves out
    a share of 1/e of them, on which the member can be judged without a validation set (out of bag).

    Args:
        task: with a metric, and targets that are classes, zeros and ones, or real numbers.
        recipe: how each member is trained; None is `Recipe()`.
        members: at least 1; they are one population, compiled once.
        seed: decides bootstrap samples and the members' seeds.
        combine: "mean" of probabilities or outputs; "vote": what most members choose (for real targets it is the mean
            too).
        bootstrap: False: all members see every example (a deep ensemble: seeds alone make them differ).
    Returns: an `Ensemble`; its `out_of_bag` is the task's first metric, over the examples that some member left out.
    Raises: ValueError for a task without a metric or of another kind, or a number of members below 1.
    Source: Breiman 1996, Bagging predictors, Machine Learning 24:123; without bootstrap Lakshminarayanan et al. 2017,
        arXiv:1612.01474.

    >>> from hyperjax.tasks import diabetes
    >>> ensemble = bagging(diabetes(), Recipe(epochs=15), members=4)
    >>> bool(ensemble.score("test") < ensemble.member_scores("test").mean())
    True
    """
    check_task(task, "bagging", ("classes", "binary", "mask", "real"))
    one_of("combine", combine, ("mean", "vote"))
    positive_integer("members", members)
    examples = task.size("train")
    counts = np.stack([_counts(seed, member, examples) for member in range(members)]) if bootstrap else None
    seeds = [seed * members + member for member in range(members)]
    runs = fit_population(task, [recipe_of(recipe)], seeds, example_weights=counts)
    out_of_bag = None
    if counts is not None:
        inputs, targets = task.data["train"]
        outputs = np.stack([predict(run.model, inputs) for run in runs])
        left_out = (counts == 0).astype(np.float64)
        judged = left_out.any(0)
        if judged.any():
            joint = join(outputs[:, judged], left_out[:, judged], combine, task.kind)
            out_of_bag = score(task, joint, np.asarray(targets)[judged])
    return Ensemble(task, tuple(runs), np.full(members, 1 / members), combine, out_of_bag=out_of_bag)


def _counts(seed: int, member: int, examples: int) -> np.ndarray:
    """How often each example is in a member's bootstrap sample."""
    drawn = jax.random.randint(jax.random.fold_in(random.key(seed), member), (examples,), 0, examples)
    return np.bincount(np.asarray(drawn), minlength=examples)
