"""The numbers of a recipe by name: where each stands, how its leaves move with it, and why others have no slope."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from hyperjax import activations, layers, schedules
from hyperjax.schedules import KINDS, Length, Schedule
from hyperjax.tasks import Task
from hyperjax.training.in_force import numbers_of
from hyperjax.training.lowering import lower_together
from hyperjax.training.program import Program
from hyperjax.training.recipe import Recipe
from hyperjax.training.recipe_checks import LOOKAHEAD, PLATEAU
from hyperjax.training.settings import Settings
from hyperjax.training.stages import STAGES

MASK = "a random mask has no derivative by its rate"
COUNT = "a count"
CHOICE = "a choice"
LIMIT = "a limit: what it decides jumps"
OFF = "off: the program has no term for it; a small value has a derivative"
UNREAD = "nothing in this program reads it"
_MOVE = 1e-5  # of a number, or of how near a share is to 1
_COUNTS = ("epochs", "batch_size", "micro_batches", "micro_batch_size", "average_start")
_CHOICES = ("optimizer", "schedule", "loss", "activation", "sampling", "decay", "class_weights", "precision")
_IN_PLATEAU = {"patience": COUNT, "cooldown": COUNT, "accumulation_size": COUNT, "rtol": LIMIT, "atol": LIMIT}
_OF_THE_RATE = ("init_value", "peak_value")  # of a named schedule: it multiplies the rate, whose number this is
_JUMPING = {"step_decay": ("transition_steps",), "cosine_restarts": ("period", "period_multiplier")}


class Number(NamedTuple):
    """One number of a recipe.

    Attributes:
        value: where it stands, a length in the unit that it was given in.
        slopes: how the float leaves of the settings move with it, f64 arrays like each of them.
        share: whether it lies between 0 and 1 and must.
        put: (recipe, value) -> the recipe with this number there.
    """

    value: float
    slopes: list[np.ndarray]
    share: bool
    put: Callable[[Recipe, float], Recipe]


class _Place(NamedTuple):
    """Where something in a recipe is read and put."""

    get: Callable[[Recipe], Any]
    put: Callable[[Recipe, Any], Recipe]


def float_leaves(settings: Settings) -> tuple[list[Any], Callable[[list[Any]], Settings]]:
    """The numbers among a member's leaves, and how its settings are made of others in their place.

    What its examples weigh, and targets of its own, are no numbers of a recipe and stay.
    """
    leaves, tree = jax.tree.flatten(replace(settings, example_weights=None, targets=None))
    floats = [i for i, leaf in enumerate(leaves) if jax.numpy.issubdtype(leaf.dtype, np.floating)]

    def rejoined(numbers: list[Any]) -> Settings:
        own = dict(zip(floats, numbers, strict=True))
        joined: Settings = jax.tree.unflatten(tree, [own.get(i, leaf) for i, leaf in enumerate(leaves)])
        return replace(joined, example_weights=settings.example_weights, targets=settings.targets)

    return [leaves[i] for i in floats], rejoined


def filled(recipe: Recipe) -> Recipe:
    """The recipe with its activation's numbers written out, which makes them leaves."""
    own = activations.NUMBERS.get(recipe.activation or "", {})
    return recipe.replace(activation_arguments=own | dict(recipe.activation_arguments))


def numbers_by_name(task: Task, recipe: Recipe, program: Program) -> tuple[dict[str, Number], dict[str, str]]:
    """The numbers on which a run depends smoothly, and for the rest of its recipe why it is not among them.

    A number reaches the program through the leaves that lowering makes of it, on the host and in float64. How they move
    is measured there by moving it, so that what a field means is said by the lowering alone.

    Args:
        task, recipe: of the run; the recipe is one that `filled` gave.
        program: of both.
    """
    settings = lower_together([recipe], task)[0][0]
    left_out = _without_slope(recipe, program)
    places = _places(task, recipe, program, int(settings.steps))
    found: dict[str, Number] = {}
    for name, place in places.items():
        value = place.get(recipe)
        if name in left_out or isinstance(value, bool) or value is None:
            continue
        number = _number(task, recipe, settings, float(value), place.put)
        if isinstance(number, Number):
            found[name] = number
        elif number is not None:
            left_out[name] = number
    return found, left_out


def _number(
    task: Task, recipe: Recipe, settings: Settings, value: float, put: Callable[[Recipe, float], Recipe]
) -> Number | str | None:
    """The number at a place, or why it is none; None where the recipe may not have it at all."""
    if not np.isfinite(value):
        return OFF

    def lowered(value: float) -> Settings | None:
        try:
            return lower_together([put(recipe, value)], task)[0][0]
        except ValueError:  # outside its range
            return None

    step = _MOVE * (min(value, 1 - value) if 0 < value < 1 else abs(value) or 1.0)
    tried = [(moved, lowered(moved)) for moved in (value - step, value + step)]
    sides = [(moved, each) for moved, each in tried if each is not None]
    if not sides:
        return None
    if len(sides) == 1:
        sides.append((value, settings))
    (low, below), (high, above) = sides
    forms = {str(jax.tree.structure(each)) for each in (below, above, settings)}
    if len(forms) > 1 or _stages_off(settings, above):
        return OFF

    def slope(first: Any, second: Any) -> np.ndarray:
        first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
        moves = np.isfinite(first) & np.isfinite(second)  # paddings and absent bounds are infinite
        return np.asarray(np.subtract(second, first, out=np.zeros_like(first), where=moves) / (high - low))

    slopes = list(map(slope, float_leaves(below)[0], float_leaves(above)[0]))
    share = 0 < value < 1 and lowered(1.5) is None
    return Number(value, slopes, share, put) if any(map(np.any, slopes)) else UNREAD


def _stages_off(here: Settings, moved: Settings) -> bool:
    """Whether a stage that the move would turn on does nothing now, so that the program goes past it."""

    def off(settings: Settings, name: str) -> bool:
        numbers = settings.stages[name].items()
        return all(not isinstance(n, Schedule) and float(n) == STAGES[name].neutral(key) for key, n in numbers)

    return any(off(here, name) and not off(moved, name) for name in here.stages)


def _without_slope(recipe: Recipe, program: Program) -> dict[str, str]:
    written = {*recipe.changed(), "optimizer", "batch_size", "epochs"}
    left_out = {name: CHOICE for name in _CHOICES if name in written}
    left_out |= {name: COUNT for name in _COUNTS if name in written}
    left_out |= {f"hyperparameters.{name}": MASK for name in _mask_rates(program) & set(recipe.hyperparameters)}
    left_out |= {"dropout": MASK} if recipe.dropout is not None else {}
    left_out |= {"lookahead.sync_period": COUNT} if recipe.lookahead else {}
    left_out |= {f"plateau.{name}": why for name, why in _IN_PLATEAU.items()} if recipe.plateau else {}
    left_out |= {"early_stopping": LIMIT} if recipe.early_stopping else {}
    left_out |= {"average": CHOICE} if recipe.average == 1 else {}  # the plain mean, which no decay comes near to
    if recipe.schedule in _JUMPING:
        left_out |= {f"schedule_arguments.{name}": LIMIT for name in _JUMPING[recipe.schedule]}
    if recipe.schedule_arguments.get("staircase"):
        left_out["schedule_arguments.transition_steps"] = LIMIT
    return left_out


def _mask_rates(program: Program) -> set[str]:
    """Names of the rates of random masks in the model."""
    masking = [node for _, node in nnx.iter_graph(program.model.template) if isinstance(node, layers.Dropout)]
    rates = [layer.rate for layer in masking if isinstance(layer.rate, layers.Hyperparameter)]
    return {str(rate.name) for rate in rates}


def _places(task: Task, recipe: Recipe, program: Program, steps: int) -> dict[str, _Place]:
    """Where a recipe has numbers, by name; a schedule's are `field.name`, or of many pieces `field[0].name`."""
    known = {"learning_rate": recipe.learning_rate, **numbers_of(recipe, task), "warmup": recipe.warmup}
    if recipe.plateau:
        known |= {f"plateau.{name}": v for name, v in ({**PLATEAU, **recipe.plateau}).items() if name != "metric"}
    known |= {f"lookahead.{name}": v for name, v in (LOOKAHEAD | dict(recipe.lookahead)).items() if recipe.lookahead}
    if recipe.schedule != "constant":
        epoch_starts = program.structure.epoch_starts(steps)
        span = max(steps - float(schedules.to_steps(recipe.warmup, epoch_starts)), 1.0)
        defaults = schedules.SHAPES[recipe.schedule].defaults(span)
        own = {name: v for name, v in defaults.items() if name not in _OF_THE_RATE} | dict(recipe.schedule_arguments)
        known |= {f"schedule_arguments.{name}": v for name, v in own.items()}
    places: dict[str, _Place] = {}
    for name, value in known.items():
        place = _of_field(recipe, name, value)
        if isinstance(value, Schedule):
            places |= {f"{name}{part}": inner for part, inner in _of_schedule(place, value).items()}
        else:
            places[name] = _in_unit(place, value)
    return places


def _of_field(recipe: Recipe, name: str, default: Any) -> _Place:
    """A field, or one entry of a field that holds several."""
    field, _, key = name.partition(".")
    if name == "loss_arguments.label_smoothing" and recipe.label_smoothing is not None:
        field, key = "label_smoothing", ""
    if not key:

        def get(recipe: Recipe) -> Any:
            value = getattr(recipe, field)
            return default if value is None else value

        return _Place(get, lambda recipe, value: recipe.replace(**{field: value}))
    return _Place(
        lambda recipe: getattr(recipe, field).get(key, default),
        lambda recipe, value: recipe.replace(**{field: {**getattr(recipe, field), key: value}}),
    )


def _of_schedule(place: _Place, schedule: Schedule) -> dict[str, _Place]:
    """The arguments of a schedule's pieces, but for flags and for lengths at whose end the value jumps."""

    def inner(piece: int, argument: str) -> _Place:
        def put(recipe: Recipe, value: Any) -> Recipe:
            written = place.get(recipe).to_dict()
            written["pieces"][piece]["arguments"][argument] = value
            return place.put(recipe, Schedule.from_dict(written))

        return _Place(lambda recipe: place.get(recipe).to_dict()["pieces"][piece]["arguments"][argument], put)

    found, pieces = {}, schedule.to_dict()["pieces"]
    for number, piece in enumerate(pieces):
        roles = {column.name: column.role for column in KINDS[piece["kind"]].columns}
        jumping = _JUMPING.get(piece["kind"], ())
        jumping += ("transition_steps",) if piece["arguments"].get("staircase") else ()
        for argument, value in piece["arguments"].items():
            if roles[argument] != "flag" and argument not in jumping:
                label = f".{argument}" if len(pieces) == 1 else f"[{number}].{argument}"
                found[label] = _in_unit(inner(number, argument), value)
    return found


def _in_unit(place: _Place, value: Any) -> _Place:
    """A length's value in its own unit, whether it is a `Length` or as a written schedule has one."""
    if isinstance(value, Length):
        unit = value.unit

        def get(recipe: Recipe) -> Any:
            length = place.get(recipe)
            return length.value if isinstance(length, Length) else length

        return _Place(get, lambda recipe, moved: place.put(recipe, Length(moved, unit)))
    if isinstance(value, Mapping):
        ((key, _),) = value.items()
        return _Place(lambda recipe: place.get(recipe)[key], lambda recipe, moved: place.put(recipe, {key: moved}))
    return place
