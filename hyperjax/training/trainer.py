"""A trainer: the compiled programs of one structure, and the chain of segments that a chunk of members goes through."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random
from hyperjax.tasks import Task
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
        segment_steps: steps in a segment, at least 2; None decides: the whole run when it is short, else whole epochs
            of about two seconds a member, else a part of an epoch.
        phases: those of the structure's that are left; None: all.
    """

    def __init__(
        self,
        task: Task,
        structure: Structure,
        example: Settings,
        longest: int,
        layout: str = "auto",
        segment_steps: int | None = None,
        phases: tuple[Structure, ...] | None = None,
    ):
        own, *later = structure.phases if phases is None else phases
        self.structure = structure
        self.program = Program(task, own)
        self._example = jax.tree.map(np.asarray, example)
        per_epoch = own.steps_per_epoch
        end = longest if own.phase.last is None else min(longest, own.phase.last)
        self.total = max(-(-(end - own.phase.step) // per_epoch) * per_epoch, 2)
        self._seconds = self._seconds_per_step()
        self.steps = min(segment_steps or _cut(self.total, per_epoch, self._seconds), self.total)
        parts = {part: task.arrays[part] for part in ("train", "validation") if part in task.arrays}
        self.data = parts
        self.advance = Population(self._advance, layout, (0, 0, 0, None, None), donate=(0,))
        self.init = Population(self._start, layout, (0, 0))
        self._warm = Population(self._start_from, layout, (0, None, None))
        self.layout = self.advance.layout
        self._widths: set[int] = set()  # for which both are compiled
        # A run whose batch size grows goes on in the trainer of the next size.
        goes_on = bool(later) and own.phase.last is not None and longest > own.phase.last
        self._next: Trainer | None = None
        if goes_on:
            self._next = Trainer(task, structure, example, longest, layout, segment_steps, tuple(later))

    def compile(self, width: int) -> None:
        """Compile both programs for chunks of a width, if they are not yet."""
        if width in self._widths:
            return
        settings, roots = self.shapes(width)
        self.init.compile(settings, roots)
        carry = jax.eval_shape(self.init.mapped, settings, roots)
        part: Trainer | None = self
        while part is not None:
            part.advance.compile(carry, settings, roots, part.data, np.int32(0))
            part = part._next
        self._widths.add(width)

    def width(self, members: int) -> int:
        """Members in a chunk: on CPU some hundredths of a second's worth, elsewhere as many as fit the device."""
        if self.layout == "map":
            wanted = min(WIDEST_CHUNK, SECONDS_PER_CHUNK / (self._seconds * self.total), members / self.advance.threads)
            return 1 << int(math.log2(max(wanted, 1.0)))  # powers of two, so that few widths are compiled
        width = min(members, WIDEST_BLOCK)
        while width > 1:
            settings, roots = self.shapes(width)
            carry = jax.eval_shape(self.init.mapped, settings, roots)
            if self.advance.fits(carry, settings, roots, self.data, np.int32(0)):
                break
            width = -(-width // 2)
        return width

    def chains(
        self,
        settings: Sequence[Settings],
        seeds: Sequence[int],
        width: int,
        start: tuple[PyTree, PyTree] | None = None,
        on_segment: Callable[[int, Harvest], None] | None = None,
    ) -> Iterator[tuple[list[int], Harvest]]:
        """Train members chunk by chunk; yield the members' numbers and what they left, as each chunk ends.

        Args:
            settings, seeds: one a member.
            width: members in a chunk; the last one is padded with members that have nothing to do.
            start: weights and other state to begin from, instead of initial ones.
            on_segment: called as `on_segment(first member of the chunk, harvest)` after each segment, from whichever
                thread serves the chunk.
        """
        roots = _roots(seeds)
        chunks = [list(range(i, min(i + width, len(seeds)))) for i in range(0, len(seeds), width)]
        pieces = []
        for chunk in chunks:
            padded = chunk + [chunk[-1]] * (width - len(chunk))
            rows = [settings[i] for i in chunk]
            idle = [_idle(settings[chunk[-1]])] * (width - len(chunk))
            stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *rows, *idle)
            pieces.append((chunk, stacked, roots[np.array(padded)]))

        def chain(piece: tuple[list[int], Settings, np.ndarray]) -> Harvest:
            chunk, settings, roots = piece
            harvest = None
            for harvest in self._chain(len(chunk), settings, roots, start):
                if on_segment is not None:
                    on_segment(chunk[0], harvest)
            assert harvest is not None
            return harvest

        for i, harvest in self.advance.serve(pieces, chain):
            yield chunks[i], harvest

    def _chain(
        self, members: int, settings: Settings, roots: np.ndarray, start: tuple[PyTree, PyTree] | None
    ) -> Iterator[Harvest]:
        if start is None:
            carry = self.init.compile(settings, roots)(settings, roots)
        else:
            carry = self._warm.compile(settings, *start)(settings, *start)
        yield from self._from(carry, members, settings, roots, [])

    def _from(
        self, carry: Carry, members: int, settings: Settings, roots: np.ndarray, parts: list[Record]
    ) -> Iterator[Harvest]:
        """The segments of this batch size, then those of the next."""
        phase = self.program.structure.phase
        run = self.advance.compile(carry, settings, roots, self.data, np.int32(0))
        wanted = int(np.max(settings.steps)) - phase.step
        for counter in range(0, self.total, self.steps):
            carry, record = run(carry, settings, roots, self.data, np.int32(counter))
            parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:members], record))
            whole = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)
            parts = [whole]
            # A copy, since the next segment overwrites what is donated to it and what is handed out may be kept.
            kept: Carry = jax.tree.map(lambda leaf: np.array(leaf)[:members], carry)
            diverged = kept.diverged_at >= 0
            ended = (kept.step >= settings.steps[:members]) | diverged
            if kept.following.stopping is not None:
                ended |= kept.following.stopping.stopped
            validated = counter + self.steps >= -(-wanted // self._per_epoch) * self._per_epoch
            done = bool(ended.all()) and (validated or bool(diverged.all()))
            over = counter + self.steps >= self.total
            last = done or (over and self._next is None)
            yield Harvest(whole, kept, last)
            if last or over:
                break
        if not last and self._next is not None:
            whole = jax.tree.map(lambda leaf: leaf[:, : phase.last], whole)
            yield from self._next._from(carry, members, settings, roots, [whole])

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


def _idle(settings: Settings) -> Settings:
    """Settings of padding: a member that has nothing to do."""
    return replace(settings, steps=np.int32(0))


def _roots(seeds: Sequence[int]) -> np.ndarray:
    """u32[members, 2], key data of each seed."""
    words = {seed: np.asarray(jax.random.key_data(random.key(seed))) for seed in dict.fromkeys(seeds)}
    return np.stack([words[seed] for seed in seeds])


def _streams(root: Any) -> random.Streams:
    return random.streams(jax.random.wrap_key_data(root, impl=random.IMPLEMENTATION))
