"""The engine: recipes in groups of equal structure, compiled side by side, trained, and gathered as runs."""

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.checks import one_of, positive_integer
from hyperjax.tasks import Task
from hyperjax.training.chains import chains
from hyperjax.training.checkpoint import Checkpoint, Cut, digest
from hyperjax.training.chunk import Harvest
from hyperjax.training.devices import Shards, chosen, of_layout
from hyperjax.training.harvest import to_run, weights_of
from hyperjax.training.lowering import group_key, grouped, lower_together
from hyperjax.training.mapping import LAYOUTS, resolved
from hyperjax.training.meeting import Count, Meeting
from hyperjax.training.members import recipes_of, seeds_of
from hyperjax.training.parcel import Place, packed, unpacked
from hyperjax.training.precision import of_products, of_this_thread
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs
from hyperjax.training.settings import Settings
from hyperjax.training.trainer import Trainer


class _Group(NamedTuple):
    trainer: Trainer
    places: list[int]  # of its members among all runs
    settings: list[Settings]  # of each member
    width: int  # members in a chunk
    room: list[Recipe]  # what its programs hold


class Engine:
    """A planned population: groups of equal structure, each with its trainer, ready to compile and run.

    Args:
        task, recipes, seeds, layout: as in `fit_population`.
        width: as there, or one for each recipe, of which the first of a group decides.
        also: recipes that may come later; the programs have room for them, so that what is compiled depends on a space
            and not on the batch that was sampled from it.
        segment_steps: as in `fit`.
        segment_epochs: epochs in a segment, whatever the batch size, but at least two steps.
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
        width: int | list[int | None] | None = None,
        segment_steps: int | None = None,
        segment_epochs: int | None = None,
        example_weights: Any = None,
        targets: Any = None,
        devices: Sequence[jax.Device] | None = None,
        shards: Shards | None = None,
        cuts: Sequence[Cut] | None = None,
    ):
        one_of("layout", layout, LAYOUTS)
        for given in width if isinstance(width, list) else [width]:
            if given is not None:
                positive_integer("width", given)
        if segment_steps is not None and positive_integer("segment_steps", segment_steps) < 2:
            raise ValueError("segment_steps must be a whole number of at least 2, got 1")
        self._segment_epochs = None if segment_epochs is None else positive_integer("segment_epochs", segment_epochs)
        self.task, self.recipes, self.seeds = task, recipes_of(recipes), seeds_of(seeds)
        widths = width if isinstance(width, list) else [width] * len(self.recipes)
        self.size = len(self.recipes) * len(self.seeds)
        self._weights = _of_runs("example_weights", example_weights, self.size, (task.size("train"),))
        for name, own in {"example_weights": example_weights, "targets": targets}.items():
            if own is not None:
                task.require_arrays(name)
        if targets is not None and task.objective is not None:
            raise ValueError(f"targets must be None, since {task.name} has an objective and none")
        shape = np.shape(task.data["train"][1]) if targets is not None else ()
        self._targets = _of_runs("targets", targets, self.size, shape)
        self._devices, self._shards = None if devices is None else chosen(devices), shards
        self.compile_seconds, self._fixed, self._compiled = 0.0, cuts is not None, False
        together = grouped(self.recipes, task)
        ways: Sequence[Any] = [(widths[group[0]], segment_steps) for group in together] if cuts is None else cuts
        self.groups = [self._plan(members, also, layout, *way) for members, way in zip(together, ways, strict=True)]

    def compile(self, checkpoint: Checkpoint | None = None) -> None:
        """Compile every group's programs, side by side, for chunks that fit in memory; nothing the second time.

        A process of a job compiles the groups that it trains; all settle on the narrowest chunks that one needs.

        Args:
            checkpoint: as in `run`, for the message of a job that is ended meanwhile.
        Raises: ValueError when one member does not fit, chunks as a checkpoint has them do not, or the processes of a
            job do not train the same.
        """
        if self._compiled:
            return
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(self.groups)) as pool, _meeting(checkpoint) as meeting:
            if meeting.count > 1:
                meeting.require_same("what is trained", self._name())
            settled = False
            while not settled:
                own = {number for number, _ in self._share(meeting)}
                widths = list(
                    pool.map(of_this_thread(self._fitting), self.groups, [i in own for i in range(len(self.groups))])
                )
                everywhere = [json.loads(text) for text in meeting.exchanged(json.dumps(widths))]
                narrowest = [min(each) for each in zip(*everywhere, strict=True)]
                self.groups = [group._replace(width=width) for group, width in zip(self.groups, narrowest, strict=True)]
                settled = all(each == narrowest for each in everywhere)
        self._compiled = True
        self.compile_seconds += time.perf_counter() - begin

    def run(
        self,
        init: Any = None,
        on_segment: Callable[[Run], None] | None = None,
        on_run: Callable[[int, Run], None] | None = None,
        checkpoint: Checkpoint | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Runs:
        """Train everything, or what a checkpoint that has begun says is left of it.

        In a job of several processes each trains its share of the chunks, and all return all runs.

        Args:
            init, on_segment: as in `fit`.
            checkpoint: where every chunk is kept between its segments, and goes on from.
            on_run: called as `on_run(place, run)` when a run has ended; place counts recipes slowest, seeds fastest.
                Those of other processes come at the end.
            progress: as in `fit_population`.
        Raises: ProcessLostError when another process of the job does not get to the end.
        """
        if checkpoint is None or not self._has_ended(checkpoint):
            self.compile(checkpoint)  # else there is nothing to do but to read
        begin = time.perf_counter()
        runs: dict[int, Run] = {}
        with _meeting(checkpoint) as meeting:
            count = Count(meeting, self.size, progress)

            def keep(place: Place, harvest: Harvest, trained_here: bool) -> None:
                group = self.groups[place[0]]
                for row in range(len(harvest.records.loss)):
                    member = place[1] * group.width + row
                    runs[group.places[member]] = self._run(group, member, harvest, row)
                    if on_run is not None:
                        on_run(group.places[member], runs[group.places[member]])
                    count(int(trained_here))

            own: dict[Place, Harvest] = {}
            with contextlib.closing(self._trained(meeting, init, on_segment, checkpoint)) as trained:
                for place, harvest in trained:  # an exception in `on_run` ends the other threads too, and their writing
                    if meeting.count > 1:  # to be sent to the others; alone, whole chunks are let go
                        own[place] = harvest
                    keep(place, harvest, True)
            for place, harvest in self._elsewhere(meeting, own, count):
                keep(place, harvest, False)
        conditions = self.conditions(time.perf_counter() - begin)
        if meeting.count > 1:
            conditions["processes"] = meeting.count
        return Runs([runs[place] for place in range(self.size)], conditions)

    def conditions(self, train_seconds: float) -> dict[str, Any]:
        """How it was trained: programs, layout, device, seconds compiling and training."""
        return {
            "programs": len(self.groups),
            "layout": self.layout,
            "device": jax.devices()[0].device_kind,
            "compile_seconds": self.compile_seconds,
            "train_seconds": train_seconds,
        }

    def _trained(
        self,
        meeting: Meeting,
        init: Any,
        on_segment: Callable[[Run], None] | None,
        checkpoint: Checkpoint | None,
    ) -> Generator[tuple[Place, Harvest]]:
        """The chunks of this process, as each ends."""
        share = self._share(meeting)
        for number in dict(share):
            group = self.groups[number]
            seeds = [self.seeds[place % len(self.seeds)] for place in group.places]
            start = None if init is None else weights_of(group.trainer.program, init)

            def after(first: int, harvest: Harvest, group: _Group = group) -> None:
                meeting.check()
                if on_segment is not None:
                    on_segment(self._run(group, first, harvest, 0))

            store = None if checkpoint is None else partial(checkpoint.store, number)
            only = {chunk for other, chunk in share if other == number}
            ended = chains(group.trainer, group.settings, seeds, group.width, start, after, store, only=only)
            with contextlib.closing(ended):
                for chunk, harvest in ended:
                    yield (number, chunk[0] // group.width), harvest

    def _elsewhere(
        self, meeting: Meeting, own: Mapping[Place, Harvest], waiting: Callable[[], None]
    ) -> Iterator[tuple[Place, Harvest]]:
        """The chunks that other processes trained, once all have ended."""
        if meeting.count == 1:
            return
        carries = [group.trainer.carry(group.width) for group in self.groups]
        for index, data in enumerate(meeting.gathered(packed(own), waiting)):
            if index != meeting.index:
                yield from unpacked(data, carries)

    def _has_ended(self, checkpoint: Checkpoint) -> bool:
        """Whether every chunk has; process 0 looks, and all take its word."""
        with _meeting(checkpoint) as meeting:
            return meeting.first(lambda: all(checkpoint.has_ended(*chunk) for chunk in self.chunks))

    def _share(self, meeting: Meeting) -> list[Place]:
        """The chunks that a process trains: every n-th, so that each has of every group."""
        return self.chunks[meeting.index :: meeting.count]

    def _fitting(self, group: _Group, own: bool) -> int:
        return group.trainer.compile(group.width, self._fixed) if own else group.width

    def _name(self) -> str:
        """What is trained, in short; equal for equal arguments in any process."""
        numbers = digest([jax.tree.leaves(group.settings) for group in self.groups])
        return f"{len(self.recipes)} recipes ({numbers}) with seeds {self.seeds} on {self.task.name}"

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

    @property
    def seconds_at_stake(self) -> float:
        """Seconds for which nothing ends, by a step's operations on one core: what a kill could cost. No clock is read.

        Under "map" a chunk ends by itself, under "vmap" all do together.
        """

        def until_an_end(group: _Group) -> float:
            together = group.width if self.layout == "map" else len(group.places)
            return together * max(map(group.trainer.seconds, group.settings))

        return max(map(until_an_end, self.groups))

    def _run(self, group: _Group, member: int, harvest: Harvest, row: int) -> Run:
        """The run of a group's member, which is a row of its chunk's harvest."""
        recipe, seed = divmod(group.places[member], len(self.seeds))
        settings = group.settings[member]
        return to_run(group.trainer, self.recipes[recipe], self.seeds[seed], settings, harvest, row)

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
        if self._segment_epochs is not None:
            epochs = self._segment_epochs
            segment_steps = tuple(max(epochs * phase.steps_per_epoch, 2) for phase in structure.phases)
        places = [member * len(self.seeds) + seed for member in members for seed in range(len(self.seeds))]
        each = [self._own(settings[i // len(self.seeds)], place) for i, place in enumerate(places)]
        settings = [self._own(one, 0) for one in settings]
        longest = max(int(structure.turns(one.parts, one.steps)) for one in settings)
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
        share = -(-len(places) // jax.process_count())  # so that no process is without a chunk
        return _Group(trainer, places, each, trainer.advance.rounded(width or trainer.width(share)), [*own, *room])

    def _own(self, settings: Settings, place: int) -> Settings:
        """A run's settings, with the weights and targets that are its own."""
        if self._weights is not None:
            before = 1.0 if settings.example_weights is None else settings.example_weights
            settings = replace(settings, example_weights=self._weights[place].astype(np.float32) * before)
        return settings if self._targets is None else replace(settings, targets=self._targets[place])


def _meeting(checkpoint: Checkpoint | None) -> Meeting:
    return Meeting(None if checkpoint is None else checkpoint.folder)


def _of_runs(name: str, values: Any, runs: int, shape: tuple[int, ...]) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (runs, *shape) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers of shape {(runs, *shape)}, got shape {array.shape}")
    if name == "example_weights" and (array < 0).any():
        raise ValueError(f"{name} must be at least 0, got {array.min()}")
    return array
