"""Which field decides whether another one's value can matter: no momentum beside Adam."""

from collections.abc import Callable, Iterable
from typing import Any

from hyperjax import activations, losses, optimizers, schedules
from hyperjax.studies.parts import MAPPINGS

GOVERNORS = {  # what decides whether a field can matter, or how wide it makes a program
    "momentum": "optimizer",
    "optimizer_arguments": "optimizer",
    "schedule_arguments": "schedule",
    "warmup": "schedule",
    "activation_arguments": "activation",
    "label_smoothing": "loss",
    "loss_arguments": "loss",
}


def governed(name: str) -> str | None:
    """The number that a name stands for, where another field decides whether it is read."""
    head, *inside = name.split(".")
    if head in ("momentum", "label_smoothing"):
        return head
    return inside[0] if inside and head in GOVERNORS and head in MAPPINGS else None


def numbers_read(governor: str, choice: Any) -> list[str] | None:
    """The numbers that an optimizer, a schedule or a loss reads; None where that is not known here."""
    if not isinstance(choice, str) or choice not in CHOICES[governor]():
        return None
    if governor == "optimizer":
        return [*optimizers.numbers(choice), *optimizers.choices(choice)]
    if governor == "activation":
        return list(activations.NUMBERS.get(choice, {}))
    if governor == "schedule":
        return list(schedules.SHAPES[choice].arguments)
    return [row.number.name for table in losses.LOSSES.values() if (row := table.get(choice)) and row.number]


CHOICES: dict[str, Callable[[], Iterable[str]]] = {
    "optimizer": optimizers.names,
    "activation": lambda: activations.TABLE,
    "schedule": lambda: schedules.SHAPES,
    "loss": lambda: dict.fromkeys(name for table in losses.LOSSES.values() for name in table),
}
