"""Penalties on weights: their value, their gradient added to an update, and their proximal step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import require, within
from hyperjax.types import Array, Mask, Number, PyTree, Scalar


class ProximalState(NamedTuple):
    """Updates made so far, at which schedules are read."""

    count: Array  # type: ignore[assignment]  # i32[]


def elastic_net(params: PyTree, l1: Scalar, l2: Scalar = 0.0) -> Array:
    """The penalty `l1 sum |w| + l2 sum w^2 / 2` over all weights.

    Args:
        params: real arrays.
        l1, l2: float[], at least 0; may be traced. Its derivative is `l1 sign(w) + l2 w`, 0 for the first part at 0.
    Returns: f[], in float32 at least.
    Raises: ValueError on a negative strength.
    Source: Zou & Hastie 2005, Regularization and variable selection via the elastic net, eq. 3, halved in its square.
        scikit-learn: `ElasticNet(alpha, l1_ratio)` has l1 = alpha l1_ratio, l2 = alpha (1 - l1_ratio), and half the
        mean squared error beside them.

    >>> print(elastic_net({"w": jnp.array([1.0, -3.0])}, l1=0.5, l2=0.2))
    3.0
    """
    _check(l1, l2)
    total = jnp.zeros([], jnp.float32)
    for leaf in jax.tree.leaves(params):
        w = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        size = w * jnp.sign(jax.lax.stop_gradient(w))  # the derivative of jnp.abs at 0 is 1
        total = total + jnp.sum(l1 * size + 0.5 * l2 * jnp.square(w))
    return total


def add_elastic_net(l1: Number, l2: Number = 0.0, mask: Mask = None) -> optax.GradientTransformationExtraArgs:
    """Add the penalty's gradient, `l1 sign(w) + l2 w`, to the gradient of the loss.

    Put it before a rule: `optax.chain(add_elastic_net(1e-4), sgd(0.1))`. An adaptive rule divides it by its own
    denominator too, so that weights with large gradients are penalized less: that is how L2 differs from decoupled
    decay under Adam. Weights seldom become exactly 0; `proximal_elastic_net` makes them so.

    Args:
        l1, l2: float[], at least 0: floats, arrays, tracers or schedules `step -> strength`.
        mask: bools in the structure of the parameters (or a prefix of it), or a function from parameters to those:
            which leaves are penalized. None: all.
    Returns: an optax transformation whose update needs the parameters; dtypes are kept.
    Raises: ValueError on a negative strength, or without parameters.
    Source: as `elastic_net`; the L2 part alone is `optax.add_decayed_weights`, PyTorch's `weight_decay` of SGD and
        Adam.

    >>> transform = add_elastic_net(l1=0.1, l2=0.5)
    >>> params = jnp.array([2.0, 0.0, -2.0])
    >>> print(transform.update(jnp.zeros(3), transform.init(params), params)[0])
    [ 1.1  0.  -1.1]
    """
    _check(l1, l2)

    def change(w: Array, u: Array, strengths: tuple[Any, Any]) -> Array:
        added: Array = u + strengths[0] * jnp.sign(w) + strengths[1] * w
        return added

    return _with_params(change, (l1, l2), mask)


def proximal_elastic_net(
    learning_rate: Number, l1: Number, l2: Number = 0.0, mask: Mask = None
) -> optax.GradientTransformationExtraArgs:
    """Move the weights that an update leads to by the penalty's proximal step, which makes small ones exactly 0.

    `w <- sign(v) max(|v| - r l1, 0) / (1 + r l2)`, `v = w + update`, `r = learning_rate`. Put it last, behind plain
    gradient descent of the same rate; behind an adaptive rule the step is a heuristic, since its metric is another.

    Args:
        learning_rate: float[], at least 0: float, array, tracer or schedule, the same as the rule's.
        l1, l2: float[], at least 0: floats, arrays, tracers or schedules.
        mask: as in `add_elastic_net`.
    Returns: an optax transformation whose update needs the parameters; dtypes are kept.
    Raises: ValueError on a negative rate or strength, or without parameters.
    Source: Parikh & Boyd 2014, Proximal algorithms, section 6.5.2. scikit-learn: what `ElasticNet` solves.

    >>> transform = proximal_elastic_net(learning_rate=1.0, l1=0.5)
    >>> params = jnp.array([2.0, 0.3])
    >>> update, _ = transform.update(jnp.zeros(2), transform.init(params), params)
    >>> print(params + update)
    [1.5 0. ]
    """
    within("learning_rate", learning_rate, 0.0)
    _check(l1, l2)

    def change(w: Array, u: Array, strengths: tuple[Any, Any, Any]) -> Array:
        rate, first, second = strengths
        v = w + u
        shrunk = jnp.where(jnp.abs(v) > rate * first, v - rate * first * jnp.sign(v), 0.0)
        step: Array = shrunk / (1 + rate * second) - w
        return step

    return _with_params(change, (learning_rate, l1, l2), mask)


def max_norm(
    limit: Number, axis: int | tuple[int, ...] | None = None, mask: Mask = None
) -> optax.GradientTransformationExtraArgs:
    """Scale weights that an update leads outside a ball back onto it: each unit's incoming weights have a norm at most.

    `w <- v min(1, limit / |v|)`, `v = w + update`, the 2-norm over `axis`. Put it last.

    Args:
        limit: float[], in the weights' unit, above 0: float, array, tracer or schedule.
        axis: over which the norm is taken; None: all but the last, where Flax has a unit's outputs in dense and
            convolution kernels alike. Arrays of one axis (biases) are left as they are.
        mask: as in `add_elastic_net`.
    Returns: an optax transformation whose update needs the parameters; dtypes are kept.
    Raises: ValueError on a limit that is not positive, an axis that a parameter does not have, or without parameters.
    Source: Srebro, Rennie & Jaakkola 2005; Srivastava et al. 2014, JMLR 15:1929, section 5.1. Keras: `MaxNorm`.

    >>> transform = max_norm(2.5)
    >>> params = jnp.array([[3.0, 0.1], [4.0, 0.1]])
    >>> update, _ = transform.update(jnp.zeros((2, 2)), transform.init(params), params)
    >>> print(params + update)
    [[1.5 0.1]
     [2.  0.1]]
    """
    if not callable(limit):
        within("limit", limit, 0.0, open_low=True)
    given = (axis,) if isinstance(axis, int) else axis

    def change(w: Array, u: Array, strengths: tuple[Any]) -> Array:
        if w.ndim < 2:
            return u
        axes = tuple(range(w.ndim - 1)) if given is None else tuple(given)
        fits = all(-w.ndim <= a < w.ndim for a in axes)
        require(fits, f"axis must be in [{-w.ndim}, {w.ndim}) for a parameter of shape {w.shape}, got {axis}")
        v = w + u
        squared = jnp.sum(jnp.square(v), axes, keepdims=True)
        outside = squared > strengths[0] ** 2
        scale = jnp.where(outside, strengths[0] / jnp.sqrt(jnp.where(outside, squared, 1.0)), 1.0)
        return jnp.where(outside, v * scale - w, u)

    return _with_params(change, (limit,), mask)


def _with_params(
    change: Callable[[Array, Array, Any], Array], numbers: tuple[Number, ...], mask: Mask
) -> optax.GradientTransformationExtraArgs:
    """A transformation of updates that looks at the parameters, its numbers read at the count."""

    def init(params: PyTree) -> ProximalState:
        return ProximalState(jnp.zeros([], jnp.int32))

    def update(
        updates: PyTree, state: ProximalState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ProximalState]:
        require(params is not None, "params must be given, since the penalty is theirs; got None")
        now = tuple(number(state.count) if callable(number) else number for number in numbers)
        chosen = jax.tree.broadcast(mask(params) if callable(mask) else True if mask is None else mask, params)

        def leaf(u: Any, w: Any, applies: bool) -> Any:
            if u is None or not applies:
                return u
            dtype = jnp.promote_types(u.dtype, jnp.float32)
            strengths = tuple(jnp.asarray(number, dtype) for number in now)
            return change(w.astype(dtype), u.astype(dtype), strengths).astype(u.dtype)

        changed = jax.tree.map(leaf, updates, params, chosen, is_leaf=lambda u: u is None)
        return changed, ProximalState(optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


def _check(l1: Number, l2: Number) -> None:
    within("l1", l1, 0.0)
    within("l2", l2, 0.0)
