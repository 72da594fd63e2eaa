"""Values by their parts: a schedule or a length in a space, whose own numbers are names of the space like any other."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin

from hyperjax import schedules
from hyperjax.checks import nearest, one_of
from hyperjax.schedules import Length, Schedule
from hyperjax.training.recipe import Recipe

CONSTRUCTORS: dict[str, Callable[..., Schedule]] = {
    name: made
    for name, made in vars(schedules).items()
    if getattr(made, "__module__", "").endswith((".constructors", ".composed"))
} | {"join": schedules.join, "warmup": schedules.warmup}
MAPPINGS = (  # fields whose values have names of their own, by which a space reaches inside
    "model",
    "hyperparameters",
    "optimizer_arguments",
    "schedule_arguments",
    "loss_arguments",
    "activation_arguments",
    "plateau",
    "early_stopping",
    "lookahead",
    "rate_multipliers",
)
_UNITS = {"epochs": schedules.epochs, "fraction": schedules.fraction}
_TAKES = {f.name: get_args(f.type) for f in fields(Recipe)}


def taken_apart(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a space with each schedule and length that is given by its parts as one entry a part.

    >>> from hyperjax.studies.ranges import log_uniform
    >>> parts = {"schedule": schedules.cosine_decay, "init_value": log_uniform(1e-3, 1.0), "decay_steps": 100}
    >>> for name, entry in taken_apart({"learning_rate": parts, "epochs": 2}).items():
    ...     print(name, "=", entry)
    learning_rate.schedule = cosine_decay
    learning_rate.init_value = numbers from 0.001 to 1, log scale
    learning_rate.decay_steps = 100
    epochs = 2
    """
    flat: dict[str, Any] = {}
    for name, entry in entries.items():
        kind = _kind(entry) if isinstance(entry, Mapping) else ""
        inside = bool(kind) and _owner(f"{name}.{kind}", {f"{name}.{kind}"}) == name
        for key, part in _flat(name, entry, None) if inside else [(name, entry)]:
            if key in flat:
                raise ValueError(f"{key} must be given once, got it twice")
            flat[key] = part
    return flat


def owners(names: Iterable[str]) -> dict[str, str]:
    """For each name that is a part of a schedule or length: what it is a part of.

    >>> owners(["learning_rate.schedule", "learning_rate.alpha", "warmup.epochs", "model.width", "dropout"])
    {'learning_rate.schedule': 'learning_rate', 'learning_rate.alpha': 'learning_rate', 'warmup.epochs': 'warmup'}
    """
    given = set(names)
    found = {name: _owner(name, given) for name in names}
    return {name: owner for name, owner in found.items() if owner}


def put_together(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a sample with each schedule and length in place of its parts.

    Raises: ValueError that names the part which its constructor does not allow.

    >>> put_together({"warmup.epochs": 3, "dropout.schedule": "constant", "dropout.value": 0.1, "epochs": 9})
    {'warmup': epochs(3), 'dropout': constant(value=0.1), 'epochs': 9}
    """
    found: dict[str, Any] = {}
    owned = owners(values)
    trees: dict[str, _Parts] = {}
    for name, value in values.items():
        if name not in owned:
            found[name] = value
            continue
        owner = owned[name]
        tree = found[owner] = trees.setdefault(owner, _Parts())  # in the order of the space
        *path, last = name.removeprefix(f"{owner}.").split(".")
        for key in path:
            tree = tree.setdefault(key, _Parts())
        tree[last] = value
    return found | {owner: _built(owner, tree) for owner, tree in trees.items()}


class _Parts(dict[str, Any]):
    """What a name holds by its parts, apart from mappings that are values."""


def _kind(parts: Mapping[str, Any]) -> str:
    return "schedule" if "schedule" in parts else next(iter(parts), "") if len(parts) == 1 else ""


def _owner(name: str, names: set[str]) -> str | None:
    """What a name is a part of, among other names."""
    head, *rest = name.split(".")
    if head in MAPPINGS:
        head, rest = ".".join([head, *rest[:1]]), rest[1:]
        able: tuple[Any, ...] = () if name.startswith("model.") else (Schedule, Length)
    else:
        able = _TAKES.get(head, ())
    scheduled = Schedule in able and f"{head}.schedule" in names
    return head if rest and (scheduled or (Length in able and rest[0] in _UNITS and not rest[1:])) else None


def _flat(name: str, value: Any, annotation: Any) -> Iterator[tuple[str, Any]]:
    """A value's parts by dotted names. A list is choices, except where the argument itself is several values."""
    items = _items(annotation)
    if items is not None and isinstance(value, Mapping) and get_origin(items) is tuple:
        value = list(value.items())  # boundaries and scales
    if isinstance(value, Mapping) and "schedule" in value:
        chosen = value["schedule"]
        yield f"{name}.schedule", [*map(_named, chosen)] if isinstance(chosen, list) else _named(chosen)
        first = chosen[0] if isinstance(chosen, list) and chosen else chosen
        arguments = _arguments(f"{name}.schedule", first)
        for key, part in value.items():
            if key != "schedule":
                yield from _flat(f"{name}.{key}", part, arguments[key].annotation if key in arguments else None)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part, None)
    elif isinstance(value, tuple) or (isinstance(value, list) and items is not None):
        if not value:
            raise ValueError(f"{name} must hold at least one value, got none")
        for place, part in enumerate(value):
            yield from _flat(f"{name}.{place}", part, items)
    else:
        yield name, value


def _items(annotation: Any) -> Any:
    """What the items of an argument of several values are; None for an argument of one."""
    origin = get_origin(annotation)
    if origin in (Sequence, Iterable, tuple, list):
        return get_args(annotation)[0]
    if origin is Mapping or not isinstance(annotation, type):
        inner = () if origin is Mapping else get_args(annotation)
        return next((items for option in inner if (items := _items(option)) is not None), None)
    return None


def _named(constructor: Any) -> Any:
    """A constructor of this library's by its name; one of the user's own as it is."""
    name = getattr(constructor, "__name__", "")
    return name if CONSTRUCTORS.get(name) is constructor else constructor


def _arguments(name: str, chosen: Any) -> dict[str, inspect.Parameter]:
    """What a schedule's constructor takes, by the names of a space: `after` is what `warmup` itself calls schedule."""
    if not callable(chosen):
        chosen = CONSTRUCTORS[one_of(name, chosen, CONSTRUCTORS)]
    try:
        found = inspect.signature(chosen).parameters
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a constructor of schedules, got {chosen!r}") from None
    return {"after" if key == "schedule" else key: parameter for key, parameter in found.items()}


def _built(name: str, parts: Any) -> Any:
    """The schedule, length, list or mapping of some parts."""
    if not isinstance(parts, _Parts):
        return parts
    made = {key: _built(f"{name}.{key}", part) for key, part in parts.items()}
    if "schedule" in made:
        return _constructed(name, made)
    if len(made) == 1 and (unit := next(iter(made))) in _UNITS:
        return _called(name, _UNITS[unit], [made[unit]], {}, [unit])
    if all(str(place) in made for place in range(len(made))):
        return [made[str(place)] for place in range(len(made))]
    return made


def _constructed(name: str, given: dict[str, Any]) -> Schedule:
    chosen = given.pop("schedule")
    arguments = _arguments(f"{name}.schedule", chosen)
    called = getattr(chosen, "__name__", chosen)
    for key, value in given.items():
        if key not in arguments:
            raise ValueError(
                f"{name}.{key} must be left out, since {called} takes {', '.join(arguments)}, "
                f"got {value!r}{nearest(key, arguments)}"
            )
    missing = [key for key, argument in arguments.items() if argument.default is argument.empty and key not in given]
    if missing:
        raise ValueError(f"{name} must give {', '.join(missing)} beside {called}, got {', '.join(given) or 'nothing'}")
    named = {arguments[key].name: value for key, value in given.items()}
    made = _called(name, CONSTRUCTORS[chosen] if isinstance(chosen, str) else chosen, [], named, given)
    if not isinstance(made, Schedule):
        raise ValueError(
            f"{name}.schedule must make a Schedule of hyperjax.schedules, got {called}, which made {made!r}"
        )
    return made


def _called(
    name: str, make: Callable[..., Any], given: list[Any], named: dict[str, Any], arguments: Iterable[str]
) -> Any:
    """What a constructor makes; its error names the part."""
    try:
        return make(*given, **named)
    except (TypeError, ValueError) as error:
        own = str(error).split(" ", 1)[0].partition("[")[0] in arguments
        raise ValueError(f"{name}{'.' if own else ': '}{error}") from None
