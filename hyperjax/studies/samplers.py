"""Where trials come from: at random, the whole grid, or a sampler of Optuna's, a batch at a time."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from hyperjax.checks import one_of
from hyperjax.studies.constraints import MOST_DRAWS
from hyperjax.studies.space import Space
from hyperjax.training.recipe import Recipe

SAMPLERS = {  # name -> the packages beside Optuna's own that it needs
    "random": (),
    "quasi_random": ("optuna", "scipy"),
    "tpe": ("optuna",),
    "gp": ("optuna", "scipy", "torch"),
    "cmaes": ("optuna", "cmaes"),
    "grid": (),
    "nsga2": ("optuna",),
}
BEFOREHAND = ("random", "grid", "quasi_random")  # no score changes what they draw


class Source(Protocol):
    """Where a study's trials come from."""

    total: int  # trials that it will give

    def ask(self) -> list[dict[str, Any]]:
        """The values of the next batch; none at the end."""

    def tell(
        self,
        scores: Mapping[int, float | Sequence[float]],
        pruned: Mapping[int, int] | None = None,
        standing: Mapping[int, tuple[float, int]] | None = None,
    ) -> None:
        """What became of some trials, by number from 0.

        Args:
            scores: of those that have ended, NaN for what diverged; of several metrics one number each.
            pruned: the epochs of those of them that were pruned.
            standing: scores of others that go on, and the epochs at which they have them.
        """


def check_sampler(sampler: Any, space: Space | None = None) -> None:
    """Refuse what is no sampler, or cannot be one here, before anything else happens.

    Args:
        sampler: as in `study`.
        space: that it would draw from, where it is known.
    Raises: ValueError for an unknown name, a package that is missing, or a grid of ranges.
    """
    if not isinstance(sampler, str):
        if find_spec("optuna") is None or not _is_optunas(sampler):
            raise ValueError(
                f"sampler must be one of {', '.join(SAMPLERS)}, or one of optuna.samplers, got {sampler!r}"
            )
        return
    missing = [package for package in SAMPLERS[one_of("sampler", sampler, SAMPLERS)] if find_spec(package) is None]
    if missing:
        raise ValueError(
            f"sampler must be one whose packages are installed, got {sampler!r}, which needs {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}"
        )
    if sampler == "grid" and space is not None and not space.is_grid:
        ranges = [name for name, entry in space.searched.items() if not isinstance(entry, list)]
        raise ValueError(f"sampler must be another than 'grid' for ranges, got 'grid' with {', '.join(ranges)}")


def _is_optunas(sampler: Any) -> bool:
    from optuna.samplers import BaseSampler

    return isinstance(sampler, BaseSampler)


class Drawn:
    """Trials that are all known beforehand.

    >>> from hyperjax.studies.space import space
    >>> source = Drawn([{"epochs": 1}, {"epochs": 2}, {"epochs": 3}], batch=2)
    >>> [len(source.ask()) for _ in range(3)]
    [2, 1, 0]
    """

    def __init__(self, values: list[dict[str, Any]], batch: int):
        self.total, self._values, self._batch = len(values), iter(values), batch

    def ask(self) -> list[dict[str, Any]]:
        """The next ones."""
        return list(itertools.islice(self._values, self._batch))

    def tell(self, *_: Any) -> None:
        """Nothing follows from it."""


def source_of(
    sampler: Any,
    space: Space,
    trials: int | None,
    batch: int,
    seed: int,
    direction: str | Sequence[str],
    base: Recipe | None = None,
    known: Mapping[int, Mapping[str, Any]] | None = None,
    turns: Sequence[Mapping[str, Any]] = (),
) -> Source:
    """What gives a study its trials.

    Args:
        sampler, space, trials, seed: as in `study`.
        batch: trials that are asked for together.
        direction: "max" or "min", whichever score is better; of several metrics, one each.
        base: what everything outside the space is.
        known: trials that there are already; see `Asked`.
        turns: values of some names that trials take in turn; none: all are drawn.
    """
    if sampler in ("random", "grid"):
        return Drawn(draw(space, trials, seed, base, turns), batch)
    from hyperjax.studies.asking import Asked

    return Asked(sampler, space, 64 if trials is None else trials, batch, seed, direction, known, turns)


def draw(
    space: Space,
    trials: int | None,
    seed: int,
    base: Recipe | None = None,
    turns: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The values of each trial; `turns` as in `source_of`.

    A space of lists alone is a grid: all of it in order when `trials` is None or reaches its size, else a sample
    without repetition; combinations that differ only in what cannot matter count once, and those that break a
    constraint not at all. Any other space is sampled independently, each trial from a generator of its own. A longer
    study begins with the trials of a shorter one, unless it is the whole grid.

    Raises: ValueError that names the constraints when they leave nothing.

    >>> from hyperjax.studies.space import space
    >>> [v["batch_size"] for v in draw(space(batch_size=[32, 64]), None, seed=0)]
    [32, 64]
    """
    if not space.is_grid:
        count = 64 if trials is None else trials
        own: Sequence[Mapping[str, Any]] = turns or ({},)
        return [space.sample(np.random.default_rng([seed, n]), own[n % len(own)]) for n in range(count)]
    size = math.prod(len(entry) for entry in space.searched.values())
    found: dict[str, dict[str, Any]] = {}
    broken: Counter[str] = Counter()

    def take(values: dict[str, Any]) -> None:
        message = space.constraints.broken(values)
        if message is None:
            found.setdefault(repr(space.meaningful(values, base)), values)
        else:
            broken[message] += 1

    if trials is None or trials >= size:
        for values in space.combinations():
            take(values)
    else:
        rng = np.random.default_rng(seed)
        seen: set[str] = set()
        while len(found) < trials and len(seen) < size and (found or broken.total() < MOST_DRAWS):
            values = space.sample_freely(rng) | dict(turns[len(found) % len(turns)] if turns else {})
            seen.add(repr(values))
            take(values)
    if not found:
        raise space.constraints.nothing_left(broken)
    return list(found.values())
