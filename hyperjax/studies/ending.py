"""When a study ends before all its trials are trained: a budget is spent, or more trials would gain nothing."""

import math
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hyperjax.checks import within
from hyperjax.schedules import Length
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
MOST_TRIALS = 16384  # of a study whose budget alone limits them
LEAST = 16  # trials, before it is said that more would gain nothing


class Budget(NamedTuple):
    """What a study may cost beside its number of trials."""

    seconds: float = math.inf
    epochs: float = math.inf

    @property
    def given(self) -> bool:
        """Whether it limits anything."""
        return math.isfinite(self.seconds) or math.isfinite(self.epochs)


def budget_of(given: Any) -> Budget:
    """A budget as people write it.

    Args:
        given: seconds; text such as "90s", "10m", "1.5h" or "5000 epochs"; `hj.epochs(5000)`; None: no limit.
    Raises: ValueError for anything else, and for what is not above 0.

    >>> budget_of("1.5h"), budget_of("5000 epochs").epochs
    (Budget(seconds=5400.0, epochs=inf), 5000.0)
    """
    if given is None:
        return Budget()
    if isinstance(given, Length) and given.unit == "epochs":
        return Budget(epochs=_above_zero(given.value))
    if isinstance(given, str):
        found = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(s|m|h|epochs?)?\s*", given)
        try:
            count, unit = (float(found[1]), found[2] or "s") if found else (math.nan, "")
        except ValueError:
            count, unit = math.nan, ""
        if unit:
            count = _above_zero(count)
            return Budget(epochs=count) if unit.startswith("epoch") else Budget(seconds=UNITS[unit] * count)
    elif isinstance(given, int | float | np.number) and not isinstance(given, bool):
        return Budget(seconds=_above_zero(float(given)))
    raise ValueError(
        f"budget must be seconds, text such as '90s', '10m', '1.5h', '5000 epochs', or hj.epochs, got {given!r}"
    )


class BudgetSpent(Exception):  # noqa: N818  # no error: training ends here
    """Raised in the middle of a batch when time is over; what has finished by then is kept."""


class Ending:
    """Decides when a study ends before its trials are out.

    Args:
        budget: seconds from now on, and epochs of all runs together.
        min_gain: end when the later half of the trials has brought no more than this; None: never.
        direction: "max" or "min", whichever score is better.

    Attributes:
        reason: why it ended, in words; None while it has not.
        going: epochs of trials that have not ended.
    """

    def __init__(self, budget: Budget, min_gain: float | None, direction: str):
        self._budget, self._min_gain = budget, min_gain
        self._sign = 1.0 if direction == "max" else -1.0
        self._begin, self._epochs = time.perf_counter(), 0.0
        self.reason: str | None = None
        self.going = 0.0

    @property
    def in_batches(self) -> bool:
        """Whether it has to look between batches."""
        return self._min_gain is not None or self._budget.given

    @property
    def over(self) -> bool:
        """Whether no further batch is to begin."""
        if self._epochs + self.going >= self._budget.epochs:
            self.stop(f"its {self._budget.epochs:g} epochs were spent")
        if self._late:
            self.stop(f"its {self._budget.seconds:g} seconds were over")
        return self.reason is not None

    @property
    def _late(self) -> bool:
        return time.perf_counter() - self._begin >= self._budget.seconds

    def look(self) -> None:
        """Raise `BudgetSpent` when time is over."""
        if self._late and self.over:
            raise BudgetSpent

    def affordable(self, recipes: Sequence[Recipe], seeds: int) -> int:
        """How many of the next trials, in their order, the epochs that are left allow; at least one of a study."""
        spent = self._epochs + np.cumsum([recipe.epochs * seeds for recipe in recipes])
        count = int(np.searchsorted(spent, self._budget.epochs * (1 + 1e-9), side="right"))
        if not recipes:
            return 0
        if count < len(recipes):
            self.stop(f"its {self._budget.epochs:g} epochs were spent")
        return count or int(self._epochs == 0)

    def count(self, runs: Sequence[Run]) -> None:
        """Count what runs have trained."""
        self._epochs += sum(float(run.epochs[-1]) for run in runs if len(run.epochs))

    def stop(self, reason: str) -> None:
        """End it, unless something else has."""
        self.reason = self.reason or reason

    def judge(self, scores: Sequence[float]) -> None:
        """See whether the trials so far say that more would gain nothing.

        Args:
            scores: of all trials in their order, NaN for those that have none.
        """
        if self._min_gain is None or len(scores) < LEAST or self.reason is not None:
            return
        ranked = np.where(np.isfinite(scores), self._sign * np.asarray(scores, np.float64), -np.inf)
        first, whole = ranked[: len(ranked) // 2].max(), ranked.max()
        if np.isfinite(first) and whole - first <= self._min_gain:
            half = len(ranked) - len(ranked) // 2
            self.reason = f"its last {half} trials had gained {whole - first:.3g}, no more than {self._min_gain:g}"


def _above_zero(count: Any) -> float:
    within("budget", count, 0.0, open_low=True)
    return float(count)
