"""Batches that race side by side: the next one takes the places of those that were pruned or have ended."""

from collections.abc import Callable, Sequence
from typing import Any

from hyperjax.studies.pruners import judges_batches_alone
from hyperjax.studies.race import Race
from hyperjax.tasks import Task
from hyperjax.training.mapping import resolved

BATCHES = 4  # that the places of a relay hold
SAMPLERS = ("random", "grid", "quasi_random", "tpe", "gp")  # the others think in generations, one a batch


def is_relayed(task: Task, sampler: Any, pruner: Any, layout: str, shared: bool) -> bool:
    """Whether places that come free in a study are taken at once.

    Side by side ("vmap") a place that nobody takes costs as much as one that somebody has, where "map" trains nothing
    for it. Verdicts must not wait for other batches, nor workers for one another; and who reads a stream reads one part
    of it at a time.
    """
    fits = resolved(layout) == "vmap" and task.stream is None and not shared
    return (
        fits
        and isinstance(sampler, str)
        and sampler in SAMPLERS
        and pruner is not None
        and judges_batches_alone(pruner)
    )


def relay(
    places: int,
    batch: int,
    begin: Callable[[], Race | None],
    advance: Callable[[Sequence[Race]], None],
    end: Callable[[Race], None],
) -> None:
    """Race batch after batch, in places that are taken anew after every segment in which enough of them came free.

    Nothing but scores decides which batch begins when, and no clock: a study that is gone through again from its
    records, where races of others are known, draws the same.

    Args:
        places: trials that race at a time.
        batch: trials of a batch, at most.
        begin: gives the race of the next one; None when there is none.
        advance: takes all races a segment further.
        end: told of a race that is over.
    """
    races: list[Race] = []
    while True:
        while places - sum(len(race.racing) for race in races) >= batch and (race := begin()) is not None:
            races.append(race)
        if not races:
            return
        advance(races)
        for race in races:
            if race.over:
                end(race)
        races = [race for race in races if not race.over]
