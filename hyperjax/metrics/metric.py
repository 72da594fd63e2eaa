"""What a metric is: a function of predictions and targets that knows which direction is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from hyperjax.checks import one_of, require
from hyperjax.types import Array

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Metric:
    """A function `(predictions, targets) -> one value per example` that says which direction is better.

    A run reports the mean over examples. For a metric that is a ratio of sums over a whole set (F1, say), the values
    are such that their mean is the ratio: it is that of the examples handed over together, which for a validation are
    all of them up to 2,048, and blocks of so many beyond, whose ratios are averaged by their sizes. In training it is
    the ratio of each batch, averaged over batches, which is another quantity.

    Args:
        function: `(predictions, targets) -> float[examples]`.
        direction: "max" when larger is better, "min" when smaller is.
        name: what tables and figures call it.

    >>> from hyperjax.metrics import accuracy
    >>> accuracy.direction, accuracy.name
    ('max', 'accuracy')
    """

    function: Callable[[Any, Any], Array]
    direction: Direction
    name: str

    def __post_init__(self) -> None:
        require(callable(self.function), f"function of metric {self.name!r} must be callable, got {self.function!r}")
        one_of("direction", self.direction, ("max", "min"))

    def __call__(self, predictions: Any, targets: Any) -> Array:
        return self.function(predictions, targets)

    def __repr__(self) -> str:
        return f"Metric({self.name!r}, direction={self.direction!r})"

    def better(self, value: float, other: float) -> bool:
        """True when `value` is strictly better than `other`; a value that is not a number is never better.

        >>> from hyperjax.metrics import accuracy
        >>> accuracy.better(0.9, 0.8), accuracy.better(0.9, float("nan")), accuracy.better(float("nan"), 0.1)
        (True, True, False)
        """
        if value != value:
            return False
        return other != other or (value > other if self.direction == "max" else value < other)


def as_metric(name: str, function: Callable[[Any, Any], Any], direction: Direction | None = None) -> Metric:
    """A metric from a plain function, under the name that the user gave it.

    Args:
        name: what tables and figures call it.
        function: `(predictions, targets) -> float[examples]`, or a `Metric`.
        direction: "max" or "min"; by default the function's own attribute `direction`, and "max" without one.
    Returns: a `Metric`.
    Raises: ValueError when the function cannot be called or the direction is neither.

    >>> as_metric("top", lambda predictions, targets: predictions[:, 0])
    Metric('top', direction='max')
    >>> from hyperjax.metrics import mean_absolute_error
    >>> as_metric("error", mean_absolute_error)
    Metric('error', direction='min')
    """
    chosen: Any = direction if direction is not None else getattr(function, "direction", "max")
    inner = function.function if isinstance(function, Metric) else function
    return Metric(inner, chosen, name)


def per_example(values: Array) -> Array:
    """Means over all axes but the first, in float32 at least.

    Metrics are kept apart from the weights' type: a share of correct answers in bfloat16 would have three digits.

    >>> print(per_example(jnp.array([[True, False], [True, True]])))
    [0.5 1. ]
    """
    precise = jnp.promote_types(jnp.result_type(values, float), jnp.float32)
    return jnp.mean(values.astype(precise), axis=tuple(range(1, values.ndim)))


def alike(predictions: Any, targets: Any, called: str = "predictions") -> tuple[Array, Array]:
    """Both as arrays of one shape.

    Raises: ValueError when the shapes differ.
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    require(
        predictions.shape == targets.shape,
        f"targets must have the shape of the {called}, {predictions.shape}, got {targets.shape}",
    )
    return predictions, targets
