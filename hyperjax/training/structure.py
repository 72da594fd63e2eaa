"""Structure: the static part of a recipe, all that a program is compiled for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyperjax.batching import last_batch_size, steps_per_epoch


@dataclass(frozen=True)
class Structure:
    """What members of one program have in common; hashable, so that it names the program.

    Attributes:
        examples: size of the training set; batch_size: examples a step, all of them for a full batch.
        model: arguments of the model factory, sorted by name.
        optimizer: None for the rule family, whose form is part of the settings' tree; else a factory.
        arguments: of the factory, those that are not numbers over which to vary: whole numbers, bools, names.
        losses: names that the loss index counts; empty for the task's own function or objective.
        choices: name of a choice in the model and what its index counts.
        numbers: names of the model's hyperparameters that the settings give.
        decays: what the decay index counts: "all", "matrices", or functions of path and array.
        samplings: what the sampling index counts.
        micro_batches: parts into which a batch is cut, their gradients added.
    """

    examples: int
    batch_size: int
    model: tuple[tuple[str, Any], ...] = ()
    optimizer: Callable[..., Any] | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    losses: tuple[str, ...] = ()
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()
    numbers: tuple[str, ...] = ()
    decays: tuple[Any, ...] = ("all",)
    samplings: tuple[str, ...] = ("permutation",)
    micro_batches: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Batches that see each example once."""
        return steps_per_epoch(self.examples, self.batch_size)

    def epoch_starts(self, steps: int) -> np.ndarray:
        """f64[epochs + 1], the first step of each epoch of a run of so many steps, and the run's end."""
        per_epoch = self.steps_per_epoch
        return np.minimum(np.arange(-(-steps // per_epoch) + 1) * per_epoch, steps).astype(np.float64)

    def batch_sizes(self, steps: int) -> np.ndarray:
        """i64[steps], examples in the batch of each of the first steps of a run."""
        ends_epoch = (np.arange(steps) + 1) % self.steps_per_epoch == 0
        return np.where(ends_epoch, self.last_batch, self.batch_size)

    @property
    def last_batch(self) -> int:
        """Examples in an epoch's last batch."""
        return last_batch_size(self.examples, self.batch_size)

    @property
    def full_batch(self) -> bool:
        """True when a step sees every example, so that nothing is shuffled."""
        return self.batch_size == self.examples
