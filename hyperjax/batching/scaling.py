"""How a learning rate goes with the batch size."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from hyperjax.checks import one_of, within
from hyperjax.types import Scalar

_POWERS = {"linear": 1.0, "sqrt": 0.5}


def scale_learning_rate(rate: Scalar, from_batch: Scalar, to_batch: Scalar, rule: str = "linear") -> Any:
    """Return the learning rate for another batch size.

    `rate (to_batch / from_batch)^p`, p = 1 for "linear" (plain gradient descent, as long as the gradients of a batch
    agree more than they differ), 1/2 for "sqrt" (adaptive rules, whose step depends on the gradient's noise).

    Args:
        rate: float[], at least 0, tuned at `from_batch`.
        from_batch, to_batch: examples a step, above 0. All three may be traced.
        rule: "linear" or "sqrt".
    Returns: float[]; a Python float from Python numbers.
    Raises: ValueError on a number out of its range or an unknown rule.
    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.1; Krizhevsky 2014, arXiv:1404.5997, section 5, and for
        adaptive rules Malladi et al. 2022, arXiv:2205.10287.

    >>> scale_learning_rate(0.1, 32, 128), scale_learning_rate(0.001, 32, 128, rule="sqrt")
    (0.4, 0.002)
    """
    within("rate", rate, 0.0)
    within("from_batch", from_batch, 0.0, open_low=True)
    within("to_batch", to_batch, 0.0, open_low=True)
    power = _POWERS[one_of("rule", rule, _POWERS)]
    if all(isinstance(number, int | float | np.number) for number in (rate, from_batch, to_batch)):
        return float(rate) * (float(to_batch) / float(from_batch)) ** power
    return rate * jnp.power(jnp.asarray(to_batch / from_batch), power)
