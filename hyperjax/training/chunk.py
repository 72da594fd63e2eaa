"""A chunk: members that are kept and handed out together, and the block of rows that one call of a program advances."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.training.chunk_store import ChunkStore, Saved
from hyperjax.training.feeding import Fed
from hyperjax.training.program import Carry, Record
from hyperjax.training.settings import Settings, stacked
from hyperjax.training.trainer import Trainer, roots_of
from hyperjax.types import PyTree


class Harvest(NamedTuple):
    """A chunk after a segment, on the host: the records of all its segments so far, and its carry."""

    records: Record  # each [members, steps so far, ...]
    carry: Carry  # each [members, ...]
    done: bool  # no member of the chunk will move again


class Chunk:
    """Members that began together, and where each of them is between two segments.

    Args:
        trainer: of the first batch size; a chunk goes on in the trainer of the next one by itself.
        members: their numbers.
        settings, seeds: of each.
        store: where the chunk is kept, and goes on from.
    """

    def __init__(
        self,
        trainer: Trainer,
        members: list[int],
        settings: Sequence[Settings],
        seeds: Sequence[int],
        store: ChunkStore | None = None,
    ):
        self.trainer, self.members, self._store = trainer, members, store
        self.settings = stacked(settings)
        self.roots = roots_of(seeds)
        self.counter, self.done = 0, False
        self.position: Any = None  # of the stream at the counter, where there is one
        self.moving = np.ones(len(members), bool)  # those that a segment would change
        self._carry: Carry | None = None
        self._records: list[Record] = []  # of each segment; one concatenation at the end, not one a segment

    @classmethod
    def of(cls, parts: "Sequence[tuple[Chunk, np.ndarray]]") -> "Chunk":
        """Rows of chunks at one place of one trainer, copied to a chunk of their own."""
        chunk = copy(parts[0][0])
        chunk.members = [other.members[row] for other, rows in parts for row in rows]
        chunk._store, chunk.done = None, False
        states = [(c.settings, c.roots, c.carry, c.records if c._records else None) for c, _ in parts]
        rows = [_rows(state, at) for state, (_, at) in zip(states, parts, strict=True)]
        chunk.settings, chunk.roots, chunk._carry, records = _joined(rows)
        chunk._records = [] if records is None else [records]
        chunk._look()
        return chunk

    def apart(self) -> "Chunk":
        """The same chunk, kept in no store from now on."""
        self._store = None
        return self

    def become(self, members: list[int], roots: np.ndarray, settings: Sequence[Settings]) -> None:
        """Go on as other members, from the rows that are here."""
        self.members, self.roots, self.settings, self.done = members, roots, stacked(settings), False
        self._look()

    def begin(self, width: int, start: tuple[PyTree, PyTree] | None = None, begun: Saved | None = None) -> None:
        """Go to where the store, or the beginning, says.

        Args:
            width: that the programs are compiled for, at least the number of members.
            start: weights and other state to begin from, instead of initial ones.
            begun: a lone member between two segments, from which every member goes on.
        """
        count = len(self.members)
        saved = None if self._store is None else self._store.load(self._kept_shapes(width))
        if saved is None and begun is not None:
            carry, records = jax.tree.map(lambda leaf: np.repeat(leaf, count, 0), (begun.carry, begun.records))
            saved = begun._replace(carry=carry, records=records)
        if saved is not None:
            while self.trainer.phase < saved.phase:
                assert self.trainer.next is not None
                self.trainer = self.trainer.next
            self.counter, self.done, self.position = saved.counter, saved.done, saved.position
            self._carry, self._records = saved.carry, [saved.records]
            self._look()
            return
        settings, roots = _idle_behind(count, *_padded((self.settings, self.roots), width))
        program = self.trainer.init if start is None else self.trainer.start_from
        args = (settings, roots) if start is None else (settings, *start)
        self._carry = _on_host(program.compile(*args)(*args), count)

    @property
    def harvest(self) -> Harvest:
        """What the chunk has to show; nothing that follows changes it."""
        return Harvest(self.records, self.carry, self.done)

    @property
    def saved(self) -> Saved:
        """The chunk between two segments."""
        return Saved(self.trainer.phase, self.counter, self.done, self.carry, self.records, self.position)

    @property
    def records(self) -> Record:
        """Of all segments so far, on the host."""
        assert self._records
        if len(self._records) > 1:
            self._records = [jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *self._records)]
        return self._records[0]

    def validations(self, column: int) -> np.ndarray:
        """f[members, steps so far], a column of the records' validations."""
        return np.concatenate([record.validation[:, :, column] for record in self._records], axis=1)

    @property
    def carry(self) -> Carry:
        """Of the members, on the host."""
        assert self._carry is not None
        return self._carry

    def take(self, rows: np.ndarray, carry: Carry, record: Record, position: Any) -> None:
        """Take in what a segment made of some rows; the others have not moved."""
        if len(rows) < len(self.members):

            def among(old: np.ndarray, new: np.ndarray) -> np.ndarray:
                whole = old.copy()  # what was handed out stays
                whole[rows] = new
                return whole

            def recorded(new: np.ndarray) -> np.ndarray:
                return among(np.full((len(self.members), *new.shape[1:]), np.nan, new.dtype), new)

            carry, record = jax.tree.map(among, self.carry, carry), jax.tree.map(recorded, record)
        self._records.append(record)
        self._carry, self.position = carry, position
        self.counter += self.trainer.steps
        self._look()
        if self._store is not None:
            self._store.save(self.saved)

    def close(self) -> None:
        """Wait until the disk has everything."""
        if self._store is not None:
            self._store.close()

    def _look(self) -> None:
        """See who still moves, and go on to the next batch size where this one's steps are done."""
        structure = self.trainer.program.structure
        carry, steps = self.carry, self.settings.steps
        diverged = carry.diverged_at >= 0
        stopped = np.zeros(len(steps), bool) if (found := carry.following.stopping) is None else found.stopped
        # The last validation waits for the end of an epoch, as members count it together.
        phase, per_epoch = structure.phase, structure.steps_per_epoch
        turns = structure.turns(self.settings.parts, steps - phase.step)
        validated = self.counter >= -(-turns // per_epoch) * per_epoch
        self.moving = ~(diverged | stopped | ((carry.step >= steps) & validated))
        at_end = self.counter >= self.trainer.total
        self.done = self.done or not self.moving.any() or (at_end and self.trainer.next is None)
        if at_end and not self.done and self.trainer.next is not None:
            self._records = [jax.tree.map(lambda leaf: leaf[:, : phase.last], self.records)]
            self.trainer, self.counter, self.position = self.trainer.next, 0, None

    def _kept_shapes(self, width: int) -> Carry:
        def of_members(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((len(self.members), *leaf.shape[1:]), leaf.dtype)

        shapes: Carry = jax.tree.map(of_members, self.trainer.carry(width))
        return shapes


class Block:
    """Rows that one call of a program advances: a chunk's members, or what is left of several chunks.

    Args:
        parts: chunks at the same counter of the same trainer, each with the rows of it that are here.
        width: that the program is compiled for; the rest is padding, which has nothing to do.
    """

    def __init__(self, parts: Sequence[tuple[Chunk, np.ndarray]], width: int):
        self.parts, self._width = list(parts), width
        rows = [_rows((chunk.settings, chunk.roots), at) for chunk, at in parts]
        self._members = sum(len(at) for _, at in parts)
        self._settings, self._roots = _idle_behind(self._members, *_padded(_joined(rows), width))
        self._carry: Carry | None = None  # on the device, once it is there

    @property
    def done(self) -> bool:
        """Whether a segment would change nothing."""
        return all(chunk.done for chunk, _ in self.parts)

    @property
    def moving(self) -> int:
        """Members that a segment would change."""
        return sum(int(chunk.moving[rows].sum()) for chunk, rows in self.parts)

    @property
    def place(self) -> tuple[int, int]:
        """Number of the batch size in force, and first step of the segment that follows."""
        return self.first.trainer.phase, self.first.counter

    @property
    def first(self) -> Chunk:
        """A chunk of which there are rows; all are at the same place."""
        return self.parts[0][0]

    def advance(self, fed: Fed, keep: bool = True) -> None:
        """One segment on some data; `keep` the carry on the device for the next."""
        trainer, counter = self.first.trainer, np.int32(self.first.counter)
        carry = self._carry
        if carry is None:
            carries = [_rows(chunk.carry, at) for chunk, at in self.parts]
            carry = jax.tree.map(jnp.array, _padded(_joined(carries), self._width))
        run = trainer.advance.compile(carry, self._settings, self._roots, fed.data, counter)
        carry, record = run(carry, self._settings, self._roots, fed.data, counter)
        self._carry = carry if keep else None
        begin = 0
        # Copies, since the next segment overwrites what is donated to it, and what is handed out may be kept.
        carry, record = _on_host((carry, record), self._members)
        for chunk, rows in self.parts:
            here = slice(begin, begin := begin + len(rows))
            chunk.take(rows, _rows(carry, here), _rows(record, here), fed.position)


def block_of(chunk: Chunk, width: int) -> Block:
    """A chunk's own block."""
    return Block([(chunk, np.arange(len(chunk.members)))], width)


def _on_host(tree: PyTree, members: int) -> Any:
    """The first members of stacked arrays, copied."""
    return jax.tree.map(lambda leaf: np.array(leaf)[:members], tree)


def _rows(tree: PyTree, rows: np.ndarray | slice) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _joined(trees: Sequence[PyTree]) -> Any:
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)


def _padded(tree: PyTree, width: int) -> Any:
    """Stacked arrays with copies of the last member up to a width."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(width), len(leaf) - 1)], tree)


def _idle_behind(members: int, settings: Settings, roots: np.ndarray) -> tuple[Settings, np.ndarray]:
    """Members behind the first so many have nothing to do."""
    return replace(settings, steps=np.where(np.arange(len(roots)) < members, settings.steps, 0).astype(np.int32)), roots
