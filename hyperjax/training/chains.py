"""From settings to harvests: chunks of members, each a chain of segments, in the order that the layout likes."""

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import partial

import numpy as np

from hyperjax.training.chunk import Block, Chunk, Harvest, block_of
from hyperjax.training.chunk_store import ChunkStore, Saved
from hyperjax.training.feeding import Fed, Feed
from hyperjax.training.settings import Settings
from hyperjax.training.trainer import Trainer
from hyperjax.types import PyTree


def chains(
    trainer: Trainer,
    settings: Sequence[Settings],
    seeds: Sequence[int],
    width: int,
    start: tuple[PyTree, PyTree] | None = None,
    on_segment: Callable[[int, Harvest], None] | None = None,
    store: Callable[[int], ChunkStore] | None = None,
    begun: Saved | None = None,
    only: Collection[int] | None = None,
) -> Generator[tuple[list[int], Harvest]]:
    """Train members chunk by chunk; yield the members' numbers and what they left, as each chunk ends.

    Under "map" a thread a core takes chunk after chunk, each from beginning to end. Under "vmap" all chunks go through
    a segment before any goes on to the next: so those that are left of several can go on in one block. So they do on
    data that are streamed, which all share.

    Args:
        settings, seeds: one a member.
        width: members in a chunk; the last one is padded with members that have nothing to do.
        start: weights and other state to begin from, instead of initial ones.
        on_segment: called as `on_segment(first member of the chunk, harvest)` after each segment, from whichever
            thread serves the chunk; once for one that had ended before.
        store: gives the store of a chunk by its number: a chunk goes on from what is there, and is kept there.
        begun: a lone member between two segments, from which every member goes on.
        only: numbers of the chunks to train; None: all.
    """

    def chunk_of(number: int) -> Chunk:
        members = list(range(number * width, min((number + 1) * width, len(seeds))))
        own = [settings[i] for i in members]
        kept = None if store is None else store(number)
        chunk = Chunk(trainer, members, own, [seeds[i] for i in members], kept)
        chunk.begin(width, start, begun)
        return chunk

    def follow(chunk: Chunk) -> None:
        if on_segment is not None:
            on_segment(chunk.members[0], chunk.harvest)

    numbers = range(-(-len(seeds) // width)) if only is None else sorted(only)
    streamed = trainer.program.task.stream is not None
    if trainer.layout == "map" and not streamed:

        def chain(number: int) -> Chunk:
            with contextlib.closing(chunk_of(number)) as chunk:
                block = block_of(chunk, width)
                if chunk.done:
                    follow(chunk)
                while not chunk.done:
                    block.advance(Fed(chunk.trainer.data, None))
                    follow(chunk)
            return chunk

        with contextlib.closing(trainer.advance.serve(numbers, chain)) as served:
            for _, chunk in served:
                yield chunk.members, chunk.harvest
        return
    with contextlib.ExitStack() as opened:
        feed = opened.enter_context(contextlib.closing(Feed()))
        chunks = [opened.enter_context(contextlib.closing(chunk_of(number))) for number in numbers]
        for chunk in _in_rounds(trainer, chunks, width, feed, follow):
            yield chunk.members, chunk.harvest


def _in_rounds(
    trainer: Trainer, chunks: Sequence[Chunk], width: int, feed: Feed, follow: Callable[[Chunk], None]
) -> Iterator[Chunk]:
    """All chunks side by side, a segment at a time, those that are behind first; each as it ends."""
    for chunk in chunks:
        if chunk.done:
            follow(chunk)
            yield chunk
    blocks = [block_of(chunk, width) for chunk in chunks if not chunk.done]
    while blocks:
        place = min(block.place for block in blocks)
        behind = [block for block in blocks if block.place == place]
        ahead = [block for block in blocks if block.place != place]
        keep = trainer.layout == "map"
        if not keep:
            behind = _compacted(behind, width)
            keep = len(behind) + len(ahead) == 1  # only then is there room on the device for its carry all the time
        first = behind[0].first
        fed = feed.at(first.trainer, first.counter, first.position)
        advance = partial(Block.advance, fed=fed, keep=keep)
        with contextlib.closing(trainer.advance.serve(behind, advance)) as served:
            for _ in served:
                pass
        advanced = {id(chunk): chunk for block in behind for chunk, _ in block.parts}
        for chunk in advanced.values():
            follow(chunk)
            if chunk.done:
                yield chunk
        blocks = ahead + [block for block in behind if not block.done]


def _compacted(blocks: list[Block], width: int) -> list[Block]:
    """The blocks themselves, or fewer that hold the members which still move.

    The width stays as it is, since it decides the last bits of a result: so a member's does not depend on who ended
    beside it.
    """
    bins: list[list[tuple[Chunk, np.ndarray]]] = []
    moving = [(chunk, rows[chunk.moving[rows]]) for block in blocks for chunk, rows in block.parts if not chunk.done]
    for chunk, rows in sorted(moving, key=lambda part: -len(part[1])):  # first fit, the largest first
        fitting = (b for b in bins if sum(len(there) for _, there in b) + len(rows) <= width)
        found = next(fitting, None)
        if found is None:
            bins.append([(chunk, rows)])
        else:
            found.append((chunk, rows))
    return blocks if len(bins) == len(blocks) else [Block(parts, width) for parts in bins]


def after_segments(trainers: Sequence[Trainer], settings: Settings, seed: int) -> Saved:
    """One member, trained for a segment of each trainer in turn."""
    chunk = Chunk(trainers[0], [0], [settings], [seed])
    chunk.begin(1)
    block = block_of(chunk, 1)
    with contextlib.closing(Feed()) as feed:
        for trainer in trainers:
            chunk.trainer = trainer
            block.advance(feed.at(trainer, chunk.counter, chunk.position))
    return chunk.saved
