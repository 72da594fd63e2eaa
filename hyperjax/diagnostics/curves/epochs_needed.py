"""How long a run is worth training: where its curve leads, and where going on stops paying."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hyperjax.checks import require, within
from hyperjax.diagnostics.curves.curve import Curve
from hyperjax.diagnostics.curves.extrapolation import MOST, Extrapolation, extrapolate
from hyperjax.diagnostics.curves.seen import Seen, Series
from hyperjax.diagnostics.curves.signs import LEAST_POINTS, overfitting
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.statistics import Interval
from hyperjax.training.record import Run


@dataclass(frozen=True)
class EpochsNeeded(Diagnostic):
    """Where training more stops paying.

    Attributes:
        epochs: after which doubling the training brings less than `worth` of what it brought so far, 95 % interval;
            where the validation loss rises again, its minimum.
        loss: there; gain: how much lower the loss would be after twice what was trained, below 0 where it rises.
        trained: epochs (or steps, for a curve of steps) that were trained.
        verdict: "go on", "enough" or "could have ended".
        worth: share of the fall so far that a doubling must bring.
        which: the loss that was carried on, "validation" or "training".
        family: the shape that foretold the end of the curve best; "minimum" where the loss rises again.
        unit: what `epochs` counts.
    """

    title: ClassVar[str] = "Epochs needed"
    epochs: Interval
    loss: Interval
    gain: Interval
    trained: float
    verdict: str
    worth: float
    which: str
    family: str
    unit: str
    _curve: Curve = field(repr=False, compare=False)
    _led: Extrapolation | None = field(repr=False, compare=False, default=None)

    @property
    def curve(self) -> Curve:
        """What was carried on."""
        return self._curve

    def expected(self, epochs: float) -> Interval:
        """The loss that a run of so many epochs ends with, noise included, 95 % interval.

        Raises: ValueError beyond 64 times what was trained, or where the loss rises again.
        """
        if self._led is None:
            raise ValueError("epochs must be of a loss that goes on falling, got one that rises again")
        within("epochs", epochs, 0.0, MOST * self.trained, open_low=True)
        led = self._led.at(np.array([float(epochs)]))
        late = self._led.noise[len(self._led.noise) // 2 :]
        noise = np.random.default_rng(0).normal(0, np.sqrt(np.mean(late**2)), (*led.shape[:2], 8))
        return _interval(float(led[0, 0, 0]), (led + noise).reshape(len(led), -1))

    @property
    def answer(self) -> str:
        """What to do, and what it would bring."""
        words = {
            "go on": "Go on",
            "enough": "It has been trained about long enough",
            "could have ended": "It could have ended earlier",
        }[self.verdict]
        needed, low, high = self.epochs
        until = f"more than {MOST:g} times as long" if math.isinf(needed) else f"{needed:.3g} {self.unit}s"
        last = (
            "; from there on the validation loss rises."
            if self.family == "minimum"
            else f"; twice the {self.trained:.3g} trained lower it by {self.gain.mean:.2g} ({self.gain.low:.2g} to "
            f"{self.gain.high:.2g})."
        )
        return f"{words}: {until} ({low:.3g} to {high:.3g}) pay, to a {self.which} loss of {self.loss.mean:.3g}{last}"

    @property
    def table(self) -> Table:
        """Each number with its interval."""
        rows = [(f"{self.unit}s needed", *self.epochs), ("loss there", *self.loss), ("gain by twice", *self.gain)]
        if self._led is not None:
            rows += [
                (f"loss after {times * self.trained:.4g} {self.unit}s", *self.expected(times * self.trained))
                for times in (1, 2, 4)
            ]
        return Table(("what", "mean", "low", "high"), tuple(rows))


def epochs_needed(source: Run | Curve, *, worth: float = 0.01) -> EpochsNeeded:
    """Say after how many epochs training more stops paying, by carrying the validation loss on (or the training loss).

    Training stops paying at the first epoch `e` at which doubling it brings less than `worth` of what it has brought:
    `L(e) - L(2 e) < worth (L(first) - L(e))`. `L` is a floor with an exponential, two of them, or a power law,
    whichever foretells the last quarter of the curve from the rest, its first third left out.

    Args:
        source: a run, or a curve.
        worth: in (0, 1), share of the fall so far.
    Returns: the epochs, the loss there and the gain of twice as many, each with a 95 % interval of a block bootstrap.
    Raises: ValueError where the curve says nothing: it diverged, has fewer than 8 points, does not fall, or its
        learning rate was lowered by half or more, since a longer run would lower it later.

    >>> curve = Curve(range(1, 41), [1.5 + 4 * 0.9**t for t in range(1, 41)], unit="epoch")
    >>> needed = epochs_needed(curve)
    >>> round(needed.epochs.mean), round(needed.expected(80).mean, 3), needed.verdict
    (45, 1.501, 'go on')
    """
    within("worth", worth, 0.0, 1.0, open_low=True, open_high=True)
    if not isinstance(source, Run | Curve):
        raise ValueError(f"source must be a run or a Curve, got a {type(source).__name__}")
    curve = source if isinstance(source, Curve) else Curve.of(source)
    require(curve.diverged_at is None, f"source must not have diverged, got one that did at {curve.diverged_at}")
    require(len(curve.train) >= LEAST_POINTS, f"source must have 8 losses or more, got {len(curve.train)}")
    seen = Seen(curve)
    trained = seen.end
    rises = overfitting(seen)
    if rises.confidence >= 0.9 and rises.at is not None and rises.span is not None and seen.validation is not None:
        return _minimum(seen, seen.validation, rises.at, rises.span, worth)
    rate = curve.rate
    if rate is not None and len(rate) and rate[-1] < 0.5 * rate.max():
        raise ValueError(
            f"source must have a learning rate that lasts, got one that ended at {100 * rate[-1] / rate.max():.2g} % "
            "of its highest: its curve does not say where a longer schedule leads"
        )
    enough = len(curve.validation) >= LEAST_POINTS
    which = "validation" if enough else "training"
    steps, losses = (curve.validation_steps, curve.validation) if enough else (curve.steps, curve.train)
    series = Series(steps, losses, 0.0, trained)
    if series.falls() < 0.99:
        raise ValueError(
            f"source must have a {which} loss that falls, got one that a Mann-Kendall test finds to fall with a "
            f"probability of {series.falls():.2f}"
        )
    times, y = (series.x, series.y) if series.x[0] > 0 else (series.x[1:], series.y[1:])
    # The steep beginning is another story than where the end leads; least squares would tell it first.
    left_out = min(len(y) // 3, max(0, len(y) - 12))
    led = extrapolate(times[left_out:], y[left_out:])
    if led is None:
        raise ValueError(f"source must have a {which} loss that falls ever more slowly, got one that does not")
    needed = _needed(led, float(times[0]), float(y[0]), trained, worth)
    end = led.at(np.array([trained, 2 * trained]))
    gains = end[:, :, 0] - end[:, :, 1]
    epochs = _interval(float(needed[0, 0]), needed)
    last = epochs.mean if math.isfinite(epochs.mean) else MOST * trained
    there = led.at(np.array([last]))[:, :, 0]
    verdict = "go on" if epochs.low > trained else "could have ended" if epochs.high < trained else "enough"
    return EpochsNeeded(
        epochs,
        _interval(float(there[0, 0]), there),
        _interval(float(gains[0, 0]), gains),
        trained,
        verdict,
        worth,
        which,
        led.families[0],
        curve.unit,
        curve,
        led,
    )


def _needed(led: Extrapolation, first: float, begun: float, trained: float, worth: float) -> np.ndarray:
    """f64[families, 1 + replicates]: where doubling stops paying, infinite where it always does."""
    grid = np.geomspace(first, MOST * trained, 1500)
    losses, doubled = led.at(grid), led.at(2 * grid)
    # Carried back over what was left out, losses may lie above the first one.
    enough = losses - doubled < worth * np.maximum(begun - losses, 0)
    return np.where(enough.any(2), grid[np.argmax(enough, axis=2)], np.inf)


def _minimum(seen: Seen, series: Series, at: float, span: tuple[float, float], worth: float) -> EpochsNeeded:
    lowest = series.draws.min(1) * seen.unit
    change = lowest - series.ends * seen.unit
    return EpochsNeeded(
        Interval(at, *span),
        _interval(float(series.trend.min()) * seen.unit, lowest),
        _interval(float(np.median(change)), change),
        seen.end,
        "could have ended",
        worth,
        "validation",
        "minimum",
        seen.curve.unit,
        seen.curve,
    )


def _interval(mean: float, values: np.ndarray) -> Interval:
    """The 95 % interval of replicates; of several families', f64[families, replicates], what all of them span."""
    low, high = np.quantile(np.atleast_2d(values), [0.025, 0.975], axis=1, method="nearest")
    return Interval(mean, min(float(low.min()), mean), max(float(high.max()), mean))
