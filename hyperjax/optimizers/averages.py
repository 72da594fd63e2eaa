"""An average of the weights beside the weights: exponential or plain, kept in the optimizer's state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import require, whole_number, within
from hyperjax.types import Array, Number, PyTree, Scalar


class AverageState(NamedTuple):
    """What `average_weights` remembers; `like(params)` is what to evaluate."""

    count: Array  # type: ignore[assignment]  # i32[], updates seen
    average: PyTree  # like params, in float32 at least

    def like(self, params: PyTree) -> PyTree:
        """The average in the types of the weights."""
        return in_types_of(params, self.average)


def average_weights(decay: Number = 0.999, start: Scalar = 0) -> optax.GradientTransformationExtraArgs:
    """Keep an average of the weights that updates lead to; the updates pass through unchanged.

        average <- decay * average + (1 - decay) * w       an exponential average (EMA), decay < 1
        average <- average + (w - average) / n             decay = 1: the mean of the n weights so far (Polyak)

    The first average, and every one up to `start` updates, is the weights themselves. Put it last in a chain and
    evaluate at `state.like(params)`; it smooths the noise of the last steps, as a falling rate does, and costs one copy
    of the weights, in float32 at least: 1 / 1000 of the way to a weight is lost in bfloat16. It lags while the weights
    still travel: hence `start`, or a shorter memory of 1 / (1 - decay) updates. A gradient of None leaves its average
    alone.
    PyTorch: `swa_utils.AveragedModel` is the plain mean, and with `get_ema_multi_avg_fn(decay)`, by default 0.999 too,
    the exponential average; both keep it in the weights' own type.

    Args:
        decay: float[], no unit, in [0, 1]; 1 is the plain mean. Float, array, tracer or schedule.
        start: int[], updates before averaging begins, at least 0; a traced fraction is rounded up.
    Returns: an optax transformation whose update needs the parameters and whose state is an `AverageState`.
    Raises: ValueError on a decay outside [0, 1], or a start that is negative or not whole.
    Source: Polyak and Juditsky, 1992, Acceleration of stochastic approximation by averaging, eq. 4.

    >>> transform = average_weights(decay=0.5)
    >>> w, state = jnp.array(0.0), transform.init(jnp.array(0.0))
    >>> for _ in range(3):
    ...     update, state = transform.update(jnp.array(1.0), state, w)
    ...     w = w + update
    >>> print(w, state.average)  # 1, then (1 + 2) / 2, then (1.5 + 3) / 2
    3.0 2.25
    """
    within("decay", decay, 0.0, 1.0)
    whole_number("start", start, 0)

    def init(params: PyTree) -> AverageState:
        return AverageState(jnp.zeros([], jnp.int32), precise(params))

    def update(
        updates: PyTree, state: AverageState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, AverageState]:
        require(params is not None, "params must be given, since they are what is averaged; got None")
        now = decay(state.count) if callable(decay) else decay
        n = jnp.maximum(state.count - jnp.ceil(jnp.asarray(start)), 0) + 1  # weights that the mean holds
        share = jnp.where(jnp.asarray(now) >= 1, 1 / n, jnp.where(n == 1, 1.0, 1 - now))

        def leaf(u: Any, w: Any, old: Any) -> Any:
            if u is None:
                return old
            new = jnp.asarray(w + u).astype(w.dtype).astype(old.dtype)  # as the weights will be, rounded to their type
            return jnp.where(n == 1, new, old + share.astype(old.dtype) * (new - old))

        average = jax.tree.map(leaf, updates, params, state.average, is_leaf=lambda u: u is None)
        return updates, AverageState(optax.safe_increment(state.count), average)

    return optax.GradientTransformationExtraArgs(init, update)


def precise(params: PyTree) -> PyTree:
    """Weights in float32 at least, in which small moves add up."""
    return jax.tree.map(lambda w: jnp.asarray(w, jnp.promote_types(jnp.result_type(w), jnp.float32)), params)


def in_types_of(params: PyTree, weights: PyTree) -> PyTree:
    """Weights in the types of the parameters that they stand for."""
    return jax.tree.map(lambda w, p: w.astype(jnp.result_type(p)), weights, params)
