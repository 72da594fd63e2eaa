"""What a step may do around the rule: a table of stages, each an optax transformation and the numbers that turn it off.

A program holds the stages that one of its recipes asks for. A member that does not ask has the numbers of `off`, takes
the other branch, and moves as if the stage were not there.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from hyperjax import optimizers, regularizers
from hyperjax.training.packing import Packing
from hyperjax.training.settings import Settings, at
from hyperjax.types import Array, PyTree

NEVER = 2.0**30  # steps; more than any run has, and still a whole number in 32 bits


class Moment(NamedTuple):
    """What a stage may read beside its numbers."""

    rate: Any  # f32[], learning rate in force
    key: jax.Array  # the step's own


class Stage(NamedTuple):
    """One stage.

    Attributes:
        build: (numbers by name, moment) -> the optax transformation in force at a step.
        off: numbers by name at which it does nothing; 1.0 for a name that is not here.
        whole: it needs the model's own arrays, not only their entries.
    """

    build: Callable[[Mapping[str, Any], Moment], optax.GradientTransformation]
    off: Mapping[str, float]
    whole: bool = False

    def neutral(self, name: str) -> float:
        """The number at which the stage does nothing."""
        return self.off.get(name, 1.0)

    def on(self, numbers: Mapping[str, Any]) -> Any:
        """bool[]: whether a member's numbers ask for it."""
        return jnp.any(jnp.stack([jnp.asarray(n) != self.neutral(name) for name, n in numbers.items()]))


def _clip_adaptive(numbers: Mapping[str, Any], moment: Moment) -> optax.GradientTransformation:
    """Optax's clip with the units of the other stages: all axes but the last are inputs, also of three axes or six."""
    clip = optax.adaptive_grad_clip(numbers["clipping"])

    def by_unit(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]) if leaf.ndim > 2 else leaf, tree)

    def clipped(gradient: PyTree, weights: PyTree) -> PyTree:
        changed, _ = clip.update(by_unit(gradient), optax.EmptyState(), by_unit(weights))
        return jax.tree.map(lambda new, old: new.reshape(old.shape), changed, gradient)

    return optax.stateless(clipped)


def _noise(numbers: Mapping[str, Any], moment: Moment) -> optax.GradientTransformation:
    return optax.stateless(lambda g, _: optimizers.gradient_noise(moment.key, g, numbers["deviation"]))


BEFORE: dict[str, Stage] = {  # in the order of a step, on the gradient; clipping by its norm is done before
    "clip_value": Stage(lambda n, _: optax.clip(n["max_delta"]), {"max_delta": math.inf}),
    "clip_adaptive": Stage(_clip_adaptive, {"clipping": math.inf}, whole=True),
    "centralize": Stage(lambda n, _: optimizers.centralize(), {"share": 0.0}, whole=True),
    "gradient_noise": Stage(_noise, {"deviation": 0.0}),
    "l1": Stage(lambda n, _: regularizers.add_elastic_net(n["l1"]), {"l1": 0.0}),
}
AFTER: dict[str, Stage] = {  # on the update, the rate included
    "rate_multipliers": Stage(lambda n, _: optimizers.scale_by_group(n), {}, whole=True),
    "proximal_l1": Stage(lambda n, m: regularizers.proximal_elastic_net(m.rate, n["l1"]), {"l1": 0.0}),
    "max_norm": Stage(lambda n, _: regularizers.max_norm(n["limit"]), {"limit": math.inf}, whole=True),
    "lookahead": Stage(
        lambda n, _: optimizers.lookahead(n["sync_period"], n["slow_step_size"]),
        {"sync_period": NEVER, "slow_step_size": 1.0},
    ),
    "average": Stage(lambda n, _: optimizers.average_weights(n["decay"], n["start"]), {"decay": 1.0, "start": NEVER}),
}
STAGES = BEFORE | AFTER


def init(settings: Settings, weights: PyTree, packing: Packing) -> dict[str, PyTree]:
    """States of the stages behind the rule, before the first step."""
    moment = Moment(0.0, jax.random.key(0))
    return {
        name: stage.build(_now(settings, name, 0), moment).init(_shown(stage, weights, packing))
        for name, stage in AFTER.items()
        if name in settings.stages
    }


def before(gradient: PyTree, weights: PyTree, settings: Settings, step: Array, moment: Moment, packing: Packing) -> Any:
    """The gradient that the rule sees."""
    for name, stage in BEFORE.items():
        if name in settings.stages:
            gradient, _ = _through(name, stage, gradient, None, weights, settings, step, moment, packing)
    return gradient


def after(
    updates: PyTree,
    states: dict[str, PyTree],
    weights: PyTree,
    settings: Settings,
    step: Array,
    moment: Moment,
    packing: Packing,
) -> tuple[PyTree, dict[str, PyTree]]:
    """The update that the weights make, and the stages' new states."""
    new = {}
    for name, stage in AFTER.items():
        if name in settings.stages:
            updates, new[name] = _through(name, stage, updates, states[name], weights, settings, step, moment, packing)
    return updates, new


def evaluated(states: dict[str, PyTree], weights: PyTree, settings: Settings) -> PyTree:
    """The weights that a member is judged by: an average or lookahead's slow ones where it keeps them."""
    for name in ("lookahead", "average"):
        if name in states:
            on = STAGES[name].on(_now(settings, name, 0))
            weights = lax.cond(on, lambda kept, own: kept.like(own), lambda _, own: own, states[name], weights)
    return weights


def _through(
    name: str,
    stage: Stage,
    tree: PyTree,
    state: PyTree,
    weights: PyTree,
    settings: Settings,
    step: Array,
    moment: Moment,
    packing: Packing,
) -> tuple[PyTree, PyTree]:
    numbers = _now(settings, name, step)

    def on(tree: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        transformation = stage.build(numbers, moment)
        params = _shown(stage, weights, packing)
        shown = _shown(stage, tree, packing)
        changed, new = transformation.update(shown, transformation.init(params) if state is None else state, params)
        return packing.pack(changed) if stage.whole else changed, None if state is None else new

    return lax.cond(stage.on(numbers), on, lambda tree, state: (tree, state), tree, state)  # type: ignore[no-any-return]


def _now(settings: Settings, name: str, step: Any) -> dict[str, Any]:
    return {argument: at(number, step) for argument, number in settings.stages[name].items()}


def _shown(stage: Stage, tree: PyTree, packing: Packing) -> PyTree:
    return packing.unpack(tree) if stage.whole else tree
