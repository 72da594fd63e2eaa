"""A trained model's metrics over one of a task's sets."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from hyperjax.checks import one_of
from hyperjax.tasks import Task
from hyperjax.types import PyTree


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
    predictions = predict(model, inputs)
    return {name: float(np.mean(measure(predictions, targets))) for name, measure in task.measures.items()}


def predict(model: nnx.Module, inputs: PyTree) -> np.ndarray:
    """A model's outputs, in evaluation mode, computed in blocks of 2048 examples.

    Args:
        model: as `run.model` gives it; it is not changed.
        inputs: arrays with a leading axis of examples.

    >>> from hyperjax.models import MLP
    >>> predict(MLP(4, 3, rngs=nnx.Rngs(0)), np.ones((5, 4), np.float32)).shape
    (5, 3)
    """
    model = nnx.clone(model)
    model.eval()
    graph, state = nnx.split(model)
    size = len(jax.tree.leaves(inputs)[0])
    blocks = [jax.tree.map(lambda a, i=i: a[i : i + 2048], inputs) for i in range(0, size, 2048)]
    return np.concatenate([np.asarray(_predict(graph, state, block)) for block in blocks])


@functools.partial(jax.jit, static_argnums=0)
def _predict(graph: nnx.GraphDef[nnx.Module], state: Any, inputs: Any) -> Any:
    return nnx.merge(graph, state)(inputs)
