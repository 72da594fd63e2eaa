"""Run a study: sample recipes in batches, train each as a population, rank them all."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hyperjax.checks import positive_integer, within
from hyperjax.studies.ending import MOST_TRIALS, Ending, budget_of
from hyperjax.studies.identity import identity, versions
from hyperjax.studies.measures import Measures, check_several
from hyperjax.studies.pruners import check_pruner, is_optunas, judges_batches_alone
from hyperjax.studies.pruning import Pruning, longest
from hyperjax.studies.ranges import Range
from hyperjax.studies.relay import BATCHES, is_relayed
from hyperjax.studies.reviving import Held
from hyperjax.studies.roles import combinations, scientific_names
from hyperjax.studies.rounds import Rounds, batch_for
from hyperjax.studies.samplers import BEFOREHAND, check_sampler, source_of
from hyperjax.studies.sharing import default_in_parts, in_parts, most_runs, shared_size
from hyperjax.studies.space import Space
from hyperjax.studies.study import Study, Trial
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.evaluate import evaluate
from hyperjax.training.mapping import resolved
from hyperjax.training.members import recipe_of
from hyperjax.training.recipe import Recipe

if TYPE_CHECKING:
    from hyperjax.studies.archive import Archive


class StudyInterrupted(KeyboardInterrupt):
    """A study that was stopped by Ctrl-C; `study` holds the trials that had finished."""

    def __init__(self, study: Study):
        super().__init__(f"interrupted with {len(study.trials)} trials finished")
        self.study = study


class StudyNotKept(OSError):  # noqa: N818  # beside StudyInterrupted
    """A study that stopped since its storage could not be written; `study` holds the trials that had finished.

    Those that were written before are in the storage, and the same call goes on from there.
    """

    def __init__(self, error: OSError, study: Study):
        super().__init__(error.errno, error.strerror, error.filename)
        self.study = study


def study(
    task: Task,
    space: Space,
    trials: int | None = None,
    seeds: int | Sequence[int] = 1,
    *,
    seed: int = 0,
    sampler: Any = "random",
    pruner: Any = None,
    batch: int | None = None,
    ahead: bool = False,
    recipe: Recipe | None = None,
    scientific: str | Sequence[str] = (),
    metric: str | Sequence[str] | None = None,
    budget: Any = None,
    min_gain: float | None = None,
    callbacks: Sequence[Callable[[Study], Any]] = (),
    layout: str = "auto",
    width: int | None = None,
    storage: str | os.PathLike[str] | None = None,
    name: str = "hyperjax",
    folder: str | os.PathLike[str] | None = None,
    shared: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Search a space and rank what was found by validation: at random, all of a grid, or where earlier trials point.

    Args:
        task: what is learnt; it must have a validation set.
        space: what varies; see `hyperjax.space`. In a short study batch sizes of a list share a program where they have
            a common part of 16 examples or more and examples do not meet in the model; recipes then say so by
            `micro_batch_size`.
        trials: how many recipes; None is the whole grid where the space is one, else 64, or with a budget what it pays.
        seeds: how many seeds to train each recipe with (0, 1, ...), or which.
        seed: of the sampling.
        sampler: where the next trials come from; all but the first need Optuna, some of it extras:
            - "random": independently, or the whole grid of a space of lists;
            - "grid": the same, refused where there are ranges;
            - "quasi_random": a scrambled Sobol sequence, which covers the space more evenly;
            - "tpe": Parzen estimators of all names together, with those in the same batch taken to be bad;
            - "cmaes": an evolving normal distribution of the numbers, beside TPE for the choices;
            - "nsga2": crossings of the better half, made for several metrics;
            - "gp": a Gaussian process. Seconds a trial, so for few and long ones;
            - any object of `optuna.samplers`.
        pruner: which trials end early, judged batch by batch at epochs that the whole batch has reached; the best trial
            is one that was trained to its end, and `Study.revive` trains pruned ones on. None: none;
            - "successive_halving": after 1, 3, 9, ... epochs the best third goes on;
            - "hyperband": the same with several first verdicts side by side, since an early one may be wrong;
            - "median": a trial ends that never was as good as half of the others were on average;
            - "patience": a trial ends that has gained nothing for 5 epochs;
            - one of `hyperjax.studies.pruners`, with numbers of your own, `threshold` too;
            - any object of `optuna.pruners`, which compares with the batches before.
        batch: trials that are trained together before a sampler sees their scores. Smaller ones learn sooner, larger
            ones keep the hardware busy. None: all where scores change nothing, else what keeps this machine busy, and
            at least a sixteenth of the trials. Where members train side by side ("vmap", on accelerators), a pruner
            judges each batch by itself and the sampler does not think in generations, four batches race at a time (and
            None is a quarter of that): as soon as enough trials were pruned or have ended for another batch to take
            their places, it begins. The sampler then knows of those that race how good they are so far.
        ahead: True: a batch is drawn while the one before it trains, by the scores of all before that: drawing costs no
            time beside training that is longer, and what a batch teaches is used one batch later. For samplers that are
            slow (the Gaussian process) or hardware that leaves the processor idle.
        recipe: what everything outside the space is; None is `Recipe()`.
        scientific: names of lists whose values are to be compared; everything else that varies is a nuisance, tuned for
            each of them. Their values (all combinations of several) are taken in turn, so that each has as many trials
            as the others, and `study.isolate(name)` compares them at their best. None may be pruned before the others.
        metric: what ranks instead of the task's own: "loss" or the name of a metric of the task, on the validation set.
            Of several, as ["accuracy", "parameters"], the first ranks, the sampler is told all ("cmaes" cannot be, nor
            can a pruner), and `Study.front` has the trials that no other one beats. Those behind the first may be
            costs, less of which is better: "parameters" (weights that are trained), "epochs" (that were trained) or
            "flops" (of a forward pass of one example); where a task has a metric of that name, it is meant.
        budget: what it may cost: seconds, or text such as "90s", "10m", "1.5h" (of this call, compiling included; what
            has finished by then is the study), or "5000 epochs" or `hj.epochs(5000)`, of all runs together. A trial is
            trained whole or not at all; a pruned batch may go over it. None: as much as the trials take.
        min_gain: end when the later half of the trials, 16 at least, has brought no more than this over the first half,
            in the unit of the metric; it is looked at batch by batch. None: never.
        callbacks: each called with the study so far after every batch (without its test set); a true answer ends the
            search.
        layout, width: as in `fit_population`.
        storage: where finished trials are kept as they end, and taken from when the same call is made again: a path
            (of a folder or a file) for a journal of Optuna's, or a URL of a database that Optuna can use
            (`sqlite:///study.db`, `postgresql://...`). None: nowhere.
        name: of the study in its storage.
        folder: where the weights of the best trials lie, and states of populations that train for long; None: beside
            the journal or SQLite's file, and of other databases nowhere.
        shared: True: whoever makes the same call meanwhile, here or on another machine that reaches the storage, does a
            part of the trials, and gets them all. Trials of a worker that dies go to the others. With a pruner a worker
            races whole batches, and others wait for the scores of those where the sampler needs them: draw at random
            or `ahead`. Such a pruner is one that judges a batch by itself, so neither the median nor Optuna's.
        progress: called as `progress(trials done, trials in all)`, first when all programs are compiled; 0 in all where
            a budget alone decides.
    Returns: a `Study`; the best recipe's runs are also measured on the test set, if the task has one. Luck flatters the
        best of many: `hyperjax.studies.confirm` trains the best ones again, and says what they are worth. One that goes
        on has the trials that were kept, without their losses step by step; only the best of those have their models.
        With a sampler by name its table is that of a study that was never stopped, bit for bit on the same machine; an
        object of Optuna's goes on with what it draws anew.
    Raises: ValueError for arguments that do not fit, among them a storage that holds another study; StudyInterrupted
        on Ctrl-C, with what had finished; StudyNotKept where the storage could not be written.

    >>> import numpy as np
    >>> from flax import nnx
    >>> from hyperjax.studies import log_uniform, space
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(
    ...     lambda rngs: nnx.Linear(1, 1, rngs=rngs),
    ...     {"train": (x, 3 * x), "validation": (x, 3 * x)},
    ...     loss="squared_error",
    ... )
    >>> found = study(task, space(learning_rate=log_uniform(1e-3, 1.0), epochs=3), trials=8, seeds=2)
    >>> len(found.trials), found.metric, len(found.best.runs)
    (8, 'validation_loss', 2)
    """
    require_task(task)
    if "validation" not in task.data:
        raise ValueError(f"task must have data['validation'], by which a study ranks, got {task!r}")
    if trials is not None:
        positive_integer("trials", trials)
    if not isinstance(space, Space):
        raise ValueError(f"space must come from hyperjax.space(...), got {space!r}")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    check_sampler(sampler, space)
    check_pruner(pruner)
    if pruner is not None and jax.process_count() > 1:
        raise ValueError(f"pruner must be None in a job of several processes, got {pruner!r}")
    if pruner is not None and shared and not judges_batches_alone(pruner):
        raise ValueError(
            "pruner must be one that judges a batch by itself where workers share a study: successive_halving, "
            f"hyperband, patience or a threshold, got {pruner!r}"
        )
    if batch is not None:
        positive_integer("batch", batch)
    if shared and (storage is None or not isinstance(sampler, str)):
        raise ValueError(f"shared must be False without a storage or with a sampler object, got {shared!r}")
    compared = scientific_names(scientific, space)
    if compared and pruner is not None:
        raise ValueError(f"pruner must be None where values are compared, each at its best, got {pruner!r}")
    limit = budget_of(budget)
    if limit.seconds < math.inf and jax.process_count() > 1:  # whose clocks would end it at different trials
        raise ValueError(f"budget must be in epochs in a job of several processes, got {budget!r}")
    if min_gain is not None:
        within("min_gain", min_gain, 0.0)
    measures = Measures(task, metric)
    task, metrics = measures.task, measures.metrics
    check_several(metrics, sampler, pruner)
    chosen = _chosen(seeds)
    if jax.process_index() > 0:  # of a job, the first process alone reports
        progress = None
    space.refuse_unread(recipe_of(recipe))
    begin = time.perf_counter()
    ending = Ending(limit, min_gain, task.direction)
    open_ended = trials is None and limit.given and not space.is_grid
    asked_trials, trials = trials, MOST_TRIALS if open_ended else trials
    looks_between = ending.in_batches or callbacks or (shared and pruner is not None)
    relayed = is_relayed(task, sampler, pruner, layout, shared)
    at_once = sampler in BEFOREHAND and not is_optunas(pruner) and not looks_between
    busy = batch_for(64 if open_ended else trials or 64, layout)
    together = batch or (-(-busy // BATCHES) if relayed else sys.maxsize if at_once else busy)
    places = BATCHES * together if relayed else None
    pruning = None
    if pruner is not None:
        pruning = Pruning(pruner, longest(space, recipe), len(chosen), task.direction)
    archive, known = None, None

    def decided() -> int | None:
        return shared_size(task, space, recipe, layout, most_runs(space, asked_trials, len(chosen), limit), limit)

    with contextlib.ExitStack() as held:
        if storage is not None:
            whole = None if together == sys.maxsize else together
            told = None if pruning is None else pruning.conditions["pruner"]
            cut: dict[str, Any] = {"batch": whole, "layout": layout, "width": width, "ahead": ahead}
            asked_of: dict[str, Any] = {"metrics": metrics, "scientific": compared}
            same = identity(task, space, recipe, chosen, int(seed), sampler, told, **cut, **asked_of)
            left = _left_open(same, decided, places, trials, whole, batch)
            archive = held.enter_context(_archived(storage, name, folder, metrics, space, same, left, layout, shared))
            together, known = archive.identity["batch"] or sys.maxsize, archive.known
            parts, places = archive.identity.get("micro_batch_size"), archive.identity.get("places")
            if shared and places is not None:
                raise ValueError(
                    "shared must be False for a study that one worker began, since its batches race side by side, "
                    f"got True for {archive.place!r}"
                )
        else:
            parts = decided()
        if together == sys.maxsize and not at_once:  # begun without anything that looks between batches
            together = batch_for(64, layout)
        default = default_in_parts(space.default(recipe), parts)
        recipe = in_parts(recipe, parts)
        turns = combinations(compared, space) if compared else ()
        source = source_of(sampler, space, trials, together, int(seed), measures.directions, recipe, known, turns)
        if archive is not None:
            archive.put_asked(0 if open_ended else source.total)
        after = partial(_called, callbacks, lambda: result(tested=False)) if callbacks else None
        ways: dict[str, Any] = {"ending": ending, "after": after, "ahead": ahead, "total": 0 if open_ended else None}
        ways |= {"measures": measures, "places": places}
        rounds = Rounds(task, space, recipe, source, chosen, together, layout, width, pruning, archive, **ways)
        held = held.pop_all()
    named = sampler if isinstance(sampler, str) else type(sampler).__name__
    searched = space.searched
    ranges = {name: entry for name, entry in searched.items() if isinstance(entry, Range)}

    def asked() -> int:
        return source.total if ending.reason is None else len(rounds.recipes)

    def result(tested: bool = True, **conditions: Any) -> Study:
        numbers = [number for number in range(len(rounds.recipes)) if tested or rounds.has_ended(number)]
        made = tuple(trial for number in numbers if (trial := rounds.trial(number)) is not None)
        found = Study(
            task=task.name,
            space={name: text for name, text in space.described().items() if name in searched},
            trials=made,
            metric=task.ranking,
            direction=task.direction,
            seeds=chosen,
            logs=frozenset(n for n, entry in ranges.items() if entry.log),
            continuous=frozenset(n for n, entry in ranges.items() if not entry.integer),
            ranges=ranges,
            fixed={name: text for name, text in space.described().items() if name not in searched},
            scientific=compared,
            default=default,
            further=measures.further,
            test=_on_test(task, made, task.direction) if tested else {},
            _room=rounds.room,
            _width=rounds.width,
            _segment_epochs=None if pruning is None else pruning.segment_epochs,
            conditions={
                **_machine(),
                **rounds.conditions,
                **conditions,
                "seconds": time.perf_counter() - begin,
                **({} if open_ended and ending.reason is None else {"asked_trials": asked()}),
                **({} if ending.reason is None else {"ended": ending.reason}),
                "sampler": named,
                **({"ahead": True} if ahead else {}),
                "batch": min(together, source.total),
                **({} if places is None else {"places": places}),
                **({} if pruning is None else pruning.conditions),
                **({} if archive is None else {"storage": archive.place, "trials_kept_before": len(archive.kept)}),
            },
            _held=None if pruning is None else Held(pruning, partial(_on_test, task, direction=task.direction)),
        )
        return replace(found, wider=space.wider(found.edges, recipe))

    try:
        with held:
            rounds.run(progress)
            if archive is not None and ending.reason is not None:
                archive.put_asked(len(rounds.recipes))
    except KeyboardInterrupt:
        raise StudyInterrupted(result(interrupted=True)) from None
    except OSError as error:
        raise StudyNotKept(error, result(interrupted=True)) from None
    return result()


def _left_open(
    same: Mapping[str, Any],
    decided: Callable[[], int | None],
    places: int | None,
    trials: int | None,
    whole: int | None,
    batch: int | None,
) -> dict[str, Callable[[Mapping[str, Any] | None], Any]]:
    """What of a study stays as it was begun, whatever this call or this machine would do; see `Archive`."""

    def raced(there: Mapping[str, Any] | None) -> int | None:
        together = whole if there is None or batch is not None else there.get("batch")
        return trials if together is None else None  # what a verdict compares, where all race as one batch

    def stays(name: str, decide: Callable[[], Any]) -> Callable[[Mapping[str, Any] | None], Any]:
        return lambda there: decide() if there is None else there.get(name)

    left = {"micro_batch_size": stays("micro_batch_size", decided), "places": stays("places", lambda: places)}
    if batch is None:
        left["batch"] = stays("batch", lambda: whole)
    if "pruner" in same:
        left["trials"] = raced
    return left


def _archived(
    storage: str | os.PathLike[str],
    name: str,
    folder: str | os.PathLike[str] | None,
    metrics: Mapping[str, str],
    space: Space,
    same: dict[str, Any],
    left: Mapping[str, Callable[[Mapping[str, Any] | None], Any]],
    layout: str,
    shared: bool,
) -> "Archive":
    """The study's place in its storage."""
    from hyperjax.studies.archive import Archive  # Optuna and its storages, for those who keep something

    if jax.process_count() > 1:
        raise ValueError(f"storage must be None in a job of several processes, got {storage!r}")
    return Archive(storage, name, folder, metrics, space, same, left, resolved(layout), shared)


def _called(callbacks: Sequence[Callable[[Study], Any]], study: Callable[[], Study]) -> bool:
    """Whether a callback ends the search; all are called."""
    found = study()
    answers = [callback(found) for callback in callbacks]
    return any(map(bool, answers))


def _chosen(seeds: Any) -> tuple[int, ...]:
    if isinstance(seeds, int | float | np.number | str) or not isinstance(seeds, Iterable):
        return tuple(range(positive_integer("seeds", seeds)))
    listed = tuple(seeds)
    if not listed:
        raise ValueError("seeds must hold at least one whole number, got none")
    if len(set(listed)) < len(listed):  # the interval would count one run twice
        raise ValueError(f"seeds must differ from one another, got {list(listed)}")
    return listed


def _on_test(task: Task, trials: tuple[Trial, ...], direction: str) -> dict[str, float]:
    """Means over the best trial's seeds on the test set."""
    if "test" not in task.data or not trials:
        return {}
    best = Study("", {}, trials, "", direction, ()).best
    if best.diverged or not all(run.has_model for run in best.runs):
        return {}
    rows = [evaluate(task, run.model, "test") for run in best.runs]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _machine() -> dict[str, Any]:
    return {
        "versions": versions(),
        "backend": jax.default_backend(),
        "devices": len(jax.devices()),
        "cores": os.cpu_count(),
    }
