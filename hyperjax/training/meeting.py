"""One piece of work that all processes of a job do together: what they tell each other, and what ends it for all."""

import itertools
import json
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hyperjax.training.hosts import store
from hyperjax.training.last_words import last_words
from hyperjax.training.pulse import pulse

_PIECE = 1 << 24  # bytes of each process that are on a device at a time
_PATIENCE = 500  # milliseconds between two looks at who is alive
_numbers = itertools.count()


class ProcessLostError(RuntimeError):
    """Another process of the job has died, left or failed; the message says which, and how to go on."""


class Meeting:
    """The processes of a job at one piece of work; of a process that is alone, nothing at all.

    All must open the same meetings in the same order. An exception inside ends it for the others too.

    Args:
        checkpoint: the folder from which the job can go on, for messages.
    """

    def __init__(self, checkpoint: str | os.PathLike[str] | None = None):
        self.index, self.count = jax.process_index(), jax.process_count()
        self._checkpoint = checkpoint
        self._added, self._questions = 0, itertools.count()
        self._open = ExitStack()

    def __enter__(self) -> "Meeting":
        if self.count > 1:
            self._number = next(_numbers)
            self._prefix = f"hyperjax/meeting-{self._number}"
            pulse()
            text = f"process {self.index} of {self.count} was ended, by its own death or by that of process 0"
            self._open.enter_context(last_words(self._advised(text)))
            if self.index == 0:  # all have left a meeting before the two last, of which one may hold the other
                store().key_value_delete(f"hyperjax/meeting-{self._number - 3}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._open.close()
        if self.count > 1 and error is not None and not isinstance(error, ProcessLostError):
            with suppress(jax.errors.JaxRuntimeError):  # where the store is gone, JAX ends the others
                pulse().stop(self._number, f"{type(error).__name__}: {error}")

    def check(self) -> None:
        """Raise a ProcessLostError when somebody else cannot go on."""
        trouble = pulse().trouble(self._number) if self.count > 1 else None
        if trouble is not None:
            raise ProcessLostError(self._advised(trouble))

    def exchanged(self, text: str, waiting: Callable[[], None] | None = None) -> list[str]:
        """Everybody's text, in the order of the processes; `waiting` is called now and then until all are there."""
        if self.count == 1:
            return [text]
        question = next(self._questions)
        store().key_value_set(f"{self._prefix}/{question}-{self.index}", text)
        return [self._read(f"{self._prefix}/{question}-{index}", waiting) for index in range(self.count)]

    def first(self, make: Callable[[], bool]) -> bool:
        """What process 0 finds, for all; the others wait for it."""
        found = make() if self.index == 0 else None
        return bool(json.loads(self.exchanged(json.dumps(found))[0]))

    def require_same(self, name: str, text: str) -> None:
        """Raise a ValueError, in every process, when the processes do not say the same of something."""
        for index, other in enumerate(self.exchanged(text)):
            if other != text:
                raise ValueError(
                    f"{name} must be the same in every process of a job, got {text} here in process {self.index}, and "
                    f"{other} in process {index}"
                )

    def _read(self, key: str, waiting: Callable[[], None] | None) -> str:
        while True:
            try:
                text: str = store().blocking_key_value_get(key, _PATIENCE)
                return text
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
            self.check()
            if waiting is not None:
                waiting()

    def add(self, count: int) -> int:
        """Add to what all have done; the sum."""
        if self.count == 1:
            self._added += count
            return self._added
        return int(store().key_value_increment(f"{self._prefix}/done", count))

    def gathered(self, data: bytes, waiting: Callable[[], None] | None = None) -> list[bytes]:
        """Everybody's bytes, in the order of the processes, over the devices' own network."""
        sizes = [int(size) for size in self.exchanged(str(len(data)), waiting)]
        if self.count == 1:
            return [data]
        piece = min(_PIECE, 1 << max(max(sizes) - 1, 0).bit_length())  # powers of two: few programs
        firsts = {device.process_index: device for device in reversed(jax.devices())}
        mesh = Mesh(np.array([firsts[index] for index in range(self.count)]), ("processes",))
        apart, together = (NamedSharding(mesh, spec) for spec in (PartitionSpec("processes"), PartitionSpec()))
        everywhere = jax.jit(lambda x: x, out_shardings=together)
        found = [bytearray() for _ in sizes]
        for start in range(0, max(sizes), piece):
            own = np.zeros((1, piece), np.uint8)
            part = np.frombuffer(data[start : start + piece], np.uint8)
            own[0, : len(part)] = part
            shared = everywhere(jax.make_array_from_process_local_data(apart, own, (self.count, piece)))
            for row, whole in zip(np.asarray(shared.addressable_data(0)), found, strict=True):
                whole += row.tobytes()
        return [bytes(whole[:size]) for whole, size in zip(found, sizes, strict=True)]

    def _advised(self, text: str) -> str:
        if self._checkpoint is None:
            return f"{text}; this training had no checkpoint= folder from which it could go on"
        return (
            f"{text}; what was kept is in {self._checkpoint}: start the job again, with as many processes as you like, "
            "and the same call goes on from there"
        )


class Count:
    """How much of something all processes have done, told to process 0's caller as it grows.

    Args:
        total: when all is done.
        progress: called as `progress(done, total)`.
    """

    def __init__(self, meeting: Meeting, total: int, progress: Callable[[int, int], None] | None):
        self._meeting, self._total, self._told = meeting, total, 0
        self._progress = progress

    def __call__(self, more: int = 0) -> None:
        """Add what this process has done since."""
        done = self._meeting.add(more)
        if self._progress is not None and self._meeting.index == 0 and done > self._told:
            self._told = done
            self._progress(done, self._total)
