"""Train one recipe, or a population of recipes; go on with either from a checkpoint."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hyperjax.tasks import Task, bundled, find
from hyperjax.tasks.task import require_task
from hyperjax.training.checkpoint import Checkpoint, plan_of
from hyperjax.training.devices import Shards, chosen
from hyperjax.training.engine import Engine
from hyperjax.training.lowering import lower_together
from hyperjax.training.meeting import Meeting
from hyperjax.training.members import recipe_of, recipes_of, seeds_of
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs

Folder = str | os.PathLike[str]


def fit(
    task: Task,
    recipe: Recipe | None = None,
    seed: int = 0,
    init: Any = None,
    on_segment: Callable[[Run], None] | None = None,
    *,
    segment_steps: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    checkpoint: Folder | None = None,
    every: int = 1,
) -> Run:
    """Train one recipe on a task.

    Args:
        task: what is learnt.
        recipe: how; None is `Recipe()`.
        seed: of initial weights, order of examples and masks; the same seed gives every recipe the same ones.
        init: a model or a run whose weights to begin from, instead of initial ones; it is copied, not changed.
        on_segment: called with the run so far after each segment.
        segment_steps: steps in a segment, at least 2; None: the whole run when it is short, else about two seconds of
            whole epochs, or one epoch when there is an `on_segment`.
        devices: that train the run together, for a large model: each has all the weights and a part of every batch
            whose size they divide, micro-batches and blocks of the validation set too (another is computed whole on
            each), and the result is one device's to rounding. None: one device, however many there are, since adding
            up gradients over devices takes a small model longer than its batch.
        checkpoint: a folder in which the run is kept between its segments. The same call again goes on from there, as
            `resume` does; a folder that holds another training is refused.
        every: segments between two checkpoints.
    Returns: the run. A run whose loss or gradient stops being finite ends there and says so (`run.diverged_at`).
    Raises: ValueError where recipe and task do not fit, or the checkpoint holds another training.

    >>> import numpy as np
    >>> from flax import nnx
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error")
    >>> run = fit(task, Recipe(optimizer="sgd", learning_rate=0.5, batch_size="full", epochs=40))
    >>> round(float(run.model(np.ones((1, 1), np.float32))[0, 0]), 3)
    3.0
    """
    recipe = recipe_of(recipe)
    if on_segment is not None and segment_steps is None:
        segment_steps = max(2, lower_together([recipe], task)[1].steps_per_epoch)  # or turns
    folder = None if checkpoint is None else Checkpoint(checkpoint, every)
    ways: dict[str, Any] = {"segment_steps": segment_steps, "shards": _together(devices)}
    engine = _engine(task, [recipe], [seed], folder, "run", init=init, **ways)
    return engine.run(init=init, on_segment=on_segment, checkpoint=folder)[0]


def fit_population(
    task: Task,
    recipes: Sequence[Recipe],
    seeds: Sequence[int] = (0,),
    *,
    layout: str = "auto",
    width: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
    example_weights: Any = None,
    targets: Any = None,
    checkpoint: Folder | None = None,
    every: int = 1,
) -> Runs:
    """Train every recipe with every seed, one compiled program for each group of recipes of equal structure.

    Optimizers of the rule family, schedules, activations, losses, numbers and lengths are data and share a program;
    batch size (without a `micro_batch_size`), a model's arguments and optimizer factories are structure. A member that
    diverges is marked and ends, and does not touch its neighbours.

    In a job of several processes, which `hyperjax.initialize` joins, every process makes the same call: each trains
    every n-th chunk on its own devices, and all return all runs, gathered at the end through one device of each.

    Args:
        task: what is learnt.
        recipes: at least one.
        seeds: at least one; each recipe is trained with each.
        layout: "map" (members one by one, a thread a core), "vmap" (side by side), or "auto" (map on CPU).
        width: members in a chunk or block; None decides, so that each process of a job has some. Under "vmap" the
            width changes the last bits of a result; under "map" nothing does.
        devices: over which members are spread; None: under "vmap" all of this host's, under "map" one.
        progress: called as `progress(runs done, runs in all)`, in a job by process 0 alone, of all processes' runs.
        example_weights: float[runs, examples] in the order of the runs, at least 0: what each training example's loss
            is multiplied by, for every run apart (a bootstrap's counts, boosting's weights).
        targets: [runs, *targets' shape]: training targets of each run's own, instead of the task's.
        checkpoint, every: as in `fit`; every chunk of the population is kept apart. In a job the folder is one that all
            processes share, and as many or as few go on from it.
    Returns: the runs, seeds fastest, with `conditions` (programs, seconds compiling and training, layout).
    Raises: ValueError where a recipe and the task do not fit, before anything compiles; ProcessLostError in a job whose
        other processes do not get to the end, saying which and where it can go on.

    >>> import numpy as np
    >>> from flax import nnx
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error")
    >>> recipes = [Recipe(optimizer=name, learning_rate=0.1, epochs=5) for name in ("sgd", "adam", "lion")]
    >>> runs = fit_population(task, recipes, seeds=[0, 1])
    >>> len(runs), runs.conditions["programs"], runs[3].recipe.optimizer, runs[3].seed
    (6, 1, 'adam', 1)
    """
    folder = None if checkpoint is None else Checkpoint(checkpoint, every)
    own = {"example_weights": example_weights, "targets": targets}
    engine = _engine(task, recipes, seeds, folder, "population", layout=layout, width=width, devices=devices, **own)
    return engine.run(checkpoint=folder, progress=progress)


def resume(
    checkpoint: Folder,
    task: Task | None = None,
    *,
    every: int = 1,
    on_segment: Callable[[Run], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    devices: Sequence[jax.Device] | None = None,
    allowed_modules: tuple[str, ...] = (),
) -> Run | Runs:
    """Go on with what `fit` or `fit_population` was training when it ended, bit for bit as if it had not.

    Lost is at most what was trained since the last checkpoint. On another version of JAX, or another kind of device
    or number of devices, the last bits may differ.

    Args:
        checkpoint: the folder that it was given.
        task: the task, which a checkpoint does not hold; None: the bundled one of the name that it was trained on.
        every: segments between two checkpoints.
        on_segment: as in `fit`, for one run; progress: as in `fit_population`.
        devices: as in `fit` or `fit_population`; they may be others than those that it began on.
        allowed_modules: modules that an optimizer factory may be imported from, beside optax; nothing is unpickled.
    Returns: a `Run` or `Runs`, whichever was begun. One that had ended is read, not trained again.
    Raises: ValueError for a folder without a checkpoint, a task with other data, or one whose weights have another
        structure, naming the difference.

    >>> import tempfile
    >>> from hyperjax.tasks import digits
    >>> folder = tempfile.mkdtemp()
    >>> run = fit(digits(), Recipe(epochs=2), checkpoint=folder)
    >>> bool((resume(folder).losses == run.losses).all())
    True
    """
    folder = Checkpoint(checkpoint, every)
    plan = folder.plan()
    if plan is None:
        raise ValueError(f"checkpoint must be a folder that fit or fit_population was given, got {checkpoint}")
    if task is None:
        if plan.task not in bundled():
            raise ValueError(
                f"task must be given: {checkpoint} trains {plan.task!r}, which is no bundled one; got None"
            )
        task = find(plan.task)
    recipes = [Recipe.from_json(text, allowed_modules) for text in plan.recipes]
    given: dict[str, Any] = {name: folder.given(name) for name in plan.given}
    alone = plan.kind == "run"
    over: dict[str, Any] = {"shards": _together(devices)} if alone else {"devices": devices}
    engine = _engine(task, recipes, plan.seeds, folder, plan.kind, init=plan.init or None, **over, **given)
    if plan.init and not all(folder.has(*chunk) for chunk in engine.chunks):
        raise ValueError(
            f"checkpoint {checkpoint} ended before its first state was kept, and began from weights that were given: "
            "call fit again with the same init and checkpoint"
        )
    if alone:
        return engine.run(on_segment=on_segment, checkpoint=folder)[0]
    return engine.run(checkpoint=folder, progress=progress)


def _engine(
    task: Task,
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    folder: Checkpoint | None,
    kind: str,
    *,
    init: Any = None,
    layout: str = "auto",
    width: int | None = None,
    segment_steps: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    shards: Shards | None = None,
    **given: Any,
) -> Engine:
    """An engine, cut as the training that the folder holds, or one that a new folder begins with."""
    require_task(task)
    recipes, seeds = recipes_of(recipes), seeds_of(seeds)
    ways: dict[str, Any] = {"layout": layout, "width": width, "segment_steps": segment_steps}
    over: dict[str, Any] = {"devices": devices, "shards": shards}
    if folder is None:
        return Engine(task, recipes, seeds, **over, **ways, **given)
    arrays = {name: np.asarray(array) for name, array in given.items() if array is not None}
    plan = plan_of(task, recipes, seeds, kind, init is not None, arrays)
    with Meeting(folder.folder) as meeting:  # process 0 alone looks before anything is written, and writes
        begun = meeting.first(folder.has_begun)
        if begun:
            there = folder.shared_plan()
            folder.require_same(plan, there)
            return Engine(task, recipes, seeds, layout=there.layout, cuts=there.cuts, **over, **given)
        engine = Engine(task, recipes, seeds, **over, **ways, **given)
        engine.compile(folder)  # which may narrow its chunks

        def begin() -> bool:
            folder.begin(replace(plan, layout=engine.layout, cuts=engine.cuts), arrays)
            return True

        meeting.first(begin)
        folder.require_same(plan, folder.shared_plan())
    return engine


def _together(devices: Sequence[jax.Device] | None) -> Shards | None:
    return None if devices is None else Shards(chosen(devices))
