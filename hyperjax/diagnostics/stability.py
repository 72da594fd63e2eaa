"""How sharp a loss may be before a rule's own steps grow: the limit, and what the rule divides the loss by."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import optimizers
from hyperjax.diagnostics.moments import Moments
from hyperjax.optimizers import RuleState, effective_rate
from hyperjax.optimizers.coefficients import Coefficients, coefficients
from hyperjax.training.program import Carry
from hyperjax.training.settings import at
from hyperjax.types import PyTree


class Stability(NamedTuple):
    """What a rule allows at a moment."""

    learning_rate: float  # of the step that follows, or of the last one
    limit: float  # largest eigenvalue at which the steps along its vector do not grow; NaN where none is known
    steepest: float  # learning rate times eigenvalue at that limit, known where the rate is 0 too
    scale: PyTree | None  # like the weights: each one's share of the learning rate; None where it is 1 for all


def no_limit(moments: Moments) -> str | None:
    """Why no limit is known for a recipe, in words; None where one is."""
    rule, recipe = moments.settings.rule, moments.recipe
    if rule is None:
        return "an optimizer of your own, whose rule is not known"
    if rule.form.sign != "never":
        return f"{recipe.optimizer}, whose steps keep their length however small the gradient"
    named = {"sam": recipe.sam, "lookahead": recipe.lookahead, "centralize": recipe.centralize}
    asked = [name for name, value in named.items() if value]
    return f"a recipe with {asked[0]}" if asked else None


def divides(moments: Moments) -> bool:
    """Whether each weight has a rate of its own."""
    rule = moments.settings.rule
    return bool(moments.recipe.rate_multipliers) or (rule is not None and rule.form.may("precondition"))


def stability(moments: Moments, carry: Carry) -> Stability:
    """What the rule allows at a moment of its run, were its second moments to stay as they are.

    With a momentum m the steps of a quadratic loss along an eigenvector of eigenvalue h do not grow while

        learning_rate * h <= 2                             gradient descent
        learning_rate * h <= 2 + 2m                        heavy-ball
        learning_rate * h <= (2 + 2m) / (1 + 2m)           Nesterov
        learning_rate * h <= (2 + 2m) / (1 - m)            momentum that is an average (Adam)

    all of them cases of one recursion, whose numbers are those of the rule at the step: m <- b m + a g, direction
    F m + G g. It is stable while learning_rate * h <= (2 + 2b) / (F a + G (1 + b)) and, for b > 0, (1 + b) / (b G). For
    a rule that divides by second moments, h is an eigenvalue of D^1/2 H D^1/2, D the weights' shares of the rate, the
    debiasing of both moments included.

    Source: Cohen et al. 2021, arXiv:2103.00065, appendix B (momentum); 2022, arXiv:2207.14484, section 2 and appendix A
        (Adam, its debiasing).
    """
    settings = moments.settings
    step = min(int(carry.step), int(settings.steps) - 1)
    rate = jnp.asarray(settings.rate_at(step))
    if carry.following.plateau is not None:
        rate = rate * carry.following.plateau.scale
    if no_limit(moments) is not None:
        return Stability(float(rate), np.nan, np.nan, None)
    assert settings.rule is not None
    state: RuleState = carry.optimizer
    numbers, _, _ = coefficients(settings.rule, 1.0, jnp.asarray(step), state.b1_product, state.b2_product)
    most = steepest(numbers)
    limit = most / float(rate) if rate > 0 else np.inf
    if not divides(moments):
        return Stability(float(rate), limit, most, None)
    if state.second is not None and not any(np.any(leaf) for leaf in jax.tree.leaves(state.second)):
        return Stability(float(rate), limit, most, _unknown(carry.weights))  # before a rule that averages has a step
    scale = effective_rate(state, settings.rule, 1.0, like=carry.weights)
    if moments.recipe.rate_multipliers:
        packing = moments.program.packing
        multipliers = {name: at(n, step) for name, n in settings.stages["rate_multipliers"].items()}
        scale = packing.pack(optimizers.scale_by_group(multipliers).update(packing.unpack(scale), None)[0])
    return Stability(float(rate), limit, most, scale)


def steepest(numbers: Coefficients) -> float:
    """Largest learning rate times eigenvalue at which a rule of such numbers is stable."""
    b, a, own, direct = (numbers.b1, numbers.g1, numbers.from_first, numbers.from_gradient)
    if numbers.buffer is True:  # momentum behind the preconditioner
        b, a, own, direct = numbers.buffer_decay, 1.0, numbers.from_buffer, numbers.from_moved
    b, a, own, direct = (float(n) for n in (b, a, own, direct))
    crossing = (2 + 2 * b) / (own * a + direct * (1 + b))
    return min(crossing, (1 + b) / (b * direct)) if b * direct > 0 else crossing


def _unknown(weights: PyTree) -> Any:
    return jax.tree.map(lambda w: jnp.full_like(w, jnp.nan), weights)
