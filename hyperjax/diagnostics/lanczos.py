"""The largest eigenvalue of a symmetric matrix that is known by its products with vectors."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.types import Array


class Largest(NamedTuple):
    """An eigenvalue, and how far it may be from a true one."""

    eigenvalue: float
    residual: float  # norm of A v - eigenvalue v: within it of the value there is a true eigenvalue
    iterations: int  # products that were taken


def largest_eigenvalue(
    product: Callable[[Array], Array], like: Array, key: jax.Array, iterations: int, tolerance: float
) -> Largest:
    """The largest eigenvalue by Lanczos' iteration from a random vector, reorthogonalized in full.

    Each vector is made orthogonal to all before it, twice, since rounding alone would bring copies of eigenvalues back.
    That keeps `iterations` vectors as long as the matrix.

    Args:
        product: vector -> the matrix times it.
        like: f[n], for size and type.
        key: of the first vector.
        iterations: most products, at least 1.
        tolerance: share of the eigenvalue's size at which the residual is small enough to end.
    Returns: the largest Ritz value with its residual; not finite where a product is not.
    Source: Paige 1972, "Computational variants of the Lanczos method"; residuals: Parlett, "The symmetric eigenvalue
        problem", 13.2.

    >>> matrix = jnp.diag(jnp.array([1.0, -5.0, 3.0]))
    >>> found = largest_eigenvalue(lambda v: matrix @ v, jnp.ones(3), jax.random.key(0), 10, 1e-4)
    >>> round(found.eigenvalue, 3), found.iterations
    (3.0, 3)
    """
    count = min(iterations, like.size)
    vector = jax.random.normal(key, like.shape, like.dtype)
    vector = vector / jnp.linalg.norm(vector)
    basis = jnp.zeros((count, like.size), like.dtype)
    diagonal: list[float] = []
    beside: list[float] = []
    eigenvalue, residual = np.nan, np.inf
    for place in range(count):
        basis, step, vector = _extended(basis, place, vector, product(vector))
        alpha, beta = map(float, step)
        diagonal.append(alpha)
        if not np.isfinite(alpha + beta):
            return Largest(np.nan, np.nan, place + 1)
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        eigenvalue, residual = float(values[-1]), beta * abs(float(vectors[-1, -1]))
        # A space that the matrix maps to itself leaves nothing but rounding to go on with.
        spread = float(np.abs(values).max())
        if residual <= tolerance * abs(eigenvalue) or beta <= np.finfo(like.dtype).eps * spread:
            break
        beside.append(beta)
    return Largest(eigenvalue, residual, len(diagonal))


@partial(jax.jit, donate_argnums=0)
def _extended(basis: Array, place: Array, vector: Array, image: Array) -> tuple[Array, tuple[Array, Array], Array]:
    """The basis with a vector more, the entries of the tridiagonal matrix that it gives, and the next vector."""
    basis = basis.at[place].set(vector)
    alpha = jnp.vdot(vector, image)
    for _ in range(2):
        inside = jnp.matmul(basis, image, precision="highest")
        image = image - jnp.matmul(inside, basis, precision="highest")
    beta = jnp.linalg.norm(image)
    return basis, (alpha, beta), image / jnp.where(beta > 0, beta, 1.0)
