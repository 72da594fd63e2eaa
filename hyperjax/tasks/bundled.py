"""The tasks that ship with the package, by name, and a user's own, by where they are written."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from hyperjax.checks import one_of, require
from hyperjax.tasks.adding import adding
from hyperjax.tasks.autoencoding import autoencoding
from hyperjax.tasks.breast_cancer import breast_cancer
from hyperjax.tasks.copying import copying
from hyperjax.tasks.diabetes import diabetes
from hyperjax.tasks.digits import digits
from hyperjax.tasks.digits_cnn import digits_cnn
from hyperjax.tasks.digits_gan import digits_gan
from hyperjax.tasks.distillation import distillation
from hyperjax.tasks.embedding import embedding
from hyperjax.tasks.mnist1d import mnist1d
from hyperjax.tasks.ranking import ranking
from hyperjax.tasks.ring import ring
from hyperjax.tasks.segmentation import segmentation
from hyperjax.tasks.task import Task
from hyperjax.tasks.text import text
from hyperjax.tasks.wine import wine
from hyperjax.tasks.words import words

_BUNDLED: dict[str, Callable[[], Task]] = {
    "digits": digits,
    "digits_cnn": digits_cnn,
    "mnist1d": mnist1d,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
    "words": words,
    "text": text,
    "copying": copying,
    "adding": adding,
    "segmentation": segmentation,
    "embedding": embedding,
    "ranking": ranking,
    "distillation": distillation,
    "autoencoding": autoencoding,
    "ring": ring,
    "digits_gan": digits_gan,
}


def bundled() -> dict[str, str]:
    """Name and one-line description of each bundled task.

    >>> bundled()["digits"]
    'Handwritten digits, 8x8 pixels, ten classes (scikit-learn), by an MLP.'
    """
    return {name: (make.__doc__ or "").splitlines()[0] for name, make in _BUNDLED.items()}


def find(name: str) -> Task:
    """The bundled task of that name with its defaults, or the one that a module of the user's holds.

    Args:
        name: one of `bundled()`; or "package.module:task", where `task` is a `Task`, or a function without arguments
            that makes one. Modules in the current folder are found, as `python -m` finds them.
    Raises: ValueError for an unknown name, with the nearest known one; for a package that is missing, a module that
        cannot be imported, a name that it lacks, or something there that is no task.

    >>> find("hyperjax.tasks.wine:wine").name
    'wine'
    """
    if isinstance(name, str) and ":" in name:
        return _imported(name)
    make = _BUNDLED[one_of("task", name, _BUNDLED)]
    try:
        return make()
    except ImportError as error:
        raise ValueError(str(error)) from error


def _imported(place: str) -> Task:
    module, _, attribute = place.partition(":")
    require(module and attribute, f"task must be written as package.module:task, got {place!r}")
    with _current_folder_first():
        try:
            found: Any = import_module(module)
        except ImportError as error:
            raise ValueError(f"task must be in a module that can be imported, got {place!r}: {error}") from error
        for part in attribute.split("."):
            require(hasattr(found, part), f"task must be a name in {module}, got {place!r}, and there is no {part!r}")
            found = getattr(found, part)
        made = found if isinstance(found, Task) or not callable(found) else found()
    if not isinstance(made, Task):
        given = type(made).__name__
        raise ValueError(f"task must be a Task or make one without arguments, got {place!r}, which gives a {given}")
    return made


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Modules in the current folder can be imported meanwhile."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
