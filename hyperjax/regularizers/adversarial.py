"""Adversarial inputs: the change within a ball around each example that raises the loss most."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import is_concrete, one_of, positive_integer, require, within
from hyperjax.types import Array, Scalar

LossOfInputs: TypeAlias = Callable[[Array], Array]

NORMS = ("linf", "l2")


def fgsm(
    loss_of_inputs: LossOfInputs,
    inputs: Array,
    strength: Scalar,
    norm: str = "linf",
    *,
    low: Scalar | None = None,
    high: Scalar | None = None,
) -> Array:
    """Move each example by `strength` along the gradient of its loss: the best change where the loss is linear.

    `x + strength * sign(g)` for norm "linf", `x + strength * g / |g|` for "l2", `g` the gradient of the loss by `x`;
    0 where that is 0. It is `pgd` of one step of full size from the example itself, where the arguments are explained.

    Args:
        loss_of_inputs: `inputs -> values`, one per example or a scalar.
        inputs: f[batch, ...], real.
        strength: f[], at least 0, in the unit of the inputs; may be traced.
        norm: "linf" or "l2".
        low, high: range of the data, f[] or broadcast to the inputs; None: no limit.
    Returns: inputs of the same shape and dtype, through which no gradient flows.
    Raises: ValueError as `pgd`.
    Source: Goodfellow, Shlens & Szegedy 2015, "Explaining and harnessing adversarial examples", section 4,
        arXiv:1412.6572.

    >>> import jax.numpy as jnp
    >>> weights = jnp.array([3.0, -4.0, 0.0])
    >>> x = jnp.zeros((1, 3))
    >>> print(fgsm(lambda x: x @ weights, x, 0.5), fgsm(lambda x: x @ weights, x, 0.5, norm="l2"))
    [[ 0.5 -0.5  0. ]] [[ 0.3 -0.4  0. ]]
    """
    return pgd(loss_of_inputs, inputs, strength, strength, 1, norm, low=low, high=high)


def pgd(
    loss_of_inputs: LossOfInputs,
    inputs: Array,
    strength: Scalar,
    step_size: Scalar,
    steps: int,
    norm: str = "linf",
    key: Array | None = None,
    *,
    low: Scalar | None = None,
    high: Scalar | None = None,
) -> Array:
    """Climb the loss by steps of one size, going back into a ball of radius `strength` around each example after each.

    `d <- P(d + step_size * u(g))`, `g` the gradient of the loss by the inputs at `x + d`, with `u(g) = sign(g)` and `P`
    a clip of each element to +-strength for norm "linf", `u(g) = g / |g|` and `P(d) = d min(1, strength / |d|)` over
    all axes but the first for "l2"; then a clip of `x + d` to [low, high]. Where the gradient is 0 so is `u`. At
    strength 0 the inputs come back bit for bit, and outside `vmap` no gradient is computed.

    To train against it, let the objective of an `hj.Task` attack its own batch, as in the example. A model with dropout
    or BatchNorm must be attacked in evaluation mode, on a clone: the gradient is taken inside, where no layer may move
    its stream or its statistics. A `Hyperparameter` of the model as strength lets a recipe bind it, and a population
    vary it.

    Args:
        loss_of_inputs: `inputs -> values`, one per example or a scalar; each example should depend on its own inputs
            alone. No gradient flows to what it holds, such as a model's weights.
        inputs: f[batch, ...], real; each entry of the first axis is one example.
        strength: f[], at least 0, in the unit of the inputs; may be traced (a negative one then counts as 0).
        step_size: f[], at least 0, in the unit of the inputs; may be traced. `2.5 * strength / steps` is Madry's.
        steps: at least 1; static.
        norm: "linf" (each element) or "l2" (each example); static.
        key: draws the start uniformly from the ball; None: start at the example.
        low, high: range of the data, f[] or broadcast to the inputs; None: no limit. An input that is outside of it
            already is not moved further out, and may stay.
    Returns: inputs of the same shape and dtype, in the ball up to the rounding of that dtype, through which no gradient
        flows.
    Raises: ValueError for a negative strength or step size, steps below 1, an unknown norm, inputs that are not of a
        real floating dtype or have no batch axis, or low above high.
    Source: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", section 2.1,
        arXiv:1706.06083.

    >>> import jax, jax.numpy as jnp, numpy as np, hyperjax as hj
    >>> from flax import nnx
    >>> def objective(model, batch, key):
    ...     x, labels = batch
    ...     still = nnx.clone(model)
    ...     still.eval()
    ...     attacked = pgd(lambda x: hj.losses.cross_entropy(still(x), labels), x, 0.1, 0.05, steps=5, key=key)
    ...     return hj.losses.cross_entropy(model(attacked), labels)
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> data = {"train": (x, (x[:, 0] > 0).astype(np.int32))}
    >>> task = hj.Task(lambda rngs: hj.models.MLP(1, 2, (4,), rngs=rngs), data, objective=objective)
    >>> run = hj.fit(task, hj.Recipe(learning_rate=0.05, epochs=20))
    >>> bool(run.losses[-1] < run.losses[0])
    True
    """
    one_of("norm", norm, NORMS)
    positive_integer("steps", steps)
    within("strength", strength, 0.0)
    within("step_size", step_size, 0.0)
    inputs = jnp.asarray(inputs)
    real = jnp.issubdtype(inputs.dtype, jnp.floating)
    require(real and inputs.ndim > 0, f"inputs must be real, f[batch, ...], got {inputs.dtype}{list(inputs.shape)}")
    if is_concrete(low) and is_concrete(high):
        require(np.asarray(low) <= np.asarray(high), f"low must be at most high, got {low!r} and {high!r}")
    dtype = jnp.promote_types(inputs.dtype, jnp.float32)  # in half precision small steps would be lost
    radius, step = jnp.asarray(strength, dtype), jnp.asarray(step_size, dtype)
    x = jax.lax.stop_gradient(inputs).astype(dtype)
    bottom = None if low is None else jnp.minimum(jnp.asarray(low, dtype), x)  # a range that holds x: clipping to it
    top = None if high is None else jnp.maximum(jnp.asarray(high, dtype), x)  # never leaves the ball

    slope = jax.grad(lambda x: jnp.sum(loss_of_inputs(x)))

    def projected(change: Array) -> Array:
        change = _into_ball(change, radius, norm)
        change = change if bottom is None else jnp.maximum(change, bottom - x)
        return change if top is None else jnp.minimum(change, top - x)

    def climbed(_: Any, change: Array) -> Array:
        gradient = slope((x + change).astype(inputs.dtype)).astype(dtype)
        return projected(change + step * _steepest(gradient, norm))

    def attacked() -> Array:
        start = jnp.zeros_like(x) if key is None else projected(_uniform_in_ball(key, x, radius, norm))
        change = jax.lax.fori_loop(0, steps, climbed, start) if steps > 1 else climbed(0, start)
        return jnp.clip(x + change, bottom, top).astype(inputs.dtype)

    # Under vmap the branch is a select, which keeps the inputs of a member of strength 0 just as well.
    found: Array = jax.lax.stop_gradient(jax.lax.cond(radius > 0, attacked, lambda: inputs))
    return found


def _steepest(gradient: Array, norm: str) -> Array:
    """The change of norm 1 along which a linear loss grows fastest; 0 for a gradient of 0."""
    if norm == "linf":
        return jnp.sign(gradient)
    size = _norm(gradient)
    return jnp.where(size > 0, gradient / jnp.where(size > 0, size, 1), 0)


def _into_ball(change: Array, radius: Array, norm: str) -> Array:
    if norm == "linf":
        return jnp.clip(change, -radius, radius)
    size = _norm(change)
    outside = size > radius
    return jnp.where(outside, change * (radius / jnp.where(outside, size, 1)), change)


def _uniform_in_ball(key: Array, x: Array, radius: Array, norm: str) -> Array:
    if norm == "linf":
        return radius * jax.random.uniform(key, x.shape, x.dtype, -1, 1)
    for_direction, for_distance = jax.random.split(key)
    direction = _steepest(jax.random.normal(for_direction, x.shape, x.dtype), norm)
    ones = (x.shape[0],) + (1,) * (x.ndim - 1)
    elements = max(x.size // max(x.shape[0], 1), 1)
    distance = jax.random.uniform(for_distance, ones, x.dtype) ** (1 / elements)  # volume grows as radius^elements
    return radius * distance * direction


def _norm(x: Array) -> Array:
    """The 2-norm over all axes but the first, which stay with length 1; safe from under- and overflow of squares."""
    axes = tuple(range(1, x.ndim))
    largest = jnp.max(jnp.abs(x), axes, keepdims=True, initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    return scale * jnp.sqrt(jnp.sum(jnp.square(x / scale), axes, keepdims=True))
