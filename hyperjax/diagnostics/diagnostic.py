"""What every diagnostic leaves behind: an answer in words, a table, and plain data."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np


class Table(NamedTuple):
    """Rows of values under headings, for whoever prints or draws them."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Diagnostic(ABC):
    """A result of `hyperjax.diagnostics`: a frozen dataclass whose fields are the data.

    Attributes:
        title: what was measured, as a page's heading.
    """

    title: ClassVar[str]

    @property
    @abstractmethod
    def answer(self) -> str:
        """What somebody who reads nothing else should know, in one to three sentences."""

    @property
    @abstractmethod
    def table(self) -> Table:
        """The numbers behind the answer."""

    def to_json(self) -> dict[str, Any]:
        """The public fields as values that JSON has: arrays as lists, numbers that are not finite as None."""
        return {"answer": self.answer, **as_json(self)}


def as_json(value: Any) -> Any:
    """A value as JSON has it: dataclasses and named tuples by their public fields, other objects as their text.

    >>> as_json({"a": np.array([1.0, np.nan]), "b": (1, True, None)})
    {'a': [1.0, None], 'b': [1, True, None]}
    """
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        value = np.asarray(value).tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        public = [f.name for f in fields(value) if not f.name.startswith("_")]
        return {name: as_json(getattr(value, name)) for name in public}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): as_json(each) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [as_json(each) for each in value]
    return repr(value)
