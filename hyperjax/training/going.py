"""Chunks that go on to an epoch, each to its own, in as few blocks as hold them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hyperjax.training.chunk import Block, Chunk, block_of
from hyperjax.training.feeding import Fed, Feed


class Going(NamedTuple):
    """A chunk on its way."""

    chunk: Chunk
    until: float  # the epoch that it is to reach
    width: int  # of a block

    @property
    def goes_on(self) -> bool:
        """Whether it is not there yet, and a segment would change something."""
        return not self.chunk.done and epochs_of(self.chunk) < self.until


def epochs_of(chunk: Chunk) -> float:
    """Epochs that a chunk has been trained for."""
    structure = chunk.trainer.program.structure
    return structure.phase.epoch + chunk.counter / structure.steps_per_epoch


def forward(going: Sequence[Going], work: Callable[[Sequence[Any], Callable[[Any], None]], None]) -> None:
    """Train chunks until each is where it is to be.

    Args:
        going: of one task, in one layout.
        work: calls a function on each of some pieces, from as many threads as there shall be.
    """
    if not going:
        return
    if going[0].chunk.trainer.program.task.stream is not None:
        _on_stream(going)
        return

    def train(together: Sequence[Going]) -> None:
        block = Block([_whole(one.chunk) for one in together], together[0].width)
        # What ramps its batch size leaves the trainer of the others.
        while all(one.goes_on for one in together) and len({one.chunk.trainer for one in together}) == 1:
            block.advance(Fed(block.first.trainer.data, None))

    while going:  # a block goes on until the first of its chunks is where it should be
        work(_together(going), train)
        going = [one for one in going if one.goes_on]


def _together(going: Sequence[Going]) -> list[list[Going]]:
    """What shares a block: under "map" nothing, side by side as many as it holds.

    A program sees of the counter only where in an epoch it is, so members that began at different epochs share a block.
    """
    if going[0].chunk.trainer.layout == "map":
        return [[one] for one in going]
    found: dict[Any, list[list[Going]]] = {}
    for one in sorted(going, key=lambda one: -len(one.chunk.members)):  # first fit, the largest first
        trainer = one.chunk.trainer
        in_epoch = one.chunk.counter % trainer.program.structure.steps_per_epoch
        blocks = found.setdefault((trainer, one.width, in_epoch), [])
        room = one.width - len(one.chunk.members)
        together = next((block for block in blocks if sum(len(each.chunk.members) for each in block) <= room), None)
        if together is None:
            blocks.append([one])
        else:
            together.append(one)
    return [block for blocks in found.values() for block in blocks]


def _whole(chunk: Chunk) -> tuple[Chunk, np.ndarray]:
    return chunk, np.arange(len(chunk.members))


def _on_stream(going: Sequence[Going]) -> None:
    """Train on streamed data, which all share: those that are behind first, so that no part is read twice."""
    blocks = [(one, block_of(one.chunk, one.width)) for one in going]
    keep = len(blocks) == 1 or going[0].chunk.trainer.layout == "map"
    with contextlib.closing(Feed()) as feed:
        for first, behind in _turns(blocks):
            fed = feed.at(first.trainer, first.counter, first.position)
            advance = partial(Block.advance, fed=fed, keep=keep)
            with contextlib.closing(first.trainer.advance.serve(behind, advance)) as served:
                for _ in served:
                    pass


def _turns(blocks: Sequence[tuple[Going, Block]]) -> Iterator[tuple[Chunk, list[Block]]]:
    """Again and again the blocks that share a trainer and are furthest behind, with a chunk of theirs."""
    while going := [block for one, block in blocks if one.goes_on]:
        furthest = min(going, key=lambda block: epochs_of(block.first))
        first, place = furthest.first, furthest.place
        yield first, [block for block in going if block.first.trainer is first.trainer and block.place == place]
