"""Lower the updates when a value stops improving: a schedule with a memory, hence a transformation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import is_concrete, one_of, require, whole_number, within
from hyperjax.types import Array, PyTree, Scalar


class PlateauState(NamedTuple):
    """What `reduce_on_plateau` remembers; fields as optax names them, floats in float32 at least."""

    scale: Array  # f[], factor on the updates
    best_value: Array  # f[], infinite before the first value
    plateau_count: Array  # i32[], values since the best
    cooldown_count: Array  # i32[], values still to be passed over
    count: Array  # type: ignore[assignment]  # i32[], values in the running mean
    avg_value: Array  # f[], their mean


def reduce_on_plateau(
    factor: Scalar = 0.1,
    patience: Scalar = 10,
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Scalar = 0,
    accumulation_size: Scalar = 1,
    min_scale: Scalar = 0.0,
    mode: str = "min",
) -> optax.GradientTransformationExtraArgs:
    """Multiply updates by a scale that falls when a value has not improved for some time.

    Each `update(..., value=...)` counts one value. The mean of `accumulation_size` of them improves on the best when
    it is below `(1 - rtol) best - atol` (mode "min"), or above `(1 + rtol) best + atol` ("max"). At the `patience`-th
    mean in a row that does not, `scale <- max(factor scale, min_scale)`, the count begins again, and the next
    `cooldown` means are not counted. Traced counts that are not whole are rounded up.

    Args:
        factor: float[], no unit, in (0, 1).
        patience: int[], means without improvement, at least 1.
        rtol: float[], no unit, in [0, 1].
        atol: float[], in the value's unit, at least 0; not both tolerances 0.
        cooldown: int[], means passed over after a reduction, at least 0.
        accumulation_size: int[], values in a mean, at least 1.
        min_scale: float[], no unit, in [0, 1], where reductions stop.
        mode: "min" for a value that should fall (a loss), "max" for one that should rise (an accuracy).
    Returns: an optax transformation whose state is a `PlateauState`; its update takes `value=`, float[]. Chain it
        behind a rule: `optax.chain(adam(1e-3), reduce_on_plateau())`. Every number may be traced.
    Raises: ValueError when a concrete number is out of its range or a count is not whole, or the mode is unknown.
    Source: `optax.contrib.reduce_on_plateau`, whose counting this is, where numbers cannot be traced and the mode is
        "min". PyTorch's `ReduceLROnPlateau(patience=p)` reduces at the value after the p-th bad one.

    >>> transform = reduce_on_plateau(factor=0.5, patience=2)
    >>> state = transform.init(jnp.ones(()))
    >>> for value in (1.0, 1.0, 1.0, 1.0):
    ...     update, state = transform.update(jnp.ones(()), state, value=value)
    ...     print(float(update))
    1.0
    1.0
    0.5
    0.5
    """
    one_of("mode", mode, ("min", "max"))
    within("factor", factor, 0.0, 1.0, open_low=True)
    require(not is_concrete(factor) or factor < 1, f"factor must be in (0, 1), got {factor}")
    within("rtol", rtol, 0.0, 1.0)
    within("atol", atol, 0.0)
    if is_concrete(rtol) and is_concrete(atol):
        require((rtol > 0) | (atol > 0), f"rtol or atol must be above 0, got {rtol} and {atol}")
    whole_number("patience", patience, 1)
    whole_number("cooldown", cooldown, 0)
    whole_number("accumulation_size", accumulation_size, 1)
    within("min_scale", min_scale, 0.0, 1.0)
    sign = 1.0 if mode == "min" else -1.0
    numbers = {
        "factor": factor,
        "patience": patience,
        "rtol": rtol,
        "atol": atol,
        "cooldown": cooldown,
        "accumulation_size": accumulation_size,
        "min_scale": min_scale,
    }

    def init(params: PyTree) -> PlateauState:
        return plateau_start(sign, jnp.result_type(jnp.float32, *jax.tree.leaves(params)))

    def update(
        updates: PyTree, state: PlateauState, params: PyTree | None = None, *, value: Any, **extra: Any
    ) -> tuple[PyTree, PlateauState]:
        state = plateau_step(state, value, numbers, sign)
        return jax.tree.map(lambda u: (state.scale * u).astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def plateau_start(sign: Any, dtype: Any) -> PlateauState:
    """The state before the first value; `sign` is 1 for values that should fall, -1 for those that should rise."""
    zero = jnp.zeros([], jnp.int32)
    return PlateauState(jnp.ones([], dtype), worst(sign, dtype), zero, zero, zero, jnp.zeros([], dtype))


def worst(sign: Any, dtype: Any) -> Array:
    """What every value improves on."""
    return jnp.where(jnp.asarray(sign) > 0, jnp.inf, -jnp.inf).astype(dtype)


def plateau_step(state: PlateauState, value: Any, numbers: Mapping[str, Any], sign: Any) -> PlateauState:
    """Count one value; `numbers` are the arguments of `reduce_on_plateau` by name, `sign` as in `plateau_start`."""
    count = optax.safe_increment(state.count)
    mean = (state.count * state.avg_value + jnp.asarray(value, state.avg_value.dtype)) / count
    full = count >= numbers["accumulation_size"]
    judged = _judged(state, mean, numbers, sign)._replace(count=jnp.zeros_like(count), avg_value=jnp.zeros_like(mean))
    waiting = state._replace(count=count, avg_value=mean)
    chosen = jax.tree.map(lambda new, old: jnp.where(full, new, old).astype(old.dtype), judged, waiting)
    return PlateauState(*chosen)


def _judged(state: PlateauState, mean: Array, numbers: Mapping[str, Any], sign: Any) -> PlateauState:
    """The state once a mean is whole."""
    first = jnp.isinf(state.best_value)
    best = jnp.where(first, 0.0, state.best_value)
    bound = jnp.where(first, state.best_value, best * (1 - sign * numbers["rtol"]) - sign * numbers["atol"])
    improved = sign * mean < sign * bound  # false for nan, which counts as no improvement
    bad = jnp.where(improved, 0, optax.safe_increment(state.plateau_count))
    cooling = state.cooldown_count > 0
    pause = jnp.ceil(numbers["cooldown"])
    reduces = ~cooling & (bad >= numbers["patience"])
    lowered = jnp.maximum(jnp.where(reduces, numbers["factor"], 1.0) * state.scale, numbers["min_scale"])
    return state._replace(
        scale=jnp.where(cooling, state.scale, lowered),
        best_value=jnp.where(improved, mean, state.best_value),
        plateau_count=jnp.where(cooling | reduces, 0, bad),
        cooldown_count=jnp.where(cooling, state.cooldown_count - 1, jnp.where(reduces, pause, 0)),
    )
