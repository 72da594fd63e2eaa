"""What a recipe may hold: every field's kind and range, and which fields can matter beside one another."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hyperjax import activations, losses, optimizers, schedules
from hyperjax.checks import is_concrete, nearest, one_of, require, whole_number, within
from hyperjax.schedules import Length, Schedule, reduce_on_plateau

if TYPE_CHECKING:
    from hyperjax.training.recipe import Recipe

SAMPLINGS = ("permutation", "replacement", "balanced")
PRECISIONS = ("float32", "bfloat16")
DECAYS = ("all", "matrices")
STOPPING = {"patience": 10, "min_gain": 0.0, "metric": None}
PLATEAU = {
    "factor": 0.1,
    "patience": 10,
    "rtol": 1e-4,
    "atol": 0.0,
    "cooldown": 0,
    "accumulation_size": 1,
    "min_scale": 0.0,
    "metric": None,
}
RAMP = {"epochs": (), "factor": 2, "rate": "linear"}
LOOKAHEAD = {"sync_period": 6, "slow_step_size": 0.5}
_AT_LEAST_0 = ("learning_rate", "weight_decay", "l2", "l1", "proximal_l1", "gradient_noise", "sam")
_ABOVE_0 = ("epochs", "clip_norm", "clip_value", "clip_adaptive", "max_norm")
_SHARES = ("dropout", "average")
_REQUIRED = ("learning_rate", "epochs", "l2", "l1", "proximal_l1", "gradient_noise", "warmup", "average_start")
_LENGTHS = ("warmup", "average_start")
_NUMBERS = (*_AT_LEAST_0, *_ABOVE_0, *_SHARES, *_LENGTHS, "momentum", "label_smoothing")


def check(recipe: "Recipe") -> None:
    """Raise a ValueError for the first thing in a recipe that cannot be."""
    _check_numbers(recipe)
    _check_sizes(recipe)
    _check_choices(recipe)
    _check_optimizer(recipe)
    _check_schedule(recipe)
    _check_mappings(recipe)
    _check_ramp(recipe)


def _check_numbers(recipe: "Recipe") -> None:
    mappings = [recipe.loss_arguments, recipe.hyperparameters, recipe.activation_arguments, recipe.rate_multipliers]
    mappings += [] if callable(recipe.optimizer) else [recipe.optimizer_arguments]
    named = {name: getattr(recipe, name) for name in _NUMBERS} | {k: v for m in mappings for k, v in m.items()}
    for name, value in named.items():
        alien = callable(value) and not isinstance(value, Schedule)
        if alien or isinstance(value, list | tuple | dict | np.ndarray | jax.Array):
            raise ValueError(f"{name} must be one number or a Schedule of hyperjax.schedules, got {value!r}")
    for name in _REQUIRED:
        if getattr(recipe, name) is None:
            raise ValueError(f"{name} must be a number in [0, inf), got None")
    for name in _AT_LEAST_0:
        within(name, getattr(recipe, name), 0.0)
    for name in _ABOVE_0:
        within(name, getattr(recipe, name), 0.0, open_low=True)
    for name in _SHARES:
        within(name, getattr(recipe, name), 0.0, 1.0)
    within("label_smoothing", recipe.label_smoothing, 0.0, 1.0, open_high=True)
    for name in _LENGTHS:
        if not isinstance(getattr(recipe, name), Length):
            within(name, getattr(recipe, name), 0.0)
    for name in ("epochs", *_LENGTHS):
        if isinstance(getattr(recipe, name), Schedule):
            raise ValueError(f"{name} must be a number, got the schedule {getattr(recipe, name)!r}")
    for name, value in recipe.hyperparameters.items():
        within(f"hyperparameters[{name!r}]", value)
    for name, value in recipe.rate_multipliers.items():
        within(f"rate_multipliers[{name!r}]", value, 0.0)


def check_schedules(recipe: "Recipe", resolved: Callable[[Any], Any], steps: int) -> None:
    """Raise a ValueError for a field whose schedule leaves the field's range at some step of a run.

    Looked at are 65 steps evenly spaced over the run, its first and last among them.
    """
    ranges = dict.fromkeys(_AT_LEAST_0, (0.0, np.inf)) | dict.fromkeys(_SHARES, (0.0, 1.0))
    ranges |= dict.fromkeys(_ABOVE_0, (0.0, np.inf))
    for name, (low, high) in ranges.items():
        schedule = getattr(recipe, name)
        if isinstance(schedule, Schedule):
            values = np.asarray(resolved(schedule)(np.linspace(0, steps - 1, 65).round()), np.float64)
            beyond = ~((values >= low) & (values <= high))
            if beyond.any():
                raise ValueError(
                    f"{name} must stay in [{low:g}, {high:g}{']' if np.isfinite(high) else ')'} at every step, "
                    f"got a schedule that is {values[beyond][0]:g} at one: {schedule!r}"
                )


def _check_sizes(recipe: "Recipe") -> None:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    if recipe.batch_size != "full" and not whole(recipe.batch_size):
        raise ValueError(f"batch_size must be a whole number of at least 1, or 'full', got {recipe.batch_size!r}")
    if not whole(recipe.micro_batches):
        raise ValueError(f"micro_batches must be a whole number of at least 1, got {recipe.micro_batches!r}")
    if recipe.batch_size != "full":
        fits = recipe.micro_batches <= int(recipe.batch_size)
        require(fits, f"micro_batches must be at most batch_size, {recipe.batch_size}, got {recipe.micro_batches}")
    if recipe.micro_batch_size is not None:
        _check_parts(recipe, whole(recipe.micro_batch_size))
    for name in ("centralize", "rematerialize"):
        if not isinstance(getattr(recipe, name), bool):
            raise ValueError(f"{name} must be True or False, got {getattr(recipe, name)!r}")


def _check_parts(recipe: "Recipe", whole: bool) -> None:
    size, batch = recipe.micro_batch_size, recipe.batch_size
    divides = whole and batch != "full" and int(batch) % int(size or 1) == 0
    require(divides, f"micro_batch_size must be a whole number that divides batch_size, {batch!r}, got {size!r}")
    off: dict[str, Any] = {"micro_batches": 1, "sam": None, "batch_ramp": {}}
    for name in (name for name, value in off.items() if getattr(recipe, name) != value):
        raise ValueError(f"{name} must be left out beside micro_batch_size={size}, got {getattr(recipe, name)!r}")
    if callable(recipe.optimizer):  # which may look at the whole batch again
        raise ValueError(f"optimizer must be a name beside micro_batch_size={size}, got {recipe.optimizer!r}")


def _check_choices(recipe: "Recipe") -> None:
    if recipe.loss is not None:
        one_of("loss", recipe.loss, dict.fromkeys(name for table in losses.LOSSES.values() for name in table))
    if recipe.activation is not None:
        one_of("activation", recipe.activation, activations.TABLE)
    if recipe.label_smoothing is not None and "label_smoothing" in recipe.loss_arguments:
        raise ValueError("label_smoothing must be given once, got it as a field and in loss_arguments")
    for reserved in ("dropout", "activation"):
        if reserved in recipe.hyperparameters:
            raise ValueError(f"hyperparameters must not hold {reserved!r}; use the field {reserved}")
    one_of("sampling", recipe.sampling, SAMPLINGS)
    one_of("precision", recipe.precision, PRECISIONS)
    if recipe.class_weights is not None:
        one_of("class_weights", recipe.class_weights, ("balanced",))
    if not callable(recipe.decay):
        one_of("decay", recipe.decay, DECAYS)
    if recipe.activation_arguments and recipe.activation is None:
        raise ValueError(
            f"activation must be given beside activation_arguments, got None beside {dict(recipe.activation_arguments)}"
        )
    own = activations.NUMBERS.get(recipe.activation or "", {})
    for name, value in recipe.activation_arguments.items():
        if name not in own:
            allowed = f"only {', '.join(own)}" if own else "no number"
            raise ValueError(
                f"{name} must be left out for the activation {recipe.activation}, which reads {allowed}; got {value!r}"
            )
        within(name, value)


def _check_optimizer(recipe: "Recipe") -> None:
    if callable(recipe.optimizer):
        if recipe.momentum is not None:
            raise ValueError("momentum must be given in optimizer_arguments when the optimizer is a factory")
        if recipe.decay != "all":
            raise ValueError(
                "decay must be 'all' when the optimizer is a factory, which may take a mask in optimizer_arguments; "
                f"got {recipe.decay!r}"
            )
        return
    one_of("optimizer", recipe.optimizer, optimizers.names())
    if "momentum" in recipe.optimizer_arguments:
        raise ValueError("optimizer_arguments must not hold 'momentum'; use the field momentum")
    for named in ("weight_decay", "l2"):
        if named in recipe.optimizer_arguments:
            raise ValueError(f"optimizer_arguments must not hold {named!r}; use the field {named}")
    if recipe.momentum is not None and "momentum" not in optimizers.numbers(recipe.optimizer):
        allowed = ", ".join(name for name in optimizers.names() if "momentum" in optimizers.numbers(name))
        raise ValueError(
            f"momentum must be None for {recipe.optimizer} (only {allowed} have it), got {recipe.momentum!r}"
        )
    optimizers.rule(recipe.optimizer, **recipe.rule_arguments)


def _check_schedule(recipe: "Recipe") -> None:
    schedules.shape(recipe.schedule, recipe.schedule_arguments, 100)
    if isinstance(recipe.learning_rate, Schedule) and recipe.schedule != "constant":
        raise ValueError(
            f"schedule must be 'constant' when learning_rate is itself a Schedule, got {recipe.schedule!r}; "
            "give the rate as a number, or leave schedule out"
        )


def _check_ramp(recipe: "Recipe") -> None:
    for name in recipe.batch_ramp:
        if name not in RAMP:
            raise ValueError(f"batch_ramp takes {', '.join(RAMP)}, got {name!r}{nearest(name, RAMP)}")
    ramp = {**RAMP, **recipe.batch_ramp}

    def whole(value: Any, low: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    epochs = ramp["epochs"]
    listed = isinstance(epochs, list | tuple) and all(whole(epoch, 1) for epoch in epochs)
    if not listed or list(epochs) != sorted(set(epochs)) or (recipe.batch_ramp and not epochs):
        raise ValueError(f"batch_ramp['epochs'] must be whole numbers of at least 1 that rise, got {epochs!r}")
    if not whole(ramp["factor"], 2):
        raise ValueError(f"batch_ramp['factor'] must be a whole number of at least 2, got {ramp['factor']!r}")
    one_of("batch_ramp['rate']", ramp["rate"], ("linear", "sqrt", "constant"))
    if recipe.batch_ramp and recipe.batch_size == "full":
        raise ValueError("batch_ramp must be left out for batches that are 'full' from the start")


def _check_mappings(recipe: "Recipe") -> None:
    for field, known in (("plateau", PLATEAU), ("early_stopping", STOPPING), ("lookahead", LOOKAHEAD)):
        for name, value in getattr(recipe, field).items():
            if name not in known:
                raise ValueError(f"{field} takes {', '.join(known)}, got {name!r}{nearest(name, known)}")
            if name == "metric":
                continue
            if not is_concrete(value) or isinstance(value, str | bool):
                raise ValueError(f"{field}[{name!r}] must be a number, got {value!r}")
    plateau = PLATEAU | dict(recipe.plateau)
    reduce_on_plateau(**{name: value for name, value in plateau.items() if name != "metric"})
    whole_number("early_stopping['patience']", recipe.early_stopping.get("patience", 1), 1)
    within("early_stopping['min_gain']", recipe.early_stopping.get("min_gain", 0.0), 0.0)
    whole_number("lookahead['sync_period']", recipe.lookahead.get("sync_period", 1), 1)
    within("lookahead['slow_step_size']", recipe.lookahead.get("slow_step_size", 1.0), 0.0, 1.0)
    if recipe.rate_multipliers and recipe.proximal_l1 != 0:
        raise ValueError(
            "rate_multipliers must be left out beside proximal_l1, whose step is that of one rate, "
            f"got {dict(recipe.rate_multipliers)}"
        )
    if recipe.average is None and recipe.average_start != 0:
        raise ValueError(f"average_start must be 0 without an average, got {recipe.average_start!r}")
