"""A training curve: losses over steps, from a run or anybody's log, with gaps and an end that may not be finite."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

LARGEST = 1e100  # what is above it in size has diverged, whatever the format of the number
LAST = 1e15  # steps beyond it are no steps


class Curve:
    """Losses over steps, the points that are finite; what is not finite at the end is a divergence.

    A value that is missing or not finite in the middle is a gap: it is left out and counted. No validation is allowed;
    then what it would tell is not told.

    Args:
        steps: f64[n], rising; steps or epochs.
        train: f64[n], training losses.
        validation: f64[v], validation losses, or None.
        validation_steps: f64[v], rising; None: `steps`.
        rate: f64[n], learning rate at each step, or None where nobody knows.
        gradient_norms: f64[n], norm of the gradient at each step, or None.
        unit: what `steps` counts, "step" or "epoch".
        recipe: what was trained, where it is known.

    Attributes:
        steps, train, validation_steps, validation, rate, gradient_norms, unit, recipe: as above, gaps left out; the
            validation is empty where there is none.
        diverged_at: the first step of an end that is not finite, else None.
        gaps: values left out before that.

    Raises: ValueError for steps that do not rise or are not finite, lengths that differ, fewer than two points, or
        losses of which none was given.

    >>> curve = Curve([1, 2, 3, 4], [2.0, 1.0, float("nan"), 0.5], [2.1, 1.2, 1.0, 0.9])
    >>> curve.train.tolist(), curve.gaps, curve.diverged_at
    ([2.0, 1.0, 0.5], 1, None)
    >>> Curve([1, 2, 3], [2.0, 9.0, float("inf")]).diverged_at
    3.0
    """

    def __init__(
        self,
        steps: Sequence[float] | np.ndarray,
        train: Sequence[float] | np.ndarray,
        validation: Sequence[float] | np.ndarray | None = None,
        validation_steps: Sequence[float] | np.ndarray | None = None,
        *,
        rate: Sequence[float] | np.ndarray | None = None,
        gradient_norms: Sequence[float] | np.ndarray | None = None,
        unit: str = "step",
        recipe: Recipe | None = None,
    ):
        places, losses = _steps("steps", steps), _numbers("train", train)
        _same_length("train", losses, "steps", places)
        if len(places) < 2:
            raise ValueError(f"train must have at least 2 points, got {len(places)}")
        beside = {"rate": rate, "gradient_norms": gradient_norms}
        known = {name: _numbers(name, values) for name, values in beside.items() if values is not None}
        for name, values in known.items():
            _same_length(name, values, "steps", places)
        self.unit, self.recipe = unit, recipe
        kept, ends, holes = _finite(losses)
        self.steps, self.train = places[kept], losses[kept]
        self.rate, self.gradient_norms = (
            known[name][kept] if name in known and np.isfinite(known[name][kept]).all() else None for name in beside
        )
        self.diverged_at = float(places[ends]) if ends < len(places) else None
        self.gaps = holes
        self.validation_steps, self.validation = np.zeros(0), np.zeros(0)
        if validation is not None:
            own = places if validation_steps is None else _steps("validation_steps", validation_steps)
            values = _numbers("validation", validation)
            _same_length("validation", values, "steps" if validation_steps is None else "validation_steps", own)
            kept, ends, holes = _finite(values)
            self.validation_steps, self.validation = own[kept], values[kept]
            self.gaps += holes
            # Validation that is missing at the end was not recorded; losses beside it say whether the run went on.
            if ends < len(own) and np.isinf(values[ends:]).any() and self.diverged_at is None:
                self.diverged_at = float(own[ends])
        if not len(self.train) and self.diverged_at is None:
            raise ValueError("train must have losses, got none")

    @classmethod
    def of(cls, run: Run) -> "Curve":
        """The curve of a run over epochs: the loss of each recorded batch, and the validations.

        >>> import numpy as np
        >>> from flax import nnx
        >>> from hyperjax.tasks import Task
        >>> from hyperjax.training import fit
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> data = {"train": (x, 3 * x), "validation": (x, 3 * x)}
        >>> task = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), data, loss="squared_error")
        >>> curve = Curve.of(fit(task, Recipe(epochs=2)))
        >>> len(curve.train), curve.validation_steps.tolist(), curve.unit
        (4, [1.0, 2.0], 'epoch')
        """
        validation = run.metrics.get("validation_loss")
        beside: dict[str, np.ndarray] = {}
        if not len(run.steps):  # it was read back, without the record of its steps
            train, epochs = run.metrics["train_loss"], run.epochs
        else:
            done = run.recipe.epochs / run.total_steps
            if run.finished and not run.diverged and len(run.epochs):  # else the last validation is not the end
                done = float(run.epochs[-1]) / run.steps_done
            train, epochs = run.losses, (run.steps + 1) * done
            beside = {"rate": run.in_force("learning_rate"), "gradient_norms": run.gradient_norms}
        if run.diverged and len(train) and np.isfinite(train[-1]):  # the gradient was not, or the step was not recorded
            train, epochs = np.append(train, np.nan), np.append(epochs, np.nextafter(epochs[-1], np.inf))
            beside = {name: np.append(values, values[-1]) for name, values in beside.items()}
        at = None if validation is None else run.epochs
        return cls(epochs, train, validation, at, unit="epoch", recipe=run.recipe, **beside)

    @classmethod
    def read_csv(cls, path: str | os.PathLike[str]) -> "Curve":
        """Read a table of steps, training and validation losses from any framework.

        Columns are found by name, in any case and order: step (iteration, epoch, ...), train (loss, train_loss, ...),
        validation (val_loss, valid, eval_loss, ...), learning_rate (lr). Without a step column rows are counted. Comma,
        semicolon and tab separate; UTF-8 with and without a mark, UTF-16 and Latin-1 are read. An empty cell is a value
        that nobody wrote down, "nan" and "inf" are what the run came to.

        Raises: ValueError that names the line and column of what cannot be: text where a number belongs, rows of other
            lengths, steps that do not rise, no column of training losses, fewer than two of them; a file that is
            missing, empty or no table.
        """
        from hyperjax.diagnostics.curves.csv_file import read

        return cls(**read(path))

    def __repr__(self) -> str:
        end = "" if self.diverged_at is None else f", diverged at {self.unit} {self.diverged_at:g}"
        return f"Curve({len(self.train)} training losses, {len(self.validation)} validations{end})"


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray([np.nan if value is None else value for value in values], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a sequence of numbers, got {values!r:.80}") from None
    if array.ndim != 1:
        raise ValueError(f"{name} must be a sequence of numbers, got an array of shape {array.shape}")
    return array


def _steps(name: str, values: Any) -> np.ndarray:
    places = _numbers(name, values)
    with np.errstate(invalid="ignore"):
        sane = np.abs(places) <= LAST
    if not sane.all():
        first = int(np.flatnonzero(~sane)[0])
        raise ValueError(f"{name} must be numbers of at most {LAST:g} in size, got {places[first]} at place {first}")
    falls = np.flatnonzero(places[1:] <= places[:-1])
    if len(falls):
        first = int(falls[0]) + 1
        kind = "doubled" if places[first] == places[first - 1] else "smaller than the one before"
        raise ValueError(f"{name} must rise, got {places[first]:g} at place {first}, which is {kind}")
    return places


def _same_length(name: str, values: np.ndarray, other: str, like: np.ndarray) -> None:
    if len(values) != len(like):
        raise ValueError(f"{name} must be as many as {other}, {len(like)}, got {len(values)}")


def _finite(values: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Which values are finite, where the end that is not begins, and how many are not before it."""
    with np.errstate(invalid="ignore"):
        finite = np.abs(values) <= LARGEST
    ends = int(np.flatnonzero(finite)[-1]) + 1 if finite.any() else 0
    return finite, ends, int((~finite[:ends]).sum())
