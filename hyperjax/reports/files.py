"""Writing a file whole or not at all."""

import os
from pathlib import Path


def write_whole(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 under a temporary name beside `path`, then rename; missing folders are made.

    Returns: the path written.
    Raises: ValueError when `path` is a folder; OSError when it cannot be written, with nothing left behind.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"path must be the name of a file, got the folder {str(target)!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target
