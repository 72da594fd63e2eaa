"""The time that an advice may take, and where it goes."""

import contextlib
import math
import time
from collections.abc import Iterator

from hyperjax.checks import require
from hyperjax.studies.ending import budget_of

now = time.perf_counter


class Clock:
    """A budget of seconds from now on.

    Args:
        budget: as `hyperjax.study` takes it, in seconds.
    Attributes:
        seconds: taken by each phase so far.
    Raises: ValueError for what is no time.
    """

    def __init__(self, budget: float | str):
        limit = budget_of(budget)
        timed = math.isfinite(limit.seconds)
        require(timed, f"budget must be a time such as 90, '90s', '1m' or '0.5h', got {budget!r}")
        self.budget, self._begin = limit.seconds, now()
        self.seconds: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return now() - self._begin

    @property
    def left(self) -> float:
        """Seconds to the end of the budget, 0 after it."""
        return max(self.budget - self.spent, 0.0)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside as a phase's."""
        begin = now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + now() - begin
