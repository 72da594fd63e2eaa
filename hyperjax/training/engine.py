"""The engine: recipes in groups of equal structure, compiled side by side, trained, and gathered as runs."""

import contextlib
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.tasks import Task
from hyperjax.training.chains import chains
from hyperjax.training.checkpoint import Checkpoint, Cut
from hyperjax.training.chunk import Harvest
from hyperjax.training.devices import Shards, of_layout
from hyperjax.training.harvest import to_run, weights_of
from hyperjax.training.lowering import group_key, lower_together
from hyperjax.training.mapping import LAYOUTS, resolved
from hyperjax.training.precision import of_products
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs
from hyperjax.training.settings import Settings
from hyperjax.training.trainer import Trainer


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
        shards: devices that train each member together, instead of `devices`, over which members are spread.
        cuts: how each group was cut when its training began, in order; None decides.
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
        devices: Sequence[jax.Device] | None = None,
        shards: Shards | None = None,
        cuts: Sequence[Cut] | None = None,
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
        for name, own in {"example_weights": example_weights, "targets": targets}.items():
            if own is not None:
                task.require_arrays(name)
        if targets is not None and task.objective is not None:
            raise ValueError(f"targets must be None, since {task.name} has an objective and none")
        shape = np.shape(task.data["train"][1]) if targets is not None else ()
        self._targets = _of_runs("targets", targets, self.size, shape)
        self._devices, self._shards = devices, shards
        self.compile_seconds, self._fixed = 0.0, cuts is not None
        grouped = list(self._grouped().values())
        ways: Sequence[Any] = [(width, segment_steps)] * len(grouped) if cuts is None else cuts
        self.groups = [self._plan(members, also, layout, *way) for members, way in zip(grouped, ways, strict=True)]

    def compile(self) -> None:
        """Compile every group's programs, side by side, for chunks that fit in memory; nothing the second time.

        Raises: ValueError when one member does not fit, or chunks as a checkpoint has them do not.
        """
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(self.groups)) as pool:
            widths = pool.map(lambda group: group.trainer.compile(group.width, self._fixed), self.groups)
            self.groups = [group._replace(width=width) for group, width in zip(self.groups, widths, strict=True)]
        self.compile_seconds += time.perf_counter() - begin

    def run(
        self,
        init: Any = None,
        on_segment: Callable[[Run], None] | None = None,
        on_run: Callable[[int, Run], None] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Runs:
        """Train everything, or what a checkpoint that has begun says is left of it.

        Args:
            init, on_segment: as in `fit`.
            checkpoint: where every chunk is kept between its segments, and goes on from.
            on_run: called as `on_run(place, run)` when a run has ended; place counts recipes slowest, seeds fastest.
        """
        if checkpoint is None or not all(checkpoint.has_ended(*chunk) for chunk in self.chunks):
            self.compile()  # else there is nothing to do but to read
        begin = time.perf_counter()
        runs: dict[int, Run] = {}
        for number, group in enumerate(self.groups):
            seeds = [self.seeds[place % len(self.seeds)] for place in group.places]
            start = None if init is None else weights_of(group.trainer.program, init)

            def after(first: int, harvest: Harvest, group: _Group = group) -> None:
                if on_segment is not None:
                    on_segment(self._run(group, first, harvest, 0))

            store = None if checkpoint is None else partial(checkpoint.store, number)
            follow = after if on_segment else None
            ended = chains(group.trainer, group.settings, seeds, group.width, start, follow, store)
            with contextlib.closing(ended):  # an exception in `on_run` ends the other threads too, and their writing
                for chunk, harvest in ended:
                    for row, member in enumerate(chunk):
                        place = group.places[member]
                        runs[place] = self._run(group, member, harvest, row)
                        if on_run is not None:
                            on_run(place, runs[place])
        conditions = {
            "programs": len(self.groups),
            "layout": self.layout,
            "device": jax.devices()[0].device_kind,
            "compile_seconds": self.compile_seconds,
            "train_seconds": time.perf_counter() - begin,
        }
        return Runs([runs[place] for place in range(self.size)], conditions)

    @property
    def layout(self) -> str:
        """ "map" or "vmap"."""
        return self.groups[0].trainer.layout

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """How each group is cut."""
        return tuple(Cut(group.width, group.trainer.cuts) for group in self.groups)

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """Each chunk's group and its number there."""
        counts = [-(-len(group.places) // group.width) for group in self.groups]
        return [(group, chunk) for group, count in enumerate(counts) for chunk in range(count)]

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
        self,
        members: list[int],
        also: Sequence[Recipe],
        layout: str,
        width: int | None,
        segment_steps: int | tuple[int, ...] | None,
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
        # No more devices than there are members: one that only pads would be kept busy for nothing.
        devices = tuple(of_layout(resolved(layout)) if self._devices is None else self._devices)[: len(places)]
        if self._fixed:  # chunks keep the width that they were begun with, so that each has as many members as then
            assert width is not None
            devices = devices[: max(count for count in range(1, len(devices) + 1) if width % count == 0)]
        over: dict[str, Any] = {"devices": devices, "shards": self._shards}
        shapes = tuple(jax.tree.leaves(kinds))
        name = (structure, tree, shapes, longest, layout, segment_steps, of_products(), *over.values())
        known = self.task.trainers
        if name not in known:
            known[name] = Trainer(self.task, structure, settings[0], longest, layout, segment_steps, **over)
        trainer = known[name]
        return _Group(trainer, places, each, trainer.advance.rounded(width or trainer.width(len(places))))

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
