"""How much an advice can afford: how long runs are, how many candidates, how many seeds."""

import math
from typing import NamedTuple

STEPS = 2500  # of the longest run, if the budget allows
EPOCHS = (6, 60)  # fewest and most
FEWEST_RUNS = 60  # that must fit into what is left, candidates and comparison together
MOST_CANDIDATES, FEWEST_CANDIDATES = 96, 6
SEARCH = 0.35  # of what is left goes into the race, and as much of what is then left into the second one
FINAL = (2, 8)  # seeds of the finals, fewest and most
FINALISTS_AND_DEFAULT, OPPONENTS = 5, 3
FRESH = (5, 20)  # seeds of the comparison, fewest and most


class Plan(NamedTuple):
    """What takes part in a race."""

    candidates: int
    seeds: int  # of a round


def longest(seconds: float, per_epoch: int, left: float, threads: int) -> int:
    """Epochs of the longest run that the budget allows.

    Args:
        seconds: a step; per_epoch: steps an epoch.
        left: seconds of the budget.
        threads: runs that are trained at once.

    >>> longest(1e-4, 45, 45.0, 2), longest(1e-2, 45, 45.0, 2), longest(1e-3, 500, 45.0, 2)
    (56, 6, 6)
    """
    wanted = STEPS / per_epoch
    affordable = left * threads / (FEWEST_RUNS * max(seconds, 1e-6) * per_epoch)
    low, high = EPOCHS
    return round(min(max(min(wanted, affordable), low), high))


def plan(run_seconds: float, left: float) -> Plan:
    """Candidates and seeds of a race, which leaves room for the fewest runs of the finals and the comparison.

    Args:
        run_seconds: of the longest run, while others run beside it.
        left: seconds of the budget.

    >>> plan(0.05, 40.0), plan(0.4, 40.0), plan(5.0, 40.0)
    (Plan(candidates=96, seeds=2), Plan(candidates=25, seeds=1), Plan(candidates=6, seeds=1))
    """
    # Candidates are 0.7 of the longest in the mean; those that go on add about half of the first round.
    reserve = run_seconds * (FINALISTS_AND_DEFAULT * FINAL[0] + OPPONENTS * FRESH[0])
    runs = SEARCH * max(left - reserve, 0.0) / (0.7 * 1.45 * max(run_seconds, 1e-6))
    seeds = 2 if runs >= MOST_CANDIDATES else 1
    return Plan(min(max(math.floor(runs / seeds), FEWEST_CANDIDATES), MOST_CANDIDATES), seeds)


def final_seeds(run_seconds: float, left: float) -> int:
    """Seeds of the finals, in which five runs a seed may take a quarter of what is left.

    >>> final_seeds(0.1, 20.0), final_seeds(0.5, 20.0), final_seeds(5.0, 20.0)
    (8, 2, 2)
    """
    low, high = FINAL
    return min(max(math.floor(left / 4 / (FINALISTS_AND_DEFAULT * max(run_seconds, 1e-6))), low), high)


def fresh_seeds(pair_seconds: float, left: float) -> int:
    """Seeds of the comparison, each of which trains all opponents once in `pair_seconds`."""
    low, high = FRESH
    return min(max(math.floor(left / max(pair_seconds, 1e-6)), low), high)
