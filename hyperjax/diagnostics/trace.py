"""The trace of a symmetric matrix that is known by its products with vectors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.statistics import Interval, mean_interval
from hyperjax.types import Array

LEAST = 1e-5  # of the estimate: what float32 leaves open where every vector gives the same


def trace(product: Callable[[Array], Array], like: Array, key: jax.Array, probes: int) -> Interval:
    """The trace by Hutchinson's estimate: the mean of v'Av over vectors v of random signs.

    A matrix that is nearly diagonal has its trace from a few of them; what lies beside the diagonal is the noise.

    Args:
        product: vector -> the matrix times it.
        like: f[n], for size and type.
        key: of the signs.
        probes: how many vectors, at least 2.
    Returns: the estimate with Student's 95 % interval.
    Source: Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix".

    >>> matrix = jnp.array([[1.0, 2.0], [2.0, 3.0]])
    >>> found = trace(lambda v: matrix @ v, jnp.ones(2), jax.random.key(0), 8)
    >>> found.low <= 4.0 <= found.high
    True
    """
    found = [
        float(_form(signs, product(signs))) for signs in jax.random.rademacher(key, (probes, *like.shape), like.dtype)
    ]
    mean, low, high = mean_interval(np.array(found))
    least = LEAST * abs(mean)
    return Interval(mean, min(low, mean - least), max(high, mean + least))


@jax.jit
def _form(signs: Array, image: Array) -> Array:
    return jnp.sum(signs * image)
