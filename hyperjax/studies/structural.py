"""What of a sample's values is structure, so that recipes which differ in it cannot share a program."""

from collections.abc import Mapping
from typing import Any


def apart(name: str, value: Any) -> Any:
    """What of a value is structure; equal for values that can share a program."""
    head = name.partition(".")[0]
    if head in ("batch_size", "micro_batches", "micro_batch_size", "precision", "rematerialize", "model"):
        return value
    if head == "optimizer":
        return value if callable(value) else None
    if head == "optimizer_arguments" and isinstance(value, bool | int | str) and name.count(".") == 1:
        return value  # of a factory; of a named rule it only makes a point more; of a schedule's own numbers none
    if name in ("hyperparameters", "optimizer_arguments"):
        return sorted(value) if isinstance(value, Mapping) else None
    return value is None if name in ("activation", "dropout") else None


def structural(values: Mapping[str, Any]) -> dict[str, str]:
    """What of a sample sets its program apart, for a reader.

    >>> structural({"optimizer": "adam", "batch_size": 32, "dropout": 0.1})
    {'batch_size': '32'}
    """
    found = {name: apart(name, value) for name, value in values.items()}
    return {name: worded(value) for name, value in found.items() if value is not None and value is values[name]}


def worded(entry: Any) -> str:
    """What a name may be, or a value, as text."""
    if isinstance(entry, list):
        return ", ".join(map(worded, entry))
    return str(getattr(entry, "__name__", entry)) if callable(entry) else str(entry)
