"""What a study measures of its trials: the metric that ranks, and others beside it, costs of the model among them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from hyperjax.models import describe
from hyperjax.studies.samplers import SAMPLERS
from hyperjax.tasks import Task
from hyperjax.training.functional import Functional
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

COSTS = {  # what every study can measure -> its name in tables, where a space may have another `epochs`
    "parameters": "parameters",
    "epochs": "trained_epochs",
    "flops": "flops",
}
OF_ONE_METRIC = ("cmaes",)  # samplers that order trials by a single number


class Measures:
    """What the trials of a study are measured by.

    Args:
        task: that has a validation set.
        metric: as in `study`.
    Attributes:
        task: the same, whose runs are ranked by the first metric.
        metrics: names as tables have them, the one that ranks first -> "max" or "min", whichever is better.
    Raises: ValueError for a name that the task does not have, one given twice, or a cost that is to rank.

    >>> from hyperjax.tasks import digits
    >>> measures = Measures(digits(), ["accuracy", "loss", "parameters"])
    >>> measures.metrics
    {'validation_accuracy': 'max', 'validation_loss': 'min', 'parameters': 'min'}
    >>> measures.costs(Recipe(model={"widths": (32,)}), [])
    {'parameters': 2410.0}
    """

    def __init__(self, task: Task, metric: str | Sequence[str] | None = None):
        given = [] if metric is None else [metric] if isinstance(metric, str) else metric
        listed = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
        if not listed or (not given and metric is not None):
            raise ValueError(f"metric must be a name or a list of names, got {metric!r}")
        first, others = given[0] if given else None, given[1:]
        self._own = dict.fromkeys((*task.metrics, "loss"))
        if first in COSTS and self._recorded(first) is None:
            known = ", ".join(self._own)
            raise ValueError(f"metric must begin with one that {task.name} has, {known}, which ranks, got {first!r}")
        self.task = task if first is None else task.ranked_by(first)
        self.metrics = {self.task.ranking: self.task.direction} | dict(map(self._named, others))
        if len(self.metrics) < len(given):
            raise ValueError(f"metric must name each one once, got {given!r}")
        self._asked = [name for name in COSTS.values() if name in self.metrics]
        if "flops" in self._asked and task.objective is not None:
            raise ValueError(f"metric must be another than flops for {task.name}, whose objective calls the model")
        self._of_models: dict[str, dict[str, float]] = {}

    @property
    def directions(self) -> list[str]:
        """ "max" or "min" of each metric."""
        return list(self.metrics.values())

    @property
    def further(self) -> dict[str, str]:
        """Those that do not rank."""
        return {name: direction for name, direction in self.metrics.items() if name != self.task.ranking}

    def costs(self, recipe: Recipe, runs: Sequence[Run]) -> dict[str, float]:
        """Those costs that are among the metrics, of a trial.

        Args:
            recipe: of the trial.
            runs: one a seed.
        """
        if not self._asked:
            return {}
        key = repr(recipe.model)
        if key not in self._of_models:
            self._of_models[key] = self._of_model(recipe)
        found = dict(self._of_models[key])
        if COSTS["epochs"] in self._asked:
            found[COSTS["epochs"]] = float(np.mean([run.epochs[-1] if len(run.epochs) else 0.0 for run in runs]))
        return found

    def _of_model(self, recipe: Recipe) -> dict[str, float]:
        """The costs that follow from a recipe's model alone."""
        task, found = self.task, {}
        arguments = dict(recipe.lower(task)[1].model)
        if "parameters" in self._asked:
            weights = Functional(task, arguments, {}, ()).weights
            found["parameters"] = float(sum(leaf.size for leaf in jax.tree.leaves(weights)))
        if "flops" in self._asked:
            model = nnx.eval_shape(lambda: task.factory.build(nnx.Rngs(0), **arguments))
            inputs = task.sample("train")[0]
            found["flops"] = describe(model, jax.tree.map(lambda array: jax.numpy.asarray(array[:1]), inputs)).flops
        return found

    def _named(self, given: str) -> tuple[str, str]:
        """A further metric's name in tables, with its direction; a metric of the task goes before a cost."""
        name = self._recorded(given)
        if name is not None:
            return f"validation_{name}", self.task.direction_of(name)
        for cost, column in COSTS.items():
            if given in (cost, column):
                return column, "min"
        known = f"{', '.join(self._own)}, or a cost, {', '.join(COSTS)}"
        raise ValueError(f"metric must be one that {self.task.name} has, {known}, got {given!r}")

    def _recorded(self, given: Any) -> str | None:
        name = given if given in self._own else str(given).removeprefix("validation_")
        return name if name in self._own else None


def check_several(metrics: Mapping[str, str], sampler: Any, pruner: Any) -> None:
    """Refuse what goes by one metric alone, where there are several.

    Args:
        metrics: as `Measures` has them.
        sampler, pruner: as in `study`.
    Raises: ValueError for such a sampler, and for any pruner.
    """
    if len(metrics) < 2:
        return
    if pruner is not None:
        raise ValueError(f"pruner must be None for several metrics, since a verdict goes by one, got {pruner!r}")
    if sampler in OF_ONE_METRIC or type(sampler).__name__ == "CmaEsSampler":
        able = ", ".join(name for name in SAMPLERS if name not in OF_ONE_METRIC)
        raise ValueError(f"sampler must be one that can take several metrics, {able}, got {sampler!r}")


def in_words(metrics: Mapping[str, str]) -> str:
    """Metrics and directions as one text.

    >>> in_words({"validation_accuracy": "max", "parameters": "min"})
    'validation_accuracy (max), parameters (min)'
    """
    return ", ".join(f"{name} ({direction})" for name, direction in metrics.items())


def from_words(text: str) -> dict[str, str]:
    """What `in_words` was given.

    >>> from_words("validation_accuracy (max), parameters (min)")
    {'validation_accuracy': 'max', 'parameters': 'min'}
    """
    return dict(re.findall(r"(.+?) \((max|min)\)(?:, |$)", text, re.DOTALL))
