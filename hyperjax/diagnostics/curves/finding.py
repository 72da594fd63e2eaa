"""What a diagnosis finds, and what it says to change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hyperjax.schedules import Schedule
from hyperjax.training.recipe import Recipe

NAMES = (
    "diverged",
    "oscillating",
    "stalled",
    "underfitting",
    "too_slow",
    "overfitting",
    "still_improving",
    "healthy",
    "too_short",
)
FAULTS = NAMES[:6]


class Times(NamedTuple):
    """A change by a factor, of a field whose value is not known."""

    times: float


@dataclass(frozen=True)
class Finding:
    """One thing that a curve shows.

    Attributes:
        name: one of `NAMES`.
        confidence: in [0, 1], the share of replicates or the probability that the test of that name states.
        evidence: in words, with numbers.
        advice: in words; empty where nothing is to be done.
        changes: field of a recipe to its new value, or to `Times` a factor.
        at: the step or epoch from which it holds, where there is one.
    """

    name: str
    confidence: float
    evidence: str
    advice: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    at: float | None = None


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with changes made; a factor of what is None or 0 changes nothing.

    Raises: ValueError for a factor of a schedule or of what is no number.

    >>> changed(Recipe(learning_rate=0.3), {"learning_rate": Times(0.1), "dropout": Times(0.5), "epochs": 12})
    Recipe(learning_rate=0.03, epochs=12)
    """
    values: dict[str, Any] = {}
    for name, change in changes.items():
        if not isinstance(change, Times):
            values[name] = change
            continue
        value = getattr(recipe, name)
        if value is None:
            continue
        if isinstance(value, Schedule | str | bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a plain number to be multiplied by {change.times:g}, got {value!r}")
        product = short(value * change.times)
        values[name] = max(1, round(product)) if name == "batch_size" else product
    return recipe.replace(**values)


def short(value: float) -> float:
    """A number to two digits, whole ones whole.

    >>> short(0.0333333), short(24.0), short(100.0)
    (0.033, 24, 100)
    """
    rounded = float(f"{value:.2g}")
    return int(rounded) if 1 <= rounded < 1e6 and rounded == int(rounded) else rounded
