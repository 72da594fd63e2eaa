"""A rule: one optimizer as numbers (leaves) and a form (static), so that optimizers stack like arrays."""

import dataclasses
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp

from hyperjax.checks import one_of, require
from hyperjax.types import Number

Occurrence: TypeAlias = Literal["never", "always", "mixed"]


@dataclasses.dataclass(frozen=True)
class Form:
    """Which features an update may have: each occurs `"never"`, `"always"`, or is `"mixed"` (the rule's flag decides).

    Args:
        moment: a first moment of the gradient, kept before any preconditioning (momentum, Adam).
        averaged: that moment is an average, its gradient weighs 1 - b1 instead of 1 (Adam, Lion).
        lookahead: Nesterov's step, which applies the momentum once more.
        precondition: division by the root of a second moment (Adagrad, RMSprop, Adam).
        second_averaged: the second moment is an average with decay b2 instead of a sum (all but Adagrad).
        debias: moments are divided by one minus the product of their decays (Adam).
        momentum_schedule: Nesterov's step with a momentum that grows over time (Dozat's NAdam); implies debias.
        centered: the squared mean gradient is taken off the second moment (a variance).
        accumulated_update: the step is multiplied by the root of the averaged squared update (Adadelta).
        rectify: preconditioning waits until the second moment's variance is tractable (RAdam).
        interpolate: the output mixes the old moment and the gradient with a decay of its own (Lion).
        sign: only the sign of the direction is used (Lion, signSGD).
        buffer: momentum behind the preconditioner, with the learning rate inside (RMSprop with momentum).
        coupled_decay: `l2 * params` is added to the gradient.
        decay: `weight_decay * params` is added to the direction (decoupled).
        b1_scheduled, b2_scheduled: debiasing multiplies the decays that were in force instead of taking a power.

    >>> momentum, sgd = Form(moment="always"), Form()
    >>> momentum.union(sgd).moment
    'mixed'
    """

    moment: Occurrence = "never"
    averaged: Occurrence = "never"
    lookahead: Occurrence = "never"
    precondition: Occurrence = "never"
    second_averaged: Occurrence = "never"
    debias: Occurrence = "never"
    momentum_schedule: Occurrence = "never"
    centered: Occurrence = "never"
    accumulated_update: Occurrence = "never"
    rectify: Occurrence = "never"
    interpolate: Occurrence = "never"
    sign: Occurrence = "never"
    buffer: Occurrence = "never"
    coupled_decay: Occurrence = "never"
    decay: Occurrence = "never"
    b1_scheduled: Occurrence = "never"
    b2_scheduled: Occurrence = "never"

    def __post_init__(self) -> None:
        for feature in FEATURES:
            one_of(feature, getattr(self, feature), ("never", "always", "mixed"))

    def may(self, *features: str) -> bool:
        """True when at least one of the features may occur."""
        return any(getattr(self, feature) != "never" for feature in features)

    def union(self, other: "Form") -> "Form":
        """The narrowest form that holds both: a feature on which they differ becomes `"mixed"`."""
        pairs = {feature: (getattr(self, feature), getattr(other, feature)) for feature in FEATURES}
        return Form(**{feature: a if a == b else "mixed" for feature, (a, b) in pairs.items()})

    def holds(self, other: "Form") -> bool:
        """True when every rule of the form `other` can be expressed in this one."""
        return self.union(other) == self

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the numbers that a rule of this form carries."""
        return tuple(name for name, needed_by in _NEEDED_BY.items() if self.may(*needed_by))

    @property
    def flags(self) -> tuple[str, ...]:
        """The features for which a rule of this form carries a number, 0 or 1."""
        return tuple(feature for feature in FEATURES if getattr(self, feature) == "mixed")

    @property
    def slots(self) -> tuple[bool, bool, bool]:
        """Whether a state needs the first, the second and the third slot per parameter."""
        return (
            self.may("moment", "buffer"),
            self.may("precondition"),
            self.may("centered", "accumulated_update"),
        )


FEATURES = tuple(field.name for field in dataclasses.fields(Form))

_NEEDED_BY = {
    "b1": ("moment", "buffer"),
    "b2": ("second_averaged",),
    "eps": ("precondition",),
    "eps_root": ("precondition",),
    "initial_second": ("precondition",),
    "output_b1": ("interpolate",),
    "threshold": ("rectify",),
    "momentum_decay": ("momentum_schedule",),
    "l2": ("coupled_decay",),
    "weight_decay": ("decay",),
}

# What a rule without the feature carries in a wider form: read nowhere, but finite and with finite derivatives.
_NEUTRAL = dict.fromkeys(_NEEDED_BY, 0.0) | {"eps": 1.0, "threshold": 5.0}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rule:
    """One optimizer as data: numbers are leaves of the pytree, the form is its static part.

    Args:
        form: which features occur.
        numbers: by name, those that the form reads; each a float, an array, a tracer or a schedule `step -> number`:
            b1: decay of the first moment or of the buffer, in [0, 1).
            b2: decay of the second moment (and of the third slot), in [0, 1).
            eps: added to the root of the second moment, in the gradient's unit.
            eps_root: added under the root, in the gradient's unit squared.
            initial_second: what the second moment starts from, in the gradient's unit squared.
            output_b1: weight of the old moment in an interpolated output (Lion's b1), in [0, 1).
            momentum_decay: how fast the scheduled momentum reaches b1, per step, at least 0.
            threshold: length of the variance's memory from which RAdam preconditions, in steps, at least 4.
            l2: coupled decay, `l2 * params` joins the gradient.
            weight_decay: decoupled decay, `weight_decay * params` joins the direction.
        flags: by name, for each mixed feature of the form: 1.0 where the rule has it, else 0.0.

    Rules of one form have one treedef, so they stack:

    >>> slow, fast = Rule(Form(moment="always"), {"b1": 0.9}), Rule(Form())
    >>> form = slow.form.union(fast.form)
    >>> jax.tree.map(lambda *x: x, slow.widen(form), fast.widen(form)).flags
    {'moment': (1.0, 0.0)}
    """

    form: Form = dataclasses.field(metadata={"static": True})
    numbers: dict[str, Number] = dataclasses.field(default_factory=dict)
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)

    def widen(self, form: Form) -> "Rule":
        """The same rule in a wider form: features become flags, numbers that it lacks get neutral values.

        Raises: ValueError when `form` cannot express this rule.
        """
        missing = [name for name in FEATURES if not _holds(getattr(form, name), getattr(self.form, name))]
        require(not missing, f"form must hold the rule's own form, but it differs in {', '.join(missing)}")
        numbers = {name: self.numbers.get(name, _NEUTRAL[name]) for name in form.numbers}
        own = {name: 1.0 if getattr(self.form, name) == "always" else 0.0 for name in form.flags}
        return Rule(form, numbers, {name: self.flags.get(name, flag) for name, flag in own.items()})

    def has(self, feature: str) -> bool | jax.Array:
        """Whether the rule has the feature: a Python bool where the form knows, else a traced one."""
        occurs = getattr(self.form, feature)
        return occurs == "always" if occurs != "mixed" else jnp.asarray(self.flags[feature]) > 0

    def at(self, count: Any) -> dict[str, Any]:
        """The numbers in force at a step: schedules are evaluated at `count`, the rest is as it is."""
        return {name: number(count) if callable(number) else number for name, number in self.numbers.items()}


def _holds(wide: Occurrence, narrow: Occurrence) -> bool:
    return wide in ("mixed", narrow)
