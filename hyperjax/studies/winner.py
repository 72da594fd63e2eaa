"""The honest winner: what the best trial of a study is worth on seeds that took no part in choosing it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hyperjax.statistics import Interval
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

if TYPE_CHECKING:
    from hyperjax.studies.study import Trial


class Candidate(NamedTuple):
    """A trial that was trained again: what the search had claimed, and what fresh seeds gave.

    Both are means of the ranking metric, `claimed` over the search's seeds; NaN where a run diverged.
    """

    trial: int
    claimed: float
    fresh: Interval


@dataclass(frozen=True, eq=False)
class Winner:
    """The best of a study by fresh seeds, and whether it is better than the default recipe.

    Attributes:
        trial: the winner.
        candidates: the trials that were trained again, best first by `ranking_seeds`.
        runs: the winner's, one for each of `seeds`, with their trained models.
        default: the recipe that it is compared with; default_runs: that one's, with the same seeds.
        ranking_seeds: which ranked the candidates; seeds: others, which measured winner and default.
        metric, direction: the ranking metric and whether "max" or "min" is better.
        claimed: the ranking metric of the search's best trial, of which luck is a part.
        validation: the winner's ranking metric over `seeds`, with its 95 % Student interval.
        test: each metric of the test set over `seeds` in the same way; empty without such a set.
        flattery: how much better `claimed` is than `validation`; above 0 where the search had promised too much.
        part: the set by which the gain is measured: "test" where the task has one, else "validation".
        gain: how much better the winner is than the default there, paired by seed; above 0 is better, whatever the
            direction. NaN when a run diverged.
        seeds_needed: how many seeds would show the gain with a probability of 80 %, were it what was seen; infinite
            where the default was as good or better, NaN where that is not known.
        wins: for how many of `seeds` the winner was better; one that diverged loses.
    """

    trial: "Trial"
    candidates: tuple[Candidate, ...]
    runs: tuple[Run, ...]
    default: Recipe
    default_runs: tuple[Run, ...]
    ranking_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    metric: str
    direction: str
    claimed: float
    validation: Interval
    test: Mapping[str, Interval]
    flattery: Interval
    part: str
    gain: Interval
    seeds_needed: float
    wins: int

    @property
    def verdict(self) -> str:
        """ "better" when the interval of the gain is above 0, else "not shown".

        Where the default diverged with some seeds there is no mean to compare, so it is "better" when the winner wins
        seed by seed more often than chance would let it (sign test, 5 %, two-sided).
        """
        if any(run.diverged for run in self.runs):
            return "not shown"
        if math.isnan(self.gain.mean):
            return "better" if _by_chance(self.wins, len(self.seeds)) <= 0.025 else "not shown"
        return "better" if self.gain.low > 0 else "not shown"

    @property
    def run(self) -> Run:
        """The run of the fresh seeds that is best by validation.

        It is as good as it says, or luck made it look so: `validation` and `test` are what to expect of it.
        """
        sign = 1.0 if self.direction == "max" else -1.0
        alive = [run for run in self.runs if math.isfinite(run.score)]
        return max(alive, key=lambda run: sign * run.score) if alive else self.runs[0]

    @property
    def model(self) -> Any:
        """The trained model of `run`: not trained again, so not worse."""
        return self.run.model


def _by_chance(wins: int, pairs: int) -> float:
    """How likely at least so many wins are where both are alike."""
    return math.ldexp(sum(math.comb(pairs, count) for count in range(wins, pairs + 1)), -pairs)
