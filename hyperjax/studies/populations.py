"""The populations of a study's batches: how their chunks are cut, and what their programs hold."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hyperjax.studies.plan import plan_of
from hyperjax.studies.space import Space
from hyperjax.tasks import Task
from hyperjax.training.engine import Engine
from hyperjax.training.recipe import Recipe


class Populations:
    """Makes the engine of each batch.

    All batches have chunks of one width, so that nothing is compiled twice, and a run's last bits do not depend on the
    batch that it was in; a lone one those that suit it. A study that goes on has those that it began with.

    Args:
        task, space, seeds, layout, width: as in `study`.
        base: what everything outside the space is.
        segment_epochs: as in `Engine`.
        widths: members in a chunk by structure, and by "" of any other one, as they were decided before.

    Attributes:
        widths: the same, with what was decided since.
        width: of the narrowest chunks that were compiled last; None: none were.
    """

    def __init__(
        self,
        task: Task,
        space: Space,
        base: Recipe | None,
        seeds: Sequence[int],
        layout: str,
        width: int | None,
        segment_epochs: int | None,
        widths: dict[str, int],
    ):
        self._task, self._space, self._base, self._seeds = task, space, base, seeds
        self._layout, self._given, self._segment_epochs = layout, width, segment_epochs
        self.widths = widths
        self.width: int | None = None
        self._programs: set[int] = set()
        self._room: dict[str, list[Recipe]] = {}  # what the programs of a structure must hold beside what was drawn

    @property
    def room(self) -> tuple[Recipe, ...]:
        """What the programs must hold: with it and the width, what comes later finds them compiled."""
        return tuple(recipe for recipes in self._room.values() for recipe in recipes)

    @property
    def count(self) -> int:
        """Programs so far."""
        return len(self._programs)

    def engine(self, values: Sequence[Mapping[str, Any]], recipes: Sequence[Recipe], together: int | None) -> Engine:
        """The engine of some trials.

        Args:
            values, recipes: of each.
            together: how many trials are to train side by side, in this batch and others; None: it is a lone one.
        """
        named = [self._structure(each) for each in values]
        structures = dict(zip(named, values, strict=True))
        for name in structures.keys() - self._room.keys():
            self._room[name] = self._space.room([structures[name]], self._base)
        room = [recipe for name in structures for recipe in self._room[name]]

        def planned() -> Engine:
            known = [self.widths.get(name, self.widths.get("")) for name in named]
            ways: dict[str, Any] = {"also": room, "layout": self._layout, "segment_epochs": self._segment_epochs}
            ways["width"] = known if self._given is None else self._given
            return Engine(self._task, recipes, self._seeds, **ways)

        engine = planned()
        if self._given is not None or "" in self.widths or together is None:
            return engine
        programs = plan_of(self._space, self._task, self._base).programs
        share = max(math.ceil(together * len(self._seeds) / max(programs, 1)), 1)
        self.widths[""] = min(group.trainer.width(share) for group in engine.groups)
        return planned()

    def compile(self, engine: Engine, values: Sequence[Mapping[str, Any]]) -> None:
        """Compile the engine of some trials; how its chunks are cut is decided by then."""
        self._programs |= {id(group.trainer) for group in engine.groups}
        engine.compile()
        self.width = min(group.width for group in engine.groups)
        self.decide(engine, values)

    def decide(self, engine: Engine, values: Sequence[Mapping[str, Any]]) -> None:
        """Let all chunks of the structures of some trials be cut as their engine cuts them."""
        for group in engine.groups:
            for place in group.places:
                self.widths.setdefault(self._structure(values[place // len(self._seeds)]), group.width)

    def has_decided(self, values: Mapping[str, Any]) -> bool:
        """Whether it is known how chunks of a trial's structure are cut."""
        return self._structure(values) in self.widths

    def _structure(self, values: Mapping[str, Any]) -> str:
        return self._space.structure(values, self._base)
