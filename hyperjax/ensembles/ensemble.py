"""An ensemble: trained members, what each counts, and how their outputs become one prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hyperjax.checks import one_of
from hyperjax.tasks import Task
from hyperjax.training import Run, predict

_LEAST = 1e-30  # probability whose logarithm stands for that of 0
Combine = Literal["mean", "vote", "sum"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What `bagging` and `boosting` give.

    Attributes:
        task: what the members learnt.
        members: their runs, in the order of training.
        weights: f64[members], what each counts.
        combine: "mean" of probabilities (classes) or of outputs (real), "vote" of the classes that members choose, or
            "sum" of outputs on top of `base` (gradient boosting).
        base: what a sum starts from, broadcast to the outputs.
        out_of_bag: bagging's score: each training example judged by the members that were not trained on it; else None.
    """

    task: Task
    members: Sequence[Run]
    weights: np.ndarray
    combine: Combine
    base: Any = 0.0
    out_of_bag: float | None = None
    _outputs: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def predict(self, inputs: Any) -> np.ndarray:
        """The joint prediction: logarithms of probabilities f32[examples, classes], log-odds where targets are 0 or 1,
        or values like the targets."""
        return combined(np.stack([predict(run.model, inputs) for run in self.members]), self)

    def score(self, part: str = "test") -> float:
        """The task's first metric over "train", "validation" or "test"."""
        return self._score(part, combined(self._of_members(part), self))

    def member_scores(self, part: str = "test") -> np.ndarray:
        """f64[members], the same metric of each member alone (of a sum, of each partial sum's last member alone)."""
        outputs = self._of_members(part)
        return np.array([self._score(part, self.base + output) for output in outputs])

    def staged_scores(self, part: str = "test") -> np.ndarray:
        """f64[members], the metric of the first member, of the first two together, and so on."""
        outputs = self._of_members(part)
        return np.array(
            [self._score(part, combined(outputs[: i + 1], self, self.weights[: i + 1])) for i in range(len(outputs))]
        )

    def _of_members(self, part: str) -> np.ndarray:
        one_of("part", part, self.task.data)
        if part not in self._outputs:
            inputs = self.task.arrays[part][0]
            self._outputs[part] = np.stack([predict(run.model, inputs) for run in self.members])
        return self._outputs[part]

    def _score(self, part: str, predictions: np.ndarray) -> float:
        return score(self.task, predictions, self.task.arrays[part][1])

    def __repr__(self) -> str:
        bag = "" if self.out_of_bag is None else f", out_of_bag={self.out_of_bag:.4g}"
        return f"Ensemble({len(self.members)} members, {self.combine}{bag})"


def combined(outputs: np.ndarray, ensemble: Ensemble, weights: np.ndarray | None = None) -> np.ndarray:
    """One prediction of the members' outputs f[members, examples, ...]."""
    weights = ensemble.weights if weights is None else weights
    return join(outputs, weights, ensemble.combine, ensemble.task.kind, ensemble.base)


def join(outputs: np.ndarray, weights: np.ndarray, combine: str, kind: Any, base: Any = 0.0) -> np.ndarray:
    """As `combined`, weights f[members] or f[members, examples]; examples without any weight get nan."""
    outputs = outputs.astype(np.float64)
    if combine == "sum":
        return np.asarray(base + np.tensordot(weights, outputs, 1), np.float32)
    if kind == "classes":
        outputs = _probabilities(outputs) if combine == "mean" else np.eye(outputs.shape[-1])[outputs.argmax(-1)]
    elif kind in ("binary", "mask"):
        outputs = 1 / (1 + np.exp(-outputs)) if combine == "mean" else (outputs > 0).astype(np.float64)
    share = weights.reshape(weights.shape + (1,) * (outputs.ndim - weights.ndim))
    total = share.sum(0)
    mean = (share * outputs).sum(0) / np.where(total > 0, total, np.nan)
    if kind == "classes":
        mean = np.log(np.maximum(mean, _LEAST))
    elif kind in ("binary", "mask"):
        mean = np.log(np.maximum(mean, _LEAST)) - np.log(np.maximum(1 - mean, _LEAST))
    return np.asarray(mean, np.float32)


def score(task: Task, predictions: np.ndarray, targets: Any) -> float:
    """The task's first metric, its mean over the examples."""
    return float(np.mean(next(iter(task.measures.values()))(predictions, targets)))


def _probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def check_task(task: Task, method: str, kinds: Sequence[str]) -> None:
    """Raise where a method has nothing to combine, or not all of what it needs."""
    task.require_arrays(method)
    if task.kind not in kinds or not task.measures:
        found = "no metric" if task.kind in kinds else f"a target of kind {task.kind!r}"
        raise ValueError(
            f"task must have a metric and a target of kind {' or '.join(kinds)} for {method}, {task.name} has {found}"
        )
