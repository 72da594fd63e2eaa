"""A trained model's metrics over one of a task's sets."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from hyperjax import random
from hyperjax.checks import one_of
from hyperjax.models.adapters import as_module, in_mode
from hyperjax.tasks import Task
from hyperjax.types import PyTree


def evaluate(task: Task, model: Any, part: str = "validation") -> dict[str, float]:
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
    if part == "train":
        task.require_arrays("evaluate")
    if task.objective is not None:
        return {}
    inputs, targets = task.arrays[part]
    predictions = predict(model, inputs)
    return {name: float(np.mean(measure(predictions, targets))) for name, measure in task.measures.items()}


def predict(model: Any, inputs: PyTree) -> np.ndarray:
    """A model's outputs, in evaluation mode, computed in blocks of 2048 examples.

    Args:
        model: as `run.model` gives it, of any kind that a task's model may be; it is not changed.
        inputs: arrays with a leading axis of examples.
    Raises: ValueError for a model without its variables.

    >>> from hyperjax.models import MLP
    >>> predict(MLP(4, 3, rngs=nnx.Rngs(0)), np.ones((5, 4), np.float32)).shape
    (5, 3)
    """
    own = nnx.clone(as_module(model))
    own.eval()
    graph, state = nnx.split(own)
    size = len(jax.tree.leaves(inputs)[0])
    blocks = [jax.tree.map(lambda a, i=i: a[i : i + 2048], inputs) for i in range(0, size, 2048)]
    return np.concatenate([np.asarray(_predict(graph, state, block)) for block in blocks])


@functools.partial(jax.jit, static_argnums=0)
def _predict(graph: nnx.GraphDef[nnx.Module], state: Any, inputs: Any) -> Any:
    return in_mode(nnx.merge(graph, state), training=False, key=random.key(0))(inputs)
