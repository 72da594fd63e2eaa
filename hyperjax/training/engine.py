"""Train one recipe, or a population of recipes: grouping, compiling side by side, and gathering the runs."""

import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.tasks import Task
from hyperjax.training.harvest import to_run, weights_of
from hyperjax.training.lowering import group_key, lower_together
from hyperjax.training.mapping import LAYOUTS
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs
from hyperjax.training.settings import Settings
from hyperjax.training.trainer import Harvest, Trainer


def fit(
    task: Task,
    recipe: Recipe | None = None,
    seed: int = 0,
    init: Any = None,
    on_segment: Callable[[Run], None] | None = None,
    *,
    segment_steps: int | None = None,
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
    Returns: the run. A run whose loss or gradient stops being finite ends there and says so (`run.diverged_at`).
    Raises: ValueError where recipe and task do not fit.

    >>> import numpy as np
    >>> from flax import nnx
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error")
    >>> run = fit(task, Recipe(optimizer="sgd", learning_rate=0.5, batch_size="full", epochs=40))
    >>> round(float(run.model(np.ones((1, 1), np.float32))[0, 0]), 3)
    3.0
    """
    if on_segment is not None and segment_steps is None:
        segment_steps = max(2, lower_together([recipe or Recipe()], task)[1].steps_per_epoch)
    engine = Engine(task, [recipe or Recipe()], [seed], segment_steps=segment_steps)
    return engine.run(init=init, on_segment=on_segment)[0]


def fit_population(
    task: Task,
    recipes: Sequence[Recipe],
    seeds: Sequence[int] = (0,),
    *,
    layout: str = "auto",
    width: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    example_weights: Any = None,
    targets: Any = None,
) -> Runs:
    """Train every recipe with every seed, one compiled program for each group of recipes of equal structure.

    Optimizers of the rule family, schedules, activations, losses, numbers and lengths are data and share a program;
    batch size, a model's arguments and optimizer factories are structure. A member that diverges is marked and ends,
    and does not touch its neighbours.

    Args:
        task: what is learnt.
        recipes: at least one.
        seeds: at least one; each recipe is trained with each.
        layout: "map" (members one by one, a thread a core), "vmap" (side by side), or "auto" (map on CPU).
        width: members in a chunk or block; None decides. Under "vmap" the width changes the last bits of a result.
        progress: called as `progress(runs done, runs in all)`.
        example_weights: float[runs, examples] in the order of the runs, at least 0: what each training example's loss
            is multiplied by, for every run apart (a bootstrap's counts, boosting's weights).
        targets: [runs, *targets' shape]: training targets of each run's own, instead of the task's.
    Returns: the runs, seeds fastest, with `conditions` (programs, seconds compiling and training, layout).
    Raises: ValueError where a recipe and the task do not fit, before anything compiles.

    >>> import numpy as np
    >>> from flax import nnx
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> task = Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), {"train": (x, 3 * x)}, loss="squared_error")
    >>> recipes = [Recipe(optimizer=name, learning_rate=0.1, epochs=5) for name in ("sgd", "adam", "lion")]
    >>> runs = fit_population(task, recipes, seeds=[0, 1])
    >>> len(runs), runs.conditions["programs"], runs[3].recipe.optimizer, runs[3].seed
    (6, 1, 'adam', 1)
    """
    engine = Engine(task, recipes, seeds, layout=layout, width=width, example_weights=example_weights, targets=targets)
    done = 0

    def count(_: int, __: Run) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, engine.size)

    return engine.run(on_run=count)


class _Group(NamedTuple):
    trainer: Trainer
    places: list[int]  # of its members among all runs
    settings: list[Settings]  # of each member
    width: int  # members in a chunk


class Engine:
    """A planned population: groups of equal structure, each with its trainer, ready to compile and run.

    Args:
        task, recipes, seeds, layout, width: as in `fit_population`.
        also: recipes that may come later; the programs have room for them, so that what is compiled depends on a space
            and not on the batch that was sampled from it.
        segment_steps: as in `fit`.
    """

    def __init__(
        self,
        task: Task,
        recipes: Sequence[Recipe],
        seeds: Sequence[int] = (0,),
        *,
        also: Sequence[Recipe] = (),
        layout: str = "auto",
        width: int | None = None,
        segment_steps: int | None = None,
        example_weights: Any = None,
        targets: Any = None,
    ):
        one_of("layout", layout, LAYOUTS)
        if width is not None:
            positive_integer("width", width)
        if segment_steps is not None and positive_integer("segment_steps", segment_steps) < 2:
            raise ValueError("segment_steps must be a whole number of at least 2, got 1")
        if not recipes:
            raise ValueError("recipes must hold at least one recipe, got none")
        self.task, self.recipes, self.seeds = task, list(recipes), [_seed(seed) for seed in seeds]
        if not self.seeds:
            raise ValueError("seeds must hold at least one whole number, got none")
        self.size = len(self.recipes) * len(self.seeds)
        self._weights = _of_runs("example_weights", example_weights, self.size, (task.size("train"),))
        if targets is not None and task.objective is not None:
            raise ValueError(f"targets must be None, since {task.name} has an objective and none")
        shape = np.shape(task.data["train"][1]) if targets is not None else ()
        self._targets = _of_runs("targets", targets, self.size, shape)
        self.compile_seconds = 0.0
        self.groups = [self._plan(members, also, layout, width, segment_steps) for members in self._grouped().values()]

    def compile(self) -> None:
        """Compile every group's programs, side by side; nothing the second time."""
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(self.groups)) as pool:
            list(pool.map(lambda group: group.trainer.compile(group.width), self.groups))
        self.compile_seconds += time.perf_counter() - begin

    def run(
        self,
        init: Any = None,
        on_segment: Callable[[Run], None] | None = None,
        on_run: Callable[[int, Run], None] | None = None,
    ) -> Runs:
        """Train everything.

        Args:
            init, on_segment: as in `fit`.
            on_run: called as `on_run(place, run)` when a run has ended; place counts recipes slowest, seeds fastest.
        """
        self.compile()
        begin = time.perf_counter()
        runs: dict[int, Run] = {}
        for group in self.groups:
            seeds = [self.seeds[place % len(self.seeds)] for place in group.places]
            start = None if init is None else weights_of(group.trainer.program, init)

            def after(first: int, harvest: Harvest, group: _Group = group) -> None:
                if on_segment is not None:
                    on_segment(self._run(group, first, harvest, 0))

            chains = group.trainer.chains(group.settings, seeds, group.width, start, after if on_segment else None)
            for chunk, harvest in chains:
                for row, member in enumerate(chunk):
                    place = group.places[member]
                    runs[place] = self._run(group, member, harvest, row)
                    if on_run is not None:
                        on_run(place, runs[place])
        conditions = {
            "programs": len(self.groups),
            "layout": self.groups[0].trainer.layout,
            "device": jax.devices()[0].device_kind,
            "compile_seconds": self.compile_seconds,
            "train_seconds": time.perf_counter() - begin,
        }
        return Runs([runs[place] for place in range(self.size)], conditions)

    def _run(self, group: _Group, member: int, harvest: Harvest, row: int) -> Run:
        """The run of a group's member, which is a row of its chunk's harvest."""
        recipe, seed = divmod(group.places[member], len(self.seeds))
        settings = group.settings[member]
        return to_run(group.trainer, self.recipes[recipe], self.seeds[seed], settings, harvest, row)

    def _grouped(self) -> dict[Hashable, list[int]]:
        groups: dict[Hashable, list[int]] = {}
        for i, recipe in enumerate(self.recipes):
            groups.setdefault(group_key(recipe, self.task), []).append(i)
        return groups

    def _plan(
        self, members: list[int], also: Sequence[Recipe], layout: str, width: int | None, segment_steps: int | None
    ) -> _Group:
        own = [self.recipes[i] for i in members]
        key = group_key(own[0], self.task)
        room = [recipe for recipe in also if group_key(recipe, self.task) == key]
        settings, structure = lower_together([*own, *room], self.task)
        places = [member * len(self.seeds) + seed for member in members for seed in range(len(self.seeds))]
        each = [self._own(settings[i // len(self.seeds)], place) for i, place in enumerate(places)]
        settings = [self._own(one, 0) for one in settings]
        longest = max(int(one.steps) for one in settings)
        kinds = jax.tree.map(lambda leaf: (np.shape(leaf), str(np.asarray(leaf).dtype)), settings[0])
        tree = jax.tree.structure(settings[0])
        name = (structure, tree, tuple(jax.tree.leaves(kinds)), longest, layout, segment_steps)
        known = self.task.trainers
        if name not in known:
            known[name] = Trainer(self.task, structure, settings[0], longest, layout, segment_steps)
        return _Group(known[name], places, each, width or known[name].width(len(places)))

    def _own(self, settings: Settings, place: int) -> Settings:
        """A run's settings, with the weights and targets that are its own."""
        if self._weights is not None:
            before = 1.0 if settings.example_weights is None else settings.example_weights
            settings = replace(settings, example_weights=self._weights[place].astype(np.float32) * before)
        return settings if self._targets is None else replace(settings, targets=self._targets[place])


def _of_runs(name: str, values: Any, runs: int, shape: tuple[int, ...]) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (runs, *shape) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers of shape {(runs, *shape)}, got shape {array.shape}")
    if name == "example_weights" and (array < 0).any():
        raise ValueError(f"{name} must be at least 0, got {array.min()}")
    return array


def _seed(seed: Any) -> int:
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise ValueError(f"seed must be a whole number, got {seed!r}")
    return int(seed)
