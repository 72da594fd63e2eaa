"""A cohort: members in the middle of training, each of which can be held and goes on later as if it never had been."""

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.training.chunk import Chunk
from hyperjax.training.chunk_store import ChunkStore
from hyperjax.training.engine import Engine
from hyperjax.training.going import Going, epochs_of, forward
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
    that is held costs that memory and nothing else. Those that go on share as few blocks as hold them, whenever they
    began: so the places of those that are held, or have ended, are filled by others, and by those that are added later.
    What a member becomes does not depend on who is held, nor when.

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
        self._work(begun, lambda each: each[0].begin(each[1]))
        self._place([chunk for chunk, _ in begun])
        return range(first, len(self))

    def hold(self, members: Iterable[int]) -> None:
        """Leave members where they are until they are released."""
        self._held |= self._known(members)

    def release(self, members: Iterable[int]) -> None:
        """Let members go on."""
        self._held -= self._known(members)

    def advance(self, epoch: float | Mapping[int, float] = math.inf) -> None:
        """Train all that are not held to an epoch, or to the first end of a segment behind it; at most to their end.

        Given by member, those alone are trained, each to its own.
        """
        targets = epoch if isinstance(epoch, Mapping) else dict.fromkeys(self._places, epoch)
        self._known(targets)
        forward([one for group in self._groups.values() for one in self._packed(group, targets)], self._work)

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
        """The chunks of some members, which share them with no others from now on."""
        known = self._known(members)
        for group in self._groups.values():
            shared = [
                chunk for chunk in group.chunks if 0 < len(known.intersection(chunk.members)) < len(chunk.members)
            ]
            others = {member for chunk in shared for member in chunk.members if member not in known}
            if shared:
                group.chunks = [*_without(group.chunks, others), *_without(shared, known)]
        self._look()
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

    def validations(self, member: int) -> int:
        """How often a member was validated that has ended, and not by diverging."""
        if member in self._left:
            return len(self._left[member].epochs)
        (chunk, row), (_, _, settings, group) = self._places[member], self._members[member]
        done = int(chunk.carry.step[row])
        boundaries = group.trainer.structure.member(settings.parts).boundaries(max(done, 1))
        return int(np.searchsorted(boundaries, done))

    def epoch(self, member: int) -> float:
        """Epochs that a member has been trained for, or would have been if it had not ended."""
        return epochs_of(self._places[member][0])

    def scores(self, members: Sequence[int]) -> np.ndarray:
        """f64[members, epochs], the metric that ranks after each epoch; NaN where a member was not there."""
        rows = {member: run.metrics[run.metric] for member, run in self._left.items()}
        there = {id(self._places[member][0]): member for member in members if member in self._places}
        for member in there.values():
            chunk, group = self._places[member][0], self._members[member].group
            program, structure = group.trainer.program, group.trainer.structure
            names = [f"validation_{name}" for name in ("loss", *program.metric_names)]
            found = chunk.validations(names.index(program.task.ranking))
            ends = structure.boundaries(found.shape[1])[1:]
            rows |= zip(chunk.members, found[:, ends[ends <= found.shape[1]] - 1], strict=True)
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
        self._places = {}
        self._place([chunk for group in self._groups.values() for chunk in group.chunks])

    def _place(self, chunks: Sequence[Chunk]) -> None:
        self._places |= {member: (chunk, row) for chunk in chunks for row, member in enumerate(chunk.members)}

    def _packed(self, group: _Group, targets: Mapping[int, float]) -> list[Going]:
        """The chunks that go on; whoever does not is put in others."""
        asked = {id(self._places[member][0]) for member in targets}
        resting, made = list[Chunk](), list[Chunk]()
        places: dict[tuple[int, int, float], list[tuple[Chunk, int]]] = {}
        for chunk in group.chunks:
            if id(chunk) not in asked or chunk.done:
                resting.append(chunk)
                continue
            until = [-math.inf if member in self._held else targets.get(member, -math.inf) for member in chunk.members]
            goes = chunk.moving & (epochs_of(chunk) < np.array(until))
            if not goes.any():
                resting.append(chunk)
            elif not goes.all():
                made.append(Chunk.of([(chunk, np.flatnonzero(~goes))]))
            for row in np.flatnonzero(goes).tolist():
                places.setdefault((chunk.trainer.phase, chunk.counter, until[row]), []).append((chunk, row))
        going: list[Going] = []
        for (_, _, epoch), rows in places.items():
            there = {id(chunk): chunk for chunk, _ in rows}
            count = _blocks(group, len(rows))
            if len(there) == count and sum(len(chunk.members) for chunk in there.values()) == len(rows):
                going += [Going(chunk, epoch, group.width) for chunk in there.values()]
                continue
            rows.sort(key=lambda place: place[0].members[place[1]])
            cuts = np.array_split(np.arange(len(rows)), count)
            going += [Going(Chunk.of(_by_chunk([rows[i] for i in cut])), epoch, group.width) for cut in cuts]
        moved = [one.chunk for one in going]
        group.chunks = [*resting, *made, *moved]
        self._place([*made, *moved])
        return going

    def _work(self, pieces: Sequence[Any], work: Callable[[Any], None]) -> None:
        """Do something with each piece, under "map" from a thread a core; those of several groups share the threads."""
        trainers = [group.trainer for group in self._groups.values()]
        served = max((trainer.advance for trainer in trainers), key=lambda mapped: len(mapped.devices))
        with contextlib.closing(served.serve(pieces, work)) as done:
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


def _by_chunk(rows: Sequence[tuple[Chunk, int]]) -> list[tuple[Chunk, np.ndarray]]:
    """Rows one by one as runs of rows of the same chunk."""
    runs = itertools.groupby(rows, key=lambda place: id(place[0]))
    listed = [list(run) for _, run in runs]
    return [(run[0][0], np.array([row for _, row in run])) for run in listed]


def _form(settings: Settings) -> Any:
    leaves, tree = jax.tree.flatten(settings)
    return tree, [np.shape(leaf) for leaf in leaves]


def _dropped() -> Any:
    raise ValueError("model must be of a run whose state was kept; this one was pruned, and its memory given back")
