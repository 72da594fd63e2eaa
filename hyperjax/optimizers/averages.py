"""An average of the weights beside the weights: exponential or plain, kept in the optimizer's state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import require, within
from hyperjax.types import Array, Number, PyTree, Scalar


class AverageState(NamedTuple):
    """What `average_weights` remembers; `average` is what to evaluate."""

    count: Array  # type: ignore[assignment]  # i32[], updates seen
    average: PyTree  # like params


def average_weights(decay: Number = 0.999, start: Scalar = 0) -> optax.GradientTransformationExtraArgs:
    """Keep an average of the weights that updates lead to; the updates pass through unchanged.

        average <- decay * average + (1 - decay) * w       an exponential average (EMA), decay < 1
        average <- average + (w - average) / n             decay = 1: the mean of the n weights so far (Polyak)

    The first average, and every one up to `start` updates, is the weights themselves. Put it last in a chain and
    evaluate at `state.average`; it smooths the noise of the last steps, as a falling rate does, and costs one copy of
    the weights. It lags while the weights still travel: hence `start`, or a shorter memory of 1 / (1 - decay) updates.

    Args:
        decay: float[], no unit, in [0, 1]; 1 is the plain mean. Float, array, tracer or schedule.
        start: int[], updates before averaging begins, at least 0.
    Returns: an optax transformation whose update needs the parameters and whose state is an `AverageState`.
    Raises: ValueError on a decay outside [0, 1] or a negative start.
    Source: Polyak and Juditsky, 1992, Acceleration of stochastic approximation by averaging, eq. 4; PyTorch:
        `swa_utils.AveragedModel`, with `get_ema_multi_avg_fn(decay)` for an exponential one.

    >>> transform = average_weights(decay=0.5)
    >>> w, state = jnp.array(0.0), transform.init(jnp.array(0.0))
    >>> for _ in range(3):
    ...     update, state = transform.update(jnp.array(1.0), state, w)
    ...     w = w + update
    >>> print(w, state.average)  # 1, then (1 + 2) / 2, then (1.5 + 3) / 2
    3.0 2.25
    """
    within("decay", decay, 0.0, 1.0)
    within("start", start, 0)

    def init(params: PyTree) -> AverageState:
        return AverageState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.asarray, params))

    def update(
        updates: PyTree, state: AverageState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, AverageState]:
        require(params is not None, "params must be given, since they are what is averaged; got None")
        now = decay(state.count) if callable(decay) else decay
        weights = optax.apply_updates(params, updates)
        return updates, AverageState(
            optax.safe_increment(state.count), averaged(state.average, weights, state.count, now, start)
        )

    return optax.GradientTransformationExtraArgs(init, update)


def averaged(average: PyTree, weights: PyTree, count: Any, decay: Any, start: Any) -> PyTree:
    """The average once `weights`, those after update `count` (from 0), have joined it."""
    n = jnp.maximum(count - start, 0) + 1  # weights that the mean holds
    share = jnp.where(jnp.asarray(decay) >= 1, 1 / n, jnp.where(n == 1, 1.0, 1 - decay))

    def leaf(old: Any, new: Any) -> Any:
        step = share.astype(jnp.promote_types(old.dtype, jnp.float32))
        return jnp.where(n == 1, new, old + step * (new - old)).astype(old.dtype)

    return jax.tree.map(leaf, average, weights)
