"""The tasks that ship with the package, by name."""

from collections.abc import Callable

from hyperjax.checks import one_of
from hyperjax.tasks.diabetes import diabetes
from hyperjax.tasks.digits import digits
from hyperjax.tasks.task import Task

_BUNDLED: dict[str, Callable[[], Task]] = {"digits": digits, "diabetes": diabetes}


def bundled() -> dict[str, str]:
    """Name and one-line description of each bundled task.

    >>> bundled()["digits"]
    'Handwritten digits, 8x8 pixels, ten classes (scikit-learn), by an MLP.'
    """
    return {name: (make.__doc__ or "").splitlines()[0] for name, make in _BUNDLED.items()}


def find(name: str) -> Task:
    """The bundled task of that name, with its defaults.

    Raises: ValueError for an unknown name, with the nearest known one.
    """
    return _BUNDLED[one_of("task", name, _BUNDLED)]()
