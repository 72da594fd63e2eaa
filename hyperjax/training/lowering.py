"""Recipes to leaves and structure: what may differ between members of a program becomes data."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperjax import activations, losses, optimizers, schedules
from hyperjax.batching import scale_learning_rate
from hyperjax.checks import nearest, one_of, require
from hyperjax.optimizers import Form
from hyperjax.schedules import Length, Schedule
from hyperjax.tasks import Task
from hyperjax.training.following import NOTHING
from hyperjax.training.recipe import Recipe
from hyperjax.training.recipe_checks import LOOKAHEAD, PLATEAU, RAMP, STOPPING, check_schedules
from hyperjax.training.settings import Settings
from hyperjax.training.stages import STAGES
from hyperjax.training.structure import Structure


def grouped(recipes: Sequence[Recipe], task: Task) -> list[list[int]]:
    """The places of recipes that can share a program, together."""
    groups: dict[Hashable, list[int]] = {}
    for place, recipe in enumerate(recipes):
        groups.setdefault(group_key(recipe, task), []).append(place)
    return list(groups.values())


def group_key(recipe: Recipe, task: Task) -> Hashable:
    """Recipes with equal keys can share a program; those that differ cannot."""
    factory = recipe.optimizer if callable(recipe.optimizer) else None
    names = (tuple(sorted(_factory_numbers(recipe))), _factory_structure(recipe)) if factory else ()
    bound = (recipe.activation is not None, *_model_numbers(recipe))
    return (
        recipe.micro_batch_size or _batch_size(recipe, task),
        recipe.micro_batch_size is None,
        _ramp(recipe, task),
        recipe.micro_batches,
        recipe.precision,
        recipe.rematerialize,
        _arguments(recipe),
        factory,
        names,
        bound,
    )


def lower_together(recipes: Sequence[Recipe], task: Task) -> tuple[list[Settings], Structure]:
    """Settings of recipes with one group key, in one form, and the structure of the program that holds them all.

    Args:
        recipes: at least one; those that the program must only have room for (the rest of a space) among them.
        task: what they are trained on.
    """
    first = recipes[0]
    names = tuple(dict.fromkeys(_loss_name(recipe, task) for recipe in recipes)) if isinstance(task.loss, str) else ()
    if not isinstance(task.loss, str):
        for recipe in recipes:
            _refuse_loss(recipe, task)
    chosen = tuple(dict.fromkeys(recipe.activation for recipe in recipes if recipe.activation is not None))
    structure = Structure(
        examples=task.size("train"),
        batch_size=first.micro_batch_size or _batch_size(first, task),
        gathers=first.micro_batch_size is not None,
        ramp=_ramp(first, task),
        model=_arguments(first),
        optimizer=first.optimizer if callable(first.optimizer) else None,
        arguments=_factory_structure(first) if callable(first.optimizer) else (),
        losses=tuple(sorted(names)),
        choices=(("activation", tuple(sorted(chosen))),) if chosen else (),
        numbers=(*_model_numbers(first), *_activation_numbers(recipes)),
        decays=tuple(sorted(dict.fromkeys(recipe.decay for recipe in recipes), key=str)),
        samplings=tuple(sorted({recipe.sampling for recipe in recipes})),
        micro_batches=first.micro_batches,
        precision=first.precision,
        rematerialize=first.rematerialize,
    )
    holds = _Holds.of(recipes)
    return _in_one_form([_settings(recipe, task, structure, holds) for recipe in recipes]), structure


def stepwise(recipe: Recipe) -> Recipe:
    """The same way of training, to rounding, in a program that takes a whole step at each turn.

    >>> stepwise(Recipe(batch_size=64, micro_batch_size=16))
    Recipe(batch_size=64, micro_batches=4)
    """
    if recipe.micro_batch_size is None:
        return recipe
    return recipe.replace(micro_batches=int(recipe.batch_size) // recipe.micro_batch_size, micro_batch_size=None)


class _Holds(NamedTuple):
    """What a program must have room for, since one of its recipes asks for it."""

    shape: bool
    clip_norm: bool
    stages: dict[str, tuple[str, ...]]  # arguments of each stage
    sam: bool
    plateau: bool
    stopping: bool
    example_weights: bool

    @classmethod
    def of(cls, recipes: Sequence[Recipe]) -> "_Holds":
        arguments: dict[str, dict[str, None]] = {}
        for recipe in recipes:
            for name, numbers in asked(recipe).items():
                arguments.setdefault(name, {}).update(dict.fromkeys(numbers))
        return cls(
            shape=any(recipe.schedule != "constant" or _is_long(recipe.warmup) for recipe in recipes),
            clip_norm=any(recipe.clip_norm is not None for recipe in recipes),
            stages={name: tuple(arguments[name]) for name in STAGES if name in arguments},
            sam=any(recipe.sam is not None for recipe in recipes),
            plateau=any(recipe.plateau for recipe in recipes),
            stopping=any(recipe.early_stopping for recipe in recipes),
            example_weights=any(recipe.class_weights is not None for recipe in recipes),
        )


def asked(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The stages that a recipe asks for, each with its numbers by argument."""
    single = {
        "clip_value": ("max_delta", recipe.clip_value),
        "clip_adaptive": ("clipping", recipe.clip_adaptive),
        "centralize": ("share", 1.0 if recipe.centralize else None),
        "gradient_noise": ("deviation", recipe.gradient_noise),
        "l1": ("l1", recipe.l1),
        "proximal_l1": ("l1", recipe.proximal_l1),
        "max_norm": ("limit", recipe.max_norm),
    }
    off = {name: [None, *STAGES[name].off.values()] for name in single}
    stages: dict[str, dict[str, Any]] = {n: {k: v} for n, (k, v) in single.items() if v not in off[n]}
    if recipe.rate_multipliers:
        stages["rate_multipliers"] = dict(recipe.rate_multipliers)
    if recipe.lookahead:
        stages["lookahead"] = LOOKAHEAD | dict(recipe.lookahead)
    if recipe.average is not None:
        stages["average"] = {"decay": recipe.average, "start": recipe.average_start}
    return stages


def _settings(recipe: Recipe, task: Task, structure: Structure, holds: _Holds) -> Settings:
    parts = _parts(recipe, task) if structure.gathers else None
    program, structure = structure, structure.member(parts)
    per_epoch = program.steps_per_epoch
    longest = (2**31 - 1) // per_epoch  # steps are counted in 32 bits
    require(recipe.epochs <= longest, f"epochs must be at most {longest} here, got {recipe.epochs!r}")
    steps = structure.steps(recipe.epochs)
    epoch_starts = structure.epoch_starts(steps)

    def resolved(number: Any) -> Any:
        return number.resolve(epoch_starts) if isinstance(number, Schedule) else number

    warmup = float(schedules.to_steps(recipe.warmup, epoch_starts))
    require(
        warmup <= steps, f"warmup must be at most the run's {steps} steps, got {recipe.warmup!r} = {warmup:g} steps"
    )
    shape = resolved(schedules.shape(recipe.schedule, recipe.schedule_arguments, max(steps - warmup, 1.0)))
    factory = structure.optimizer is not None
    choices = dict(structure.choices)

    def of_stage(name: str, arguments: tuple[str, ...]) -> dict[str, Any]:
        own = asked(recipe).get(name, {})
        values = {argument: own.get(argument, STAGES[name].neutral(argument)) for argument in arguments}
        return {k: _steps(v, epoch_starts) if isinstance(v, Length) else resolved(v) for k, v in values.items()}

    check_schedules(recipe, resolved, steps)
    return Settings(
        learning_rate=resolved(recipe.learning_rate),
        shape=(resolved(schedules.warmup(shape, warmup)) if warmup else shape) if holds.shape else None,
        rule=None if factory else _resolved_rule(recipe, resolved),
        arguments={name: resolved(value) for name, value in _factory_numbers(recipe).items()} if factory else {},
        clip_norm=(math.inf if recipe.clip_norm is None else resolved(recipe.clip_norm)) if holds.clip_norm else None,
        stages={name: of_stage(name, arguments) for name, arguments in holds.stages.items()},
        sam=(0.0 if recipe.sam is None else resolved(recipe.sam)) if holds.sam else None,
        decay=np.int32(structure.decays.index(recipe.decay)),
        plateau=_followed("plateau", recipe.plateau, PLATEAU, task) if holds.plateau else None,
        stopping=_followed("early_stopping", recipe.early_stopping, STOPPING, task) if holds.stopping else None,
        sampling=np.int32(structure.samplings.index(recipe.sampling)),
        loss=np.int32(structure.losses.index(_loss_name(recipe, task)) if structure.losses else 0),
        loss_arguments=_loss_arguments(recipe, task, structure, resolved),
        numbers={name: resolved(_model_number(recipe, name)) for name in structure.numbers},
        choices={name: np.int32(options.index(recipe.activation)) for name, options in choices.items()},
        steps=np.int32(steps),
        parts=None if parts is None else np.int32(parts),
        example_weights=_example_weights(recipe, task) if holds.example_weights else None,
    )


def _steps(length: Any, epoch_starts: np.ndarray) -> float:
    return float(round(float(schedules.to_steps(length, epoch_starts))))


def _followed(field: str, given: Mapping[str, Any], defaults: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Numbers of what follows a value, its column and its sign: 1 for a value that should fall, else -1."""
    values = {**defaults, **given}
    metric = values.pop("metric")
    names = ["train_loss"] if field == "plateau" else []
    if "validation" in task.data:
        names += [f"validation_{name}" for name in ("loss", *task.metrics)]
    column, direction = NOTHING, "min"
    if given:
        if field == "early_stopping" and not names:
            raise ValueError(f"early_stopping must be left out, since {task.name} has no validation set; got {given}")
        metric = one_of(f"{field}['metric']", metric or task.ranking, names)
        column = names.index(metric) + (0 if field == "plateau" else 1)
        direction = task.direction_of(metric.removeprefix("validation_"))
    numbers = {name: np.float64(value) for name, value in values.items()}
    return numbers | {"column": np.int32(column), "sign": np.float64(1.0 if direction == "min" else -1.0)}


def _example_weights(recipe: Recipe, task: Task) -> np.ndarray:
    """f32[examples], of mean 1: what each training example counts."""
    examples = task.size("train")
    if recipe.class_weights is None:
        return np.ones(examples, np.float32)
    require(task.kind == "classes", f"class_weights must be None, since the target of {task.name} is not a class each")
    labels = np.asarray(task.data["train"][1])
    require(labels.ndim == 1, f"class_weights must be None for targets of shape {labels.shape}")
    return np.asarray(losses.class_weights(labels)[labels], np.float32)


def _resolved_rule(recipe: Recipe, resolved: Callable[[Any], Any]) -> optimizers.Rule:
    rule = optimizers.rule(str(recipe.optimizer), **recipe.rule_arguments)
    return replace(rule, numbers={name: resolved(number) for name, number in rule.numbers.items()})


def _in_one_form(members: list[Settings]) -> list[Settings]:
    """Equal trees for all: rules in the union of their forms, schedules in a common table, bare numbers beside them."""
    if members[0].rule is not None:
        rules = [m.rule for m in members if m.rule is not None]
        form: Form = reduce(Form.union, [rule.form for rule in rules])
        members = [replace(m, rule=rule.widen(form)) for m, rule in zip(members, rules, strict=True)]

    def is_number(leaf: Any) -> bool:
        return isinstance(leaf, Schedule)

    columns = zip(*(jax.tree.leaves(m, is_leaf=is_number) for m in members), strict=True)
    alike = [_alike(column) for column in columns]
    treedefs = [jax.tree.structure(m, is_leaf=is_number) for m in members]
    return [jax.tree.unflatten(treedef, row) for treedef, row in zip(treedefs, zip(*alike, strict=True), strict=True)]


def _alike(column: tuple[Any, ...]) -> list[Any]:
    if not any(isinstance(number, Schedule) for number in column):
        return [np.asarray(n, np.float64) if isinstance(n, int | float) else n for n in column]
    full = [schedules.as_schedule(number) for number in column]
    table, pieces = schedules.common_form(full)
    return [schedule.widen(table, pieces) for schedule in full]


def _batch_size(recipe: Recipe, task: Task) -> int:
    examples = task.size("train")
    if task.stream is not None:
        _refuse_with_stream(recipe, task)
    if recipe.batch_size == "full":
        return examples
    size = int(recipe.batch_size)
    require(
        size <= examples,
        f"batch_size must be at most the {examples} training examples of {task.name}, got {size}; "
        "'full' takes all of them",
    )
    return size


def _parts(recipe: Recipe, task: Task) -> int:
    """Of how many parts a recipe's batch is."""
    require(
        task.stream is None,
        f"micro_batch_size must be None for the streamed data of {task.name}, got {recipe.micro_batch_size}",
    )
    return _batch_size(recipe, task) // (recipe.micro_batch_size or 1)


def _refuse_with_stream(recipe: Recipe, task: Task) -> None:
    """What needs the whole training set at hand; and batches are of the size that their maker gave them."""
    assert task.stream is not None
    own, data = task.stream.batch_size, f"the streamed data of {task.name}"
    require(recipe.batch_size != "full", f"batch_size must be a whole number for {data}, got 'full'")
    require(
        own is None or recipe.batch_size == own,
        f"batch_size must be {own}, as the batches of {task.name} are, got {recipe.batch_size}",
    )
    require(own is None or not recipe.batch_ramp, f"batch_ramp must be left out for {data}, got {recipe.batch_ramp}")
    require(recipe.sampling == "permutation", f"sampling must be 'permutation' for {data}, got {recipe.sampling!r}")
    require(recipe.class_weights is None, f"class_weights must be None for {data}, got {recipe.class_weights!r}")


def _ramp(recipe: Recipe, task: Task) -> tuple[tuple[int, int, float], ...]:
    """(epoch, batch size, factor on the rate) of each change of the batch size within the run."""
    if not recipe.batch_ramp:
        return ()
    ramp = {**RAMP, **recipe.batch_ramp}
    first, found = _batch_size(recipe, task), []
    for count, epoch in enumerate(sorted(ramp["epochs"]), 1):
        size = min(first * int(ramp["factor"]) ** count, task.size("train"))
        rate = 1.0 if ramp["rate"] == "constant" else float(scale_learning_rate(1.0, first, size, ramp["rate"]))
        found.append((int(epoch), size, rate))
    return tuple(found)


def _arguments(recipe: Recipe) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in recipe.model.items()))


def _factory_numbers(recipe: Recipe) -> dict[str, Any]:
    """A factory's arguments that are data: floats and schedules."""
    return {name: v for name, v in recipe.rule_arguments.items() if isinstance(v, float | Schedule)}


def _factory_structure(recipe: Recipe) -> tuple[tuple[str, Any], ...]:
    """A factory's other arguments, on which its program may depend: whole numbers, bools, names, functions."""
    numbers = _factory_numbers(recipe)
    return tuple(sorted((name, v) for name, v in recipe.rule_arguments.items() if name not in numbers))


def _model_numbers(recipe: Recipe) -> tuple[str, ...]:
    return (*(("dropout",) if recipe.dropout is not None else ()), *sorted(recipe.hyperparameters))


def _activation_numbers(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    return tuple(sorted({name for recipe in recipes for name in recipe.activation_arguments}))


def _model_number(recipe: Recipe, name: str) -> Any:
    if name == "dropout":
        return recipe.dropout
    known = {n: default for numbers in activations.NUMBERS.values() for n, default in numbers.items()}
    return {**known, **recipe.hyperparameters, **recipe.activation_arguments}[name]


def _is_long(length: float | Length) -> bool:
    return bool((length.value if isinstance(length, Length) else length) > 0)


def _loss_name(recipe: Recipe, task: Task) -> str:
    assert task.kind is not None
    name = recipe.loss or str(task.loss)
    return one_of(f"loss (for a target of kind {task.kind!r})", name, losses.LOSSES[task.kind])


def _refuse_loss(recipe: Recipe, task: Task) -> None:
    own = "an objective" if task.objective is not None else "a loss function of its own"
    for field in ("loss", "label_smoothing"):
        given = getattr(recipe, field)
        require(given is None, f"{field} must be left out, since {task.name} has {own}; got {given!r}")
    given = dict(recipe.loss_arguments)
    require(not given, f"loss_arguments must be left out, since {task.name} has {own}; got {given}")


def _loss_arguments(recipe: Recipe, task: Task, structure: Structure, resolved: Callable[[Any], Any]) -> dict[str, Any]:
    """The numbers of all losses of the program; a recipe may give those of its own loss."""
    if task.kind is None or not structure.losses:
        return {}
    table = losses.LOSSES[task.kind]
    known = {row.number.name: row.number for name in structure.losses if (row := table[name]).number is not None}
    smoothing = {} if recipe.label_smoothing is None else {"label_smoothing": recipe.label_smoothing}
    given = dict(recipe.loss_arguments) | smoothing
    name = _loss_name(recipe, task)
    own = table[name].number
    for argument, value in given.items():
        if own is None or argument != own.name:
            allowed = f"only {own.name}{nearest(argument, [own.name])}" if own else "no number"
            raise ValueError(f"{argument} must be left out for the loss {name}, which reads {allowed}; got {value!r}")
        inside = callable(value) or own.low <= value < own.high
        require(inside, f"{argument} must be a number in [{own.low:g}, {own.high:g}), got {value!r}")
    return {n: resolved(given.get(n, number.default)) for n, number in known.items()}
