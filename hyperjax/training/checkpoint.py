"""A checkpoint folder: the plan of a training, from which it can go on, and a store for each chunk of its members."""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.checks import positive_integer
from hyperjax.tasks import Task
from hyperjax.training.chunk_store import ChunkStore
from hyperjax.training.recipe import Recipe

FORMAT = 1
PLAN = "plan.json"
VISIBLE_SECONDS = 10  # in which a shared folder shows one host what another wrote


class Cut(NamedTuple):
    """How a group of members is cut, which decides the last bits of their results."""

    width: int  # members in a chunk
    steps: tuple[int, ...]  # in a segment, for each batch size of a run


@dataclass(frozen=True)
class Plan:
    """What is trained and how it is cut: all of it but the task's code, as JSON holds it.

    Attributes:
        kind: "run" of one recipe and seed, or "population".
        task: its name; data: a digest of each of the sets that training reads.
        recipes: JSON texts; seeds: of each.
        given: digests of what else was given: weights of examples, targets.
        init: whether it began from given weights.
        layout: "map" or "vmap"; cuts: of each group of recipes of equal structure. The engine's, once it is planned.
    """

    kind: str
    task: str
    data: dict[str, str]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    given: dict[str, str]
    init: bool
    layout: str = "auto"
    cuts: tuple[Cut, ...] = ()

    def differs(self, other: "Plan") -> str | None:
        """The first thing, in words, in which a training with this plan is not the other's; None: it goes on there."""
        for name in ("kind", "task", "data", "seeds", "given", "init"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"its {name} is {_short(theirs)} there and {_short(mine)} here"
        if len(self.recipes) != len(other.recipes):
            return f"it has {len(other.recipes)} recipes there and {len(self.recipes)} here"
        for i, (here, there) in enumerate(zip(self.recipes, other.recipes, strict=True)):
            if here != there:
                return f"recipe {i} is {there} there and {here} here"
        return None


class Checkpoint:
    """A folder that holds a plan and, for each chunk, its newest states.

    Args:
        folder: made when it is missing.
        every: segments between two states of a chunk.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 1):
        self.folder, self.every = Path(folder), positive_integer("every", every)

    def plan(self) -> Plan | None:
        """The plan that the folder holds; None where there is no training in it yet.

        Raises: ValueError for a folder that something else wrote.
        """
        path = self.folder / PLAN
        if not path.exists():
            if self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
                raise ValueError(f"checkpoint must be a new or empty folder or hold {PLAN}, got {self.folder}")
            return None
        try:
            content = json.loads(path.read_text())
            if content.pop("format") != FORMAT:
                raise KeyError("format")
            cuts = tuple(Cut(cut["width"], tuple(cut["steps"])) for cut in content.pop("cuts"))
            recipes, seeds = tuple(content.pop("recipes")), tuple(content.pop("seeds"))
            return Plan(**content, cuts=cuts, recipes=recipes, seeds=seeds)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"checkpoint must hold a {PLAN} of format {FORMAT}, got one with {error!r}") from None

    def has_begun(self) -> bool:
        """Whether there is a training in the folder; where there is none, it is made now and not after compiling.

        Raises: ValueError for a folder that something else wrote, or one that cannot be written.
        """
        if self.plan() is not None:
            return True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ValueError(f"checkpoint must be a folder that can be written, got {self.folder} ({why})") from None
        return False

    def shared_plan(self) -> Plan:
        """The plan that process 0 of a job has seen or written.

        Raises: ValueError where this process does not come to see it.
        """
        for _ in range(VISIBLE_SECONDS):
            plan = self.plan() if (self.folder / PLAN).exists() else None
            if plan is not None:
                return plan
            time.sleep(1)
        raise ValueError(
            f"checkpoint must be a folder that all processes of the job share, got {self.folder}, in which process "
            f"{jax.process_index()} sees no {PLAN} of process 0"
        )

    def require_same(self, plan: Plan, begun: Plan) -> None:
        """Raise a ValueError when the folder holds another training, naming what differs."""
        difference = plan.differs(begun)
        if difference is not None:
            raise ValueError(
                f"checkpoint {self.folder} holds another training, {difference}; choose another folder for this one"
            )

    def begin(self, plan: Plan, given: dict[str, np.ndarray]) -> None:
        """Write the plan of a new training, and the arrays that were given beside the task."""
        for name, array in given.items():
            np.save(self._given(name), array, allow_pickle=False)
        content = {"format": FORMAT, **vars(plan), "cuts": [cut._asdict() for cut in plan.cuts]}
        beside = self.folder / f".{PLAN}"
        beside.write_text(json.dumps(content, indent=1))
        beside.replace(self.folder / PLAN)  # last, and whole or not at all

    def given(self, name: str) -> np.ndarray:
        """One of the arrays that were given when the training began."""
        array: np.ndarray = np.load(self._given(name), allow_pickle=False)
        return array

    def _given(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def has(self, group: int, chunk: int) -> bool:
        """Whether a state of a chunk was kept."""
        return any(entry.name.isdigit() for entry in self._of_chunk(group, chunk).glob("*"))

    def has_ended(self, group: int, chunk: int) -> bool:
        """Whether nothing follows the newest state of a chunk."""
        if not self.has(group, chunk):
            return False
        with contextlib.closing(self.store(group, chunk)) as store:
            return store.done

    def store(self, group: int, chunk: int) -> ChunkStore:
        """The store of one chunk of a group."""
        return ChunkStore(self._of_chunk(group, chunk), self.every)

    def _of_chunk(self, group: int, chunk: int) -> Path:
        return self.folder / f"group-{group}" / f"chunk-{chunk}"


def plan_of(
    task: Task, recipes: Sequence[Recipe], seeds: Sequence[int], kind: str, init: bool, given: dict[str, np.ndarray]
) -> Plan:
    """The plan of a training, before the engine has cut it.

    Raises: ValueError for a recipe that JSON cannot hold.
    """
    return Plan(
        kind=kind,
        task=task.name,
        data={part: digest(_told_apart(task, part)) for part in ("train", "validation") if part in task.data},
        recipes=tuple(recipe.to_json() for recipe in recipes),
        seeds=tuple(int(seed) for seed in seeds),
        given={name: digest(array) for name, array in given.items()},
        init=init,
    )


def _told_apart(task: Task, part: str) -> Any:
    """A set's arrays, or of a stream as much as can be told without reading it."""
    return task.stream.signature if part == "train" and task.stream is not None else task.data[part]


def digest(tree: Any) -> str:
    """A short name of arrays: equal for equal values, types, shapes and structure.

    >>> digest((np.zeros(3), np.ones(2))) == digest((np.zeros(3), np.ones(2)))
    True
    """
    found = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(array.view(np.uint8).data if array.size else b"")
    return found.hexdigest()[:16]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
