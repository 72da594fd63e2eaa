"""A space from a TOML file, and as one."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperjax.schedules import Length, epochs, fraction
from hyperjax.studies.parts import MAPPINGS
from hyperjax.studies.ranges import Range, integer, log_integer, log_uniform, uniform
from hyperjax.studies.space import Space, space


def read_space(path: str | Path, **fixed: Any) -> Space:
    """Read a space: a table for a range, an array for choices, anything else fixed.

        learning_rate = {low = 1e-4, high = 1.0, log = true}
        dropout = {low = 0.0, high = 0.5}
        optimizer = ["sgd", "adam"]
        warmup = [0, {fraction = 0.1}, {epochs = 2}]
        "model.width" = {low = 16, high = 256, log = true, integer = true}
        l2 = {schedule = "cosine_decay", init_value = {low = 0.0, high = 0.1}, decay_steps = {epochs = 9}}
        epochs = 20

        [constraints]
        "a batch must fit" = "batch_size * model.width <= 4096"

    Args:
        path: the file.
        fixed: values for names that the file does not mention.
    Raises: ValueError that names the file and what is wrong in it.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise ValueError(f"space must be a TOML file, got {str(path)!r}, which does not exist") from None
    except OSError as error:
        raise ValueError(f"space must be a TOML file, got {str(path)!r}: {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # not UTF-8, not TOML, a number of thousands of digits, endless nesting
        raise ValueError(f"space must be a TOML file, got {str(path)!r}: {error}") from None
    if not data:
        raise ValueError(f"space must name at least one hyperparameter, got an empty file {str(path)!r}")
    try:
        constraints = data.pop("constraints", None)
        entries = _flat(data)
        return space(
            {**fixed, **{name: _entry(name, value) for name, value in entries.items()}}, constraints=constraints
        )
    except ValueError as error:
        raise ValueError(f"space {str(path)!r}: {error}") from None


def to_toml(space: Space) -> str:
    """The text of a TOML file from which `read_space` makes the same space; tuples come back as lists.

    Raises: ValueError that names what TOML has no words for: a constraint that is no text, a function, a schedule that
        is not given by its parts, None, a field that is given whole instead of by its parts.

    >>> from hyperjax.studies.ranges import log_integer
    >>> print(to_toml(space({"model.width": log_integer(16, 256)}, warmup=[0, fraction(0.1)], epochs=20)), end="")
    "model.width" = {low = 16, high = 256, log = true, integer = true}
    warmup = [0, {fraction = 0.1}]
    epochs = 20
    """
    given = space.constraints.given
    functions = [message for message, predicate in given.items() if not isinstance(predicate, str)]
    if functions:
        raise ValueError(f"constraints must be none but texts to be written as TOML, got {', '.join(functions)}")
    written = "".join(f"{line(name, entry)}\n" for name, entry in space.entries.items())
    kept = "".join(f"{_quoted(message)} = {_text(message, text)}\n" for message, text in given.items())
    return f"{written}\n[constraints]\n{kept}" if kept else written


def line(name: str, entry: Any) -> str:
    """The line of a space file that says what a name may be.

    Raises: ValueError as `to_toml`.

    >>> print(line("dropout", uniform(0.0, 0.5)))
    dropout = {low = 0.0, high = 0.5}
    """
    return f"{name if name.isidentifier() and name.isascii() else _quoted(name)} = {_text(name, entry)}"


def _quoted(text: str) -> str:
    """A text as TOML writes it: as JSON does, but for one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text(name: str, value: Any) -> str:
    if isinstance(value, Range):
        flags = "".join(f", {flag} = true" for flag in ("log", "integer") if getattr(value, flag))
        return f"{{low = {value.low!r}, high = {value.high!r}{flags}}}"
    if isinstance(value, Length):
        return f"{{{value.unit} = {_text(name, value.value)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(name, item) for item in value)}]"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    part = "by its parts" if isinstance(value, Mapping) else "a number, text or length"
    raise ValueError(f"{name} must be {part} to be written as TOML, got {value!r}")


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """Tables such as `[model]`, whose entries are dotted names, written out."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        inside = isinstance(value, dict) and name in MAPPINGS
        for key, entry in {f"{name}.{k}": v for k, v in value.items()}.items() if inside else [(name, value)]:
            if key in flat:
                raise ValueError(f"{key} must be given once, got it twice")
            flat[key] = entry
    return flat


def _entry(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_length(name, v) if isinstance(v, dict) else v for v in value]
    if not isinstance(value, dict):
        return value
    if "schedule" in value:
        return {key: _argument(f"{name}.{key}", part) for key, part in value.items()}
    if "low" not in value and "high" not in value:
        unit, amount = next(iter(value.items()), ("", None))
        searched = len(value) == 1 and isinstance(amount, dict | list)
        return {unit: _entry(f"{name}.{unit}", amount)} if searched else _length(name, value)
    unknown = set(value) - {"low", "high", "log", "integer"}
    if unknown or "low" not in value or "high" not in value:
        raise ValueError(f"{name} must be a table of low, high and perhaps log and integer, got {value}")
    for flag in ("log", "integer"):
        if not isinstance(value.get(flag, False), bool):
            raise ValueError(f"{flag} of {name} must be true or false, got {value[flag]!r}")
    make = {(False, False): uniform, (True, False): log_uniform, (False, True): integer, (True, True): log_integer}
    try:
        return make[value.get("log", False), value.get("integer", False)](value["low"], value["high"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _argument(name: str, value: Any) -> Any:
    """An argument of a schedule: an entry, several of them, or a table of some."""
    if isinstance(value, list):
        return [_argument(name, item) for item in value]
    if isinstance(value, dict) and not {"low", "high", "schedule", "epochs", "fraction"} & set(value):
        return {key: _argument(f"{name}.{key}", part) for key, part in value.items()}
    return _entry(name, value)


def _length(name: str, value: dict[str, Any]) -> Any:
    units = {"fraction": fraction, "epochs": epochs}
    if len(value) != 1 or next(iter(value)) not in units:
        raise ValueError(f"{name} must be a table such as {{fraction = 0.1}} or {{low = 0, high = 1}}, got {value}")
    unit, amount = next(iter(value.items()))
    if not isinstance(amount, int | float):
        raise ValueError(f"{unit} of {name} must be a number, got {amount!r}")
    try:
        return units[unit](amount)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
