"""What a run does when a value stops improving: lower the rate, or stop and go back to its best weights."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from hyperjax.schedules.plateau import PlateauState, plateau_start, plateau_step, worst
from hyperjax.training.settings import Settings
from hyperjax.types import Array, PyTree

TRAINING = 0  # column of the training loss, counted every step; the validation's columns follow, counted every epoch
NOTHING = -1  # column of a member that follows none


class Stopping(NamedTuple):
    """What early stopping remembers."""

    stopped: Array  # bool[]
    best_value: Array  # f[], infinite before the first validation
    best_step: Array  # i32[], steps taken at the best validation; 0 before the first
    waited: Array  # i32[], validations since
    weights: PyTree  # those that were evaluated then
    rest: PyTree


class Following(NamedTuple):
    """The memories of both; None where no recipe of the program has them."""

    plateau: PlateauState | None
    stopping: Stopping | None


def init(settings: Settings, weights: PyTree, rest: PyTree, dtype: Any) -> Following:
    """Before the first step."""
    plateau = None if settings.plateau is None else plateau_start(settings.plateau["sign"], dtype)
    stopping = None
    if settings.stopping is not None:
        none_yet, zero = worst(settings.stopping["sign"], dtype), jnp.zeros([], jnp.int32)
        stopping = Stopping(jnp.zeros([], bool), none_yet, zero, zero, weights, rest)
    return Following(plateau, stopping)


def goes_on(following: Following) -> Any:
    """bool[]: False once early stopping has ended the run."""
    return True if following.stopping is None else ~following.stopping.stopped


def after_loss(following: Following, settings: Settings, loss: Array, moves: Any) -> Following:
    """Count a step's training loss."""
    return following._replace(plateau=_plateau(following.plateau, settings, loss[None], TRAINING, moves))


def after_validation(
    following: Following, settings: Settings, validation: Array, weights: PyTree, rest: PyTree, step: Array
) -> Following:
    """Count an epoch's validation: f[1 + metrics], of the weights and other state that were evaluated."""
    plateau = _plateau(following.plateau, settings, validation, TRAINING + 1, True)
    return Following(plateau, _stopping(following.stopping, settings, validation, weights, rest, step))


def _plateau(state: PlateauState | None, settings: Settings, values: Array, first: int, counts: Any) -> Any:
    if state is None:
        return None
    followed = settings.plateau or {}
    column = followed["column"] - first
    here = (column >= 0) & (column < len(values)) & counts
    if first == TRAINING:
        here &= column == 0
    value = values[jnp.clip(column, 0, len(values) - 1)]
    return lax.cond(here, lambda s: plateau_step(s, value, followed, followed["sign"]), lambda s: s, state)


def _stopping(
    state: Stopping | None, settings: Settings, validation: Array, weights: PyTree, rest: PyTree, step: Array
) -> Any:
    if state is None:
        return None
    followed = settings.stopping or {}
    column = followed["column"] - 1
    value = validation[jnp.clip(column, 0, len(validation) - 1)].astype(state.best_value.dtype)
    first = jnp.isinf(state.best_value)
    gain = followed["sign"] * (jnp.where(first, 0.0, state.best_value) - value)
    improved = jnp.where(first, jnp.isfinite(value), gain > followed["min_gain"])

    def better(state: Stopping) -> Stopping:
        return Stopping(state.stopped, value, step, jnp.zeros_like(state.waited), weights, rest)

    def worse(state: Stopping) -> Stopping:
        waited = state.waited + 1
        return state._replace(waited=waited, stopped=waited >= followed["patience"])

    return lax.cond(column >= 0, lambda s: lax.cond(improved, better, worse, s), lambda s: s, state)
