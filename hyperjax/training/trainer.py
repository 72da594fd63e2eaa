"""A trainer: the compiled programs of one structure, and how its members and steps are cut."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random
from hyperjax.tasks import Task
from hyperjax.tasks.streams import Streamed
from hyperjax.training.devices import Shards
from hyperjax.training.mapping import Population
from hyperjax.training.program import Carry, Record, program_of
from hyperjax.training.segment import segment
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure
from hyperjax.types import PyTree

# What decides how a run is cut, beside what a step takes.
SECONDS_PER_SEGMENT = 2.0
SECONDS_PER_CHUNK = 0.05
BYTES_PER_BLOCK = 128 * 2**20
BLOCKS_OF_STREAM = 8  # at least
WIDEST_CHUNK = 64
WIDEST_BLOCK = 512


class Trainer:
    """Programs for members of one structure, compiled once for each width of chunk.

    Args:
        task: what is learnt; its arrays are shared by all members.
        structure: of the members.
        example: settings of one member, for their shapes.
        longest: most steps of any member that these programs must serve.
        layout: "map" or "vmap".
        segment_steps: steps in a segment, at least 2, or one number for each batch size that is left; None decides: the
            whole run when it is short, else whole epochs of about two seconds a member, else a part of an epoch; of
            data that are streamed never more than an eighth of the run.
        phase: number of the structure's phase to begin with.
        devices: over which members are spread; None: those of the layout.
        shards: devices that train each member together instead.
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
        shards: Shards | None = None,
    ):
        own, *later = structure.phases[phase:]
        self.structure, self.phase = structure, phase
        wanted, later_steps = _first_and_rest(segment_steps)
        self.program, self._shards = program_of(task, own, shards), shards
        self._example = jax.tree.map(np.asarray, example)
        per_epoch = own.steps_per_epoch
        end = longest if own.phase.last is None else min(longest, own.phase.last)
        self.wanted = end - own.phase.step  # steps that any member takes here; what is counted goes to an epoch's end
        self.total = max(-(-self.wanted // per_epoch) * per_epoch, 2)
        self._seconds = self.program.seconds_per_step(self._example)
        streamed = task.stream is not None
        self.steps = min(wanted or _cut(self.total, per_epoch, self._seconds, streamed), self.total)
        parts = {part: task.arrays[part] for part in ("train", "validation") if part in task.arrays}
        self.steps = int(min(self.steps, most_in_segment(task.stream, own.batch_size)))
        over: dict[str, Any] = {"devices": devices, "shards": shards}
        self.advance = Population(self._advance, layout, (0, 0, 0, None, None), donate=(0,), **over)
        self.init = Population(self._start, layout, (0, 0), **over)
        self.start_from = Population(self._start_from, layout, (0, None, None), **over)
        self.data = self.advance.shared(parts)  # but for what is streamed
        self.layout = self.advance.layout
        self._carries: dict[int, Carry] = {}  # shapes of a chunk's, by its width
        self._fitting: set[int] = set()  # widths for which both are compiled, and fit
        # A run whose batch size grows goes on in the trainer of the next size.
        goes_on = bool(later) and own.phase.last is not None and longest > own.phase.last
        self.next: Trainer | None = None
        if goes_on:
            self.next = Trainer(task, structure, example, longest, layout, later_steps, phase + 1, **over)

    def compile(self, width: int, fixed: bool = False) -> int:
        """Compile both programs for chunks of a width, or of the half, quarter, ... that fits in memory; its width.

        Raises: ValueError when one member does not fit, or with `fixed` when so many do not: what is needed, what is
            free, and what to change.
        """
        while width not in self._fitting:
            settings, roots = self.shapes(width)
            self.init.compile(settings, roots)
            carry = self.carry(width)
            need, free = 0, None
            part: Trainer | None = self
            while part is not None:
                needs, free = part.advance.memory(carry, settings, roots, part.data_shapes(), np.int32(0))
                need, part = max(need, needs + part.blocks_bytes), part.next
            if free is None or need <= free:
                self._fitting.add(width)
            elif fixed or width <= self.advance.rounded(1):
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
        return (self.steps, *(() if self.next is None else self.next.cuts))

    def width(self, members: int) -> int:
        """Members in a chunk, if memory allows: on CPU some hundredths of a second's worth of a segment."""
        if self.layout == "vmap":
            return self.advance.rounded(min(members, WIDEST_BLOCK * len(self.advance.devices)))
        wanted = min(WIDEST_CHUNK, SECONDS_PER_CHUNK / (self._seconds * self.steps), members / self.advance.threads)
        return 1 << int(math.log2(max(wanted, 1.0)))  # powers of two, so that few widths are compiled

    def seconds(self, settings: Settings) -> float:
        """All steps of one member on one core, by their operations."""
        return self._seconds * int(self.structure.turns(settings.parts, settings.steps))

    def _advance(self, carry: Carry, settings: Settings, root: Any, data: Any, start: Any) -> tuple[Carry, Record]:
        return segment(self.program, self.steps, carry, settings, streams_of(root), data, start)

    def _start(self, settings: Settings, root: Any) -> Carry:
        return self.program.init(settings, streams_of(root))

    def _start_from(self, settings: Settings, weights: PyTree, rest: PyTree) -> Carry:
        return self.program.start(settings, weights, rest)

    def carry(self, width: int) -> Carry:
        """Shapes of a chunk's carry, for which nothing is compiled."""
        if width not in self._carries:
            self._carries[width] = jax.eval_shape(self.init.mapped, *self.shapes(width))
        return self._carries[width]

    def shapes(self, width: int) -> tuple[PyTree, Any]:
        """Shapes of a chunk's settings and key data."""

        def widened(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((width, *leaf.shape), jax.dtypes.canonicalize_dtype(leaf.dtype))

        return jax.tree.map(widened, self._example), jax.ShapeDtypeStruct((width, 2), jnp.uint32)

    def placed(self, block: PyTree) -> PyTree:
        """A stream's block, [steps, batch, ...], on the devices, cut where they share a batch."""
        if self._shards is not None:
            return self._shards.put(block, axis=1)
        return self.advance.shared(jax.tree.map(jnp.asarray, block))

    def data_shapes(self) -> PyTree:
        """What a segment trains on; of a stream the shapes of a block."""
        stream = self.program.task.stream
        if stream is None:
            return self.data

        def of_block(leaf: np.ndarray) -> jax.ShapeDtypeStruct:
            shape = (self.steps, self.program.structure.batch_size, *leaf.shape[1:])
            lying = None if self._shards is None else self._shards.along(1, shape)
            return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(leaf.dtype), sharding=lying)

        return self.data | {"train": jax.tree.map(of_block, stream.sample)}

    @property
    def blocks_bytes(self) -> int:
        """What a stream's blocks take: the one that is trained on, and the next, which is on its way meanwhile."""
        if self.program.task.stream is None:
            return 0
        block = jax.tree.leaves(self.data_shapes()["train"])
        return 2 * sum(int(math.prod(leaf.shape) * leaf.dtype.itemsize) for leaf in block)


def _cut(total: int, per_epoch: int, seconds_per_step: float, streamed: bool) -> int:
    """Steps in a segment; see `Trainer`."""
    wanted = max(2, int(SECONDS_PER_SEGMENT / seconds_per_step))
    if streamed:  # the first block alone is read while nothing trains
        return min(wanted, max(3, -(-total // BLOCKS_OF_STREAM)))
    if total <= wanted:
        return total
    if wanted < per_epoch:
        return wanted
    return max(2, wanted // per_epoch * per_epoch)


def most_in_segment(stream: Streamed | None, batch_size: int) -> float:
    """Most steps in a segment: a stream's batches lie on the device together, twice. At least 3, to cut any number."""
    if stream is None:
        return math.inf
    row = sum(int(leaf[0].nbytes) for leaf in jax.tree.leaves(stream.sample))
    return max(3, BYTES_PER_BLOCK // (batch_size * row))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"


def _first_and_rest(steps: int | tuple[int, ...] | None) -> tuple[int | None, Any]:
    """What a trainer is told of its own segments, and what it tells the trainer of the next batch size."""
    return (steps[0], steps[1:]) if isinstance(steps, tuple) else (steps, steps)


def roots_of(seeds: Sequence[int]) -> np.ndarray:
    """u32[seeds, 2], the words of each seed's key."""
    words = {seed: np.asarray(jax.random.key_data(random.key(seed))) for seed in dict.fromkeys(seeds)}
    return np.stack([words[seed] for seed in seeds])


def streams_of(root: Any) -> random.Streams:
    """A member's streams, from the words of its key."""
    keys = random.streams(jax.random.wrap_key_data(root, impl=random.IMPLEMENTATION))
    # Known only here: where dozens of weights are drawn from one key inside a loop, jax 0.12 would repeat the hash that
    # made the key for each of them, and never end compiling.
    words = jax.lax.optimization_barrier(tuple(jax.random.key_data(key) for key in keys))
    return random.Streams(*(jax.random.wrap_key_data(word, impl=random.IMPLEMENTATION) for word in words))
