"""What is done to a gradient before a rule sees it: centralization, noise, sharpness-aware perturbation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hyperjax.checks import within
from hyperjax.types import PyTree, Scalar


def centralize() -> optax.GradientTransformation:
    """Subtract from each unit's gradient its mean over the unit's incoming weights.

        g <- g - mean of g over all axes but the last      arrays of two axes or more

    Weights then keep each unit's mean weight, a constraint that regularizes and smooths. It is for kernels as Flax
    lays them out (inputs first, outputs last); vectors pass unchanged. `optax.centralize` takes the mean over all axes
    but the first, as kernels that are laid out the other way want it.
    PyTorch: none.

    Returns: an optax transformation without state.
    Source: Yong et al., 2020, arXiv:2004.01461, eq. 1.

    >>> transform = centralize()
    >>> print(transform.update(jnp.array([[1.0, 5.0], [3.0, 5.0]]), transform.init(None))[0])
    [[-1.  0.]
     [ 1.  0.]]
    """

    def leaf(g: Any) -> Any:
        return g - jnp.mean(g, tuple(range(g.ndim - 1)), keepdims=True) if g.ndim > 1 else g

    return optax.stateless(lambda updates, params: jax.tree.map(leaf, updates))


def gradient_noise(key: jax.Array, gradients: PyTree, deviation: Scalar) -> PyTree:
    """Add independent normal noise to every entry of a gradient.

        g <- g + deviation * z,  z ~ N(0, 1)

    It helps very deep networks out of poor starts and blurs sharp minima; too much of it is a floor under the loss.
    With `deviation = sqrt(eta / (1 + t)**gamma)` it is `optax.add_noise(eta, gamma)`.
    PyTorch: none.

    Args:
        key: a typed key, used once.
        gradients: real arrays.
        deviation: float[], in the gradient's unit, at least 0; may be traced. At 0 the gradients are returned bit for
            bit.
    Returns: arrays like the gradients.
    Raises: ValueError on a negative deviation.
    Source: Neelakantan et al., 2015, arXiv:1511.06807, eq. 1.

    >>> noisy = gradient_noise(jax.random.key(0), jnp.zeros(10_000), 0.1)
    >>> print(f"{jnp.std(noisy):.2f}")
    0.10
    """
    within("deviation", deviation, 0.0)
    tree: Any
    leaves, tree = jax.tree.flatten(gradients)
    keys = [jax.random.fold_in(key, i) for i in range(len(leaves))]

    def leaf(g: Any, key: jax.Array) -> Any:
        precise = jnp.promote_types(g.dtype, jnp.float32)
        scale = jnp.asarray(deviation, precise)
        noise = scale * jax.random.normal(key, g.shape, precise)
        return jnp.where(scale > 0, g + noise.astype(g.dtype), g)

    return tree.unflatten([leaf(g, key) for g, key in zip(leaves, keys, strict=True)])


def sharpness_aware(gradient: Callable[[PyTree], PyTree], params: PyTree, radius: Scalar) -> PyTree:
    """The gradient at the worst point of a ball around the weights, to first order (SAM).

        w' = w + radius * g / |g|,  g = gradient(w);  result = gradient(w')

    Give the result to any rule. It prefers flat minima, which often generalize better, and costs a second gradient a
    step; a radius too large stops the descent early. A weight whose gradient is None stays where it is.
    PyTorch: none.

    Args:
        gradient: parameters -> gradient of the loss, of the same batch at both calls.
        params: real arrays.
        radius: float[], in the weights' unit, at least 0 (0.05 is usual); may be traced.
    Returns: arrays like `params`. Where the gradient is 0 it is taken at the weights themselves.
    Raises: ValueError on a negative radius.
    Source: Foret et al., 2021, arXiv:2010.01412, eq. 2 and algorithm 1. `optax.contrib.sam` with
        `optax.contrib.normalize()` computes the same as a wrapper around an optimizer.

    >>> square = jax.grad(lambda w: jnp.sum(w**2) / 2)
    >>> print(sharpness_aware(square, jnp.array([3.0, 4.0]), radius=5.0))
    [6. 8.]
    """
    within("radius", radius, 0.0)
    return gradient(worst_nearby(params, gradient(params), radius))


def worst_nearby(params: PyTree, gradients: PyTree, radius: Any) -> PyTree:
    """The point of a ball around the weights at which the loss is largest, to first order."""
    squared = sum(
        jnp.sum(jnp.square(g.astype(jnp.promote_types(g.dtype, jnp.float32)))) for g in jax.tree.leaves(gradients)
    )
    vanishes = jnp.asarray(squared) <= 0  # false for nan, which must stay visible
    scale = jnp.where(vanishes, 0.0, radius / jnp.sqrt(jnp.where(vanishes, 1.0, squared)))

    def leaf(g: Any, w: Any) -> Any:
        return w if g is None else (w + scale.astype(g.dtype) * g).astype(w.dtype)

    return jax.tree.map(leaf, gradients, params, is_leaf=lambda g: g is None)
