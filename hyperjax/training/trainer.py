"""A trainer: the compiled programs of one structure, and the chain of segments that a chunk of members goes through."""

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random
from hyperjax.tasks import Task
from hyperjax.training.chunk_store import ChunkStore, Saved
from hyperjax.training.mapping import Population
from hyperjax.training.program import Carry, Program, Record
from hyperjax.training.segment import segment
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure
from hyperjax.types import PyTree

# What decides how a run is cut. Estimates from one step's operations, never from a clock: cuts must not depend on how
# busy the machine is.
OPERATIONS_PER_SECOND = 4e10
SECONDS_PER_STEP_AT_LEAST = 3e-5
SECONDS_PER_SEGMENT = 2.0
SECONDS_PER_CHUNK = 0.05
WIDEST_CHUNK = 64
WIDEST_BLOCK = 512


class Harvest(NamedTuple):
    """A chunk after a segment, on the host: the records of all its segments so far, and its carry."""

    records: Record  # each [members, steps so far, ...]
    carry: Carry  # each [members, ...]
    done: bool  # no member of the chunk will move again


class Trainer:
    """Programs for members of one structure, compiled once for each width of chunk.

    Args:
        task: what is learnt; its arrays are shared by all members.
        structure: of the members.
        example: settings of one member, for their shapes.
        longest: most steps of any member that these programs must serve.
        layout: "map" or "vmap".
        segment_steps: steps in a segment, at least 2, or one number for each batch size that is left; None decides: the
            whole run when it is short, else whole epochs of about two seconds a member, else a part of an epoch.
        phase: number of the structure's phase to begin with.
        devices: over which members are spread; None: those of the layout.
    """

    def __init__(
        self,
        task: Task,
        structure: Structure,
        example: Settings,
        longest: int,
        layout: str = "auto",
        segment_steps: int | tuple[int, ...] | None = None,
        phase: int = 0,
        devices: Sequence[jax.Device] | None = None,
    ):
        own, *later = structure.phases[phase:]
        self.structure, self._phase = structure, phase
        wanted, later_steps = _first_and_rest(segment_steps)
        self.program = Program(task, own)
        self._example = jax.tree.map(np.asarray, example)
        per_epoch = own.steps_per_epoch
        end = longest if own.phase.last is None else min(longest, own.phase.last)
        self.total = max(-(-(end - own.phase.step) // per_epoch) * per_epoch, 2)
        self._seconds = self._seconds_per_step()
        self.steps = min(wanted or _cut(self.total, per_epoch, self._seconds), self.total)
        parts = {part: task.arrays[part] for part in ("train", "validation") if part in task.arrays}
        self.advance = Population(self._advance, layout, (0, 0, 0, None, None), donate=(0,), devices=devices)
        self.init = Population(self._start, layout, (0, 0), devices=devices)
        self._warm = Population(self._start_from, layout, (0, None, None), devices=devices)
        self.data = self.advance.shared(parts)
        self.layout = self.advance.layout
        self._widths: dict[int, Carry] = {}  # for which both are compiled, and fit: the shapes of a chunk's carry
        # A run whose batch size grows goes on in the trainer of the next size.
        goes_on = bool(later) and own.phase.last is not None and longest > own.phase.last
        self._next: Trainer | None = None
        if goes_on:
            self._next = Trainer(task, structure, example, longest, layout, later_steps, phase + 1, devices)

    def compile(self, width: int, fixed: bool = False) -> int:
        """Compile both programs for chunks of a width, or of the half, quarter, ... that fits in memory; its width.

        Raises: ValueError when one member does not fit, or with `fixed` when so many do not: what is needed, what is
            free, and what to change.
        """
        while width not in self._widths:
            settings, roots = self.shapes(width)
            self.init.compile(settings, roots)
            carry = jax.eval_shape(self.init.mapped, settings, roots)
            need, free = 0, None
            part: Trainer | None = self
            while part is not None:
                needs, free = part.advance.memory(carry, settings, roots, part.data, np.int32(0))
                need, part = max(need, needs), part._next
            if free is None or need <= free:
                self._widths[width] = carry
            elif fixed or width <= len(self.advance.devices):
                raise ValueError(self._too_large(width, need, free))
            else:
                width = self.advance.rounded(-(-width // 2))
        return width

    def _too_large(self, width: int, need: int, free: int) -> str:
        model = self.program.packing.elements
        return (
            f"batch_size must be smaller for {self.program.task.name} here: {width} member{'s' * (width > 1)} of "
            f"{model:,} weights with batches of {self.program.structure.batch_size} need {_gigabytes(need)} and "
            f"{_gigabytes(free)} are free; micro_batches, rematerialize=True, precision='bfloat16' or a smaller model "
            "need less too"
        )

    @property
    def cuts(self) -> tuple[int, ...]:
        """Steps in a segment, for each batch size of a run."""
        return (self.steps, *(() if self._next is None else self._next.cuts))

    def width(self, members: int) -> int:
        """Members in a chunk, if memory allows: on CPU some hundredths of a second's worth."""
        if self.layout == "vmap":
            return self.advance.rounded(min(members, WIDEST_BLOCK * len(self.advance.devices)))
        wanted = min(WIDEST_CHUNK, SECONDS_PER_CHUNK / (self._seconds * self.total), members / self.advance.threads)
        return 1 << int(math.log2(max(wanted, 1.0)))  # powers of two, so that few widths are compiled

    def chains(
        self,
        settings: Sequence[Settings],
        seeds: Sequence[int],
        width: int,
        start: tuple[PyTree, PyTree] | None = None,
        on_segment: Callable[[int, Harvest], None] | None = None,
        store: Callable[[int], ChunkStore] | None = None,
        begin: Saved | None = None,
    ) -> Generator[tuple[list[int], Harvest]]:
        """Train members chunk by chunk; yield the members' numbers and what they left, as each chunk ends.

        Args:
            settings, seeds: one a member.
            width: members in a chunk; the last one is padded with members that have nothing to do.
            start: weights and other state to begin from, instead of initial ones.
            on_segment: called as `on_segment(first member of the chunk, harvest)` after each segment, from whichever
                thread serves the chunk.
            store: gives the store of a chunk by its number: a chunk goes on from what is there, and is kept there.
            begin: a lone member between two segments, from which every member goes on.
        """
        roots = _roots(seeds)
        chunks = [list(range(i, min(i + width, len(seeds)))) for i in range(0, len(seeds), width)]
        pieces = []
        for number, chunk in enumerate(chunks):
            padded = chunk + [chunk[-1]] * (width - len(chunk))
            rows = [settings[i] for i in chunk]
            idle = [_idle(settings[chunk[-1]])] * (width - len(chunk))
            stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *rows, *idle)
            pieces.append((number, stacked, roots[np.array(padded)]))

        def chain(piece: tuple[int, Settings, np.ndarray]) -> Harvest:
            number, settings, roots = piece
            chunk = chunks[number]
            harvest = None
            with contextlib.ExitStack() as open_stores:
                kept = None if store is None else open_stores.enter_context(contextlib.closing(store(number)))
                for harvest in self._chain(len(chunk), settings, roots, start, kept, begin):
                    if on_segment is not None:
                        on_segment(chunk[0], harvest)
            assert harvest is not None
            return harvest

        with contextlib.closing(self.advance.serve(pieces, chain)) as served:
            for i, harvest in served:
                yield chunks[i], harvest

    def _chain(
        self,
        members: int,
        settings: Settings,
        roots: np.ndarray,
        start: tuple[PyTree, PyTree] | None,
        store: ChunkStore | None = None,
        begin: Saved | None = None,
    ) -> Iterator[Harvest]:
        saved = None if store is None else self._saved(store, members, len(roots))
        if saved is None and begin is not None:
            carry, records = jax.tree.map(lambda leaf: np.repeat(leaf, members, 0), (begin.carry, begin.records))
            saved = begin._replace(carry=carry, records=records)
        if saved is not None and saved.done:
            yield Harvest(saved.records, saved.carry, True)
        elif saved is not None:
            trainer: Trainer | None = self
            while trainer is not None and trainer._phase < saved.phase:
                trainer = trainer._next
            assert trainer is not None
            carry = _padded(saved.carry, len(roots))
            yield from trainer._from(carry, members, settings, roots, store, [saved.records], saved.counter)
        elif start is None:
            carry = self.init.compile(settings, roots)(settings, roots)
            yield from self._from(carry, members, settings, roots, store)
        else:
            carry = self._warm.compile(settings, *start)(settings, *start)
            yield from self._from(carry, members, settings, roots, store)

    def after_first_segment(self, settings: Settings, seed: int) -> Saved:
        """One member, trained for one segment."""
        row = jax.tree.map(lambda leaf: np.asarray(leaf)[None], settings)
        harvest = next(self._chain(1, row, _roots([seed]), None))
        return Saved(self._phase, self.steps, harvest.done, harvest.carry, harvest.records)

    def _saved(self, store: ChunkStore, members: int, width: int) -> Saved | None:
        carry = self._widths[self.compile(width, fixed=True)]
        return store.load(
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape[1:]), leaf.dtype), carry)
        )

    def _from(
        self,
        carry: Carry,
        members: int,
        settings: Settings,
        roots: np.ndarray,
        store: ChunkStore | None = None,
        parts: Sequence[Record] = (),
        first: int = 0,
    ) -> Iterator[Harvest]:
        """The segments of this batch size from a counter on, then those of the next; `parts`: the records so far."""
        phase = self.program.structure.phase
        run = self.advance.compile(carry, settings, roots, self.data, np.int32(0))
        wanted = int(np.max(settings.steps)) - phase.step
        last, parts = False, list(parts)
        for counter in range(first, self.total, self.steps):
            carry, record = run(carry, settings, roots, self.data, np.int32(counter))
            parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:members], record))
            parts = [jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)]
            # A copy, since the next segment overwrites what is donated to it and what is handed out may be kept.
            kept: Carry = jax.tree.map(lambda leaf: np.array(leaf)[:members], carry)
            diverged = kept.diverged_at >= 0
            ended = (kept.step >= settings.steps[:members]) | diverged
            if kept.following.stopping is not None:
                ended |= kept.following.stopping.stopped
            validated = counter + self.steps >= -(-wanted // self._per_epoch) * self._per_epoch
            done = bool(ended.all()) and (validated or bool(diverged.all()))
            last = done or (counter + self.steps >= self.total and self._next is None)
            if store is not None:
                store.save(Saved(self._phase, counter + self.steps, last, kept, parts[0]))
            yield Harvest(parts[0], kept, last)
            if last:
                break
        if not last and self._next is not None:
            so_far = jax.tree.map(lambda leaf: leaf[:, : phase.last], parts[0])
            yield from self._next._from(carry, members, settings, roots, store, [so_far])

    @property
    def _per_epoch(self) -> int:
        return self.program.structure.steps_per_epoch

    def _advance(self, carry: Carry, settings: Settings, root: Any, data: Any, start: Any) -> tuple[Carry, Record]:
        return segment(self.program, self.steps, carry, settings, _streams(root), data, start)

    def _start(self, settings: Settings, root: Any) -> Carry:
        return self.program.init(settings, _streams(root))

    def _start_from(self, settings: Settings, weights: PyTree, rest: PyTree) -> Carry:
        return self.program.start(settings, weights, rest)

    def shapes(self, width: int) -> tuple[PyTree, Any]:
        """Shapes of a chunk's settings and key data."""

        def widened(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((width, *leaf.shape), jax.dtypes.canonicalize_dtype(leaf.dtype))

        return jax.tree.map(widened, self._example), jax.ShapeDtypeStruct((width, 2), jnp.uint32)

    def _seconds_per_step(self) -> float:
        """Three forward passes' operations, at a speed that a core reaches."""
        program, structure = self.program, self.program.structure

        def forward(settings: Settings, batch: PyTree) -> Any:
            weights, rest = program.model.init(jax.random.key(0))
            packed = program.packing.pack(weights)
            return program.objective(packed, rest, batch, settings, 0, jax.random.key(0), training=False)[0]

        def batch_of(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((structure.batch_size, *leaf.shape[1:]), leaf.dtype)

        batch = jax.tree.map(batch_of, program.task.arrays["train"])
        analysis = jax.jit(forward).lower(self._example, batch).cost_analysis()
        flops = float((analysis or {}).get("flops", 0.0))
        return max(3 * flops / OPERATIONS_PER_SECOND, SECONDS_PER_STEP_AT_LEAST)


def _cut(total: int, per_epoch: int, seconds_per_step: float) -> int:
    """Steps in a segment; see `Trainer`."""
    wanted = max(2, int(SECONDS_PER_SEGMENT / seconds_per_step))
    if total <= wanted:
        return total
    if wanted < per_epoch:
        return wanted
    return max(2, wanted // per_epoch * per_epoch)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"


def _first_and_rest(steps: int | tuple[int, ...] | None) -> tuple[int | None, Any]:
    """What a trainer is told of its own segments, and what it tells the trainer of the next batch size."""
    return (steps[0], steps[1:]) if isinstance(steps, tuple) else (steps, steps)


def _padded(carry: Carry, width: int) -> Carry:
    """A chunk's carry with copies of its last member, which the settings of padding leave idle, up to a width."""

    def padded(leaf: np.ndarray) -> jax.Array:
        return jnp.array(leaf[np.minimum(np.arange(width), len(leaf) - 1)])

    return jax.tree.map(padded, carry)  # type: ignore[no-any-return]


def _idle(settings: Settings) -> Settings:
    """Settings of padding: a member that has nothing to do."""
    return replace(settings, steps=np.int32(0))


def _roots(seeds: Sequence[int]) -> np.ndarray:
    """u32[members, 2], key data of each seed."""
    words = {seed: np.asarray(jax.random.key_data(random.key(seed))) for seed in dict.fromkeys(seeds)}
    return np.stack([words[seed] for seed in seeds])


def _streams(root: Any) -> random.Streams:
    keys = random.streams(jax.random.wrap_key_data(root, impl=random.IMPLEMENTATION))
    # Known only here: where dozens of weights are drawn from one key inside a loop, jax 0.12 would repeat the hash that
    # made the key for each of them, and never end compiling.
    words = jax.lax.optimization_barrier(tuple(jax.random.key_data(key) for key in keys))
    return random.Streams(*(jax.random.wrap_key_data(word, impl=random.IMPLEMENTATION) for word in words))
