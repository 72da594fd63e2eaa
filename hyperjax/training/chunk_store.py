"""Where a chunk of members is kept between its segments: one folder, written by Orbax, atomic and in the background."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.training.program import Carry, Record
from hyperjax.types import PyTree

_ONE_AT_A_TIME = threading.Lock()  # chunks end in threads of their own, which Orbax does not tell apart
KEPT = 2  # checkpoints of a chunk; the older one is for a disk that lost the newer


class Saved(NamedTuple):
    """A chunk between two segments."""

    phase: int  # number of the batch size in force, 0 for a run with one
    counter: int  # first step of the segment that follows, as members count together
    done: bool  # nothing follows
    carry: Carry  # each [members, ...]
    records: Record  # each [members, steps so far, ...]
    position: Any = None  # of the stream behind the last segment, where there is one


class ChunkStore:
    """The checkpoints of one chunk, newest last.

    Args:
        folder: of this chunk alone; made when something is saved.
        every: segments between two checkpoints, at least 1; the end is always one.
    """

    def __init__(self, folder: Path, every: int = 1):
        import orbax.checkpoint as ocp  # 1.6 seconds, for those who keep something

        from hyperjax.training.array_file import ArrayFile, Restore, Save

        self.folder, self._every, self._since = folder, every, 0
        # Orbax numbers the saves of a process, and a folder made in the background is waited for by the newest number.
        at_once = ocp.options.AsyncOptions(create_directories_asynchronously=False)
        own = jax.process_index()  # of a job; a chunk is this process's alone, and nobody waits for the others
        alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, create=False, async_options=at_once, multiprocessing_options=alone
        )
        handlers = {
            "about": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
            "arrays": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
            "file": ArrayFile(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._orbax, self._save, self._restore = ocp, Save, Restore
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)

    def save(self, saved: Saved) -> None:
        """Keep a chunk's state, unless it is too soon; returns before the disk has it."""
        self._since += 1
        if self._since < self._every and not saved.done:
            return
        self._since = 0
        names, leaves = _named(saved.carry)
        arrays = {str(i): leaf for i, leaf in enumerate(leaves)}
        arrays |= {name: leaf for name, leaf in saved.records._asdict().items() if leaf is not None}
        about = {
            "phase": saved.phase,
            "counter": saved.counter,
            "done": saved.done,
            "position": saved.position,
            "carry": [[name, *_kind(leaf)] for name, leaf in zip(names, leaves, strict=True)],
            "arrays": {name: _kind(array) for name, array in arrays.items()},
        }
        args = self._orbax.args
        filled = {name: array for name, array in arrays.items() if array.size}  # Orbax refuses arrays without numbers
        # Counted anew, since the counter begins again when the batch size changes.
        number = (self._manager.latest_step() or 0) + 1
        several = jax.process_count() > 1
        kept = {"file": self._save(filled)} if several else {"arrays": args.StandardSave(filled)}
        items = args.Composite(about=args.JsonSave(about), **kept)
        with _ONE_AT_A_TIME:
            self._manager.save(number, args=items, force=True)

    def load(self, expected: Carry) -> Saved | None:
        """The newest checkpoint, or None where there is none.

        Args:
            expected: carry of a chunk of the same width, or its shapes.
        Raises: ValueError where the carry that was kept has another structure, naming the first difference, or cannot
            be read.
        """
        number = self._manager.latest_step()
        if number is None:
            return None
        args, about = self._orbax.args, self._about(number)
        names, leaves = _named(expected)
        _compare(
            self.folder,
            {name: (shape, dtype) for name, shape, dtype in about["carry"]},
            {name: tuple(_kind(leaf)) for name, leaf in zip(names, leaves, strict=True)},
        )
        empty = {name: np.empty(shape, np.dtype(dtype)) for name, (shape, dtype) in about["arrays"].items()}
        target = {name: array for name, array in empty.items() if array.size}
        if (self.folder / str(number) / "file").exists():
            found = self._restored(number, "file", self._restore())
            found = {name: array.view(target[name].dtype) for name, array in found.items()}
        else:
            found = self._restored(number, "arrays", args.StandardRestore(target))
        arrays = empty | found
        carry = jax.tree.unflatten(jax.tree.structure(expected), [arrays[str(i)] for i in range(len(leaves))])
        records = Record(**{name: arrays.get(name) for name in Record._fields})
        return Saved(about["phase"], about["counter"], about["done"], carry, records, about.get("position"))

    @property
    def done(self) -> bool:
        """Whether nothing follows the newest checkpoint."""
        number = self._manager.latest_step()
        return number is not None and bool(self._about(number)["done"])

    def _about(self, number: int) -> dict[str, Any]:
        about: dict[str, Any] = self._restored(number, "about", self._orbax.args.JsonRestore())
        return about

    def _restored(self, number: int, item: str, how: Any) -> Any:
        try:
            return self._manager.restore(number, args=self._orbax.args.Composite(**{item: how}))[item]
        except Exception as error:  # of as many kinds as there are ways to be damaged
            raise ValueError(
                f"checkpoint must hold states that are whole, got one in {self.folder / str(number)} that cannot be "
                f"read ({error!r}); without that folder training goes on from the state before"
            ) from error

    def close(self) -> None:
        """Wait until the disk has everything."""
        self._manager.close()


def _named(tree: PyTree) -> tuple[list[str], list[Any]]:
    leaves = jax.tree.leaves_with_path(tree)
    return [jax.tree_util.keystr(path).removeprefix(".") for path, _ in leaves], [leaf for _, leaf in leaves]


def _kind(leaf: Any) -> list[Any]:
    """Shape and dtype, as JSON writes them."""
    return [list(leaf.shape), str(leaf.dtype)]


def _compare(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    there = {name: (tuple(shape), dtype) for name, (shape, dtype) in there.items()}
    here = {name: (tuple(shape), dtype) for name, (shape, dtype) in here.items()}
    differing = [name for name in dict.fromkeys([*there, *here]) if there.get(name) != here.get(name)]
    if differing:
        name = differing[0]
        more = f" ({len(differing) - 1} more differ)" if len(differing) > 1 else ""
        raise ValueError(
            f"checkpoint in {folder} must hold what this task and its recipes train, but {name} is "
            f"{_shown(there.get(name))} there and {_shown(here.get(name))} here{more}"
        )


def _shown(kind: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if kind is None else f"{kind[1]}{list(kind[0])}"
