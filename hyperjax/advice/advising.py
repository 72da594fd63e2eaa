"""`advise`: measure, race, compare, and say what to set."""

import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from hyperjax.advice.advice import Advice, Tried
from hyperjax.advice.candidates import draw, neighbours, offspring
from hyperjax.advice.clock import Clock
from hyperjax.advice.comparison import Comparison, compare
from hyperjax.advice.description import Description, default_for, describe
from hyperjax.advice.evidence import evidence_for
from hyperjax.advice.measuring import measure
from hyperjax.advice.plan import MOST_CANDIDATES, final_seeds, fresh_seeds, longest, plan
from hyperjax.advice.priors import prior_for
from hyperjax.advice.race import Entry, Track, best_first, race
from hyperjax.checks import require
from hyperjax.diagnostics.unit_gradients import FEWEST
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

PARENTS = 4  # of the second race
FINALISTS = 4
ALIKE = 0.1  # lengths that differ by less are the same
NEIGHBOURS = 4  # seeds that show what each field is worth; fewer show nothing


def advise(
    task: Task,
    budget: float | str = "1m",
    *,
    seed: int = 0,
    metric: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Advice:
    """Find a first recipe for a task that nobody has trained yet, and say what each number rests on.

    What people would start from for this kind of task is looked up (`hyperjax.advice.PRIORS`). Then the gradient noise
    scale and the cost of a step say which batch sizes are worth trying, a range test which rates, and a race of
    candidates the rest: schedule, warm-up, weight decay, dropout, label smoothing, length. A second race is of the
    best and of recipes near them, the finals of its best. Each of the three has seeds of its own, the same for all
    candidates, and ranks by them alone; the best third of a race's round has more of them, beside the default recipe,
    which takes part. What each field of the winner is worth is measured by training without it.

    At the end the winner and Adam at 1e-3, with batches of 32 and a constant rate, are trained on fresh seeds for the
    same number of epochs, and measured on the test set where there is one. The default is also given the number of
    epochs at which it was best by validation, up to the longest that was tried. Where the winner gains nothing in the
    mean over either of the two, that default is the advice.

    `task.recipe` is not read. What is tried depends on the seconds that runs take here, so another machine, or another
    moment, may advise another recipe; the same candidates are drawn in the same order for the same counts.

    Args:
        task: what is learnt, with a validation set, from arrays.
        budget: seconds for everything, or text such as "90s", "1m". At least one race of a few candidates and one
            comparison are made, whatever they take: a task whose runs are long goes over it.
        seed: of the drawing of candidates, and the first seed of the runs.
        metric: what ranks instead of the task's own, as `hyperjax.study` has it.
        progress: called as `progress(runs done, 0)`: how many there will be is not known beforehand.
    Returns: the advice; `hyperjax.plot` and `hyperjax.report` draw it.
    Raises: ValueError for a budget that is no time, a task without a validation set or with fewer than 32 training
        examples, targets of one class, a stream of batches.

    >>> from hyperjax.tasks import wine
    >>> found = advise(wine(), budget="30s")  # doctest: +SKIP
    >>> found.recipe, found.verdict, found.evidence["weight_decay"]  # doctest: +SKIP
    """
    clock = Clock(budget)
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
    require(whole, f"seed must be a whole number of at least 0, got {seed!r}")
    _check(task)
    task = task if metric is None else task.ranked_by(metric)
    described = describe(task)
    prior = prior_for(described)
    start = prior.recipe.replace(batch_size=default_for(described, 1).batch_size, dropout=described.dropout)
    measured = measure(task, described, start, clock)
    per_epoch = -(-described.examples // int(start.batch_size))
    epochs = longest(measured.seconds, per_epoch, clock.left, os.cpu_count() or 1)
    suggested = measured.range.suggestion if measured.range else None
    rate = suggested or float(start.learning_rate)  # type: ignore[arg-type] # no prior has a schedule of its own
    default, start = default_for(described, epochs), start.replace(epochs=epochs)

    # A program has room for all that may come, so that no later recipe needs another one.
    def drawn(count: int) -> list[Recipe]:
        own = [default, start.replace(learning_rate=rate), start]
        return list(dict.fromkeys([*own, *draw(prior, described, rate, measured.sizes, epochs, count, seed)]))

    told = None if progress is None else (lambda done: progress(done, 0))
    track = Track(task, drawn(MOST_CANDIDATES), told)
    with clock.phase("race"):
        track.train([default, start], [seed])  # compiles, and tells what a run takes
        first = plan(track.cost(default), clock.left)
        entries = [Entry(recipe) for recipe in drawn(first.candidates)]
        known = entries[0]
        ranked, used = race(track, entries, known, seed, first.seeds, clock)
    with clock.phase("second race"):
        second = plan(track.cost(default), clock.left)
        parents = [entry for entry in ranked if entry is not known][:PARENTS]
        young = offspring([entry.recipe for entry in parents], described, second.candidates, seed)
        children = [Entry(recipe) for recipe in young]
        ranked, used = race(track, [known, *parents, *children], known, used, second.seeds, clock)
        entries += children
    with clock.phase("finals"):
        finalists = [entry for entry in ranked if entry is not known][:FINALISTS]
        again = range(used, used + final_seeds(track.cost(default), clock.left))
        track.extend([known, *finalists], again)
        best = best_first(finalists, task.direction, again)[0]
    with clock.phase("fields"):
        best, without = _without(track, best, described, again, clock)
    with clock.phase("comparison"):
        lengths = [best.recipe.epochs]
        if not math.isclose(own_length := _best_length(known), best.recipe.epochs, rel_tol=ALIKE):
            lengths.append(own_length)
        rivals = [default.replace(epochs=length) for length in lengths]
        pair = sum(track.cost(recipe) for recipe in [best.recipe, *rivals])
        count = fresh_seeds(pair, clock.left)
        fresh = list(range(again.stop, again.stop + count))
        own, *others = track.train([best.recipe, *rivals], fresh)
        compared = [compare(task, own, other) for other in others]
    recipe, run = _advised(best.recipe, own, compared, others, task.direction)
    said = evidence_for(task, best, without, entries, measured, start, prior.reason)
    order = best_first([*entries, *without.values()], task.direction)
    return Advice(
        task=task.name,
        kind=prior.title,
        recipe=recipe,
        prior=start.replace(epochs=recipe.epochs),
        prior_reason=prior.reason,
        default=rivals[0],
        evidence=said if recipe == best.recipe else _fallen_back(said),
        comparison=compared[0],
        own_length=compared[1] if len(compared) > 1 else None,
        candidate=best.recipe,
        verdict=compared[0].verdict,
        metric=task.ranking,
        direction=task.direction,
        seconds={**clock.seconds, "all": clock.spent},
        budget=clock.budget,
        tried=tuple(Tried(entry.recipe, entry.score, len(entry.runs)) for entry in order),
        noise=measured.noise,
        cost=measured.cost,
        range=measured.range,
        runs=own,
        default_runs=others[0],
        run=run,
    )


def _check(task: Task) -> None:
    require_task(task)
    task.require_arrays("an advice")
    require(
        "validation" in task.data, f"task must have data['validation'], by which candidates are ranked, got {task!r}"
    )
    least = 2 * FEWEST  # of which the noise scale can be measured
    require(
        task.size("train") >= least, f"task must have at least {least} training examples for an advice, got {task!r}"
    )
    task.require_classes()


def _without(
    track: Track, best: Entry, described: Description, seeds: Sequence[int], clock: Clock
) -> tuple[Entry, dict[str, Entry]]:
    """By field, the best recipe without it, on the finals' seeds; and the best, or the one of them shown to be better.

    A field that is shown to hurt is left out; one that is not shown to help stays, as the race had it.
    """
    recipes = neighbours(best.recipe, described)
    spare = clock.left / 2  # the other half is the comparison's
    if not recipes or len(seeds) < NEIGHBOURS or len(recipes) * len(seeds) * track.cost(best.recipe) > spare:
        return best, {}
    found = {name: Entry(recipe) for name, recipe in recipes.items()}
    track.extend(list(found.values()), seeds)
    direction = track.task.direction
    better = [entry for entry in found.values() if best.gain(entry, direction).high < 0]
    return (best_first(better, direction)[0] if better else best), found


def _best_length(default: Entry) -> float:
    """Epochs at which the default recipe's runs are best by validation in the mean, as it would be were it that long.

    Its rate is constant, so a shorter run is the beginning of a longer one.
    """
    runs = list(default.runs.values())
    curves = np.stack([run.metrics[run.metric] for run in runs if not run.diverged] or [np.zeros(1)])
    if any(run.diverged for run in runs):
        return float(default.recipe.epochs)
    mean = curves.mean(0)
    return float(runs[0].epochs[int(mean.argmax() if runs[0].direction == "max" else mean.argmin())])


def _advised(
    candidate: Recipe,
    own: Sequence[Run],
    compared: Sequence[Comparison],
    others: Sequence[Sequence[Run]],
    direction: str,
) -> tuple[Recipe, Run]:
    """The candidate and its best run, or the best default where it gains nothing over one of them."""
    lost = [each for each in compared if not _gains(each)]
    runs = own
    if lost:
        place = compared.index(min(lost, key=lambda each: _known(each.gain.mean)))
        candidate, runs = compared[place].against, others[place]
    sign = 1.0 if direction == "max" else -1.0
    return candidate, max(runs, key=lambda run: _known(sign * run.score))


def _gains(compared: Comparison) -> bool:
    if any(compared.diverged):
        return compared.diverged[0] < compared.diverged[1]
    return compared.gain.mean > 0


def _known(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _fallen_back(said: dict[str, str]) -> dict[str, str]:
    why = "the default, since what was found instead gained nothing over it on fresh seeds"
    return {name: f"{why}. {said[name]}" for name in ("optimizer", "learning_rate", "batch_size", "epochs")}
