"""Every row of the table in all its variants, beside the optax transformation that it must follow."""

from typing import Any

import optax

from hyperjax import optimizers

# variants beyond the row's defaults: choices on, and the decays that every row takes
_VARIANTS: dict[str, list[dict[str, Any]]] = {
    "rmsprop": [
        {"centered": True},
        {"momentum": 0.9},
        {"momentum": 0.8, "nesterov": True, "centered": True},
        {"eps_in_sqrt": False},
        {"bias_correction": True},
        {"bias_correction": True, "centered": True, "eps": 0.1},
    ],
    "adam": [{"nesterov": True}, {"eps_root": 1e-6}],
    "nadam": [{"nesterov": False}],
    "nadamw": [{"nesterov": False}],
    "radam": [{"nesterov": True}, {"threshold": 7.0}],
    "adadelta": [{"l2": 0.01}],
    "lion": [{"weight_decay": 0.0}],
}
FOLLOWING_OPTAX = [(name, {}) for name in optimizers.names()]
FOLLOWING_OPTAX += [(name, v) for name, many in _VARIANTS.items() for v in many]
CASES = [*FOLLOWING_OPTAX, ("nadam", {"momentum_decay": 0.01})]  # which optax lacks; PyTorch has it
RATES = {"lion": 1e-3, "sign_sgd": 1e-3, "sgd": 0.1, "adadelta": 1.0}


def case_id(case: tuple[str, dict[str, Any]]) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def rate_of(name: str) -> float:
    return RATES.get(name, 1e-2)


def reference(name: str, arguments: dict[str, Any], rate: Any) -> optax.GradientTransformation:
    """Optax's transformation of a row: the function of that name, but for the spelling of momentum and of l2."""
    if name in ("momentum", "nesterov"):
        return optax.sgd(rate, **({"momentum": 0.9} | arguments), nesterov=name == "nesterov")
    if name == "adadelta":
        own = dict(arguments)
        return optax.adadelta(rate, weight_decay=own.pop("l2", 0.0), **own)
    return getattr(optax, name)(rate, **arguments)
