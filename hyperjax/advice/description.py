"""What a task looks like from outside: all that is known of it before anything is trained."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from hyperjax import layers
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe

SPARSE = 0.8  # share of inputs that are 0, from which on they are counts of something rare
LARGE = 20_000  # training examples
_LOOKED_AT = 256  # examples


@dataclass(frozen=True)
class Description:
    """A task from outside.

    Attributes:
        kind: "vision", "sequence", "counts", "tabular" or "objective".
        examples: in the training set; parameters: of the model.
        features: inputs of an example; 0 where there is an objective.
        dropout: the model's own rate, where it has one that can be bound; None: it has none, or several.
        classified: whether targets are classes and the loss is cross-entropy by name.
    """

    kind: str
    examples: int
    parameters: int
    features: int
    dropout: float | None
    classified: bool

    @property
    def large(self) -> bool:
        """Whether there are so many examples that people train otherwise."""
        return self.examples >= LARGE


def describe(task: Task) -> Description:
    """Look at a task's arrays and the shapes of its model; nothing is trained, and `task.recipe` is not read.

    An objective of its own makes "objective", whatever the model; else tokens (whole numbers) "sequence"; else a kernel
    with places (a convolution) "vision"; else inputs with an axis of steps "sequence"; else many zeros "counts"; what
    is left is "tabular".

    >>> from hyperjax.tasks import digits, words
    >>> [describe(make()).kind for make in (digits, words)]
    ['tabular', 'counts']
    """
    module = task.factory.build(nnx.Rngs(0))
    nodes = [node for _, node in nnx.iter_graph(module) if isinstance(node, layers.Hyperparameter)]
    rates = {float(node.get_value()) for node in nodes if node.name == "dropout"}
    weights = [leaf.shape for leaf in jax.tree.leaves(nnx.state(module, nnx.Param))]
    inputs = [] if task.objective is not None else jax.tree.leaves(task.sample("train")[0])
    return Description(
        kind=_kind(task, inputs, any(len(shape) >= 3 for shape in weights)),
        examples=task.size("train"),
        parameters=sum(math.prod(shape) for shape in weights),
        features=sum(math.prod(np.shape(leaf)[1:]) for leaf in inputs),
        dropout=rates.pop() if len(rates) == 1 else None,
        classified=task.kind == "classes" and task.loss == "cross_entropy",
    )


def default_for(described: Description, epochs: float) -> Recipe:
    """Adam at 1e-3, batches of 32 (or of all examples where there are fewer), constant rate.

    The model's own dropout is written out, which changes nothing but lets it share a program with other rates.

    >>> default_for(Description("tabular", 130, 549, 13, None, True), 20)
    Recipe(epochs=20)
    """
    return Recipe(
        batch_size=min(int(Recipe().batch_size), described.examples), epochs=epochs, dropout=described.dropout
    )


def _kind(task: Task, inputs: list[Any], has_places: bool) -> str:
    if task.objective is not None:
        return "objective"
    if any(np.issubdtype(np.asarray(leaf).dtype, np.integer) for leaf in inputs):
        return "sequence"
    if has_places:
        return "vision"
    if any(np.ndim(leaf) > 2 for leaf in inputs):
        return "sequence"
    zeros = np.mean([np.mean(np.asarray(leaf[:_LOOKED_AT]) == 0) for leaf in inputs])
    return "counts" if zeros > SPARSE else "tabular"
