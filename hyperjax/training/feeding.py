"""What segments train on: arrays on the device, or the blocks of a stream, one read while another trains."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax.tasks.arrays import check_finite
from hyperjax.tasks.streams import Reading
from hyperjax.training.trainer import Trainer
from hyperjax.types import PyTree


class Fed(NamedTuple):
    """What one segment trains on."""

    data: PyTree  # "train" and perhaps "validation", on the device
    position: Any  # of the stream, behind it


class Feed:
    """What segments train on, in their order.

    Of a stream, the block for the next segment is read, checked and sent to the device by a thread while somebody
    trains on the last one.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._trainer: Trainer | None = None
        self._reading: Reading | None = None
        self._now: tuple[int, Fed] | None = None  # by the first step
        self._coming: tuple[int, Future[Fed]] | None = None

    def at(self, trainer: Trainer, counter: int, position: Any) -> Fed:
        """What a trainer's segment trains on.

        Args:
            counter: its first step.
            position: of the stream there, as `Fed` told it; None at the first.
        """
        if trainer.program.task.stream is None:
            return Fed(trainer.data, None)
        if trainer is not self._trainer:
            self._stop()
            self._trainer = trainer
        if self._now is not None and self._now[0] == counter:
            return self._now[1]
        if self._coming is None or self._coming[0] != counter:
            self._stop()
            stream, structure = trainer.program.task.stream, trainer.program.structure
            self._reading = stream.open(structure.batch_size, structure.phase.epoch, counter, position)
            self._read(trainer, counter)
        assert self._coming is not None
        _, coming = self._coming
        self._now = self._coming = None  # no more than two blocks are held
        fed = coming.result()
        if counter + trainer.steps < trainer.total:
            self._read(trainer, counter + trainer.steps)
        self._now = counter, fed
        return fed

    def close(self) -> None:
        """Stop reading."""
        self._stop()
        self._pool.shutdown()

    def _read(self, trainer: Trainer, counter: int) -> None:
        assert self._reading is not None
        self._coming = counter, self._pool.submit(_block, trainer, self._reading, counter)

    def _stop(self) -> None:
        if self._coming is not None and not self._coming[1].cancel():
            wait([self._coming[1]])
        if self._reading is not None:
            self._reading.close()
        self._reading = self._now = self._coming = None


def _block(trainer: Trainer, reading: Reading, counter: int) -> Fed:
    """The next block; what a task's arrays are refused for when it is made, a stream is refused for as it is read."""
    program, steps = trainer.program, min(trainer.steps, max(trainer.wanted - counter, 0))
    block = reading.read(steps)
    check_finite(f"steps {counter} to {counter + steps - 1} of data['train']", block)
    if program.task.kind is not None:
        program.check_labels("train", block[1])
    if steps < trainer.steps:  # the rest is for nobody
        unused = trainer.steps - steps
        block = jax.tree.map(lambda a: np.concatenate([a, np.zeros((unused, *a.shape[1:]), a.dtype)]), block)
    return Fed(trainer.data | {"train": trainer.placed(block)}, reading.position())
