"""Progressive sharpening and the edge of stability: what a run's sharpness does, told apart from its noise."""

import math
from typing import NamedTuple

import numpy as np

from hyperjax.statistics import Interval, mean_interval

NEAR = (0.85, 1.25)  # share of the limit between which the mean must lie to be called at it
REACHED = 0.9  # share of the limit that is near it
FEWEST = 3  # moments that a mean's interval is taken over
SURE = 0.05  # probability of a trend as clear as this one without any


class Edge(NamedTuple):
    """What sharpness does over a run."""

    first: float  # sharpness at the first moment at which it is known, and at the last
    last: float
    trend: float  # Kendall's tau of sharpness with time until the limit is reached, or over the whole run; NaN: too few
    rises: bool | None  # whether that is beyond noise; None: too few moments to tell
    reached_at: int | None  # step of the moment from which on most are near the limit or above
    ratio: Interval  # share of the limit over the second half of the moments, or from that one on where it is later
    where: str | None  # "at", "below", "above" the limit; "unclear"; None where no limit is known
    limit: float  # at the last moment
    learning_rate: float
    largest_rate: float  # at which the rule is stable at the last moment


def edge_of(
    steps: np.ndarray,
    eigenvalue: np.ndarray,
    preconditioned: np.ndarray,
    limit: np.ndarray,
    rate: np.ndarray,
    steepest: np.ndarray,
) -> Edge:
    """What sharpness does over a run, from its values at the moments, each f64[moments].

    Args:
        steps: updates made by then.
        eigenvalue: of the Hessian, for a run whose limit is not known.
        preconditioned, limit: what is compared; NaN where they are not known.
        rate: learning rate.
        steepest: rate times curvature at the limit; NaN where it is not known.

    >>> steps, limit = np.arange(8), np.full(8, 20.0)
    >>> rising = np.array([5.0, 9.0, 14.0, 18.0, 20.5, 19.8, 20.3, 20.1])
    >>> found = edge_of(steps, rising, rising, limit, np.full(8, 0.1), np.full(8, 2.0))
    >>> found.where, found.rises, found.reached_at
    ('at', True, 3)
    """
    has_limit = bool(np.isfinite(steepest).any())
    value = preconditioned if has_limit else eigenvalue
    ratio = preconditioned / limit
    known = np.flatnonzero(np.isfinite(value))
    if not len(known):
        nothing = Interval(math.nan, math.nan, math.nan)
        return Edge(math.nan, math.nan, math.nan, None, None, nothing, None, math.nan, float(rate[-1]), math.nan)
    reached = _reached(ratio[known]) if has_limit else None
    until = known if reached is None else known[: reached + 1]
    # Where the limit is reached at once there is no way up to it to be judged.
    trend, chance = kendall(value[until]) if len(until) > FEWEST else (math.nan, math.nan)
    rises = None if math.isnan(chance) else bool(trend > 0 and chance < SURE)
    watched = known[min(max(len(known) // 2, reached or 0), max(len(known) - FEWEST, 0)) :]
    share = mean_interval(ratio[watched]) if has_limit else Interval(math.nan, math.nan, math.nan)
    if len(watched) < FEWEST:
        share = Interval(share.mean, -math.inf, math.inf)
    last = int(known[-1])
    return Edge(
        first=float(value[known[0]]),
        last=float(value[last]),
        trend=trend,
        rises=rises,
        reached_at=None if reached is None else int(steps[known[reached]]),
        ratio=share,
        where=_where(share, ratio[watched]) if has_limit else None,
        limit=float(limit[last]),
        learning_rate=float(rate[last]),
        largest_rate=float(stable_rates(steepest, preconditioned)[last]),
    )


def stable_rates(steepest: np.ndarray, preconditioned: np.ndarray) -> np.ndarray:
    """f64[moments], the largest learning rate at which a rule is stable; infinite where the loss does not bend up.

    >>> stable_rates(np.array([2.0, 2.0]), np.array([8.0, -1.0])).tolist()
    [0.25, inf]
    """
    with np.errstate(divide="ignore"):
        return steepest / np.where(preconditioned <= 0, 0.0, preconditioned)


def _reached(ratio: np.ndarray) -> int | None:
    """The first place that is near the limit, most of the places from there on being near it or above.

    A run that begins far above leaves at once, in a leap or in divergence: it has reached the limit when it comes back.
    """
    near = [place for place in range(len(ratio)) if min(ratio[place], np.median(ratio[place:])) >= REACHED]
    back = [place for place in near if ratio[place] <= NEAR[1]]
    return next(iter([*back, *near]), None)


def _where(share: Interval, ratio: np.ndarray) -> str:
    if len(ratio) < FEWEST:  # of a run that ended early
        return "above" if ratio.min() > 1.0 else "unclear"
    if share.low >= NEAR[0] and share.high <= NEAR[1]:
        return "at"
    if share.high < NEAR[0]:
        return "below"
    return "above" if share.low > 1.0 else "unclear"


def kendall(values: np.ndarray) -> tuple[float, float]:
    """Kendall's tau of values with their order, and how probable one as large is without any trend (one-sided).

    The probability is exact for values without ties, from the numbers of permutations with so many inversions.

    Source: Mann 1945, "Nonparametric tests against trend"; Kendall 1938.

    >>> tau, chance = kendall(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> tau, round(chance, 4)  # one order of 24
    (1.0, 0.0417)
    """
    count = len(values)
    pairs = count * (count - 1) // 2
    score = sum(np.sign(values[j] - values[i]) for i in range(count) for j in range(i + 1, count))
    orders = np.ones(1)  # permutations of so many values by their number of inversions, as shares
    for each in range(2, count + 1):
        orders = np.convolve(orders, np.ones(each)) / each
    inversions = math.floor((pairs - float(score)) / 2)
    return float(score) / pairs, float(orders[: inversions + 1].sum())


def sentences(edge: Edge, divides: bool, unknown: str | None) -> list[str]:
    """What is to be said of it."""
    what = "Preconditioned sharpness" if divides and unknown is None else "Sharpness"
    if not math.isfinite(edge.last):
        return ["The curvature is not finite at any moment."]
    way = f"from {edge.first:.3g} to {edge.last:.3g}"
    said = (
        [f"{what} is {edge.last:.3g}."]
        if edge.first == edge.last
        else [
            {
                True: f"{what} rises {way} (progressive sharpening, Kendall's tau {edge.trend:.2f}).",
                False: f"{what} goes {way}, which is no clear rise (Kendall's tau {edge.trend:.2f}).",
                None: f"{what} goes {way}.",
            }[edge.rises]
        ]
    )
    if unknown is not None:
        return [*said, f"No limit of stability is known for {unknown}."]
    low, high = edge.ratio.low, edge.ratio.high
    share = f"{edge.ratio.mean:.3g} of the limit" + (
        f", 95 % interval {low:.2f} to {high:.2f}" if high < math.inf else ""
    )
    largest = f"{edge.largest_rate:.3g}"
    since = "" if edge.reached_at is None else f" from step {edge.reached_at} on"
    said.append(
        {
            "at": f"It hovers at the limit of the rule{since} ({share}): the edge of stability, where the learning "
            f"rate of {edge.learning_rate:.3g} decides how sharp the solution is.",
            "below": f"It stays below the limit of the rule ({share}): here the rate could be {largest} before the "
            "steps grow along the sharpest direction.",
            "above": f"It is above the limit of the rule{since} ({share}): steps grow along the sharpest direction, "
            f"and a learning rate below {largest} would be stable here.",
            "unclear": f"Whether it stays at the limit of the rule cannot be told from these moments ({share}); a "
            f"learning rate of {largest} is stable at the last one.",
        }[edge.where or "unclear"]
    )
    return said
