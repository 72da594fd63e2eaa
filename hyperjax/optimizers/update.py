"""The update: a rule's numbers become one step's coefficients, and each leaf is updated in one pass."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hyperjax.checks import require, within
from hyperjax.optimizers.coefficients import Coefficients, choose, coefficients
from hyperjax.optimizers.groups import path_of
from hyperjax.optimizers.rule import Rule
from hyperjax.types import Array, Number, PyTree


class RuleState(NamedTuple):
    """What a rule remembers between steps; a slot that its form never needs is None."""

    count: Array  # type: ignore[assignment]  # i32[], updates made so far; named as optax names it
    first: PyTree | None  # like params: first moment, or the buffer behind the preconditioner
    second: PyTree | None  # like params: second moment
    third: PyTree | None  # like params: mean gradient (centered) or averaged squared update (Adadelta)
    b1_product: Array | None  # f[], product of the first decays in force so far; only where the momentum may change
    b2_product: Array | None  # f[], the same of the second decays


def by_rule(
    rule: Rule, learning_rate: Number, *, mask: PyTree | Callable[[Any], Any] | None = None, mu_dtype: Any = None
) -> optax.GradientTransformationExtraArgs:
    """The optax transformation of a rule: `updates = -learning_rate * (direction + weight_decay * params)`.

    Args:
        rule: from `rule(name, ...)`; its numbers may be floats, arrays, tracers or schedules.
        learning_rate: float, array, tracer or schedule `step -> rate`, evaluated at the count before the update; a
            number is at least 0.
        mask: bools in the structure of the parameters (or a prefix of it), or a function from parameters to those:
            which leaves decay, coupled or decoupled. None: all.
        mu_dtype: dtype of the first slot; None: the parameter's.

    Returns: a `GradientTransformationExtraArgs` whose state is a `RuleState`. Updates have the dtype of the gradient,
        slots that of the parameter; leaves narrower than 32 bits are computed in float32. A gradient leaf of None gives
        None and leaves its slots as they are.
    Raises: ValueError for a learning rate that is no such number, complex parameters, a gradient of another shape than
        its parameter, or when `params` is None although the rule may decay them.

    Every root and division is guarded on its input, so derivatives with respect to the gradients and every number
    are finite even where a gradient is exactly 0. Under `jit`, with traced numbers, a rule and the same rule widened
    give the same parameters bit for bit.

    >>> from hyperjax.optimizers import rule
    >>> transform = by_rule(rule("momentum", momentum=0.5), learning_rate=0.1)
    >>> state = transform.init(jnp.array(1.0))
    >>> for _ in range(2):
    ...     update, state = transform.update(jnp.array(1.0), state)
    >>> print(round(float(update), 4))  # -0.1 * (0.5 * 1 + 1)
    -0.15
    """
    require(learning_rate is not None, "learning_rate must be a number of at least 0 or a schedule, got None")
    within("learning_rate", learning_rate, 0.0)
    form = rule.form
    has_first, has_second, has_third = form.slots
    mu_dtype = None if mu_dtype is None else jax.dtypes.canonicalize_dtype(mu_dtype)

    def init(params: PyTree) -> RuleState:
        for leaf in jax.tree.leaves(params):
            real = not jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating)
            require(real, "params must be real, got complex ones; see optax.contrib.split_real_and_imaginary")
        start = rule.at(0)
        return RuleState(
            count=jnp.zeros([], jnp.int32),
            first=jax.tree.map(lambda p: jnp.zeros_like(p, dtype=mu_dtype), params) if has_first else None,
            second=jax.tree.map(lambda p: jnp.full_like(p, start["initial_second"]), params) if has_second else None,
            third=jax.tree.map(jnp.zeros_like, params) if has_third else None,
            b1_product=_one_like(start["b1"]) if form.may("b1_scheduled", "momentum_schedule") else None,
            b2_product=_one_like(start["b2"]) if form.may("b2_scheduled") else None,
        )

    def update(
        updates: PyTree, state: RuleState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, RuleState]:
        decays = form.may("decay", "coupled_decay")
        require(not decays or params is not None, "params must be given, since this rule decays weights; got None")
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        step, b1_product, b2_product = coefficients(rule, rate, state.count, state.b1_product, state.b2_product)

        tree: Any
        leaves, tree = jax.tree.flatten(updates, is_leaf=_is_none)
        columns = [_column(tree, slots) for slots in (params if decays else None, *state[1:4])]
        _check_shapes(updates, columns)
        masks = (
            tree.flatten_up_to(_decayed(mask, params, tree)) if decays and mask is not None else [True] * len(leaves)
        )

        def every_leaf(c: Coefficients) -> list[Any]:
            return [_update_leaf(c, *row) for row in zip(leaves, *columns, masks, strict=True)]

        # Adadelta has a root more per number than the rest: a branch, which only vmap turns into a select.
        accumulated = step.accumulated_update
        if isinstance(accumulated, bool):
            rows = every_leaf(step)
        else:
            branches = [functools.partial(every_leaf, step._replace(accumulated_update=kind)) for kind in (True, False)]
            rows = jax.lax.cond(accumulated, *branches)
        new, first, second, third = (tree.unflatten(column) for column in zip(*rows, strict=True)) if rows else (
            updates, state.first, state.second, state.third)  # fmt: skip
        return new, RuleState(
            count=optax.safe_increment(state.count),
            first=first if has_first else None,
            second=second if has_second else None,
            third=third if has_third else None,
            b1_product=b1_product,
            b2_product=b2_product,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _update_leaf(step: Coefficients, g: Any, p: Any, m: Any, v: Any, s: Any, decays: bool) -> tuple[Any, Any, Any, Any]:
    """One leaf's update and new slots, from its gradient, parameter and slots (None where absent).

    A coefficient that is the Python number 0 or 1 is left out of the program. The rest must be rounded in the same
    places whatever is left out, although a compiler may contract a product and a sum into one operation with one
    rounding, and whether it does depends on all the code around. So every product that enters a sum is sealed: a zero
    that the compiler cannot see is added to it, and contracted or not it is rounded before the sum. That costs next to
    nothing beside the root and the division. Neutral coefficients are then exact: x * 1, x + 0, x / 1.
    """
    if g is None:
        return None, m, v, s
    g = jnp.asarray(g)  # a number or NumPy's array where somebody's code gives one
    dtype = jnp.promote_types(g.dtype, jnp.float32)
    c = step.cast(dtype)
    gradient_dtype = g.dtype if jnp.issubdtype(g.dtype, jnp.inexact) else dtype
    g, p, m_, v_, s_ = (None if x is None else jnp.asarray(x, dtype) for x in (g, p, m, v, s))
    if not decays:
        c = c._replace(l2=0.0, decay=0.0)

    def times(coefficient: Any, x: Any) -> Any:
        product = _times(coefficient, x)
        return product if product is None or product is x else product + c.zero

    g = _sum(times(c.l2, p), g + c.zero)  # the caller's gradient may end in a product too
    first = _sum(times(c.b1, m_), times(c.g1, g))
    second = mean = None
    denominator: Any = 1.0
    if v is not None:
        second = _sum(times(times(c.g2, g), g), times(c.b2, v_))
        spread = second
        if not _is(c.mean_weight, 0):
            mean = _sum(times(c.mean_decay, s_), times(c.g2, g))
            spread = spread - times(times(c.mean_weight, mean), mean)
        squared = _sum(spread, c.eps_root)
        vanishes = squared <= 0  # false for nan, which must stay visible
        root = jnp.sqrt(jnp.where(vanishes, 1.0, squared))
        # At a root of 0 and no eps the quotient is 0, with derivative 0: that of an infinite denominator.
        least = jnp.where(c.eps > 0, c.eps, jnp.inf)
        denominator = choose(c.divides, jnp.where(vanishes, least, _sum(times(c.root_scale, root), c.eps)), 1.0)

    base = first if c.interpolate is False else choose(c.interpolate, m_, first)
    direction = _sum(times(c.from_first, base), times(c.from_gradient, g))
    if c.sign is True:
        direction = jnp.sign(direction)
    elif c.sign is not False:  # the sign is x / |x|, which needs no pass of its own; its derivative is 0
        direction = jnp.where(c.sign, jax.lax.stop_gradient(direction), direction)
        size = jnp.abs(jax.lax.stop_gradient(direction))
        denominator = jnp.where(c.sign, jnp.where(size > 0, size, jnp.inf), denominator)
    if c.accumulated_update:
        direction = _root(_sum(s_, c.eps_root)) * g
    if not _is(denominator, 1):
        direction = direction / denominator
    third = mean
    if c.accumulated_update:
        third = _sum(times(c.update_decay, s_), times(c.g2, direction * direction))

    moved = (
        jnp.zeros_like(direction) if _is(c.rate, 0) else times(c.rate, direction)
    )  # sealed too for the caller, who adds it to the parameters
    out = moved
    if c.buffer is not False:
        buffer = _sum(times(c.buffer_decay, m_), moved)
        out = _sum(times(c.from_buffer, buffer), times(c.from_moved, moved))
        first = choose(c.buffer, buffer, first)
    out = _sum(times(c.decay, p), out)
    slots = ((first, m), (second, v), (third, s))
    return out.astype(gradient_dtype), *(
        old if new is None or old is None else new.astype(jnp.result_type(old)) for new, old in slots
    )


def _is(coefficient: Any, value: int) -> bool:
    return isinstance(coefficient, float | int) and coefficient == value


def _times(coefficient: Any, x: Any) -> Any:
    """`coefficient * x`, or None (nothing to add) for the Python number 0."""
    if x is None or _is(coefficient, 0):
        return None
    return x if _is(coefficient, 1) else coefficient * x


def _sum(a: Any, b: Any) -> Any:
    """`a + b` where None, or the Python number 0, is nothing to add."""
    if a is None:
        return b
    return a if b is None or _is(b, 0) else a + b


def _root(x: Any) -> Any:
    """The square root, 0 with derivative 0 where `x` is not positive."""
    vanishes = x <= 0  # false for nan, which must stay visible
    return jnp.where(vanishes, 0.0, jnp.sqrt(jnp.where(vanishes, 1.0, x)))


def _is_none(x: Any) -> bool:
    return x is None


def _column(tree: Any, slots: PyTree | None) -> list[Any]:
    return [None] * tree.num_leaves if slots is None else tree.flatten_up_to(slots)


def _check_shapes(updates: PyTree, columns: list[list[Any]]) -> None:
    """A rule would broadcast, and its slots with it, where a gradient has another shape than its parameter."""
    named = jax.tree.leaves_with_path(updates, is_leaf=_is_none)
    for (keys, g), *others in zip(named, *columns, strict=True):
        for other in others:
            fits = g is None or other is None or np.shape(g) == np.shape(other)
            where = f" at {path_of(keys)!r}" if keys else ""
            require(fits, f"updates must have the shape of the parameter{where}, {np.shape(other)}, got {np.shape(g)}")


def _decayed(mask: Any, params: PyTree, tree: Any) -> PyTree:
    return jax.tree.broadcast(mask(params) if callable(mask) else mask, params, is_leaf=_is_none)


def _one_like(number: Any) -> Array:
    return jnp.ones([], jnp.result_type(number, float))
