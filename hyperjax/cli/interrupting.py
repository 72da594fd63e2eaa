"""Ctrl-C that is heeded wherever it comes: Python drops an exception that is raised while it collects garbage."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_asked = threading.Event()


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Have a Ctrl-C remembered, so that `heeding` raises one that was dropped."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        _asked.set()
        raise KeyboardInterrupt

    _asked.clear()
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _asked.clear()


def heeding(progress: Callable[..., None]) -> Callable[..., None]:
    """A report of progress that ends the work where a Ctrl-C was dropped before."""

    def report(*given: Any) -> None:
        if _asked.is_set():
            raise KeyboardInterrupt
        progress(*given)

    return report
