"""Where a falling curve leads: sums of a floor and falling shapes, with the doubt of noise and of the shape."""

from dataclasses import dataclass

import numpy as np

from hyperjax.diagnostics.curves.noise import multipliers, neighbours_agree

FAMILIES = ("exponential", "two exponentials", "power law")
COUNT = 120  # replicates of each
MOST = 64.0  # as many times the length of the curve is looked ahead


@dataclass(frozen=True)
class Family:
    """Candidates of one kind of fall, a floor and one or two terms each.

    Attributes:
        name: one of `FAMILIES`.
        numbers: f64[candidates, 2], what tells candidates apart: two times, or a time and a power; in logarithms.
    """

    name: str
    numbers: np.ndarray

    def shapes(self, t: np.ndarray) -> np.ndarray:
        """f64[candidates, n, terms]: a constant, and what falls from 1 at 0."""
        first, second = np.exp(self.numbers).T[:, :, None]
        if self.name == "power law":
            terms = [(1 + t / first) ** -second]
        else:
            terms = [np.exp(-t / first), np.exp(-t / second)][: 1 if self.name == "exponential" else 2]
        return np.stack([np.ones((len(self.numbers), len(t))), *terms], axis=2)

    def about(self, best: int, width: float) -> "Family":
        """Candidates close to one of them, the first of which is it."""
        # Two numbers that trade off against each other lie along a narrow valley, rarely at 45 degrees.
        along = (0, -1, -0.5, -0.15, 0.15, 0.5, 1)
        off = np.array([(i, j) for i in along for j in along]) * width
        if self.name == "exponential":
            off = np.unique(off[:, :1], axis=0) @ np.array([[1.0, 0.0]])
        return Family(self.name, self.numbers[best] + off)


def family(name: str, length: float) -> Family:
    """The candidates of a kind for a curve of a length."""
    times = np.log(np.geomspace(length / 100, length * 10, 36))
    if name == "exponential":
        return Family(name, np.stack([times, np.zeros_like(times)], 1))
    if name == "two exponentials":
        return Family(name, np.array([(a, b) for i, a in enumerate(times[::2]) for b in times[::2][i + 1 :]]))
    powers = np.log([0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0])
    return Family(name, np.array([(a, b) for a in times[::3] for b in powers]))


def fitted(shapes: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of curves by each candidate, whose terms must not be negative.

    Args:
        shapes: f64[candidates, n, terms]; y: f64[curves, n].
    Returns: coefficients f64[curves, candidates, terms] and mean squared errors f64[curves, candidates], infinite where
        a term is negative.
    """
    inverse = np.linalg.pinv(shapes, rcond=1e-10)  # [candidates, terms, n]
    coefficients = np.einsum("ctn,kn->kct", inverse, y)
    predicted = np.einsum("cnt,kct->kcn", shapes, coefficients)
    errors = ((predicted - y[:, None]) ** 2).mean(2)
    return coefficients, np.where((coefficients[:, :, 1:] >= 0).all(2), errors, np.inf)


def _best(name: str, t: np.ndarray, y: np.ndarray, length: float) -> tuple[Family, np.ndarray, np.ndarray]:
    """A family's candidates, closer together about the best of them, with their coefficients and errors for a curve."""
    own = family(name, length)
    coefficients, errors = fitted(own.shapes(t), y[None])
    for width in (0.4, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05, 0.02, 0.02, 0.01, 0.01, 0.005):
        if not np.isfinite(errors).any():
            break
        near = own.about(int(np.argmin(errors[0])), width)
        more, off = fitted(near.shapes(t), y[None])
        own = Family(name, np.concatenate([own.numbers, near.numbers]))
        coefficients, errors = np.concatenate([coefficients, more], 1), np.concatenate([errors, off], 1)
    return own, coefficients[0], errors[0]


@dataclass(frozen=True)
class Extrapolation:
    """A curve carried on: one function for the curve, and one for each of its replicates.

    Attributes:
        families: those that foretold the last quarter of the curve about as well as the best, the best first.
        noise: f64[n], how far the losses lie off the best.
    """

    families: tuple[str, ...]
    noise: np.ndarray
    _parts: tuple[tuple[Family, np.ndarray, np.ndarray], ...]  # family, candidate and coefficients of each curve

    def at(self, t: np.ndarray) -> np.ndarray:
        """f64[families, 1 + replicates, n]: the curve at some times as each family has it, then its replicates."""
        rows = []
        for own, candidates, coefficients in self._parts:
            shapes = Family(own.name, own.numbers[candidates]).shapes(t)
            rows.append(np.einsum("knt,kt->kn", shapes, coefficients))
        return np.stack(rows)


def extrapolate(t: np.ndarray, y: np.ndarray) -> Extrapolation | None:
    """Carry a falling curve on.

    Families are judged by how well they foretell the last quarter from the rest; those within twice the least error are
    kept. Each has replicates of its own, a wild block bootstrap of its residuals.

    Args:
        t: f64[n], rising, above 0; y: f64[n].
    Returns: None where no family falls as the curve does.
    """
    scale = float(np.ptp(y)) or 1.0
    lowest, y = float(y.min()), (y - y.min()) / scale
    known = t <= t[int(0.75 * len(t))]
    tails = {}
    for name in FAMILIES:
        own, coefficients, errors = _best(name, t[known], y[known], float(t[-1]))
        if np.isfinite(errors).any():
            best = int(np.argmin(errors))
            foretold = own.shapes(t[~known])[best] @ coefficients[best]
            tails[name] = float(((foretold - y[~known]) ** 2).mean())
    if not tails:
        return None
    least = min(tails.values())
    kept = sorted((name for name in tails if tails[name] <= 4 * least + 1e-12), key=lambda name: tails[name])
    parts, noise = [], np.zeros(0)
    for name in kept:
        fine, coefficients, errors = _best(name, t, y, float(t[-1]))
        if not np.isfinite(errors).any():
            continue
        best, shapes = int(np.argmin(errors)), fine.shapes(t)
        residual = y - shapes[best] @ coefficients[best]
        residual *= np.sqrt(len(y) / max(len(y) - 2 * shapes.shape[2] + 1, 1))  # of that many numbers
        # White residuals need no blocks, in which they would cancel.
        block = max(1, round(len(t) ** (1 / 3))) if neighbours_agree(residual) > 2 / np.sqrt(len(t)) else 1
        replicated, off = fitted(shapes, y - residual + residual * multipliers(len(t), block)[:COUNT])
        chosen = np.argmin(off, axis=1)
        weights = np.concatenate([coefficients[[best]], replicated[np.arange(COUNT), chosen]]) * scale
        weights[:, 0] += lowest
        parts.append((fine, np.insert(chosen, 0, best), weights))
        noise = noise if len(noise) else residual * scale
    return Extrapolation(tuple(part[0].name for part in parts), noise, tuple(parts)) if parts else None
