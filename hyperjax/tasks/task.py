"""A task: model, data, what is minimized and what is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hyperjax import batching, losses
from hyperjax.checks import one_of
from hyperjax.metrics import Metric, as_metric
from hyperjax.models.adapters import Factory, as_factory
from hyperjax.tasks.arrays import check_arrays
from hyperjax.tasks.streams import Streamed, as_stream
from hyperjax.types import Array, PyTree

SETS = ("train", "validation", "test")
_OF_ZEROS_AND_ONES: tuple[losses.Target, ...] = ("binary", "mask")


@dataclass(frozen=True, eq=False)
class Task:
    """What is learnt, apart from how.

    Args:
        model: one of these, and `run.model` is of the same kind:
            - a factory `(rngs, **structure)` of an `nnx.Module` (a class will do), whose keyword arguments a recipe's
              `model` may set;
            - a Linen module, whose fields it may set; the collection `hyperparameters` holds what a recipe binds, each
              variable under its own name (see `hyperjax.models.linen`);
            - a pair of pure functions `(init, apply)`, as of Haiku or Equinox (see `hyperjax.models.pure`);
            - an `nnx.Module`, a bound Linen module or the `run.model` of a pair, to fine-tune from its weights.
        data: for "train", and optionally "validation" and "test", a tuple `(inputs, targets)` of arrays whose first
            axes agree, or with an objective any pytree of such arrays. Kept on the device once, shared by all runs.
            "train" may be larger than the device: arrays of `np.memmap`, or anything that gives batches (see
            `hyperjax.tasks.Stream` and `MemoryMap`), is read while it is used.
        loss: a name of `hyperjax.losses` (a recipe's loss wins over it), or a function `(predictions, targets) ->
            values` per example.
        metrics: name to a metric of `hyperjax.metrics`, or to a function `(predictions, targets) -> values` per example
            (larger is better unless it has the attribute `direction = "min"`). The first one ranks runs; without any,
            the validation loss does. With an objective, which returns its own: name to "max" or "min", whichever is
            better of what it returns under that name.
        objective: instead of `loss`, for whatever is not a model's predictions against targets: `objective(model,
            batch, key) -> values` per example or a scalar, optionally with a dictionary of metrics beside it.
        trainable: which variables are trained, an NNX filter.
        name: for titles and messages.
        recipe: a way of training that suits the task, as keyword arguments of a recipe: `hj.Recipe(**task.recipe)`.
            Nothing takes it by itself. None: nobody has looked for one.
        ranks_by: "loss" or a name of `metrics`, to rank runs by instead of the first metric.

    Raises: ValueError for what does not fit: sets of different lengths, values that are not finite (how many, and the
        first place), a model of another kind, a loss that is not known, both or neither of loss and objective, an
        objective's metric without a direction, a recipe that is no mapping.

    >>> import numpy as np
    >>> from flax import nnx
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error")
    >>> task.kind, task.ranking
    ('real', 'train_loss')
    """

    model: Any
    data: Mapping[str, PyTree]
    loss: str | Callable[..., Array] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    objective: Callable[..., Any] | None = None
    trainable: Any = nnx.Param
    name: str = "task"
    recipe: Mapping[str, Any] | None = None
    ranks_by: str | None = None

    def __post_init__(self) -> None:
        if (self.loss is None) == (self.objective is None):
            given = "both" if self.loss is not None else "neither"
            raise ValueError(f"loss or objective must be given, one of the two, got {given}")
        if not isinstance(self.data, Mapping) or "train" not in self.data:
            raise ValueError(f"data must map 'train' (and 'validation', 'test') to arrays, got {_describe(self.data)}")
        _ = self.factory  # refuses what is no model
        for part in self.data:
            one_of("data's key", part, SETS)
            check_arrays(part, self.sample(part), pair=self.loss is not None)
        if isinstance(self.loss, str) and self.kind is not None:
            one_of("loss", self.loss, dict.fromkeys(name for table in losses.LOSSES.values() for name in table))
            one_of("loss", self.loss, losses.LOSSES[self.kind])
        if self.kind in _OF_ZEROS_AND_ONES:
            for part in self.data:
                self.check_labels(part, self.sample(part)[1])
        if self.objective is not None:
            for name, direction in self.metrics.items():
                one_of(f"metrics[{name!r}] (which the objective returns)", direction, ("max", "min"))
        if self.recipe is not None and not isinstance(self.recipe, Mapping):
            raise ValueError(f"recipe must be a mapping of hj.Recipe's arguments, got {type(self.recipe).__name__}")
        if self.ranks_by is not None:
            one_of("ranks_by", self.ranks_by, dict.fromkeys((*self.metrics, "loss")))

    @cached_property
    def kind(self) -> losses.Target | None:
        """Kind of target, which decides the losses that fit; None: no targets.

        "binary" or "mask" where the loss is one of those (one of both is binary); else "classes" for whole numbers,
        "real" for others.
        """
        if self.loss is None:
            return None
        for kind in _OF_ZEROS_AND_ONES:
            if self.loss in losses.LOSSES[kind]:
                return kind
        return "classes" if np.issubdtype(np.asarray(self.sample("train")[1]).dtype, np.integer) else "real"

    def check_labels(self, part: str, labels: Any) -> None:
        """Raise a ValueError for labels that are not 0 or 1, where the loss wants those."""
        known = np.asarray(labels)
        if self.kind in _OF_ZEROS_AND_ONES and known.size and (known.min() < 0 or known.max() > 1):
            shown = f"got values from {known.min():g} to {known.max():g}"
            raise ValueError(f"labels in data[{part!r}] must be 0 or 1 for the loss {self.loss}, {shown}")

    @cached_property
    def stream(self) -> Streamed | None:
        """What the training set is read from while it is used; None where it lies on the device."""
        return as_stream(self.data["train"])

    @cached_property
    def arrays(self) -> dict[str, PyTree]:
        """The data on the device, put there once; without a training set that is streamed."""
        kept = {part: arrays for part, arrays in self.data.items() if part != "train" or self.stream is None}
        with jax.ensure_compile_time_eval():  # arrays, also when first asked for inside somebody's jit
            return {part: jax.tree.map(jnp.asarray, arrays) for part, arrays in kept.items()}

    def sample(self, part: str) -> PyTree:
        """A set's arrays on the host, or some examples of one that is streamed."""
        return self.data[part] if part != "train" or self.stream is None else self.stream.sample

    @cached_property
    def classes(self) -> batching.Classes:
        """Where the training examples of each class are; a ValueError without one whole number a target."""
        self.require_arrays("balanced sampling")
        with jax.ensure_compile_time_eval():
            return batching.by_class(self.data["train"][1])

    @cached_property
    def programs(self) -> dict[Any, Any]:
        """What is known of this task's programs before they are compiled, by structure."""
        return {}

    @cached_property
    def trainers(self) -> dict[Any, Any]:
        """Compiled programs of this task by structure, so that training it again compiles nothing."""
        return {}

    @cached_property
    def measures(self) -> dict[str, Metric]:
        """The metrics of predictions with their directions; none with an objective, which measures for itself."""
        given = self.metrics if self.objective is None else {}
        return {name: as_metric(name, function) for name, function in given.items()}

    @property
    def ranking(self) -> str:
        """Name of the metric that ranks runs, as in `run.metrics`."""
        prefix = "validation" if "validation" in self.data else "train"
        return f"{prefix}_{self._ranks_by}"

    @property
    def direction(self) -> str:
        """ "max" or "min", whichever is better for `ranking`."""
        return self.direction_of(self._ranks_by)

    @property
    def _ranks_by(self) -> str:
        return self.ranks_by or next(iter(self.metrics), "loss")

    def ranked_by(self, metric: str) -> "Task":
        """The same task, whose runs are ranked by another metric.

        Args:
            metric: "loss", a name of `metrics`, or either as `run.metrics` has it (`validation_accuracy`).
        Raises: ValueError for one that the task does not have.
        """
        known = dict.fromkeys((*self.metrics, "loss"))
        name = metric if metric in known else str(metric).removeprefix(self.ranking.split("_")[0] + "_")
        if name not in known:
            raise ValueError(f"metric must be one that {self.name} has, {', '.join(known)}, got {metric!r}")
        if name == self._ranks_by:
            return self
        other = replace(self, ranks_by=name)
        other.__dict__["arrays"] = self.arrays  # on the device once
        return other

    def direction_of(self, metric: str) -> str:
        """ "max" or "min", whichever is better for a metric by name; "min" for the loss and what is not declared."""
        if metric not in self.metrics:
            return "min"
        return str(self.metrics[metric]) if self.objective is not None else self.measures[metric].direction

    def size(self, part: str) -> int:
        """Number of examples in one of the sets."""
        if part == "train" and self.stream is not None:
            return self.stream.size
        return int(np.shape(jax.tree.leaves(self.data[part])[0])[0])

    def require_classes(self) -> None:
        """Raise a ValueError where classes are told apart and the training set has one alone."""
        if self.kind in ("classes", "binary"):
            found = np.unique(np.asarray(self.data["train"][1]))
            if len(found) < 2:
                raise ValueError(f"task must have at least two classes to tell apart, got {found.tolist()} alone")

    def require_arrays(self, what: str) -> None:
        """Raise a ValueError that names what needs the whole training set at hand, where it is streamed."""
        if self.stream is not None:
            raise ValueError(f"data['train'] must be arrays for {what}, got {type(self.stream).__name__}")

    @cached_property
    def factory(self) -> Factory:
        """What makes the model, of whatever kind it is, as an NNX module."""
        return as_factory(self.model, self._example)

    @property
    def structure_arguments(self) -> dict[str, Any] | None:
        """Arguments of the model's structure with their defaults; None where it takes any."""
        return self.factory.arguments

    def _example(self) -> tuple[Any, ...]:
        """What the model is called with, in a batch of one."""
        if self.loss is None:
            raise ValueError(
                f"model must say what it is called with, since {self.name} has an objective: "
                "give hj.models.linen(module, *inputs) or hj.models.pure(init, apply, *inputs)"
            )
        return (jax.tree.map(lambda a: jnp.asarray(a[:1]), self.sample("train")[0]),)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{part} {self.size(part):,}" for part in self.data)
        return f"Task({self.name!r}: {sizes})"


def _describe(value: Any) -> str:
    return f"keys {sorted(map(str, value))}" if isinstance(value, Mapping) else type(value).__name__


def require_task(task: object) -> None:
    """Raise a ValueError for what is no task.

    >>> require_task(None)
    Traceback (most recent call last):
    ...
    ValueError: task must be a hyperjax.Task, such as hyperjax.tasks.digits(), got None
    """
    if not isinstance(task, Task):
        raise ValueError(f"task must be a hyperjax.Task, such as hyperjax.tasks.digits(), got {task!r}")
