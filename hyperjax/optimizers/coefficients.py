"""A rule at one step: all the scalar work of an update, done once for every leaf."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.optimizers.rule import Rule


class Coefficients(NamedTuple):
    """One step's scalars; those that a form never has are the Python numbers 0.0 and 1.0, or False."""

    l2: Any  # gradient += l2 * params
    b1: Any  # first = b1 * first + g1 * gradient
    g1: Any
    b2: Any  # second = b2 * second + g2 * gradient**2
    g2: Any
    mean_decay: Any  # mean = mean_decay * third + g2 * gradient
    mean_weight: Any  # second - mean_weight * mean**2 is what the root is taken of
    eps_root: Any
    root_scale: Any  # denominator = root_scale * root + eps
    eps: Any
    divides: Any
    interpolate: Any
    from_first: Any  # direction = from_first * first + from_gradient * gradient
    from_gradient: Any
    sign: Any
    accumulated_update: Any
    update_decay: Any  # third = update_decay * third + g2 * direction**2
    rate: Any  # moved = rate * direction, with rate = -learning_rate
    buffer: Any
    buffer_decay: Any  # buffer = buffer_decay * buffer + moved
    from_buffer: Any  # update = from_buffer * buffer + from_moved * moved + decay * params
    from_moved: Any
    decay: Any
    zero: Any  # -0.0 (x + -0.0 is x, also for x = -0.0), from the count, so that no compiler knows

    def cast(self, dtype: Any) -> "Coefficients":
        """Arrays of floats in the given dtype; Python numbers and bools stay."""
        return Coefficients(*(x.astype(dtype) if _is_float_array(x) else x for x in self))


def coefficients(
    rule: Rule, learning_rate: Any, count: jax.Array, b1_product: Any, b2_product: Any
) -> tuple[Coefficients, Any, Any]:
    """The scalars of the update after `count` earlier ones, and the new products of the decays."""
    number = {"b1": 0.0, "b2": 0.0, "eps": 0.0, "eps_root": 0.0, "threshold": 5.0} | rule.at(count)
    b1, b2 = number["b1"], number["b2"]
    has = rule.has
    moment, averaged, lookahead, buffer = has("moment"), has("averaged"), has("lookahead"), has("buffer")
    precondition, accumulated, debias = has("precondition"), has("accumulated_update"), has("debias")
    scheduled = has("momentum_schedule")
    step = count + 1
    # Products are sealed as in the update of a leaf: rounded before 1 - x, in every program.
    zero = -0.0 * count.astype(jnp.float32)

    momentum = momentum_next = b1
    if scheduled is not False:
        now, later = (_scheduled_momentum(b1, at, number["momentum_decay"]) for at in (step, step + 1))
        momentum = choose(scheduled, _sealed(now, zero), b1)
        momentum_next = choose(scheduled, _sealed(later, zero), b1)
    b1_product = None if b1_product is None else _sealed(b1_product * momentum, zero)
    b2_product = None if b2_product is None else _sealed(b2_product * b2, zero)
    debias_first, debias_second = _both(debias, moment), _both(debias, precondition)
    c1 = c1_next = c2 = b2_power = 1.0
    # A power and a product of constant decays differ by rounding, which 1 - x magnifies: constants take the power.
    if debias_first is not False:
        power, power_next = b1**step, b1 ** (step + 1)
        if b1_product is not None:
            power = choose(has("b1_scheduled"), b1_product, power)
            ahead_product = _sealed(b1_product * rule.at(step)["b1"], zero)
            power_next = choose(has("b1_scheduled"), ahead_product, power_next)
        c1, c1_next = choose(debias_first, 1 - power, 1.0), choose(debias_first, 1 - power_next, 1.0)
    if debias_second is not False:
        b2_power = b2**step
        if b2_product is not None:
            b2_power = choose(has("b2_scheduled"), b2_product, b2_power)
        c2 = choose(debias_second, 1 - b2_power, 1.0)

    rectifier, divides = 1.0, precondition
    rectify = has("rectify")
    if rectify is not False:
        tractable, factor = _rectification(b2, b2_power, step, number["threshold"])
        rectifier = choose(rectify, factor, 1.0)
        divides = _both(precondition, choose(rectify, tractable, jnp.ones_like(tractable)))

    g1 = choose(averaged, 1 - b1, 1.0)
    plain = rectifier / c1
    ahead = _both(lookahead, moment)
    from_first = choose(ahead, plain if ahead is False else b1 * rectifier / c1_next, plain)
    from_gradient = choose(ahead, 0.0 if ahead is False else g1 * plain, 0.0)
    if scheduled is not False:
        from_first = choose(
            scheduled, momentum_next * rectifier / (1 - _sealed(b1_product * momentum_next, zero)), from_first
        )
        from_gradient = choose(scheduled, (1 - momentum) * rectifier / (1 - b1_product), from_gradient)
    interpolate = has("interpolate")
    if interpolate is not False:
        from_first = choose(interpolate, number["output_b1"], from_first)
        from_gradient = choose(interpolate, 1 - number["output_b1"], from_gradient)

    rate = -learning_rate
    second_averaged = has("second_averaged")
    ordinary = isinstance(c2, float)
    result = Coefficients(
        l2=choose(has("coupled_decay"), number.get("l2"), 0.0),
        b1=choose(moment, b1, 0.0),
        g1=g1,
        b2=choose(second_averaged, b2, 1.0),
        g2=choose(second_averaged, 1 - b2, 1.0),
        mean_decay=choose(has("centered"), b2, 0.0),
        mean_weight=choose(has("centered"), 1.0 / c2, 0.0),
        # sqrt(second / c2 + eps_root) = sqrt(second + eps_root * c2) / sqrt(c2): one division per number less
        eps_root=number["eps_root"] * c2,
        root_scale=1.0 if ordinary else 1.0 / jnp.sqrt(c2),
        eps=number["eps"],
        divides=divides,
        interpolate=interpolate,
        from_first=from_first,
        from_gradient=from_gradient,
        sign=has("sign"),
        accumulated_update=accumulated,
        update_decay=choose(accumulated, b2, 0.0),
        rate=rate,
        buffer=buffer,
        buffer_decay=choose(buffer, b1, 0.0),
        from_buffer=choose(buffer, choose(lookahead, b1, 1.0), 0.0),
        from_moved=choose(_both(buffer, _negated(lookahead)), 0.0, 1.0),
        decay=choose(has("decay"), None if "weight_decay" not in number else rate * number["weight_decay"], 0.0),
        zero=zero,
    )
    return result, b1_product, b2_product


def _scheduled_momentum(b1: Any, step: jax.Array, momentum_decay: Any) -> Any:
    """Half of b1 at first, then nearer and nearer to it (Dozat 2016, section 2.2)."""
    return b1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))


def _rectification(b2: Any, b2_power: Any, step: jax.Array, threshold: Any) -> tuple[Any, Any]:
    """Whether the second moment's variance is tractable, and the factor that corrects it (RAdam, eq. 5 to 7)."""
    longest = 2.0 / (1.0 - b2) - 1.0
    length = longest - 2 * step * b2_power / choose(b2_power >= 1, 1.0, 1 - b2_power)
    tractable = (length >= threshold) & (length > 4.0)
    n, n_max = jnp.where(tractable, length, 5.0), jnp.where(tractable, longest, 5.0)
    return tractable, jnp.sqrt((n - 4.0) * (n - 2.0) * n_max / ((n_max - 4.0) * (n_max - 2.0) * n))


def _sealed(product: Any, zero: jax.Array) -> Any:
    return product + zero.astype(jnp.result_type(product))


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """`jnp.where` that is resolved in Python when the condition is a Python bool."""
    if isinstance(condition, bool):
        return yes if condition else no
    return jnp.where(condition, yes, no)


def _both(a: Any, b: Any) -> Any:
    if isinstance(a, bool):
        return b if a else False
    if isinstance(b, bool):
        return a if b else False
    return a & b


def _negated(a: Any) -> Any:
    return not a if isinstance(a, bool) else ~a


def _is_float_array(x: Any) -> bool:
    return hasattr(x, "astype") and not isinstance(x, float) and jnp.issubdtype(x.dtype, np.inexact)
