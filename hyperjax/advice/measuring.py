"""What is measured before any candidate is trained: the batch size's cost and noise, and the learning rate's range."""

import math
import os
from typing import NamedTuple

from hyperjax.advice.clock import Clock
from hyperjax.advice.description import Description
from hyperjax.diagnostics import BatchCost, NoiseScale, RangeTest, batch_cost, lr_range_test, noise_scale
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe

SMALLER, LARGER = 16, 128  # batch sizes, one of which is measured beside the one in use
STEPS_AT_LEAST = 4  # an epoch, else a larger batch is not looked at
NOISE = {"points": 2, "steps": 60, "examples": 512}
RATES, RANGE_STEPS = 12, (30, 80)
RANGE_RUNS, RANGE_SHARE = 120, 0.08  # about as many runs, and what they may take of the budget
SHARE = 0.3  # of the budget, after which the range test is left out


class Measured(NamedTuple):
    """What was measured: sizes worth training with, the first of them that of the default, and a rate."""

    noise: NoiseScale
    cost: BatchCost
    range: RangeTest | None  # None: time was short
    sizes: tuple[int, ...]
    seconds: float  # a step with the default's batch size


def measure(task: Task, described: Description, prior: Recipe, clock: Clock) -> Measured:
    """Measure what the prior's recipe says of the batch size and the rate.

    Args:
        task, described: what is learnt.
        prior: with the default's batch size.
        clock: of the advice.
    """
    size, examples = int(prior.batch_size), described.examples
    short = prior.replace(epochs=max(1.0, NOISE["steps"] * size / examples), schedule="constant", warmup=0)
    with clock.phase("noise scale"):
        looked_at = min(NOISE["examples"], examples)
        noise = noise_scale(
            task, short, points=NOISE["points"], steps=NOISE["steps"], examples=looked_at, hessian=False
        )
    with clock.phase("batch cost"):
        wide = noise.critical_batch.mean >= (size * LARGER) ** 0.5 and examples >= LARGER * STEPS_AT_LEAST
        cost = batch_cost(task, short, sorted({size, LARGER if wide else min(SMALLER, size)}), noise=noise)
    own = next(each for each in cost.costs if each.batch_size == size)
    seconds = math.nan if own.seconds is None else own.seconds.median
    tested = None
    if clock.spent < SHARE * clock.budget:
        with clock.phase("range test"):
            high = 1.0 if prior.optimizer in ("adam", "adamw") else 10.0
            steps = RANGE_SHARE * clock.budget * (os.cpu_count() or 1) / (RANGE_RUNS * max(seconds, 1e-6))
            steps = round(min(max(steps, RANGE_STEPS[0]), RANGE_STEPS[1]))
            tested = lr_range_test(task, short, 1e-5 * high, high, rates=RATES, steps=steps)
    return Measured(noise, cost, tested, _sizes(cost, size), seconds)


def _sizes(cost: BatchCost, size: int) -> tuple[int, ...]:
    """The default's batch size, and the one that costs the least time to a loss where that is another."""
    advised = {one.by: one.batch_size for one in cost.advice}
    other = advised.get("time", size)
    return (size,) if other == size else (size, other)
