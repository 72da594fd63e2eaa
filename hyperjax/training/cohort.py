"""A cohort: members in the middle of training, each of which can be held and goes on later as if it never had been."""

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.training.chunk import Block, Chunk, block_of
from hyperjax.training.chunk_store import ChunkStore
from hyperjax.training.engine import Engine
from hyperjax.training.feeding import Fed, Feed
from hyperjax.training.harvest import to_run
from hyperjax.training.lowering import lower_together
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run
from hyperjax.training.settings import Settings
from hyperjax.training.trainer import Trainer


class Copy(NamedTuple):
    """A member that goes on from where another one is."""

    source: int
    target: int
    recipe: Recipe  # by which it goes on


@dataclass
class _Group:
    """Members of one structure."""

    trainer: Trainer
    width: int  # of a block
    room: list[Recipe]  # what its programs hold
    chunks: list[Chunk] = field(default_factory=list)


class _Member(NamedTuple):
    recipe: Recipe
    seed: int
    settings: Settings
    group: _Group


class Cohort:
    """Members that train side by side up to an epoch, over all groups of an engine, and further when told to.

    Between two calls every member is on the host: its records, and its weights with what the optimizer remembers. One
    that is held costs that memory and nothing else. Those that go on share as few blocks as hold them, so the places of
    those that are held, or have ended, are filled. What a member becomes does not depend on who is held, nor when.

    Args:
        engine: whose recipes and seeds are trained; made with `segment_epochs`, to whose multiples training goes. Its
            members are numbered as its runs are: recipes slowest, seeds fastest.
        seeds: one a member instead of the engine's.
    Raises: ValueError in a job of several processes, which do not exchange members.

    >>> from hyperjax.tasks import digits
    >>> engine = Engine(digits(), [Recipe(epochs=3), Recipe(epochs=3, learning_rate=1e-2)], segment_epochs=1)
    >>> cohort = Cohort(engine)
    >>> cohort.advance(1)
    >>> cohort.hold([0])
    >>> cohort.advance()
    >>> [(len(run.epochs), run.finished) for run in cohort.runs]
    [(1, False), (3, True)]
    """

    def __init__(self, engine: Engine, seeds: Sequence[int] | None = None):
        self._groups: dict[tuple[int, int], _Group] = {}
        self._members: list[_Member] = []
        self._held: set[int] = set()
        self._places: dict[int, tuple[Chunk, int]] = {}  # of each member: its chunk, and the row there
        self._left: dict[int, Run] = {}  # what members have done whose state was dropped
        self.add(engine, seeds)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, engine: Engine, seeds: Sequence[int] | None = None) -> range:
        """Begin further members, beside those that there are; their numbers."""
        if jax.process_count() > 1:
            raise ValueError(f"a cohort must be trained by one process, got a job of {jax.process_count()}")
        engine.compile()
        streams = list(engine.seeds) * len(engine.recipes) if seeds is None else list(seeds)
        first, found = len(self), dict[int, _Member]()
        begun: list[tuple[Chunk, int]] = []
        for each in engine.groups:
            key = (id(each.trainer), each.width)
            group = self._groups.setdefault(key, _Group(each.trainer, each.width, each.room))
            for place, settings in zip(each.places, each.settings, strict=True):
                recipe = engine.recipes[place // len(engine.seeds)]
                found[place] = _Member(recipe, streams[place], settings, group)
            for rows in np.array_split(np.arange(len(each.places)), _blocks(group, len(each.places))):
                places, own = [each.places[row] for row in rows], [each.settings[row] for row in rows]
                members, drawn = [first + place for place in places], [streams[place] for place in places]
                group.chunks.append(Chunk(each.trainer, members, own, drawn))
                begun.append((group.chunks[-1], each.width))
        self._members += [found[place] for place in range(engine.size)]
        self._work(begun, lambda chunk, width: chunk.begin(width))
        self._look()
        return range(first, len(self))

    def hold(self, members: Iterable[int]) -> None:
        """Leave members where they are until they are released."""
        self._held |= self._known(members)

    def release(self, members: Iterable[int]) -> None:
        """Let members go on."""
        self._held -= self._known(members)

    def advance(self, epoch: float = math.inf) -> None:
        """Train all that are not held to an epoch, or to the first end of a segment behind it; at most to their end."""
        going = [(chunk, group.width) for group in self._groups.values() for chunk in self._packed(group, epoch)]
        self._look()
        if not going:
            return
        if going[0][0].trainer.program.task.stream is None:

            def forward(chunk: Chunk, width: int) -> None:
                block = block_of(chunk, width)
                while _goes_on(chunk, epoch):
                    block.advance(Fed(chunk.trainer.data, None))

            self._work(going, forward)
        else:
            _side_by_side(going, epoch)

    def copy(self, copies: Collection[Copy]) -> None:
        """Let members go on from where others are, by recipes of their own; all at once, so two may change places.

        Weights, what the optimizer remembers and the records so far are the source's, bit for bit; order of examples
        and masks stay those of the target's seed.

        Raises: ValueError for members of two programs, or a recipe that their program has no room for.
        """
        taken = {copy.target: copy for copy in copies}
        self._known([*taken, *(copy.source for copy in copies)])
        settings = self._lowered(taken)
        for group in self._groups.values():
            targets = [target for target in sorted(taken) if self._members[target].group is group]
            made = [self._made(target, taken[target].source, settings[target]) for target in targets]
            group.chunks = [*_without(group.chunks, set(targets)), *made]
        for target, copy in taken.items():
            old = self._members[target]
            self._members[target] = old._replace(recipe=copy.recipe, settings=settings[target])
        self._look()

    def drop(self, members: Iterable[int]) -> None:
        """Give back the memory of members' states; what they have done stays, without a model."""
        dropped = self._known(members)
        self._left |= {member: replace(self.run(member), _model=_dropped) for member in dropped}
        for group in self._groups.values():
            group.chunks = _without(group.chunks, dropped)
        self._look()

    def chunks(self, members: Collection[int]) -> list[Chunk]:
        """The chunks of some members, which share them with no others."""
        known = self._known(members)
        return [c for group in self._groups.values() for c in group.chunks if known.issuperset(c.members)]

    def restore(self, kept: Sequence[tuple[list[int], ChunkStore]]) -> None:
        """Put members where their stores have them."""
        made: list[tuple[_Group, Chunk]] = []
        for members, store in kept:
            own = [self._members[member] for member in members]
            group = own[0].group
            chunk = Chunk(group.trainer, members, [m.settings for m in own], [m.seed for m in own], store)
            chunk.begin(group.width)
            made.append((group, chunk.apart()))
        for group in self._groups.values():
            new = [chunk for its, chunk in made if its is group]
            group.chunks = [*_without(group.chunks, {member for chunk in new for member in chunk.members}), *new]
        self._look()

    def run(self, member: int) -> Run:
        """What a member has done so far, at least one segment."""
        if member in self._left:
            return self._left[member]
        (chunk, row), (recipe, seed, settings, group) = self._places[member], self._members[member]
        return to_run(group.trainer, recipe, seed, settings, chunk.harvest, row)

    @property
    def runs(self) -> list[Run]:
        """What each member has done so far; one that has not ended is not finished."""
        return [self.run(member) for member in range(len(self))]

    def moving(self, members: Iterable[int]) -> list[int]:
        """Those of some members that have a state and have not ended."""
        found = ((member, self._places.get(member)) for member in members)
        return [member for member, place in found if place is not None and place[0].moving[place[1]]]

    def diverged(self, member: int) -> bool:
        """Whether a loss or a gradient of a member's was not finite."""
        if member in self._left:
            return self._left[member].diverged
        chunk, row = self._places[member]
        return bool(chunk.carry.diverged_at[row] >= 0)

    def epoch(self, member: int) -> float:
        """Epochs that a member has been trained for, or would have been if it had not ended."""
        return _epochs(self._places[member][0])

    def scores(self, members: Sequence[int]) -> np.ndarray:
        """f64[members, epochs], the metric that ranks after each epoch; NaN where a member was not there."""
        rows = dict[int, np.ndarray]()
        for group in self._groups.values():
            program, structure = group.trainer.program, group.trainer.structure
            names = [f"validation_{name}" for name in ("loss", *program.metric_names)]
            for chunk in group.chunks:
                found = chunk.validations(names.index(program.task.ranking))
                ends = structure.boundaries(found.shape[1])[1:]
                rows |= zip(chunk.members, found[:, ends[ends <= found.shape[1]] - 1], strict=True)
        for member, run in self._left.items():
            rows[member] = run.metrics[run.metric]
        whole = np.full((len(members), max(len(rows[member]) for member in members)), np.nan)
        for at, member in enumerate(members):
            whole[at, : len(rows[member])] = rows[member]
        return whole

    def bytes(self, member: int) -> int:
        """What a member's state takes on the host, records not counted; 0 once it is dropped."""
        if member not in self._places:
            return 0
        chunk, _ = self._places[member]
        return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(chunk.carry)) // len(chunk.members)

    def _known(self, members: Iterable[int]) -> set[int]:
        asked = set(members)
        unknown = asked - self._places.keys()
        if unknown:
            raise ValueError(f"members must be of the cohort's {len(self)} that have a state, got {sorted(unknown)}")
        return asked

    def _look(self) -> None:
        chunks = [chunk for group in self._groups.values() for chunk in group.chunks]
        self._places = {member: (chunk, row) for chunk in chunks for row, member in enumerate(chunk.members)}

    def _packed(self, group: _Group, epoch: float) -> list[Chunk]:
        """The chunks that go on to an epoch; whoever does not is put in others."""
        resting: list[Chunk] = []
        places: dict[tuple[int, int], list[tuple[Chunk, int]]] = {}
        for chunk in group.chunks:
            goes = np.array([member not in self._held for member in chunk.members]) & chunk.moving
            goes &= _goes_on(chunk, epoch)
            if not goes.all():
                resting.append(Chunk.of([(chunk, np.flatnonzero(~goes))]) if goes.any() else chunk)
            rows = [(chunk, int(row)) for row in np.flatnonzero(goes)]
            if rows:
                places.setdefault((chunk.trainer.phase, chunk.counter), []).extend(rows)
        going: list[Chunk] = []
        for rows in places.values():
            there = {id(chunk): chunk for chunk, _ in rows}
            count = _blocks(group, len(rows))
            if len(there) == count and sum(len(chunk.members) for chunk in there.values()) == len(rows):
                going += there.values()
                continue
            rows.sort(key=lambda place: place[0].members[place[1]])
            cuts = np.array_split(np.arange(len(rows)), count)
            going += [Chunk.of(_by_chunk([rows[i] for i in cut])) for cut in cuts]
        group.chunks = [*resting, *going]
        return going

    def _work(self, pieces: list[tuple[Chunk, int]], work: Callable[[Chunk, int], None]) -> None:
        """Do something with chunks, under "map" from a thread a core; blocks of several groups share the threads."""
        served = max((chunk.trainer.advance for chunk, _ in pieces), key=lambda mapped: len(mapped.devices))
        with contextlib.closing(served.serve(pieces, lambda piece: work(*piece))) as done:
            for _ in done:
                pass

    def _lowered(self, copies: dict[int, Copy]) -> dict[int, Settings]:
        """The new settings of each target, in the form of its group's programs."""
        found: dict[int, Settings] = {}
        for group in self._groups.values():
            targets = [target for target in copies if self._members[target].group is group]
            if not targets:
                continue
            for target in targets:
                if self._members[copies[target].source].group is not group:
                    raise ValueError(f"source must share a program with its target, got {copies[target]}")
            recipes = [copies[target].recipe for target in targets]
            lowered, structure = lower_together([*recipes, *group.room], group.trainer.program.task)
            like = self._members[targets[0]].settings
            sources = [self._members[copies[target].source].settings for target in targets]
            alike = all(one.parts == own.parts for one, own in zip(sources, lowered, strict=False))  # else steps differ
            if structure != group.trainer.structure or _form(lowered[0]) != _form(like) or not alike:
                raise ValueError(f"recipe must be one that the members' program has room for, got one of {recipes}")
            found |= zip(targets, lowered, strict=False)
        return found

    def _made(self, target: int, source: int, settings: Settings) -> Chunk:
        """A chunk of a target alone, where its source is."""
        (old, row), (chunk, at) = self._places[target], self._places[source]
        new = Chunk.of([(chunk, np.array([at]))])
        new.become([target], old.roots[[row]], [settings])
        return new


def _without(chunks: Sequence[Chunk], members: Collection[int]) -> list[Chunk]:
    """Chunks of those that are no such members."""
    kept: list[Chunk] = []
    for chunk in chunks:
        rows = np.array([row for row, member in enumerate(chunk.members) if member not in members], int)
        whole = len(rows) == len(chunk.members)
        kept += [chunk] if whole else [Chunk.of([(chunk, rows)])] if len(rows) else []
    return kept


def _blocks(group: _Group, members: int) -> int:
    """Into how many blocks members are dealt: as few as hold them, but no thread without one."""
    count, threads = -(-members // group.width), 1
    if group.trainer.layout == "map" and len(group.trainer.advance.devices) == 1:
        threads = group.trainer.advance.threads
    return min(-(-count // threads) * threads, members)


def _epochs(chunk: Chunk) -> float:
    structure = chunk.trainer.program.structure
    return structure.phase.epoch + chunk.counter / structure.steps_per_epoch


def _goes_on(chunk: Chunk, epoch: float) -> bool:
    return not chunk.done and _epochs(chunk) < epoch


def _by_chunk(rows: Sequence[tuple[Chunk, int]]) -> list[tuple[Chunk, np.ndarray]]:
    """Rows one by one as runs of rows of the same chunk."""
    runs = itertools.groupby(rows, key=lambda place: id(place[0]))
    listed = [list(run) for _, run in runs]
    return [(run[0][0], np.array([row for _, row in run])) for run in listed]


def _side_by_side(pieces: list[tuple[Chunk, int]], epoch: float) -> None:
    """Train on streamed data, which all share: those that are behind first, so that no part is read twice."""
    blocks = [block_of(chunk, width) for chunk, width in pieces]
    keep = len(blocks) == 1 or pieces[0][0].trainer.layout == "map"
    with contextlib.closing(Feed()) as feed:
        for first, behind in _turns(blocks, epoch):
            fed = feed.at(first.trainer, first.counter, first.position)
            advance = partial(Block.advance, fed=fed, keep=keep)
            with contextlib.closing(first.trainer.advance.serve(behind, advance)) as served:
                for _ in served:
                    pass


def _turns(blocks: list[Block], epoch: float) -> Iterator[tuple[Chunk, list[Block]]]:
    """Again and again the blocks that share a trainer and are furthest behind, with a chunk of theirs."""
    while going := [block for block in blocks if _goes_on(block.first, epoch)]:
        furthest = min(going, key=lambda block: _epochs(block.first))
        first, place = furthest.first, furthest.place
        yield first, [block for block in going if block.first.trainer is first.trainer and block.place == place]


def _form(settings: Settings) -> Any:
    leaves, tree = jax.tree.flatten(settings)
    return tree, [np.shape(leaf) for leaf in leaves]


def _dropped() -> Any:
    raise ValueError("model must be of a run whose state was kept; this one was pruned, and its memory given back")
