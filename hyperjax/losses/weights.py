"""Weights of classes from how often each occurs."""

from typing import Any

import jax
import numpy as np

from hyperjax.checks import positive_integer, require, within


def class_weights(labels: Any, classes: int | None = None, beta: float = 1.0) -> np.ndarray:
    """Weights that make up for unequal numbers of examples, by class.

    `a / E(count_c)`, `E(n) = (1 - beta^n) / (1 - beta)`, and `E(n) = n` for beta 1; `a` makes the mean weight of the
    labels 1, so that a loss keeps its scale and a learning rate its meaning.

    Args:
        labels: int[...] in [0, classes), any shape, known values: they are counted on the host, once.
        classes: number of classes; None: the largest label and one more.
        beta: in [0, 1]: how far the examples of one class count as different from one another. 1 weights by inverse
            frequency, `n / (k count_c)` of `n` labels in the `k` classes that occur; 0 gives 1 to all of these.
    Returns: float32[classes], on the host, for `cross_entropy(class_weights=)` and `focal(alpha=)`. A class without
        examples gets 0: nothing says what one would weigh, and the mean is not touched by it.
    Raises: ValueError on labels that are not whole, out of range, absent or traced, classes below 1 or beta outside
        [0, 1].
    Source: King & Zeng 2001, Logistic regression in rare events data; effective numbers: Cui et al. 2019,
        arXiv:1901.05555, equation 2 (they make the classes' sum of weights k; the ratios are the same). scikit-learn:
        `compute_class_weight("balanced")`. optax and PyTorch: none.

    >>> print(class_weights([0, 0, 0, 1]))
    [0.6666667 2.       ]
    >>> print(class_weights([0, 0, 0, 1], beta=0.0))
    [1. 1.]
    """
    require(not isinstance(labels, jax.core.Tracer), "labels must be known where they are counted, got a tracer")
    within("beta", beta, 0.0, 1.0)
    known = np.asarray(labels).ravel()
    require(known.dtype.kind in "iub", f"labels must be whole numbers, got dtype {known.dtype}")
    require(known.size > 0, "labels must hold at least one, got none")
    low, high = int(known.min()), int(known.max())
    number = high + 1 if classes is None else positive_integer("classes", classes)
    require(low >= 0 and high < number, f"labels must be in [0, {number}), got values from {low} to {high}")
    counts = np.bincount(known.astype(np.int64), minlength=number)
    present = counts > 0
    effective = _effective(counts[present].astype(np.float64), float(beta))
    weights = np.zeros(number)
    weights[present] = 1 / effective
    return (weights * (known.size / (weights @ counts))).astype(np.float32)


def _effective(counts: np.ndarray, beta: float) -> np.ndarray:
    """The effective number of examples, up to a factor."""
    if beta == 0:
        return np.ones_like(counts)
    # 1 - beta^n, without the cancellation where beta is near 1
    return counts if beta == 1 else -np.expm1(counts * np.log(beta))
