"""The gradient noise scale and its interval, from products of gradients alone."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hyperjax.statistics import t_quantile


class Products(NamedTuple):
    """Inner products of the gradients of units (examples, or batches), each drawn for itself.

    The product is the plain one, or that of a symmetric matrix: g'Hg; then `curvatures` are sets of examples that H was
    taken on, each apart. A plain product has one.
    """

    own: np.ndarray  # f[..., units, curvatures], of each unit's gradient with itself
    sums: np.ndarray  # f[..., units, curvatures], with the sum of all of them


class Estimate(NamedTuple):
    """A value with the ends of its confidence interval, each f[...]."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def agreement(products: Products, confidence: float = 0.95) -> Estimate:
    """What share of a unit's squared gradient is the true gradient's: |G|^2 / (|G|^2 + tr(Sigma) / size), in [0, 1].

    |G|^2 is the mean product of two different units, which is unbiased (the squared mean without its own noise), and
    the denominator the mean product of a unit with itself. Its interval is Fieller's, of the ratio of two estimates,
    whose covariance is the jackknife's: units left out one by one, and sets of curvature.

    Source: E. C. Fieller, Some problems in interval estimation (1954); B. Efron, C. Stein, The jackknife estimate of
        variance (1981), by which that covariance is too large rather than too small.

    >>> gradients = np.array([[3.0, 0.1], [3.1, -0.1], [2.9, 0.1], [3.0, -0.1]])
    >>> own, sums = (gradients**2).sum(1), gradients @ gradients.sum(0)
    >>> f"{agreement(Products(own[:, None], sums[:, None])).value:.3f}"
    '0.998'
    """
    together, single, dropped = _means(products)
    spread, degrees = _covariance(dropped)
    limit = _limits(degrees, confidence)
    (v_together, v_both), (_, v_single) = spread
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = together / single
        doubt = limit**2 * v_single / single**2  # 1 or more: the denominator may be 0
        tilt = np.where(v_single > 0, v_both / np.where(v_single > 0, v_single, 1.0), 0.0)
        inside = v_together - 2 * ratio * v_both + ratio**2 * v_single - doubt * (v_together - tilt * v_both)
        half = limit * np.sqrt(np.maximum(inside, 0)) / np.abs(single) / (1 - doubt)
        middle = (ratio - doubt * tilt) / (1 - doubt)
    low, high = middle - half, middle + half
    known = (doubt < 1) & (single > 0)  # else curvature goes either way, and nothing is known
    if np.shape(products.own)[-1] > 1:  # nor where it bends down along the noise, or along the gradient
        known &= (low <= 1) & (high >= 0)
    low, high = np.where(known, low, 0.0), np.where(known, high, 1.0)
    return Estimate(*(np.clip(each, 0.0, 1.0) for each in (np.where(known, ratio, np.nan), low, high)))


def noise_scale_of(products: Products, size: float = 1, confidence: float = 0.95) -> Estimate:
    """The gradient noise scale: tr(Sigma) / |G|^2, or tr(H Sigma) / (G'HG) from products by curvature, in examples.

    Where the true gradient cannot be told from 0 by these units, the interval has no upper end: `high` is infinite.
    Where the loss bends down along the noise or the gradient, the form with the Hessian means nothing: `value` is NaN.

    Args:
        products: of the units' gradients; one scale for each place of the leading axes.
        size: examples in a unit.
        confidence: in (0, 1).
    Source: S. McCandlish, J. Kaplan, D. Amodei and others, arXiv:1812.06162, equations 2.8, 2.9 and appendix A.1.
    """
    share = agreement(products, confidence)
    value, high, low = (scale_from(each, size) for each in share)
    return Estimate(value, low, high)


def scale_from(share: np.ndarray | float, size: float) -> np.ndarray:
    """The noise scale at which the true gradient makes up a share of a batch's squared one; infinite for none.

    >>> float(scale_from(0.25, 32))
    96.0
    """
    with np.errstate(divide="ignore"):
        return np.asarray(size * (1 / np.asarray(share, np.float64) - 1))


class _Dropped(NamedTuple):
    """The two means with each unit, or each set of curvature, left out: f[..., 2, left out]."""

    units: np.ndarray
    curvatures: np.ndarray


def _means(products: Products) -> tuple[np.ndarray, np.ndarray, _Dropped]:
    """Mean product of two different units, of a unit with itself, and both with one left out."""
    own, sums = (np.asarray(each, np.float64) for each in products)
    count, sets = own.shape[-2:]
    d, r = own.mean(-1), sums.mean(-1)  # f[..., units]
    all_own, all_pairs = d.sum(-1, keepdims=True), r.sum(-1, keepdims=True)
    pairs = (all_pairs - 2 * r + d - (all_own - d)) / ((count - 1) * (count - 2))
    units = np.stack([pairs, (all_own - d) / (count - 1)], -2)
    by_set = np.stack([(sums - own).sum(-2) / (count * (count - 1)), own.mean(-2)], -2)  # f[..., 2, curvatures]
    means = by_set.mean(-1)
    others = (by_set.sum(-1, keepdims=True) - by_set) / max(sets - 1, 1)
    return means[..., 0], means[..., 1], _Dropped(units, others)


def _covariance(dropped: _Dropped) -> tuple[np.ndarray, np.ndarray]:
    """Jackknife covariance of the two means, f[2, 2, ...], and its degrees of freedom, after Satterthwaite."""
    parts, squared = [], []
    for left_out in dropped:
        count = left_out.shape[-1]
        apart = left_out - left_out.mean(-1, keepdims=True)
        part = np.einsum("...ik,...jk->ij...", apart, apart) * ((count - 1) / count)
        parts.append(part if count > 1 else np.zeros_like(part))
        squared.append(np.square(parts[-1][0, 0]) / max(count - 1, 1))
    total = parts[0] + parts[1]
    weighed = squared[0] + squared[1]
    whole = dropped.units.shape[-1] - 1
    return total, np.where(weighed > 0, np.square(total[0, 0]) / np.where(weighed > 0, weighed, 1.0), whole)


def _limits(degrees: np.ndarray, confidence: float) -> np.ndarray:
    whole = np.maximum(np.asarray(degrees), 1).astype(int)
    return np.asarray(np.vectorize(lambda n: _limit(min(int(n), 1000), confidence), otypes=[float])(whole))


@lru_cache
def _limit(degrees: int, confidence: float) -> float:
    return t_quantile(degrees, confidence)
