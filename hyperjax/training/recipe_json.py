"""Recipes to JSON and back, exactly."""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from hyperjax.checks import nearest
from hyperjax.schedules import Length, Schedule
from hyperjax.training.recipe import Recipe


def dump(recipe: Recipe, indent: int | None = None) -> str:
    """JSON text of the fields that differ from the defaults."""
    return json.dumps({name: _encode(value, name) for name, value in recipe.changed().items()}, indent=indent)


def load(text: str, allowed_modules: tuple[str, ...] = ()) -> Recipe:
    """The recipe that `dump` wrote."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"text must be a recipe's JSON, got text that is not JSON: {error}") from None
    known = [f.name for f in fields(Recipe)]
    if not isinstance(data, dict):
        raise ValueError(f"text must be a JSON object of recipe fields, got {type(data).__name__}")
    for name in data:
        if name not in known:
            raise ValueError(f"field must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return Recipe(**{name: _decode(value, allowed_modules) for name, value in data.items()})


def _encode(value: Any, name: str) -> Any:
    if isinstance(value, Schedule):
        return {"$schedule": value.to_dict()}
    if isinstance(value, Length):
        return {f"${value.unit}": value.value}
    if isinstance(value, Mapping):
        return {key: _encode(v, f"{name}[{key!r}]") for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(v, name) for v in value]
    if callable(value):
        return {"$factory": import_path(value, name)}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"{name} must be a number, text, schedule or length to be written as JSON, got {value!r}")


def _decode(value: Any, allowed: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_decode(v, allowed) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$schedule"}:
        return Schedule.from_dict(value["$schedule"])
    if set(value) == {"$factory"}:
        return import_factory(value["$factory"], allowed)
    if len(value) == 1 and (unit := next(iter(value))) in ("$epochs", "$fraction"):
        return Length(value[unit], unit[1:])
    return {key: _decode(v, allowed) for key, v in value.items()}


def import_path(factory: Callable[..., Any], name: str = "optimizer") -> str:
    """Public import path `module:name` of a factory: the shortest prefix of its module that exports it.

    >>> import optax
    >>> import_path(optax.contrib.muon)
    'optax.contrib:muon'
    """
    symbol, parts = getattr(factory, "__name__", ""), (getattr(factory, "__module__", "") or "").split(".")
    for count in range(1, len(parts) + 1):
        if any(part.startswith("_") for part in parts[:count]):
            break
        module = ".".join(parts[:count])
        try:
            if getattr(importlib.import_module(module), symbol, None) is factory:
                return f"{module}:{symbol}"
        except ImportError:
            break
    raise ValueError(f"{name} must have a public import path to be written as JSON, got {factory!r}")


def import_factory(path: str, allowed: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The factory at `module:name`, from optax or a module that the caller allows; nothing else is imported."""
    module, _, symbol = str(path).partition(":")
    modules = ("optax", "optax.contrib", "hyperjax.optimizers", *allowed)
    if module not in modules:
        raise ValueError(f"optimizer must come from one of {', '.join(modules)} (see allowed_modules), got {path!r}")
    factory = getattr(importlib.import_module(module), symbol, None)
    if not callable(factory) or symbol.startswith("_"):
        raise ValueError(f"optimizer must be a factory in {module}, got {path!r}")
    return factory  # type: ignore[no-any-return]
