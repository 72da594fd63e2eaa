"""One recipe at many learning rates for a few steps, every rate on the same batches."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hyperjax.schedules import Schedule
from hyperjax.tasks import Task
from hyperjax.training.engine import Engine
from hyperjax.training.lowering import lower_together, stepwise
from hyperjax.training.recipe import Recipe

STILL = 1e-6  # times the lowest rate: steps too small to move a weight, which no optimizer divides by
EXAMPLES = 256  # whose outputs are compared


class RateRuns:
    """Short runs of a recipe that differ in their rates alone, trained as populations of one compiled program.

    Whatever would change the rate or the batches on the way is left out of the recipe: schedule, warm-up, plateau,
    early stopping, batch ramp. Equal seeds give equal initial weights, batches and masks to all rates.

    Args:
        task: what is learnt.
        recipe: how.
        seeds: of the runs.
        steps: of each run.
    """

    def __init__(self, task: Task, recipe: Recipe, seeds: Sequence[int], steps: int):
        self.task, self.seeds, self.steps = task, list(seeds), steps
        bare: dict[str, Any] = {"schedule": "constant", "schedule_arguments": {}, "warmup": 0, "plateau": {}}
        bare |= {"early_stopping": {}, "batch_ramp": {}, "learning_rate": 1.0}
        recipe = recipe.replace(**bare)
        self.per_epoch = lower_together([stepwise(recipe)], task)[1].steps_per_epoch
        self.recipe = recipe.replace(epochs=steps / self.per_epoch)
        self._width: int | None = None  # of a chunk: what is compiled for the first population serves the later ones

    def losses(self, rates: Sequence[float | Schedule], targets: np.ndarray | None = None) -> np.ndarray:
        """f64[rates, seeds, steps], the training loss of each step's batch; NaN from where a run diverged.

        Args:
            rates: constant rates, or schedules in absolute values.
            targets: [seeds, *targets' shape], training targets for each seed, instead of the task's.
        """
        recipes = [self.recipe.replace(learning_rate=rate) for rate in rates]
        own = None if targets is None else np.concatenate([targets] * len(recipes))
        width = self._width if targets is None else None
        engine = Engine(self.task, recipes, self.seeds, width=width, targets=own)
        engine.compile()
        if targets is None:
            self._width = engine.groups[0].width
        found = np.full((len(recipes), len(self.seeds), self.steps), np.nan)
        for place, run in enumerate(engine.run()):
            kept = run.losses if run.diverged_at is None else run.losses[: run.diverged_at]
            found[divmod(place, len(self.seeds))][: len(kept)] = kept
        return found

    def changes(self, rate: float) -> dict[str, np.ndarray]:
        """f64[seeds], the root mean square of what one step changes: of each weight by its path, and of "outputs".

        Outputs are those of the first examples in evaluation mode, and are left out where a task has an objective.
        """
        one = self.recipe.replace(epochs=1 / self.per_epoch)
        recipes = [one.replace(learning_rate=each) for each in (rate * STILL, rate)]
        runs = Engine(self.task, recipes, self.seeds).run()
        before, after = runs[: len(self.seeds)], runs[len(self.seeds) :]
        found: dict[str, list[float]] = {}
        for old, new in zip(before, after, strict=True):
            weights = [jax.tree_util.tree_leaves_with_path(run._trained().weights) for run in (old, new)]  # type: ignore[misc]
            pairs = {_named(path): (a, b) for (path, a), (_, b) in zip(*weights, strict=True)}
            if self.task.objective is None:
                inputs = jax.tree.map(lambda leaf: leaf[:EXAMPLES], self.task.arrays["train"][0])
                pairs["outputs"] = (old.model(inputs), new.model(inputs))
            for name, (a, b) in pairs.items():
                difference = np.asarray(b, np.float64) - np.asarray(a, np.float64)
                found.setdefault(name, []).append(float(np.sqrt(np.mean(difference**2))))
        return {name: np.array(each) for name, each in found.items()}


def _named(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")
