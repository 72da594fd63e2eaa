"""The rate that a rule is using for each parameter."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.optimizers.coefficients import choose, coefficients
from hyperjax.optimizers.rule import Rule
from hyperjax.optimizers.update import RuleState
from hyperjax.types import PyTree, Scalar


def effective_rate(state: RuleState, rule: Rule, learning_rate: Scalar = 1.0, *, like: PyTree = None) -> PyTree:
    """For each parameter, what its direction (gradient or debiased momentum) was multiplied by in the last update.

        learning_rate / (sqrt(v + eps_root) + eps)     v the debiased second moment (centered: the variance)
        learning_rate                                  rules without a second moment, and RAdam while it waits
        learning_rate * sqrt(u + eps) / sqrt(v + eps)  Adadelta, u the averaged squared update

    Parameters of one network differ in it by orders of magnitude under an adaptive rule; where it hits
    `learning_rate / eps` the second moment is 0 (a dead unit or an input that never fires). The state holds moments and
    no numbers of the rule, so the rule comes beside it.
    PyTorch: none.

    Args:
        state: of `by_rule(rule, ...)` or of a named optimizer, after at least one update.
        rule: whose state it is.
        learning_rate: float[], the rate in force at the last update; the default gives the factor on it.
        like: arrays like the parameters, for the shapes; needed only by rules whose state holds no slot (SGD).
    Returns: arrays like the parameters, in float32 at least.
    Raises: ValueError when neither a slot nor `like` gives the shapes.
    Source: Kingma & Ba 2015, arXiv:1412.6980, section 2.1, on the effective step.

    >>> from hyperjax.optimizers import by_rule, rule
    >>> adam = rule("adam", eps=0.0)
    >>> transform = by_rule(adam, 0.1)
    >>> _, state = transform.update(jnp.array([2.0, 4.0]), transform.init(jnp.ones(2)))
    >>> print(effective_rate(state, adam, learning_rate=0.1).round(4))
    [0.05  0.025]
    """
    shapes = next((slot for slot in (state.second, state.first, like) if slot is not None), None)
    if shapes is None:
        raise ValueError("like must be given for a rule whose state holds no slot, got None")
    last = jnp.maximum(state.count - 1, 0)
    step, _, _ = coefficients(rule, learning_rate, last, state.b1_product, _product_before(rule, state))

    def leaf(shape: Any, second: Any, third: Any) -> Any:
        dtype = jnp.promote_types(shape.dtype, jnp.float32)
        c = step.cast(dtype)
        rate = jnp.broadcast_to(jnp.asarray(-c.rate, dtype), shape.shape)
        if second is None:
            return rate
        v = second.astype(dtype)
        spread = v - c.mean_weight * jnp.square(third.astype(dtype)) if third is not None else v
        squared = spread + c.eps_root
        denominator = c.root_scale * jnp.sqrt(jnp.maximum(squared, 0.0)) + c.eps
        vanishes = denominator <= 0
        divided = jnp.where(vanishes, 0.0, rate / jnp.where(vanishes, 1.0, denominator))
        if c.accumulated_update is not False:
            grown = jnp.sqrt(third.astype(dtype) + c.eps_root) * divided
            divided = choose(c.accumulated_update, grown, divided)
        return choose(c.divides, divided, rate)

    tree: Any = jax.tree.structure(shapes)
    nothing = [None] * tree.num_leaves
    columns = [nothing if slot is None else tree.flatten_up_to(slot) for slot in (state.second, state.third)]
    return tree.unflatten([leaf(*row) for row in zip(jax.tree.leaves(shapes), *columns, strict=True)])


def _product_before(rule: Rule, state: RuleState) -> Any:
    """The product of the second decays as it was before the last update, which multiplied it once."""
    if state.b2_product is None:
        return None
    b2 = jnp.asarray(rule.at(jnp.maximum(state.count - 1, 0)).get("b2", 1.0))
    return state.b2_product / jnp.where(b2 > 0, b2, 1.0)
