"""What a training run leaves behind: plain data on the host, and the trained model on request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import numpy as np

from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.types import PyTree

MOST_RECORDED_STEPS = 4096  # a longer run keeps every k-th step


class Trained(NamedTuple):
    """What training made of a model."""

    step: int  # steps taken by then
    weights: PyTree  # as the model has them
    rest: PyTree  # other state


@dataclass(frozen=True, eq=False)
class Run:
    """One recipe trained with one seed.

    Attributes:
        recipe, seed: what was trained.
        steps: i64[r], the recorded steps, counted from 0; all of them up to 4096, every k-th of a longer run.
        losses: f32[r], training loss of the batch at each recorded step, regularization not included.
        gradient_norms: f32[r], 2-norm of the gradient over all weights, before clipping.
        update_norms: f32[r], 2-norm of what was added to the weights.
        epochs: f64[v], epochs done at each validation; the last one is the end of the run.
        metrics: f32[v] for each of `train_loss`, `train_<metric>` (means over the batches since the last validation, in
            training mode) and `validation_loss`, `validation_<metric>` (whole set, evaluation mode).
        metric, direction: the metric that ranks runs, and whether "max" or "min" is better.
        total_steps: steps that the recipe asks for; steps_done: steps taken before the end or divergence.
        diverged_at: the first step whose loss or gradient was not finite, else None.
        finished: False when the run was stopped from outside before its end.
        best: with early stopping, the number of the validation at which the run was best, whose weights `model` has.
        layout: how the engine laid it out ("map" or "vmap").
        has_model: False when it was read from a study's storage, where its weights were not kept.
    """

    recipe: Recipe
    seed: int
    steps: np.ndarray
    losses: np.ndarray
    gradient_norms: np.ndarray
    update_norms: np.ndarray
    epochs: np.ndarray
    metrics: Mapping[str, np.ndarray]
    metric: str
    direction: str
    total_steps: int
    steps_done: int
    diverged_at: int | None
    finished: bool
    layout: str
    best: int | None
    _numbers: Callable[[str, np.ndarray], np.ndarray] = field(repr=False)
    _model: Callable[[], Any] = field(repr=False)
    _trained: Callable[[], Trained] | None = field(repr=False, default=None)
    _task: Task | None = field(repr=False, default=None)
    has_model: bool = True

    @property
    def diverged(self) -> bool:
        """True when a loss or a gradient was not finite."""
        return self.diverged_at is not None

    @property
    def score(self) -> float:
        """The ranking metric at the last validation, or with early stopping at the best; NaN for a run that diverged
        or was never validated."""
        return self.score_of(self.metric)

    def score_of(self, metric: str) -> float:
        """Another metric of `metrics` at that same validation; NaN as `score`."""
        values = self.metrics[metric]
        last = -1 if self.best is None else self.best
        return float(values[last]) if len(values) and not self.diverged else float("nan")

    @property
    def model(self) -> Any:
        """The trained model, in evaluation mode and ready to call; of a diverged run the last finite one.

        Its weights are the averaged ones where the recipe asks for an average, and those of the best epoch with early
        stopping.

        Raises: ValueError where weights were not kept; see `has_model`.
        """
        return self._model()

    def in_force(self, name: str) -> np.ndarray:
        """Value of one of the recipe's numbers at each recorded step, schedules and warm-up applied.

        Args:
            name: "learning_rate", "weight_decay", "dropout", "b1", ... whatever number this run's recipe has, with its
                field where two are called alike ("loss_arguments.alpha").
        Returns: f32[r], beside `steps`.
        Raises: ValueError for a name that this run has no number for.
        """
        return self._numbers(name, self.steps)

    def __repr__(self) -> str:
        state = f"diverged at step {self.diverged_at}" if self.diverged else f"{self.metric}={self.score:.4g}"
        done = "" if self.finished else f", stopped after {self.steps_done} of {self.total_steps} steps"
        return f"Run({self.recipe!r}, seed={self.seed}: {state}{done})"


class Runs(Sequence[Run]):
    """Runs of a population, seeds varying fastest: recipe 0 with each seed, recipe 1 with each seed, and so on.

    `conditions` says how they were trained: programs, layout, device, seconds compiling and training.
    """

    def __init__(self, runs: Sequence[Run], conditions: Mapping[str, Any] | None = None):
        self._runs = tuple(runs)
        self.conditions = dict(conditions or {})

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "Run | Runs":
        return Runs(self._runs[index], self.conditions) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @property
    def scores(self) -> np.ndarray:
        """f64[runs], the ranking metric of each; NaN where a run diverged."""
        return np.array([run.score for run in self._runs])

    @property
    def diverged_at(self) -> np.ndarray:
        """i64[runs], the step at which each diverged, -1 for those that did not."""
        return np.array([-1 if run.diverged_at is None else run.diverged_at for run in self._runs])

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """f32[runs, validations] for each metric; shorter runs are filled with NaN at the end."""
        names = dict.fromkeys(name for run in self._runs for name in run.metrics)
        return {name: _stack([run.metrics.get(name, np.zeros(0)) for run in self._runs]) for name in names}

    @property
    def losses(self) -> np.ndarray:
        """f32[runs, recorded steps], filled with NaN at the end where runs are shorter."""
        return _stack([run.losses for run in self._runs])

    def __repr__(self) -> str:
        diverged = sum(run.diverged for run in self._runs)
        return f"Runs({len(self)} runs, {diverged} diverged)"


def _stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    longest = max((len(row) for row in rows), default=0)
    return np.stack(
        [np.pad(np.asarray(row, np.float32), (0, longest - len(row)), constant_values=np.nan) for row in rows]
    )
