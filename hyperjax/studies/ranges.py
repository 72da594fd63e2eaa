"""Ranges of numbers that a study samples from."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyperjax.checks import within


@dataclass(frozen=True)
class Range:
    """Numbers between `low` and `high`, both included: evenly, evenly in the logarithm, or whole ones alone."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def sample(self, rng: np.random.Generator) -> float | int:
        """One value."""
        if self.integer:
            low, high = self.low - 0.5, self.high + 0.5  # each whole number gets the width of one
            value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
            return int(min(max(round(value), self.low), self.high))
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return float(min(max(value, self.low), self.high))
        share = rng.uniform()
        return float(min(max(self.low * (1 - share) + self.high * share, self.low), self.high))

    def share(self, value: float) -> float:
        """How far along the range a value lies, from 0 at its low end to 1 at its high one, as it is spread.

        >>> Range(0.25, 4.0, log=True).share(1.0), Range(0.0, 0.5).share(0.5)
        (0.5, 1.0)
        """
        low, high, at = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return float((at - low) / (high - low)) if high > low else 0.5

    def __str__(self) -> str:
        kind = "whole numbers" if self.integer else "numbers"
        return f"{kind} from {self.low:g} to {self.high:g}{', log scale' if self.log else ''}"


def uniform(low: float, high: float) -> Range:
    """Numbers spread evenly over [low, high].

    >>> print(uniform(0.0, 0.5))
    numbers from 0 to 0.5
    """
    return _range("uniform", low, high)


def log_uniform(low: float, high: float) -> Range:
    """Numbers whose logarithms are spread evenly over [log low, log high]; low must be above 0.

    >>> print(log_uniform(1e-4, 1.0))
    numbers from 0.0001 to 1, log scale
    """
    return _range("log_uniform", low, high, log=True)


def integer(low: int, high: int) -> Range:
    """Whole numbers from low to high, each as likely.

    >>> print(integer(1, 4))
    whole numbers from 1 to 4
    """
    return _range("integer", low, high, whole=True)


def log_integer(low: int, high: int) -> Range:
    """Whole numbers from low to high, spread evenly in the logarithm; low must be at least 1.

    >>> print(log_integer(16, 256))
    whole numbers from 16 to 256, log scale
    """
    return _range("log_integer", low, high, log=True, whole=True)


def _range(name: str, low: Any, high: Any, log: bool = False, whole: bool = False) -> Range:
    for end, value in (("low", low), ("high", high)):
        if not isinstance(value, int | float | np.integer | np.floating):
            raise ValueError(f"{end} of {name} must be a number, got {value!r}")
        within(f"{end} of {name}", value)
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise ValueError(f"low and high of {name} must be whole numbers, got {low!r} and {high!r}")
    if low > high:
        raise ValueError(f"low of {name} must be at most high, got low {low!r} above high {high!r}")
    if log and low <= 0:
        raise ValueError(f"low of {name} must be above 0 for a logarithmic scale, got {low!r}")
    return Range(int(low) if whole else float(low), int(high) if whole else float(high), log, whole)
