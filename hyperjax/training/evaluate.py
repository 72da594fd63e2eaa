"""A trained model's metrics over one of a task's sets."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hyperjax import losses, random
from hyperjax.checks import one_of
from hyperjax.models.adapters import as_module, in_mode
from hyperjax.models.adapters.held import Fixed
from hyperjax.tasks import Task
from hyperjax.training.program import EVALUATED_TOGETHER, OBJECTIVE
from hyperjax.types import PyTree


def evaluate(task: Task, model: Any, part: str = "validation") -> dict[str, float]:
    """Mean of each of the task's metrics over a set, the model in evaluation mode.

    An objective is given blocks of 2048 examples and the key by which it judges a run of seed 0.

    Args:
        task: gives the data and the metrics.
        model: as `run.model` gives it.
        part: "train", "validation" or "test".
    Returns: name -> mean, what ranks first: the task's metrics, and with an objective whatever else it returns; where
        the task of an objective declares no metric, first its own mean, as "loss". Empty for a task with a loss and
        without metrics.
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
        means = _means_of_objective(task, model, part)
        ranking = tuple(task.metrics) or ("loss",)
        return {name: means[name] for name in (*ranking, *sorted(means)) if name in ranking or name != "loss"}
    inputs, targets = task.arrays[part]
    predictions = predict(model, inputs)
    return {name: float(np.mean(measure(predictions, targets))) for name, measure in task.measures.items()}


def mean_loss(task: Task, model: Any, part: str = "validation") -> float:
    """Mean of what the task minimizes over a set, the model in evaluation mode, the loss with its own defaults.

    Args:
        task, model, part: as in `evaluate`.
    Raises: ValueError for a set that the task lacks.

    >>> from hyperjax.tasks import wine
    >>> task = wine()
    >>> model = task.factory.build(nnx.Rngs(0))
    >>> scores = predict(model, task.data["test"][0])
    >>> by_hand = -np.asarray(jax.nn.log_softmax(scores))[np.arange(len(scores)), task.data["test"][1]].mean()
    >>> bool(abs(mean_loss(task, model, "test") - by_hand) < 1e-6)
    True
    """
    one_of("part", part, task.data)
    if part == "train":
        task.require_arrays("a loss")
    if task.objective is not None:
        return _means_of_objective(task, model, part)["loss"]
    inputs, targets = task.arrays[part]
    blocks = _blocks((predict(model, inputs), targets))  # since a loss may compare the examples with each other
    if callable(task.loss):
        loss: Callable[..., Any] = task.loss
    else:
        assert task.loss is not None and task.kind is not None
        loss = losses.select(0, [task.loss], task.kind)
    return float(np.average([jnp.mean(loss(*block)) for block in blocks], weights=[_size(block) for block in blocks]))


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
    graph, state = _in_evaluation(model)
    return np.concatenate([np.asarray(_predict(graph, state, block)) for block in _blocks(inputs)])


def _means_of_objective(task: Task, model: Any, part: str) -> dict[str, float]:
    graph, state = _in_evaluation(model)
    blocks = _blocks(task.arrays[part])
    measured = [_measure(Fixed(task.objective), graph, state, block) for block in blocks]
    sizes = [_size(block) for block in blocks]
    return {name: float(np.average([each[name] for each in measured], weights=sizes)) for name in measured[0]}


def _in_evaluation(model: Any) -> tuple[nnx.GraphDef[nnx.Module], Any]:
    own = nnx.clone(as_module(model))
    own.eval()
    graph, state = nnx.split(own)
    return graph, state


def _blocks(arrays: PyTree) -> list[PyTree]:
    starts = range(0, _size(arrays), EVALUATED_TOGETHER)
    return [jax.tree.map(lambda a, i=i: a[i : i + EVALUATED_TOGETHER], arrays) for i in starts]


def _size(arrays: PyTree) -> int:
    return len(jax.tree.leaves(arrays)[0])


@functools.partial(jax.jit, static_argnums=0)
def _predict(graph: nnx.GraphDef[nnx.Module], state: Any, inputs: Any) -> Any:
    return in_mode(nnx.merge(graph, state), training=False, key=random.key(0))(inputs)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measure(objective: Fixed, graph: nnx.GraphDef[nnx.Module], state: Any, batch: PyTree) -> dict[str, Any]:
    key = jax.random.fold_in(random.streams(0).masks, OBJECTIVE)
    out = objective.value(nnx.merge(graph, state), batch, key)
    values, metrics = out if isinstance(out, tuple) else (out, {})
    return {name: jnp.mean(each) for name, each in {"loss": values, **metrics}.items()}
