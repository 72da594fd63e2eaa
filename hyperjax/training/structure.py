"""Structure: the static part of a recipe, all that a program is compiled for."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hyperjax.batching import last_batch_size, steps_per_epoch


class Phase(NamedTuple):
    """A part of a run with one batch size."""

    step: int = 0  # first
    epoch: int = 0  # first
    last: int | None = None  # step behind its last; None: the run's own end
    rate: float = 1.0  # factor on the learning rate


WHOLE = Phase()  # a run with one batch size


@dataclass(frozen=True)
class Structure:
    """What members of one program have in common; hashable, so that it names the program.

    Attributes:
        examples: size of the training set; batch_size: examples a step, all of them for a full batch.
        gathers: whether `batch_size` is that of a part, of which each member's settings say how many make its batch:
            what is said of steps below is then true of turns, one a part.
        model: arguments of the model factory, sorted by name.
        optimizer: None for the rule family, whose form is part of the settings' tree; else a factory.
        arguments: of the factory, those that are not numbers over which to vary: whole numbers, bools, names.
        losses: names that the loss index counts; empty for the task's own function or objective.
        choices: name of a choice in the model and what its index counts.
        numbers: names of the model's hyperparameters that the settings give.
        decays: what the decay index counts: "all", "matrices", or functions of path and array.
        samplings: what the sampling index counts.
        micro_batches: parts into which a batch is cut, their gradients added.
        precision: what the model computes in, "float32" for whatever its weights and inputs are.
        rematerialize: whether only the products of matrices are kept for the backward pass.
        ramp: (epoch, batch size, factor on the rate) of each change of the batch size; what `phases` takes apart.
        phase: of a run whose batch size changes, the part that a program is for.
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
    gathers: bool = False
    micro_batches: int = 1
    precision: str = "float32"
    rematerialize: bool = False
    ramp: tuple[tuple[int, int, float], ...] = ()
    phase: Phase = WHOLE

    @property
    def steps_per_epoch(self) -> int:
        """Batches that see each example once."""
        return steps_per_epoch(self.examples, self.batch_size)

    @property
    def phases(self) -> "tuple[Structure, ...]":
        """One structure for each batch size of the run, in order; the structure itself where there is only one."""
        if not self.ramp:
            return (self,)
        found, step, epoch, size, factor = [], 0, 0, self.batch_size, 1.0
        for next_epoch, next_size, next_factor in (*self.ramp, (None, None, None)):
            steps = None if next_epoch is None else (next_epoch - epoch) * steps_per_epoch(self.examples, size)
            last = None if steps is None else step + steps
            found.append(replace(self, batch_size=size, ramp=(), phase=Phase(step, epoch, last, factor)))
            if next_epoch is None or next_size is None or next_factor is None or last is None:
                break
            step, epoch, size, factor = last, next_epoch, next_size, next_factor
        return tuple(found)

    def member(self, parts: Any) -> "Structure":
        """The structure of a member whose batches have so many parts, as far as steps and epochs are counted."""
        return replace(self, batch_size=self.batch_size * int(parts), gathers=False) if self.gathers else self

    def steps_per_epoch_in(self, parts: Any) -> Any:
        """Batches of so many parts that see each example once; arrays, traced or not, or numbers."""
        return -(-self.steps_per_epoch // parts)

    def turn_ends(self, parts: Any, turns: int) -> np.ndarray:
        """i64[steps], the turn in which each step of so many turns ends, where batches are of so many parts."""
        numbers = np.arange(turns)
        place = numbers % self.steps_per_epoch
        ends: np.ndarray = numbers[((place + 1) % int(parts) == 0) | (place == self.steps_per_epoch - 1)]
        return ends

    def turns(self, parts: Any, steps: Any) -> Any:
        """Turns that so many steps take, for members with so many parts to a batch; arrays or numbers."""
        if not self.gathers:
            return steps
        own = self.steps_per_epoch_in(parts)
        return steps // own * self.steps_per_epoch + steps % own * parts

    def steps(self, epochs: float) -> int:
        """Steps of a run of so many epochs, rounded up, at least 1."""
        phase = next(p for p in reversed(self.phases) if p.phase.epoch < epochs or p.phase.epoch == 0)
        own = math.ceil((epochs - phase.phase.epoch) * phase.steps_per_epoch - 1e-6)
        return max(1, phase.phase.step + own)

    def boundaries(self, steps: int) -> np.ndarray:
        """i64[epochs + 1], the first step of each epoch that a run of so many steps touches, and the last one's end."""
        found = [np.zeros(1, np.int64)]
        for each in self.phases:
            last = steps if each.phase.last is None else min(steps, each.phase.last)
            count = -(-(last - each.phase.step) // each.steps_per_epoch)
            found.append(each.phase.step + np.arange(1, count + 1) * each.steps_per_epoch)
        return np.concatenate(found)

    def epoch_starts(self, steps: int) -> np.ndarray:
        """f64[epochs + 1], the first step of each epoch of a run of so many steps, and the run's end."""
        return np.asarray(np.minimum(self.boundaries(steps), steps), np.float64)

    def batch_sizes(self, steps: int) -> np.ndarray:
        """i64[steps], examples in the batch of each of the first steps of a run."""
        sizes = np.empty(steps, np.int64)
        for each in self.phases:
            here = slice(each.phase.step, each.phase.last)
            ends_epoch = (np.arange(len(sizes[here])) + 1) % each.steps_per_epoch == 0
            sizes[here] = np.where(ends_epoch, each.last_batch, each.batch_size)
        return sizes

    def rate_factors(self, steps: np.ndarray) -> np.ndarray:
        """f64[n], what the ramp of the batch size multiplies the rate by at some steps."""
        starts = [each.phase.step for each in self.phases]
        factors = np.array([each.phase.rate for each in self.phases])
        return np.asarray(factors[np.searchsorted(starts, steps, "right") - 1])

    @property
    def last_batch(self) -> int:
        """Examples in an epoch's last batch."""
        return last_batch_size(self.examples, self.batch_size)

    @property
    def full_batch(self) -> bool:
        """True when a step sees every example, so that nothing is shuffled."""
        return self.batch_size == self.examples

    @property
    def pads_little(self) -> bool:
        """Whether filling the last batch up costs less than a sixteenth of an epoch."""
        drawn_once = self.samplings == ("permutation",)
        return drawn_once and 16 * (self.batch_size - self.last_batch) <= self.examples
