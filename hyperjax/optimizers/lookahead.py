"""Lookahead: slow weights that follow the fast ones every few steps, as one transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import require, whole_number, within
from hyperjax.optimizers.averages import in_types_of, precise
from hyperjax.types import Array, PyTree, Scalar


class LookaheadState(NamedTuple):
    """What `lookahead` remembers; `like(params)` is what to evaluate."""

    count: Array  # type: ignore[assignment]  # i32[], updates seen
    slow: PyTree  # like params, in float32 at least

    def like(self, params: PyTree) -> PyTree:
        """The slow weights in the types of the weights."""
        return in_types_of(params, self.slow)


def lookahead(sync_period: Scalar = 6, slow_step_size: Scalar = 0.5) -> optax.GradientTransformationExtraArgs:
    """Every few updates, pull the weights back to a point between where they are and where they last were synchronized.

        every sync_period updates:  slow <- slow + slow_step_size * (w - slow);  w <- slow

    Put it last in a chain: `optax.chain(adam(1e-3), lookahead())`. It damps the oscillation of a fast inner rule and
    makes its rate matter less; where the inner rule is well tuned it gains little. The inner rule's own state is kept.
    Slow weights are kept in float32 at least, since a narrower type would lose small moves. A gradient of None moves
    neither.
    PyTorch: none.

    Args:
        sync_period: int[], updates between two synchronizations, at least 1; a traced fraction is rounded up.
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
    whole_number("sync_period", sync_period, 1)
    within("slow_step_size", slow_step_size, 0.0, 1.0)

    def init(params: PyTree) -> LookaheadState:
        return LookaheadState(jnp.zeros([], jnp.int32), precise(params))

    def update(
        updates: PyTree, state: LookaheadState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, LookaheadState]:
        require(params is not None, "params must be given, since they are what is synchronized; got None")
        count = optax.safe_increment(state.count)
        syncs = count % jnp.ceil(jnp.asarray(sync_period)).astype(jnp.int32) == 0

        def slow_leaf(u: Any, w: Any, slow: Any) -> Any:
            if u is None:
                return slow
            fast = w.astype(slow.dtype) + u
            synced = slow + jnp.asarray(slow_step_size, slow.dtype) * (fast - slow)
            return jnp.where(syncs, synced, slow).astype(slow.dtype)

        def move(u: Any, w: Any, slow: Any) -> Any:
            return None if u is None else jnp.where(syncs, slow - w, u).astype(u.dtype)

        slow = jax.tree.map(slow_leaf, updates, params, state.slow, is_leaf=lambda u: u is None)
        moves = jax.tree.map(move, updates, params, slow, is_leaf=lambda u: u is None)
        return moves, LookaheadState(count, slow)

    return optax.GradientTransformationExtraArgs(init, update)
