"""A journal file of Optuna's: made whole where it was cut, held by one process or shared, written in bulk."""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

if sys.platform != "win32":
    import fcntl

BEGIN = b'{"op_code"'  # of each line
GRACE_SHARED = 10  # the same where another worker may be waiting for a busy disk
MARK = b"hyperjax\n"  # in a lock of ours
GRACE = 3  # seconds, after which a lock of others that nobody has released is taken for that of a killed process


class Journal(JournalFileBackend):
    """Optuna's own backend, but for one process alone unless it is shared, and written in bulk.

    Optuna's programs may read it meanwhile, and write what they like: notes, studies of their own.

    Args:
        path: of the file; made where there is none. A line that was cut is mended first.
        shared: whether others of our kind may have it too, who share it.
    Raises: ValueError when another process holds it, or it is no journal; OSError when it cannot be written.
    """

    def __init__(self, path: Path, shared: bool = False):
        self.path, self._shared = path.absolute(), shared
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._held = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                self._hold()
                if not shared:
                    _Lock.release_of_the_dead(self.path)
                    mend(self.path)
                if os.path.samestat(os.stat(self.path), os.fstat(self._held)):
                    break  # else it was written anew
            except BaseException:
                self.close()
                raise
            self.close()
        super().__init__(str(self.path), _Lock(self.path, GRACE_SHARED if shared else GRACE))
        self._inside = False

    def _hold(self) -> None:
        """Keep others of our kind away; the system lets go when this process ends, however it does."""
        if sys.platform == "win32":  # nothing there keeps two processes apart
            return
        try:
            fcntl.flock(self._held, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"storage must be a journal that no other process holds, got {str(self.path)!r}, with which another "
                "study is running"
            ) from None

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is appended inside is on the disk at the end."""
        with _locked(self._lock):
            self._cut_off()
            self._inside = True
            try:
                yield
                os.fsync(self._held)
            finally:
                self._inside = False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, whole or not at all."""
        if not self._inside:
            with self.together():
                self.append_logs(logs)
            return
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        before = os.fstat(self._held).st_size
        try:
            written = 0
            while written < len(text):
                written += os.write(self._held, text[written:])
        except OSError as error:
            os.ftruncate(self._held, before)
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def _cut_off(self) -> None:
        """Take away what a worker that was killed has written of a line: no one else is writing now."""
        size = os.fstat(self._held).st_size
        if size and os.pread(self._held, 1, size - 1) != b"\n":
            cut = self.path.read_bytes()[:size]
            os.ftruncate(self._held, cut.rfind(b"\n") + 1)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._held)


class _Lock(JournalFileOpenLock):
    """Optuna's lock, a file that outlives whoever is killed with it; ours says whose it is."""

    def __init__(self, path: Path, grace: int):
        super().__init__(str(path), grace_period=grace)
        self._path = _lock_of(path)

    def acquire(self) -> bool:
        super().acquire()
        with contextlib.suppress(OSError):  # where the disk is full, what is written next says so
            self._path.write_bytes(MARK)
        return True

    @staticmethod
    def release_of_the_dead(path: Path) -> None:
        """Take away the lock that one of our kind has left; called by who holds the journal now."""
        with contextlib.suppress(OSError):
            if _lock_of(path).read_bytes() == MARK:
                _lock_of(path).unlink()


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


@contextlib.contextmanager
def _locked(lock: Any) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # somebody took it for a dead one's
            lock.release()


def mend(path: Path) -> None:
    """Make a journal whole whose writer was killed, or whose disk was full, in the middle of a line; with a warning.

    Optuna would pass over a last line without an end, write the next one behind it, and read neither.

    Raises: ValueError for a file that is no journal.
    """
    lines = path.read_bytes().split(b"\n")
    last = lines.pop()
    good = [_whole(line) for line in lines]
    if not any(good) and (last or lines):
        first = (lines or [last])[0]
        if first[: len(BEGIN)] != BEGIN[: len(first)]:
            raise ValueError(
                f"storage must be a journal of Optuna's, got {str(path)!r}, which begins with {first[:30]!r}"
            )
    if last and _whole(last):
        with path.open("ab") as file:
            file.write(b"\n")
    elif last:
        warnings.warn(f"{path} ended in the middle of a line, which was cut off", stacklevel=2)
        os.truncate(path, path.stat().st_size - len(last))  # needs no room on a disk that is full
    if all(good):
        return
    kept = [line if whole else _tail(line) for line, whole in zip(lines, good, strict=True)]
    warnings.warn(f"{path} had {good.count(False)} broken lines, which were left out", stacklevel=2)
    beside = path.with_name(f".{path.name}.mended")
    with beside.open("wb") as file:
        file.write(b"".join(line + b"\n" for line in kept if line))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _whole(line: bytes) -> bool:
    try:
        return "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


def _tail(line: bytes) -> bytes:
    """What somebody wrote behind a line that was cut."""
    at = line.rfind(BEGIN)
    return line[at:] if at >= 0 and _whole(line[at:]) else b""
