"""Settings: the leaves of a recipe, one member's row of numbers in a population."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hyperjax.optimizers import Rule
from hyperjax.schedules import Schedule
from hyperjax.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Settings:
    """What a compiled program takes for one member; every number is a leaf, and may be a `Schedule`.

    Attributes:
        learning_rate: f32[], before its shape.
        shape: schedule that multiplies the rate (warm-up included); None where no recipe of the program has one.
        rule: the optimizer's row; None for a factory.
        arguments: numbers of an optimizer factory by name.
        clip_norm: f32[], infinite for none; None where no recipe of the program clips.
        stages: numbers of what else happens around the rule, by stage and argument.
        sam: f32[], radius of the perturbation, 0 for none; None where no recipe of the program perturbs.
        decay: i32[], index into the structure's decays.
        plateau, stopping: numbers of what follows a value, with its column and its sign; None where nothing does.
        sampling: i32[], index into the structure's samplings.
        example_weights: f32[examples], of mean 1; None where every example counts alike.
        loss: i32[], index into the structure's losses.
        loss_arguments: numbers of the losses by name.
        numbers: hyperparameters of the model by name.
        choices: i32[] by name, index into the structure's choices.
        steps: i32[], how many to take.
        parts: i32[], of how many a batch is gathered; None where it is whole.
        targets: the member's own training targets; None where it has the task's.
    """

    learning_rate: Any
    shape: Schedule | None
    rule: Rule | None
    arguments: dict[str, Any]
    clip_norm: Any
    stages: dict[str, dict[str, Any]]
    sam: Any
    decay: Any
    plateau: dict[str, Any] | None
    stopping: dict[str, Any] | None
    sampling: Any
    loss: Any
    loss_arguments: dict[str, Any]
    numbers: dict[str, Any]
    choices: dict[str, Any]
    steps: Any
    example_weights: Any = None
    parts: Any = None
    targets: Any = None

    def rate_at(self, step: Any) -> Any:
        """Learning rate in force at a step."""
        rate = at(self.learning_rate, step)
        return rate if self.shape is None else rate * self.shape(step)

    def model_numbers_at(self, step: Any) -> dict[str, Any]:
        """The model's hyperparameters and choices in force at a step."""
        return {name: at(number, step) for name, number in self.numbers.items()} | self.choices

    def loss_arguments_at(self, step: Any) -> dict[str, Any]:
        """The loss's numbers in force at a step."""
        return {name: at(number, step) for name, number in self.loss_arguments.items()}


def stacked(settings: Sequence[Settings]) -> Settings:
    """Settings of several members, each leaf with an axis of members in front, on the host."""
    joined: Settings = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *settings)
    return joined


def at(number: Any, step: Any) -> Array | float:
    """A number in force at a step: a schedule's value there, or the number itself."""
    return number(step) if isinstance(number, Schedule) else number
