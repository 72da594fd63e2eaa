"""Losses that place embeddings: what belongs together near, the rest apart."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax.checks import one_number, require
from hyperjax.losses.reduction import length, require_one_of_two, result_type, widened
from hyperjax.types import Array, Scalar


def triplet(anchor: Any, positive: Any, negative: Any, margin: Scalar = 1.0) -> Array:
    """How far an anchor fails to be nearer to its positive than to its negative, by a margin; one value per example.

    `max(0, |anchor - positive| - |anchor - negative| + margin)`

    Args:
        anchor, positive, negative: float[examples, D] of one shape.
        margin: float[], in the embeddings' unit, at least 0; may be traced.
    Returns: float[examples] in the type of the anchor, computed in float32 at least. The derivative of a distance of 0
        is 0.
    Raises: ValueError when the shapes differ or the margin is negative.
    Source: Schroff et al. 2015, arXiv:1503.03832, equation 1, with distances not squared. optax: `triplet_margin_loss`.
        PyTorch: `TripletMarginLoss(margin, eps=0, reduction="none")`.

    >>> print(triplet(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 5.5]])))
    [0.5]
    """
    one_number("margin", margin, 0.0)
    given = _alike(anchor=anchor, positive=positive, negative=negative)
    a, p, n = widened(*given)
    return jax.nn.relu(length(a - p) - length(a - n) + jnp.asarray(margin, a.dtype)).astype(result_type(given[0]))


def batch_hard_triplet(embeddings: Any, labels: Any, margin: Scalar = 1.0) -> Array:
    """`triplet` of each example with its farthest positive and its nearest negative in the batch.

    Args:
        embeddings: float[examples, D].
        labels: int[examples]; examples of one label are positives of one another.
        margin: as in `triplet`.
    Returns: float[examples] in the type of the embeddings; 0 for an example without a positive or without a negative.
    Raises: ValueError on shapes that do not fit or a negative margin.
    Source: Hermans, Beyer & Leibe 2017, arXiv:1703.07737, equation 5.

    >>> x = jnp.array([[0.0], [2.0], [1.5]])
    >>> print(batch_hard_triplet(x, jnp.array([0, 0, 1]), margin=1.0))
    [1.5 2.5 0. ]
    """
    one_number("margin", margin, 0.0)
    distances, same, dtype = _pairs(embeddings, labels)
    positives, negatives = same & ~np.eye(len(same), dtype=bool), ~same
    farthest = jnp.max(jnp.where(positives, distances, -jnp.inf), 1, initial=-jnp.inf)
    nearest = jnp.min(jnp.where(negatives, distances, jnp.inf), 1, initial=jnp.inf)
    whole = positives.any(1) & negatives.any(1)
    gap = jnp.where(whole, farthest, 0.0) - jnp.where(whole, nearest, 0.0)
    return jnp.where(whole, jax.nn.relu(gap + jnp.asarray(margin, gap.dtype)), 0.0).astype(dtype)


def semi_hard_triplet(embeddings: Any, labels: Any, margin: Scalar = 1.0) -> Array:
    """`triplet` of each example with each of its positives and the nearest negative beyond that one, averaged.

    Where no negative is beyond the positive, the farthest negative is taken.

    Args:
        embeddings: float[examples, D].
        labels: int[examples]; examples of one label are positives of one another.
        margin: as in `triplet`.
    Returns: float[examples] in the type of the embeddings; 0 for an example without a positive or without a negative.
        Needs memory of examples^3 numbers.
    Raises: ValueError on shapes that do not fit or a negative margin.
    Source: Schroff et al. 2015, arXiv:1503.03832, section 3.2.

    >>> x = jnp.array([[0.0], [2.0], [2.5], [1.0]])
    >>> print(semi_hard_triplet(x, jnp.array([0, 0, 1, 1]), margin=1.0))
    [0.5 2.  0.  1.5]
    """
    one_number("margin", margin, 0.0)
    distances, same, dtype = _pairs(embeddings, labels)
    positives, negatives = same & ~np.eye(len(same), dtype=bool), ~same
    beyond = negatives[:, None, :] & (distances[:, None, :] > distances[:, :, None])  # anchor, positive, negative
    nearest = jnp.min(jnp.where(beyond, distances[:, None, :], jnp.inf), -1, initial=jnp.inf)
    farthest = jnp.max(jnp.where(negatives, distances, -jnp.inf), 1, initial=-jnp.inf)[:, None]
    exists = beyond.any(-1)
    counted = positives & negatives.any(1)[:, None]
    other = jnp.where(counted, jnp.where(exists, jnp.where(exists, nearest, 0.0), farthest), 0.0)
    values = jax.nn.relu(jnp.where(counted, distances, 0.0) - other + jnp.asarray(margin, distances.dtype))
    total = jnp.sum(jnp.where(counted, values, 0.0), 1)
    return (total / jnp.maximum(jnp.sum(counted, 1), 1)).astype(dtype)


def contrastive(first: Any, second: Any, same: Any, margin: Scalar = 1.0) -> Array:
    """Half the squared distance of pairs that belong together, half the squared lack of distance of those that do not.

    `d^2 / 2` where `same`, `max(0, margin - d)^2 / 2` elsewhere, `d = |first - second|`.

    Args:
        first, second: float[examples, D] of one shape.
        same: bool or 0 and 1 [examples].
        margin: float[], in the embeddings' unit, at least 0; may be traced.
    Returns: float[examples] in the type of the embeddings, computed in float32 at least.
    Raises: ValueError on shapes that do not fit, a concrete `same` that is neither 0 nor 1, or a negative margin.
    Source: Hadsell, Chopra & LeCun 2006, Dimensionality reduction by learning an invariant mapping, equation 4.

    >>> print(contrastive(jnp.zeros((2, 1)), jnp.array([[0.5], [0.5]]), jnp.array([True, False])))
    [0.125 0.125]
    """
    one_number("margin", margin, 0.0)
    given = _alike(first=first, second=second)
    together = jnp.asarray(same)
    shape = given[0].shape[:1]
    require(together.shape == shape, f"same must be one truth value a pair, shape {shape}, got {together.shape}")
    require_one_of_two("same", same, 0, 1)
    a, b = widened(*given)
    distance = length(a - b)
    near, far = jnp.square(distance), jnp.square(jax.nn.relu(jnp.asarray(margin, a.dtype) - distance))
    return (0.5 * jnp.where(together.astype(bool), near, far)).astype(result_type(given[0]))


def ntxent(first: Any, second: Any, temperature: Scalar = 0.5) -> Array:
    """Cross-entropy of finding an example's other view among all views of the batch; one value per example.

    With `z` the 2 N views, `s` their cosine similarities and `j` the partner of view `i`:
    `-log exp(s_ij / temperature) / sum_{k != i} exp(s_ik / temperature)`, averaged over the two views of an example.

    Args:
        first, second: float[examples, D], two views of each example; at least two examples, or none.
        temperature: float[], no unit, above 0; may be traced.
    Returns: float[examples] in the type of the views, computed in float32 at least.
    Raises: ValueError when the shapes differ, there is one example or the temperature is not positive.
    Source: Chen et al. 2020, arXiv:2002.05709, equation 1. optax: `ntxent`.

    >>> views = jnp.eye(2)
    >>> print(f"{ntxent(views, views, temperature=1.0)[0]:.4f}")  # log(1 + 2 / e)
    0.5514
    """
    one_number("temperature", temperature, 0.0, open_low=True)
    given = _alike(first=first, second=second)
    require(len(given[0]) != 1, "first must hold at least two examples, got 1, which has none to be told from")
    views = jnp.concatenate(widened(*given))
    unit = views / jnp.maximum(length(views), 1e-12)[:, None]
    count = len(given[0])
    alone = np.eye(2 * count, dtype=bool)
    similarity = jnp.where(alone, -jnp.inf, unit @ unit.T / jnp.asarray(temperature, views.dtype))
    partner = np.roll(alone, count, axis=1)
    values = jax.nn.logsumexp(similarity, -1) - jnp.sum(jnp.where(partner, similarity, 0.0), -1)
    return (0.5 * (values[:count] + values[count:])).astype(result_type(given[0]))


def _pairs(given: Any, labels: Any) -> tuple[Array, Array, Any]:
    """Distances between all examples, which of them share a label, and the type of the result."""
    embeddings, classes = jnp.asarray(given), jnp.asarray(labels)
    fits = embeddings.ndim == 2 and classes.shape == embeddings.shape[:1]
    require(fits, f"labels must be one for each of the embeddings, {embeddings.shape}, got shape {classes.shape}")
    (precise,) = widened(embeddings)
    distances = length(precise[:, None] - precise[None])
    return distances, classes[:, None] == classes[None], result_type(embeddings)


def _alike(**given: Any) -> list[Array]:
    arrays = {name: jnp.asarray(array) for name, array in given.items()}
    shape = next(iter(arrays.values())).shape
    for name, array in arrays.items():
        require(
            array.ndim == 2 and array.shape == shape,
            f"{name} must be of shape [examples, D], the same as the others, {shape}, got {array.shape}",
        )
    return list(arrays.values())
