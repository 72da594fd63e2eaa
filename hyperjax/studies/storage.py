"""Where a study is kept: a journal file, or a database by its URL; and the folder beside it for arrays."""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from hyperjax.studies.journal import Journal

JOURNAL = "study.journal"
TRIES = 5  # to open a database whose tables others make meanwhile
WAIT = 0.5  # seconds between two of them
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(storage: str | os.PathLike[str]) -> bool:
    """Whether a storage is given by URL, and not by a path.

    >>> is_url("sqlite:///study.db"), is_url("out"), is_url("C:/out")
    (True, False, False)
    """
    return isinstance(storage, str) and bool(_URL.match(storage))


def journal_of(storage: str | os.PathLike[str]) -> Path:
    """The journal file that a path means: itself, or the one in that folder.

    >>> journal_of("out").as_posix(), journal_of("out/night.journal").as_posix()
    ('out/study.journal', 'out/night.journal')
    """
    path = Path(storage)
    return path / JOURNAL if path.is_dir() or not path.suffix else path


def folder_of(storage: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> Path | None:
    """Where a study's arrays lie: in the folder given, else beside the journal or SQLite's file; None: nowhere."""
    if folder is not None:
        return Path(folder) / "study.arrays"
    if not is_url(storage):
        return journal_of(storage).with_suffix(".arrays")
    file = sqlite_file(str(storage))
    return file.with_suffix(".arrays") if file is not None and str(file) != ":memory:" else None


def sqlite_file(url: str) -> Path | None:
    """The file of a database of SQLite's, by its URL; None of any other.

    >>> sqlite_file("sqlite:///out/study.db?timeout=9").as_posix(), sqlite_file("postgresql://host/studies")
    ('out/study.db', None)
    """
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(found[1]) if found else None


def shown(storage: str | os.PathLike[str]) -> str:
    """A storage for messages, without a password.

    >>> shown("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", str(storage))


def opened(storage: str | os.PathLike[str], shared: bool = False) -> tuple[BaseStorage, Journal | None]:
    """Optuna's storage, and the journal where it is one.

    Args:
        storage: as in `study`.
        shared: whether other workers may have the journal too.

    Raises: ValueError where there is no such database, it is another program's, or another process holds the journal.
    """
    if not isinstance(storage, str | os.PathLike) or not str(storage):
        raise ValueError(
            f"storage must be a path of a journal, a folder for one, or a URL of a database, got {storage!r}"
        )
    if not is_url(storage):
        try:
            journal = Journal(journal_of(storage), shared)
        except OSError as error:
            raise ValueError(
                f"storage must be a journal that can be written, got {str(storage)!r}: {error.strerror}"
            ) from None
        try:
            return optuna.storages.JournalStorage(journal), journal
        except BaseException:
            journal.close()
            raise
    return database(str(storage), engine_kwargs=_patient(str(storage))), None


def database(url: str, **options: Any) -> RDBStorage:
    """Optuna's storage in a database; `options` are those of `RDBStorage`.

    Raises: ValueError where its driver is not installed or it cannot be opened.
    """
    for left in reversed(range(TRIES)):
        try:
            return RDBStorage(url, **options)
        except ImportError as error:
            raise ValueError(
                f"storage must be a database whose driver is installed, got {shown(url)!r}: {error.__cause__ or error}"
            ) from None
        except Exception as error:  # of SQLAlchemy's many, and of each driver's
            if not left or not _is_being_founded(error):
                raise ValueError(
                    f"storage must be a database that can be opened, got {shown(url)!r}: {cause(error)}"
                ) from None
            time.sleep(WAIT)
    raise AssertionError("the last try returns or raises")


def _is_being_founded(error: Exception) -> bool:
    """Whether another worker, begun at the same time, is making the tables of a new database."""
    from sqlalchemy.exc import IntegrityError

    return isinstance(error, IntegrityError) or "already exists" in str(error)


def let_go(storage: BaseStorage) -> None:
    """Close the connections of a database; of any other storage nothing is held."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def forget(storage: str | os.PathLike[str], name: str, folder: str | os.PathLike[str] | None = None) -> None:
    """Delete a study and its arrays, if there is one.

    Args:
        storage, name, folder: as in `study`.
    Raises: ValueError as `opened` does.
    """
    own = folder_of(storage, folder)
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)
    if not is_url(storage):
        journal = journal_of(storage)
        if not journal.exists():
            return
    found, held = opened(storage)
    try:
        names = {study.study_name: study._study_id for study in found.get_all_studies()}
        if name in names:
            found.delete_study(names[name])
    finally:
        if held is not None:
            held.close()
        let_go(found)


def _patient(url: str) -> dict[str, Any]:
    """SQLite's own wait for a lock is 5 seconds; a dashboard that reads many trials may hold it for longer."""
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}


def cause(error: Exception) -> str:
    """The first line of what an exception says, or of what a database said that caused it."""
    source = error.__cause__ or error
    return (str(getattr(source, "orig", None) or source).strip() or type(error).__name__).splitlines()[0]
