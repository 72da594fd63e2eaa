"""The table of rules: one row per optimizer, with its numbers, their defaults and ranges, and its choices."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hyperjax.checks import is_concrete, nearest, one_of, require, within
from hyperjax.optimizers.rule import Form, Rule
from hyperjax.types import Number

_INFINITY = float("inf")


class Allowed(NamedTuple):
    """What a number of a row may be: its default (None: absent unless given) and its range."""

    default: float | None
    low: float
    high: float


Built = tuple[dict[str, bool], dict[str, Any]]  # features that occur, numbers of the rule


@dataclasses.dataclass(frozen=True)
class _Row:
    build: Callable[[Mapping[str, Any]], Built]
    numbers: Mapping[str, Allowed] = dataclasses.field(default_factory=dict)
    choices: Mapping[str, bool] = dataclasses.field(default_factory=dict)


def rule(name: str, **arguments: Any) -> Rule:
    """The rule of a named optimizer.

    Args:
        name: one of `names()`.
        arguments: the row's numbers (`numbers(name)`: floats, arrays, tracers or schedules) and choices
            (`choices(name)`: Python bools), by optax's names. Every row also takes `weight_decay` (decoupled) and
            `l2` (coupled), each at least 0; None means the default.

    Returns: a `Rule` specialised to what was asked: a weight decay of the Python number 0 leaves no trace.
    Raises: ValueError for an unknown name or argument (with the nearest known one), or a number out of its range.

    >>> rule("adam", b1=0.8).numbers["b1"]
    0.8
    >>> rule("adam", eps_rot=0.8)
    Traceback (most recent call last):
    ...
    ValueError: adam takes b1, b2, eps, eps_root, weight_decay, l2, nesterov, got 'eps_rot'; did you mean 'eps_root'?
    """
    allowed, options = numbers(name), choices(name)
    for argument in arguments:
        known = [*allowed, *options]
        require(argument in known, f"{name} takes {', '.join(known)}, got {argument!r}{nearest(argument, known)}")
    values: dict[str, Any] = {n: a.default for n, a in allowed.items()} | dict(options)
    values |= {argument: value for argument, value in arguments.items() if value is not None}
    for argument, (_, low, high) in allowed.items():
        _check(argument, values[argument], low, high)
    for option in options:
        require(isinstance(values[option], bool | np.bool_), f"{option} must be True or False, got {values[option]!r}")

    features, row = _ROWS[name].build(values)
    row |= {"l2": values["l2"], "weight_decay": values["weight_decay"]}
    features |= {"coupled_decay": not _is_zero(row["l2"]), "decay": not _is_zero(row["weight_decay"])}
    if features.get("debias"):
        features |= {
            "b1_scheduled": callable(row.get("b1")) and bool(features.get("moment")),
            "b2_scheduled": callable(row.get("b2")),
        }
    form = Form(**{feature: "always" for feature, occurs in features.items() if occurs})  # type: ignore[arg-type]
    return Rule(form, {number: row[number] for number in form.numbers})


def names() -> tuple[str, ...]:
    """The names of all rows.

    >>> "adam" in names()
    True
    """
    return tuple(_ROWS)


def numbers(name: str) -> dict[str, Allowed]:
    """The numbers that a row takes, each with its default, lowest and highest value (decays stay below 1).

    >>> numbers("adam")["b1"]
    Allowed(default=0.9, low=0.0, high=1.0)
    """
    own = _ROWS[one_of("optimizer", name, _ROWS)].numbers
    return dict(own) | {key: own.get(key, Allowed(0.0, 0.0, _INFINITY)) for key in ("weight_decay", "l2")}


def choices(name: str) -> dict[str, bool]:
    """The choices that a row offers, each with its default.

    >>> choices("adam")
    {'nesterov': False}
    """
    return dict(_ROWS[one_of("optimizer", name, _ROWS)].choices)


def _check(name: str, value: Number | None, low: float, high: float) -> None:
    within(name, value, low, high)
    if high == 1.0 and is_concrete(value):
        below = np.asarray(value, np.float64) < 1
        require(below, f"{name} must be a number in [{low:g}, 1), got {value!r}")


def _is_zero(value: Any) -> bool:
    return isinstance(value, float | int) and value == 0


def _sgd(_: Mapping[str, Any]) -> Built:
    return {}, {}


def _momentum(a: Mapping[str, Any]) -> Built:
    return {"moment": True}, {"b1": a["momentum"]}


def _nesterov(a: Mapping[str, Any]) -> Built:
    return {"moment": True, "lookahead": True}, {"b1": a["momentum"]}


def _adagrad(a: Mapping[str, Any]) -> Built:
    inside = {"eps": 0.0, "eps_root": a["eps"], "initial_second": a["initial_accumulator_value"]}
    return {"precondition": True}, inside


def _rmsprop(a: Mapping[str, Any]) -> Built:
    buffer = a["momentum"] is not None
    require(buffer or not a["nesterov"], "nesterov needs a momentum, got None")
    features = {
        "precondition": True,
        "second_averaged": True,
        "centered": a["centered"],
        "debias": a["bias_correction"],
        "buffer": buffer,
        "lookahead": a["nesterov"],
    }
    eps, eps_root = (0.0, a["eps"]) if a["eps_in_sqrt"] else (a["eps"], 0.0)
    row = {"b2": a["decay"], "eps": eps, "eps_root": eps_root, "initial_second": a["initial_scale"]}
    return features, row | ({"b1": a["momentum"]} if buffer else {})


def _adam(a: Mapping[str, Any]) -> Built:
    features = dict.fromkeys(("moment", "averaged", "precondition", "second_averaged", "debias"), True)
    row = {n: a[n] for n in ("b1", "b2", "eps", "eps_root")} | {"initial_second": 0.0}
    return features | {"lookahead": a.get("nesterov", False)}, row


def _nadam(a: Mapping[str, Any]) -> Built:
    features, row = _adam(a)
    decay = a["momentum_decay"]
    if decay is None:
        return features, row
    require(a["nesterov"], f"momentum_decay must be None where nesterov is False, got {decay!r}")
    return features | {"lookahead": False, "momentum_schedule": True}, row | {"momentum_decay": decay}


def _radam(a: Mapping[str, Any]) -> Built:
    features, row = _adam(a)
    return features | {"rectify": True}, row | {"threshold": a["threshold"]}


def _adadelta(a: Mapping[str, Any]) -> Built:
    features = {"precondition": True, "second_averaged": True, "accumulated_update": True}
    return features, {"b2": a["rho"], "eps": 0.0, "eps_root": a["eps"], "initial_second": 0.0}


def _lion(a: Mapping[str, Any]) -> Built:
    features = dict.fromkeys(("moment", "averaged", "interpolate", "sign"), True)
    return features, {"b1": a["b2"], "output_b1": a["b1"]}


def _sign_sgd(_: Mapping[str, Any]) -> Built:
    return {"sign": True}, {}


_MOMENTUM = {"momentum": Allowed(0.9, 0.0, 1.0)}
_ADAM = {
    "b1": Allowed(0.9, 0.0, 1.0),
    "b2": Allowed(0.999, 0.0, 1.0),
    "eps": Allowed(1e-8, 0.0, _INFINITY),
    "eps_root": Allowed(0.0, 0.0, _INFINITY),
}
_DOZAT = {"momentum_decay": Allowed(None, 0.0, _INFINITY)}
_ADAMW = _ADAM | {"weight_decay": Allowed(1e-4, 0.0, _INFINITY)}
_ROWS: Mapping[str, _Row] = MappingProxyType(
    {
        "sgd": _Row(_sgd),
        "momentum": _Row(_momentum, _MOMENTUM),
        "nesterov": _Row(_nesterov, _MOMENTUM),
        "adagrad": _Row(
            _adagrad,
            {"initial_accumulator_value": Allowed(0.1, 0.0, _INFINITY), "eps": Allowed(1e-7, 0.0, _INFINITY)},
        ),
        "rmsprop": _Row(
            _rmsprop,
            {
                "decay": Allowed(0.9, 0.0, 1.0),
                "eps": Allowed(1e-8, 0.0, _INFINITY),
                "initial_scale": Allowed(0.0, 0.0, _INFINITY),
                "momentum": Allowed(None, 0.0, 1.0),
            },
            {"eps_in_sqrt": True, "centered": False, "nesterov": False, "bias_correction": False},
        ),
        "adam": _Row(_adam, _ADAM, {"nesterov": False}),
        "adamw": _Row(_adam, _ADAMW, {"nesterov": False}),
        "adadelta": _Row(_adadelta, {"rho": Allowed(0.9, 0.0, 1.0), "eps": Allowed(1e-6, 0.0, _INFINITY)}),
        "nadam": _Row(_nadam, _ADAM | _DOZAT, {"nesterov": True}),
        "nadamw": _Row(_nadam, _ADAMW | _DOZAT, {"nesterov": True}),
        "radam": _Row(_radam, _ADAM | {"threshold": Allowed(5.0, 4.0, _INFINITY)}, {"nesterov": False}),
        "lion": _Row(
            _lion,
            {
                "b1": Allowed(0.9, 0.0, 1.0),
                "b2": Allowed(0.99, 0.0, 1.0),
                "weight_decay": Allowed(1e-3, 0.0, _INFINITY),
            },
        ),
        "sign_sgd": _Row(_sign_sgd),
    }
)
