"""Lookahead: slow weights that follow the fast ones every few steps, as one transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import require, within
from hyperjax.types import Array, PyTree, Scalar


class LookaheadState(NamedTuple):
    """What `lookahead` remembers; `slow` is what to evaluate."""

    count: Array  # type: ignore[assignment]  # i32[], updates seen
    slow: PyTree  # like params


def lookahead(sync_period: Scalar = 6, slow_step_size: Scalar = 0.5) -> optax.GradientTransformationExtraArgs:
    """Every few updates, pull the weights back to a point between where they are and where they last were synchronized.

        every sync_period updates:  slow <- slow + slow_step_size * (w - slow);  w <- slow

    Put it last in a chain: `optax.chain(adam(1e-3), lookahead())`. It damps the oscillation of a fast inner rule and
    makes its rate matter less; where the inner rule is well tuned it gains little. The inner rule's own state is kept.

    Args:
        sync_period: int[], updates between two synchronizations, at least 1.
        slow_step_size: float[], no unit, in [0, 1]; 1 leaves the weights where the updates led.
    Returns: an optax transformation whose update needs the parameters and whose state is a `LookaheadState`. Both
        numbers may be traced.
    Raises: ValueError on a number out of its range.
    Source: Zhang et al., 2019, arXiv:1907.08610, algorithm 1. `optax.lookahead` computes the same on pairs of weights,
        which a training state does not hold, with a period that cannot be traced.

    >>> transform = lookahead(sync_period=2, slow_step_size=0.5)
    >>> w, state = jnp.array(0.0), transform.init(jnp.array(0.0))
    >>> for _ in range(2):
    ...     update, state = transform.update(jnp.array(1.0), state, w)
    ...     w = w + update
    >>> print(w)  # half way from 0 to 2
    1.0
    """
    within("sync_period", sync_period, 1)
    within("slow_step_size", slow_step_size, 0.0, 1.0)

    def init(params: PyTree) -> LookaheadState:
        return LookaheadState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.asarray, params))

    def update(
        updates: PyTree, state: LookaheadState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, LookaheadState]:
        require(params is not None, "params must be given, since they are what is synchronized; got None")
        count = optax.safe_increment(state.count)
        syncs = count % jnp.asarray(sync_period, jnp.int32) == 0

        def leaf(update: Any, w: Any, slow: Any) -> Any:
            precise = jnp.promote_types(w.dtype, jnp.float32)
            fast, origin = w.astype(precise) + update, slow.astype(precise)
            return origin + jnp.asarray(slow_step_size, precise) * (fast - origin)

        synced = jax.tree.map(leaf, updates, params, state.slow)
        slow = jax.tree.map(lambda new, old: jnp.where(syncs, new, old).astype(old.dtype), synced, state.slow)
        moves = jax.tree.map(lambda new, u, w: jnp.where(syncs, new - w, u).astype(u.dtype), synced, updates, params)
        return moves, LookaheadState(count, slow)

    return optax.GradientTransformationExtraArgs(init, update)
