"""A progress bar for trials: how many, how fast, how long yet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def trial_progress(
    console: "Console", programs: str = "", doing: str = "training", noun: str = "trials"
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs; yields the callback `progress(done, total)` that moves it.

    Before the first call, `programs` are compiling, and the bar says so; then what it is `doing`, and how many of the
    `noun` a second. The first call says what was done before. The bar vanishes when the block raises.
    """
    import time

    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console)
    shown = bar.add_task(f"compiling {escape(programs)}".rstrip(), total=None, speed="")
    begin: list[tuple[float, int]] = []

    def progress(done: int, total: int) -> None:
        of_all = f" of {total}" if total else ""
        if not begin:
            begin.append((time.perf_counter(), done))
            if done:
                console.print(f"Going on: {done}{of_all} {noun} were there.", highlight=False)
        seconds = time.perf_counter() - begin[0][0]
        remaining = max(total - done, 0)
        if done > begin[0][1] and seconds:
            rate = (done - begin[0][1]) / seconds
            speed = f"{rate:.1f} {noun}/s" + (f", {remaining / rate:.0f} s left" if remaining else "")
        else:
            speed = ""
        bar.update(shown, description=doing, completed=done, total=total or None, speed=speed)

    bar.start()
    try:
        yield progress
    except BaseException:
        bar.live.transient = True  # what went wrong is said in one line, with no bar above it
        bar.live.stop()
        raise
    bar.stop()
