"""A space as Optuna's distributions, and back, exactly."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hyperjax.schedules import Length, Schedule
from hyperjax.studies.ranges import Range
from hyperjax.studies.space import Space
from hyperjax.training.recipe_json import import_factory, import_path

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Label = None | bool | int | float | str  # what Optuna's categorical takes and every storage keeps


def to_optuna(space: Space) -> "dict[str, BaseDistribution]":
    """Optuna's distribution of every range and list of a space; fixed values have none.

    A choice that Optuna takes stays what it is. Any other (a length, a schedule, a list, a factory) becomes a text of
    JSON that means the same in every process; a function without a public import path, its place in the list.

    >>> from hyperjax.studies import log_uniform, space
    >>> from hyperjax.schedules import fraction
    >>> made = to_optuna(space(learning_rate=log_uniform(1e-4, 1.0), warmup=[0, fraction(0.1)], epochs=20))
    >>> made["learning_rate"]
    FloatDistribution(high=1.0, log=True, low=0.0001, step=None)
    >>> made["warmup"].choices, "epochs" in made
    ((0, '{"$fraction": 0.1}'), False)
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    for name, entry in space.entries.items():
        if isinstance(entry, list):
            made[name] = CategoricalDistribution(labels(entry))
        elif isinstance(entry, Range) and entry.integer:
            made[name] = IntDistribution(int(entry.low), int(entry.high), log=entry.log)
        elif isinstance(entry, Range):
            made[name] = FloatDistribution(entry.low, entry.high, log=entry.log)
    return made


def from_optuna(
    distributions: "Mapping[str, BaseDistribution]",
    fixed: Mapping[str, Any] | None = None,
    allowed_modules: tuple[str, ...] = (),
) -> Space:
    """The space of some distributions; what `to_optuna` gave comes back equal.

    Args:
        distributions: by name, as of `to_optuna` or of a trial of Optuna's own.
        fixed: values for the names that do not vary.
        allowed_modules: as in `Recipe.from_json`.
    Raises: ValueError for steps other than whole numbers have, and for a function that only its own space knows.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    entries: dict[str, Any] = {}
    for name, given in distributions.items():
        if isinstance(given, CategoricalDistribution):
            entries[name] = [_choice(name, label, allowed_modules) for label in given.choices]
        elif isinstance(given, FloatDistribution) and given.step is None:
            entries[name] = Range(given.low, given.high, given.log)
        elif isinstance(given, IntDistribution) and given.step == 1:
            entries[name] = Range(given.low, given.high, given.log, True)
        else:
            raise ValueError(f"{name} must be a range without steps of its own or a list of choices, got {given}")
    return Space({**(fixed or {}), **entries})


def to_params(space: Space, values: Mapping[str, Any]) -> dict[str, Label]:
    """What Optuna calls the values of a sample: numbers of ranges, labels of choices; nothing for fixed values.

    Raises: ValueError for a value that is none of its choices.
    """
    found: dict[str, Label] = {}
    for name, value in values.items():
        entry = space.entries[name]
        if isinstance(entry, list):
            place = next((i for i, choice in enumerate(entry) if _alike(choice, value)), None)
            if place is None:
                raise ValueError(f"{name} must be one of its choices {entry}, got {value!r}")
            found[name] = labels(entry)[place]
        elif isinstance(entry, Range):
            found[name] = value
    return found


def from_params(space: Space, params: Mapping[str, Label]) -> dict[str, Any]:
    """The values of a sample, fixed ones among them, from what Optuna calls them.

    Raises: ValueError for a label that is none of its choices.
    """
    values: dict[str, Any] = {}
    for name, entry in space.entries.items():
        if isinstance(entry, list) and name in params:
            place = next((i for i, label in enumerate(labels(entry)) if _alike(label, params[name])), None)
            if place is None:
                raise ValueError(f"{name} must be one of its choices {labels(entry)}, got {params[name]!r}")
            values[name] = entry[place]
        elif isinstance(entry, Range) and name in params:
            values[name] = params[name]
        elif not isinstance(entry, list | Range):
            values[name] = entry
    return values


def labels(choices: Sequence[Any]) -> list[Label]:
    """What stands for each choice of a list: itself where that is enough, else a text of JSON.

    Optuna finds a choice by ==, so that of 1, 1.0 and True the first would stand for all: the others are written out.

    >>> labels(["adam", 1, True, (64, 64)])
    ['adam', 1, '{"$value": true}', '{"$tuple": [64, 64]}']
    """
    found: list[Label] = []
    for place, choice in enumerate(choices):
        plain = choice.item() if hasattr(choice, "item") and not callable(choice) else choice
        if plain is None or isinstance(plain, bool | int | float | str):
            clash = any(plain == other and not _alike(plain, other) for other in found)
            escaped = clash or (isinstance(plain, str) and plain.startswith("{"))
            found.append(json.dumps({"$value": plain}) if escaped else plain)
            continue
        try:
            found.append(json.dumps({"$list": _written(plain)} if isinstance(plain, list) else _written(plain)))
        except (TypeError, ValueError):  # a function of the user's own, an array
            found.append(json.dumps({"$choice": place}))
    return found


def _alike(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _written(value: Any) -> Any:
    if isinstance(value, Schedule):
        return {"$schedule": value.to_dict()}
    if isinstance(value, Length):
        return {f"${value.unit}": value.value}
    if isinstance(value, Mapping):
        return {"$mapping": {str(key): _written(item) for key, item in value.items()}}
    if isinstance(value, tuple):
        return {"$tuple": [_written(item) for item in value]}
    if isinstance(value, list):
        return [_written(item) for item in value]
    return {"$factory": import_path(value)} if callable(value) else value


def _choice(name: str, label: Any, allowed: tuple[str, ...]) -> Any:
    """The choice that a label stands for."""
    if not (isinstance(label, str) and label.startswith("{")):
        return label
    try:
        return _read(json.loads(label), allowed)
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{name} must be of choices that another space can know, got {label!r}") from None


def _read(written: Any, allowed: tuple[str, ...]) -> Any:
    if isinstance(written, list):
        return [_read(item, allowed) for item in written]
    if not isinstance(written, dict):
        return written
    (kind, inner), *_ = written.items()
    if kind in ("$epochs", "$fraction"):
        return Length(inner, "epochs" if kind == "$epochs" else "fraction")
    if kind == "$schedule":
        return Schedule.from_dict(inner)
    if kind == "$factory":
        return import_factory(inner, allowed)
    if kind == "$mapping":
        return {key: _read(item, allowed) for key, item in inner.items()}
    if kind == "$tuple":
        return tuple(_read(item, allowed) for item in inner)
    return {"$list": _read, "$value": _read}[kind](inner, allowed)
