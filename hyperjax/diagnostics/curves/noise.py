"""What is noise in a curve and what is not: a smoother, replicates by a wild block bootstrap, and three tests."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

REPLICATES = 400
POINTS = 120  # longer curves are averaged to so many


def blocked(x: np.ndarray, y: np.ndarray, most: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Means of runs of neighbours, as equal in number as can be, at most so many.

    >>> blocked(np.arange(5.0), np.arange(5.0), 2)[1].tolist()
    [0.5, 3.0]
    """
    if len(y) <= most:
        return x, y
    edges = np.arange(most) * len(y) // most
    counts = np.diff(np.append(edges, len(y)))
    return np.add.reduceat(x, edges) / counts, np.add.reduceat(y, edges) / counts


def smoother(x: np.ndarray, width: float = 0.08) -> np.ndarray:
    """f64[n, n]: the matrix of a local line through neighbours, tricube weights.

    Args:
        x: f64[n], rising.
        width: of a half window, as a share of the whole; never less than it takes to hold three neighbours a side.
    """
    n = len(x)
    scaled = (x - x[0]) / max(x[-1] - x[0], 1e-300)
    apart = np.abs(scaled[:, None] - scaled)
    reach = np.maximum(width, np.sort(apart, axis=1)[:, min(n - 1, 4)] * 1.01)[:, None]
    weight = np.maximum(1 - (apart / reach) ** 3, 0) ** 3
    off = scaled - scaled[:, None]
    s0, s1, s2 = weight.sum(1), (weight * off).sum(1), (weight * off**2).sum(1)
    below = s0 * s2 - s1**2
    line = weight * (s2[:, None] - off * s1[:, None]) / np.maximum(below, 1e-12)[:, None]
    result: np.ndarray = np.where((below > 1e-9)[:, None], line, weight / s0[:, None])
    return result


@lru_cache(maxsize=64)
def multipliers(points: int, block: int) -> np.ndarray:
    """f64[replicates, points]: 1 or -1, equal within blocks whose place is random; the same ones each time."""
    draw = np.random.default_rng(0)
    signs = draw.choice([-1.0, 1.0], (REPLICATES, points // block + 2))
    places = (np.arange(points) + draw.integers(block, size=(REPLICATES, 1))) // block
    return np.take_along_axis(signs, places, axis=1)


def replicates(y: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """f64[replicates, n]: smoothed curves as they might as well have been, of the smoothed one and its residuals.

    Residuals keep their place, and change sign by blocks: noise that shrinks along the curve stays small where it is
    small, and what neighbours share is kept. Blocks are as long as the cube root of the number of points.

    Source: Wu 1986, Jackknife, bootstrap and other resampling methods, Annals of Statistics 14:1261; in blocks Shao
    2010, The dependent wild bootstrap, JASA 105:218.
    """
    trend = smooth @ y
    block = max(1, round(len(y) ** (1 / 3)))
    residual = (y - trend) * _lost(smooth, block)
    result: np.ndarray = (trend + residual * multipliers(len(y), block)) @ smooth.T
    return result


def _lost(smooth: np.ndarray, block: int) -> float:
    """What residuals must be multiplied by so that replicates of white noise spread as smoothed white noise does.

    A smoother follows a part of the noise, which residuals lack, and more so their sums over blocks.
    """
    n = len(smooth)
    rest = np.eye(n) - smooth
    places = np.arange(n) // block
    shared = (rest @ rest.T) * (places[:, None] == places)
    spread = float(np.einsum("ij,jk,ik->", smooth, shared, smooth, optimize=True))
    return float(min(np.sqrt((smooth**2).sum() / max(spread, 1e-12)), 3.0))


def falling(y: np.ndarray) -> float:
    """Probability, by a one-sided Mann-Kendall test, that a series falls: near 1 falls, near 0 rises, 0.5 neither.

    Source: Mann 1945, Nonparametric tests against trend, Econometrica 13:245, normal approximation. Neighbours must be
    independent: average them in blocks before.

    >>> round(falling(np.array([4.0, 3.0, 3.5, 1.0, 0.0])), 3), falling(np.ones(5))
    (0.957, 0.5)
    """
    n = len(y)
    score = float(np.sign(y[None, :] - y[:, None])[np.triu_indices(n, 1)].sum())
    if score == 0:
        return 0.5
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return NormalDist().cdf(-(score - math.copysign(1, score)) / deviation)


def neighbours_agree(residual: np.ndarray) -> float:
    """Correlation of neighbours, from -1 (each opposes the last) to 1.

    >>> round(neighbours_agree(np.array([1.0, -1.0] * 20)), 2)
    -0.97
    """
    centred = residual - residual.mean()
    total = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / total if total > 0 else 0.0


def cycles(y: np.ndarray) -> float:
    """Cycles of a slow period that rules a series, 0 where none does.

    Fisher's test: the share that one frequency, of at least 2 cycles and 4 points each, has of the variance about a
    cubic, is beyond chance (p < 0.001), and above a quarter, which noise whose neighbours agree does not reach.

    Source: Fisher 1929, Tests of significance in harmonic analysis, Proceedings of the Royal Society A 125:54.

    >>> cycles(np.sin(np.arange(60) * 2 * np.pi / 12)), cycles(np.random.default_rng(0).normal(size=60))
    (5.0, 0.0)
    """
    n = len(y)
    if n < 16:
        return 0.0
    x = np.linspace(-1, 1, n)
    residual = y - np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyfit(x, y, 3))
    power = np.abs(np.fft.rfft(residual)) ** 2
    total = float(power[1:].sum())
    if total <= 1e-24 * n * float(np.abs(y).max() + 1e-150) ** 2:
        return 0.0
    share, count = power / total, len(power) - 1
    slow = np.arange(2, max(3, n // 4 + 1))
    best = int(slow[np.argmax(share[slow])])
    chance = count * (1 - float(share[best])) ** (count - 1)
    return float(best) if chance < 1e-3 and share[best] > 0.25 else 0.0
