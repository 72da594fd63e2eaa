"""Batches as something else makes them, one after another."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from hyperjax.checks import positive_integer
from hyperjax.tasks.streams.streamed import Reading, Streamed, leading_axis
from hyperjax.types import PyTree


class Stream(Streamed):
    """Batches as something else makes them: any iterable, Grain's DataLoader, MapDataset or IterDataset, PyTorch's.

    An iterable in `data["train"]` becomes one by itself where it has a length and is no list or tuple. All runs of a
    population see the same batches; a recipe's `batch_size` must be that of the batches. A MapDataset is shuffled anew
    each epoch, if it is shuffled at all; whatever else ends is begun again. From a checkpoint a run goes on by Grain's
    own state where there is one; elsewhere as many batches are passed over as it has seen, which must be the same ones.

    Args:
        batches: gives batches, pytrees of arrays with a leading axis of examples, of one size.
        steps: batches in an epoch, after which runs are validated; None: `len(batches)`.
        last: examples in an epoch's last batch; None: as many as in the others, but for a MapDataset, which tells.
    Raises: ValueError without batches, or without a number of steps.

    >>> stream = Stream([(np.zeros((4, 2)), np.zeros(4))] * 5)
    >>> stream.size, stream.batch_size, stream.open(4, 0, 0, None).read(3)[0].shape
    (20, 4, (3, 4, 2))
    """

    def __init__(self, batches: Iterable[Any], steps: int | None = None, last: int | None = None):
        if steps is None and not hasattr(batches, "__len__"):
            raise ValueError(
                "steps must say how many batches are an epoch, since the batches have no length: "
                "hj.tasks.Stream(batches, steps=...); got None"
            )
        self.steps = positive_integer("steps", len(batches) if steps is None else steps)  # type: ignore[arg-type]
        if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
            raise ValueError(f"batches must be something that can be iterated, got {type(batches).__name__}")
        repeated = _is_map_dataset(batches) and steps in (None, len(batches))  # type: ignore[arg-type]
        if repeated and last is None:
            last = _size(_as_arrays(batches[self.steps - 1]))  # type: ignore[index]
        self.given: Any = batches.repeat() if repeated else batches  # type: ignore[attr-defined]
        iterator = iter(self.given)
        itself = iterator is self.given
        self._start = iterator.get_state() if itself and hasattr(iterator, "get_state") else None
        self._once = itself and self._start is None
        first = next(iterator, None)
        if first is None:
            raise ValueError("batches must hold at least one batch, got none")
        self._peeked = [first] if self._once else []  # what was taken out to be looked at is given first
        if not itself:
            _close(iterator)
        self.sample = _as_arrays(first)
        self.batch_size = _size(self.sample)
        self.last = self.batch_size if last is None else positive_integer("last", last)
        if self.last > self.batch_size:
            raise ValueError(f"last must be at most the {self.batch_size} examples of a batch, got {self.last}")

    @property
    def size(self) -> int:
        return (self.steps - 1) * int(self.batch_size or 0) + self.last

    @property
    def signature(self) -> PyTree:
        return jax.tree.map(np.zeros_like, self.sample), np.int64(self.steps), np.int64(self.last)

    def open(self, batch_size: int, epoch: int, step: int, position: Any) -> Reading:
        return _Batches(self, step, position)

    def begin(self) -> Iterator[Any]:
        """The batches from the beginning, or for an iterator, which has only one, from there."""
        if self._start is not None:  # an iterator of Grain's, which can go back
            self.given.set_state(self._start)
        if not self._once:
            return iter(self.given)
        if not self._peeked:
            raise ValueError(
                "data['train'] must be something that can be iterated again, to be trained on again; "
                "got an iterator, whose batches are gone"
            )
        peeked, self._peeked = self._peeked, []
        return itertools.chain(peeked, self.given)

    @property
    def ends(self) -> bool:
        """Whether it cannot be begun again."""
        return self._once


class _Batches(Reading):
    def __init__(self, source: Stream, step: int, position: Any):
        self._source, self._step, self._in_pass = source, step, 0
        self._iterator = source.begin()
        if position is None:
            return
        state = position["state"]
        if state is not None:  # Grain's own
            self._in_pass = position["in_pass"]
            self._iterator.set_state(state.encode() if position["bytes"] else state)  # type: ignore[attr-defined]
        else:
            self.skip(position["in_pass"])

    def read(self, steps: int) -> PyTree:
        source = self._source
        like, tree = jax.tree.flatten(source.sample)
        block = [np.zeros((steps, *leaf.shape), leaf.dtype) for leaf in like]
        for i in range(steps):
            last = (self._step + 1) % source.steps == 0
            found = _as_arrays(self._next())
            count = self._checked(found, source.last if last else int(source.batch_size or 0))
            for place, rows in zip(block, jax.tree.leaves(found), strict=True):
                place[i, :count] = rows
            self._step += 1
        return jax.tree.unflatten(tree, block)

    def position(self) -> Any:
        state: Any = self._iterator.get_state() if hasattr(self._iterator, "get_state") else None
        text = isinstance(state, bytes)
        return {"state": state.decode() if text else state, "bytes": text, "in_pass": self._in_pass}

    def skip(self, batches: int) -> None:
        """Pass over batches that were trained on before."""
        for _ in range(batches):
            self._next()

    def close(self) -> None:
        if self._iterator is not self._source.given:  # which is somebody else's
            _close(self._iterator)

    def _checked(self, found: PyTree, expected: int) -> int:
        """The size of a batch that is like the first one, but for its size."""
        sample = self._source.sample
        shown = jax.tree.map(lambda leaf: (str(leaf.dtype), (expected, *leaf.shape[1:])), sample)
        got = jax.tree.map(lambda leaf: (str(leaf.dtype), leaf.shape), found)
        if got != shown:
            raise ValueError(
                f"batches must be {shown} here, got {got} at step {self._step}; where an epoch's last batch is "
                "smaller, say so: hj.tasks.Stream(batches, steps=..., last=...)"
            )
        return expected

    def _next(self) -> Any:
        batch = next(self._iterator, None)
        if batch is None and not self._source.ends and self._in_pass:
            self._iterator, self._in_pass = self._source.begin(), 0
            batch = next(self._iterator, None)
        if batch is None:
            raise ValueError(
                f"data['train'] must hold a batch for every step, got an iterator that ended before step {self._step}; "
                "train for fewer epochs, or give something that can be iterated again"
            )
        self._in_pass += 1
        return batch


def _is_map_dataset(batches: Any) -> bool:
    grain = sys.modules.get("grain")  # whoever has one has imported it
    return grain is not None and isinstance(batches, grain.MapDataset)


def _as_arrays(batch: Any) -> PyTree:
    return jax.tree.map(np.asarray, tuple(batch) if isinstance(batch, list) else batch)


def _size(batch: PyTree) -> int:
    return leading_axis("batches must hold arrays with one leading axis of examples", batch)


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if callable(close):
        close()
