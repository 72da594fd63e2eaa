"""Words that are said even when JAX, or the kernel, ends this process without asking Python."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_WAITS = 'read -r word || printf "%s\\n" "$1" >&2'


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Have a text written to the standard error if this process ends inside the block.

    When process 0 of a job dies, JAX aborts the others from a thread of C++, where no Python runs any more. So a shell
    listens at a pipe, and speaks when the pipe is closed without a word. Where there is no shell, nothing is said.

    >>> with last_words("killed"):
    ...     pass
    """
    command = ["sh", "-c", _WAITS, "sh", text]
    try:  # in a session of its own, since Ctrl-C ends a whole group
        listener = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        listener.communicate(b"goodbye\n")
