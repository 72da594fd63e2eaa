"""A trained model's metrics over one of a task's sets."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from hyperjax.checks import one_of
from hyperjax.tasks import Task


def evaluate(task: Task, model: nnx.Module, part: str = "validation") -> dict[str, float]:
    """Mean of each of the task's metrics over a set, the model in evaluation mode.

    Args:
        task: gives the data and the metrics.
        model: as `run.model` gives it.
        part: "train", "validation" or "test".
    Returns: name -> mean; empty for a task without metrics of its own.
    Raises: ValueError for a set that the task lacks.

    >>> from hyperjax.tasks import digits
    >>> from hyperjax.training import Recipe, fit
    >>> run = fit(digits(), Recipe(epochs=2))
    >>> scores = evaluate(digits(), run.model, "validation")
    >>> abs(scores["accuracy"] - run.score) < 1e-6
    True
    """
    one_of("part", part, task.data)
    if task.objective is not None:
        return {}
    inputs, targets = task.arrays[part]
    model = nnx.clone(model)
    model.eval()
    graph, state = nnx.split(model)
    size = len(jax.tree.leaves(targets)[0])
    blocks = [slice(i, i + 2048) for i in range(0, size, 2048)]
    predictions = [_predict(graph, state, jax.tree.map(lambda a, b=block: a[b], inputs)) for block in blocks]
    totals: dict[str, float] = {}
    for name, measure in task.measures.items():
        values = [np.asarray(measure(p, targets[b])) for p, b in zip(predictions, blocks, strict=True)]
        totals[name] = float(np.concatenate(values).mean())
    return totals


@functools.partial(jax.jit, static_argnums=0)
def _predict(graph: nnx.GraphDef[nnx.Module], state: Any, inputs: Any) -> Any:
    return nnx.merge(graph, state)(inputs)
