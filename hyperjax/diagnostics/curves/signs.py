"""Signs of each fault in a curve: how many of its replicates show them."""

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from hyperjax.diagnostics.curves.noise import REPLICATES, neighbours_agree, smoother
from hyperjax.diagnostics.curves.seen import Seen, Series
from hyperjax.training.recipe import Recipe

PLAIN = ("sgd", "momentum", "nesterov", "adadelta", "adagrad")  # their steps have not the rate's size
LEAST_POINTS = 8  # the tests tell nothing of fewer: a Mann-Kendall test of 5 cannot reach p = 0.01


class Sign(NamedTuple):
    """What a test found."""

    confidence: float  # in [0, 1]
    words: str = ""
    at: float | None = None  # the step from which it holds
    span: tuple[float, float] | None = None  # steps between which `at` lies, 95 %
    size: float = 1.0  # how large, as its test says
    cause: str = ""  # what the test can tell of why


NOTHING = Sign(0.0)


def diverged(seen: Seen) -> Sign:
    """The loss is not finite at the end, or has lost half of what it had gained, more than it ever won back.

    Replicates of the training loss in which the end is above the minimum by half the fall, or 15 % of the start.
    """
    curve, train = seen.curve, seen.train
    if curve.diverged_at is not None:
        return Sign(1.0, f"the loss is not finite from {curve.unit} {curve.diverged_at:g} on", curve.diverged_at)
    rise = train.trend - np.minimum.accumulate(train.trend)
    if _was_won_back(rise) or _was_survived(seen):
        return NOTHING
    lowest = train.draws.min(1)
    fall = np.maximum(seen.start - lowest, 0.3 * abs(seen.start))
    shown = train.ends - lowest > 0.5 * fall
    if (series := seen.validation) is not None:  # it knows nothing of the noise of batches
        risen = series.ends - series.draws.min(1)
        shown = shown & (risen > 0.1 * fall) | (series.ends > seen.start + fall) & (train.ends - lowest > 0.1 * fall)
    turn = int(np.argmin(train.trend))
    low, end = train.trend[turn] * seen.unit, train.end * seen.unit
    return Sign(
        float(shown.mean()),
        f"the training loss rises from {low:.3g} at {curve.unit} {train.x[turn]:.3g} to {end:.3g} or more, after a "
        f"start of {seen.start * seen.unit:.3g}",
        float(train.x[turn]),
    )


def _was_won_back(rise: np.ndarray) -> bool:
    """True when the last rise is no larger than an earlier one that ended, as after a restart."""
    below = np.flatnonzero(rise < 0.3 * rise[-1])
    return len(below) > 0 and float(rise[: below[-1] + 1].max()) > 0.6 * rise[-1]


def _was_survived(seen: Seen) -> bool:
    """True when the rate is high at the end, and was as high before without harm."""
    rate, lowest = seen.curve.rate, int(np.argmin(seen.raw))
    if rate is None or lowest == 0:
        return False
    return bool(seen.cyclic and rate[-1] > 1.5 * rate[lowest] and rate[: lowest + 1].max() > 0.8 * rate[-1])


def oscillating(seen: Seen) -> Sign:
    """The loss jumps up and down by a share of what it has fallen, which noise of batches does not explain.

    Three ways to see it: validations, whose examples are always the same, jump; losses of neighbours oppose one
    another; the training loss climbs although no rate does.
    """
    if seen.cyclic:
        return NOTHING
    jumps = _jumps(seen)
    # Batches drawn without replacement oppose one another a little; where validations are calm it is that.
    alternates = _opposes(seen) if jumps is NOTHING or jumps.confidence > 0.5 else NOTHING
    return max((jumps, alternates, _climbs(seen)), key=lambda sign: sign.confidence)


def _jumps(seen: Seen) -> Sign:
    """Bootstrap of how far validations lie off the middle of their neighbours, by the median: restarts are few."""
    least = 0.007 if has_high_rate(seen.curve.recipe) else 0.035  # of what the loss has moved
    series = seen.validation
    if series is None or len(seen.curve.validation) < LEAST_POINTS:
        return NOTHING
    y = seen.curve.validation / seen.unit
    y = y[len(y) // 4 :]
    off = np.abs(y[1:-1] - (y[:-2] + y[2:]) / 2)
    off *= np.sqrt(2 / 3) * 1.183  # its median is then a normal noise's mean size
    size, span = float(np.median(off)), _span(seen, series)
    draw = np.random.default_rng(0).integers(len(off), size=(REPLICATES, len(off)))
    return Sign(
        float((np.median(off[draw], axis=1) > least * span).mean()),
        f"validations lie {size * seen.unit:.2g} off the middle of their neighbours, {100 * size / span:.1f} % of what "
        "the loss has moved",
        size=size / span / least,
    )


def _opposes(seen: Seen, least: float = 0.3) -> Sign:
    """Correlation of neighbouring training losses about their trend, less what smoothing makes, by its normal limit."""
    y = seen.raw[-len(seen.raw) * 3 // 4 :][-REPLICATES:]
    if len(y) < 20:
        return NOTHING
    rest = np.eye(len(y)) - smoother(np.arange(len(y), dtype=float), 0.15)
    residual = rest @ y
    made = float(np.sum(rest[1:] * rest[:-1]) / np.sum(rest * rest))  # of white noise
    agreement, share = neighbours_agree(residual) - made, float(residual.std()) / _span(seen, seen.train)
    if share < 0.05:
        return NOTHING
    return Sign(
        NormalDist().cdf((-least - agreement) * np.sqrt(len(y))),
        f"training losses oppose their neighbours (correlation {agreement:.2f}) by {100 * share:.0f} % of what the "
        "loss has moved",
        size=max(share / 0.05, 1.0),
    )


def _span(seen: Seen, series: Series) -> float:
    """From the highest to the lowest of a trend, the start among it; at least 40 % of the start."""
    span = max(seen.start, float(series.trend.max())) - float(series.trend.min())
    return max(span, 0.4 * abs(seen.start), 1e-12)


def _climbs(seen: Seen, least: float = 0.1) -> Sign:
    """Replicates in which the training loss ends above its minimum by a share of the fall, and Mann-Kendall's test."""
    train = seen.train
    lowest = train.draws[:, train.share < 0.7].min(1) if (train.share < 0.7).any() else train.draws.min(1)
    shown = train.ends - lowest > least * np.maximum(seen.start - lowest, 0.3 * abs(seen.start))
    turn = int(np.argmin(train.trend))
    rises = 1 - train.falls(0.5)
    if seen.validation is not None:
        rises = min(rises, 1 - seen.validation.falls(0.5))
    return Sign(
        min(float(shown.mean()), rises),
        f"the training loss climbs from {train.trend[turn] * seen.unit:.3g} to {train.end * seen.unit:.3g}",
        float(train.x[turn]),
        cause="climbs",
    )


def stalled(seen: Seen) -> Sign:
    """The loss stands still at a level near its start, to the end or for a third of the run before it falls on.

    Replicates of the training loss that change by less than 4 % of the start over the last 60 %, above 70 % of the
    start; or by less than 6 % of the fall over a third, with at least 40 % of the fall to come.
    """
    return max((_stays(seen), _waits(seen), _spent(seen)), key=lambda sign: sign.confidence)


def _stays(seen: Seen) -> Sign:
    train, start = seen.train, seen.start
    if start <= 0:
        return NOTHING
    if train.falls(0.4) > 0.999 and train.falls(0.7) > 0.95:
        return NOTHING
    share = train.end / start
    return Sign(
        float(_flat_and_high(seen).mean()),
        f"the training loss stays at {train.end * seen.unit:.3g}, {100 * share:.0f} % of its start, over the last 60 % "
        "of the run",
        float(train.x[int(np.searchsorted(train.share, 0.4))]),
        size=1 - min(share, 1.0),
    )


def _flat_and_high(seen: Seen) -> np.ndarray:
    """bool[replicates]: the training loss is as high in the last 30 % as in the 30 % before, and near the start."""
    before, after = seen.train.within(0.4, 0.7), seen.train.within(0.7, 1.0)
    result: np.ndarray = (after > 0.7 * seen.start) & (np.abs(before - after) < 0.03 * seen.start)
    return result


def _waits(seen: Seen, length: float = 1 / 3) -> Sign:
    train = seen.train
    if len(train) < 12:
        return NOTHING
    begins, part = np.linspace(0.05, 0.6, 23), length / 3
    before, middle, after = (
        np.stack([train.within(begin + k * part, begin + (k + 1) * part) for begin in begins], 1) for k in range(3)
    )
    fall = (np.maximum(before.max(1), seen.start) - train.ends)[:, None]
    flat = np.maximum(np.abs(before - after), np.abs(before - middle)) < 0.05 * fall
    shown = flat & (after - train.ends[:, None] > 0.4 * fall)
    best = int(np.argmax(shown.mean(0)))
    level = after.mean(0)[best] * seen.unit
    begin, end = (seen.begin + (seen.end - seen.begin) * share for share in (begins[best], begins[best] + length))
    return Sign(
        float(shown.any(1).mean()),
        f"the training loss stands at {level:.3g} from {seen.curve.unit} {begin:.3g} to {end:.3g} before it falls on",
        begin,
        cause="falls on",
    )


def _spent(seen: Seen) -> Sign:
    """The rate had all but ended when the loss was still high and falling."""
    rate, train = seen.curve.rate, seen.train
    if rate is None or seen.start <= 0:
        return NOTHING
    spent = rate < 0.02 * rate.max()
    first = int(np.flatnonzero(~spent)[-1]) + 1 if rate.max() > 0 else 0
    if first >= len(rate) * 0.6:
        return NOTHING
    since = (seen.curve.steps[max(first - 1, 0)] - seen.begin) / max(seen.end - seen.begin, 1e-300)
    middle = (since + 1) / 2
    before, after = seen.calm.within(since + 0.05, middle), seen.calm.within(middle, 1.0)
    shown = (np.abs(before - after) < 0.03 * seen.start) & (train.ends > 0.3 * seen.start)
    return Sign(
        float(shown.mean()),
        f"the training loss stays at {train.end * seen.unit:.3g} since the learning rate fell below 2 % of its highest "
        f"at {seen.curve.unit} {seen.curve.steps[max(first - 1, 0)]:.3g}",
        float(seen.curve.steps[max(first - 1, 0)]),
        cause="rate is spent",
    )


def too_slow(seen: Seen) -> Sign:
    """Half of the fall took long, and it goes on: a larger rate would have been there earlier.

    Replicates of the training loss (of the validation loss, where that began as high) which take at least 15 % of the
    run for the first half of their fall, and have at least 5 % of it in the last third; and Mann-Kendall's test.
    10 % and 3 % do at a rate that hardly any task wants so low.
    """
    calm = seen.calm
    train = calm if _begins_high(seen, calm) else seen.train
    start = float(train.y[0]) if train is calm else seen.start
    fall = start - train.ends
    since_first = (train.share - train.share[0]) / max(1 - train.share[0], 1e-12)  # what was before is in no loss
    half = _crossing(since_first, train.draws, start - 0.5 * fall)
    late = (calm.at(2 / 3) - calm.ends) / np.maximum(start - calm.ends, 1e-12)
    slow, most = (0.1, 0.03) if has_low_rate(seen.curve.recipe) else (0.15, 0.05)
    shown = (half >= slow) & (late > most) & (fall > 0.005 * abs(start))
    # How many times longer than 3 % of the run the first half took: what the rate is too small by.
    times, share = float(np.median(half)) / 0.03, float(np.median(late))
    return Sign(
        min(float(shown.mean()), calm.falls(0.0), calm.falls(0.5)),
        f"half of the fall, {start * seen.unit:.3g} to {train.end * seen.unit:.3g}, took "
        f"{100 * float(np.median(half)):.0f} % of the run, and the last third still brought {100 * share:.0f} % of it",
        size=max(times, 1.0),
    )


def _begins_high(seen: Seen, calm: Series) -> bool:
    """True when the first validation lies no lower than the start, as far as the noise of batches tells."""
    noise = float(np.median(np.abs(np.diff(seen.raw))))
    return calm is not seen.train and float(calm.y[0]) > seen.start - 2 * noise - 0.2 * (seen.start - calm.end)


def _crossing(x: np.ndarray, draws: np.ndarray, level: np.ndarray) -> np.ndarray:
    """f64[replicates]: where each falls to its level, between points by a straight line."""
    after, rows = np.argmax(draws <= level[:, None], axis=1), np.arange(len(draws))
    before = np.maximum(after - 1, 0)
    high, low = draws[rows, before], draws[rows, after]
    part = np.clip((high - level) / np.where(high > low, high - low, np.inf), 0, 1)
    result: np.ndarray = np.where(high > level, x[before] + part * (x[after] - x[before]), x[after])
    return result


def still_improving(seen: Seen) -> Sign:
    """The loss goes on falling: replicates whose last third brought 1 % of the fall, and Mann-Kendall's test."""
    series = seen.calm
    name = "training" if series is seen.train else "validation"
    fall, late = seen.start - series.ends, series.at(2 / 3) - series.ends
    shown = late > 0.01 * fall
    return Sign(
        min(float(shown.mean()), series.falls(0.6)),
        f"the {name} loss fell by {float(np.median(late)) * seen.unit:.2g} in the last third, "
        f"{100 * float(np.median(late / np.where(fall > 0, fall, np.inf))):.1f} % of its whole fall",
    )


def overfitting(seen: Seen) -> Sign:
    """The validation loss rises while the training loss does not.

    Replicates whose validation loss ends above its minimum by at least 5 % of its fall, while the training loss has
    risen by less than a quarter of that since.
    """
    series, train = seen.validation, seen.train
    if series is None or len(series) < 6:
        return NOTHING
    turns = np.argmin(series.draws, axis=1)
    lowest = series.draws.min(1)
    rise = series.ends - lowest
    places = np.minimum(np.searchsorted(train.share, series.share[turns]), len(train) - 1)
    climbed = train.ends - train.draws[np.arange(len(turns)), places]
    fall = np.maximum(max(seen.start, float(series.y[0])) - lowest, 0.25 * abs(seen.start))
    shown = (rise > 0.05 * fall) & (climbed < 0.15 * rise) & (series.share[turns] < 0.9)
    low, high = (float(v) for v in np.quantile(series.x[turns], [0.025, 0.975]))
    turn = int(np.argmin(series.trend))
    return Sign(
        min(float(shown.mean()), 1 - series.falls(float(series.share[turn]))),
        f"the validation loss rises from {series.trend[turn] * seen.unit:.3g} at {seen.curve.unit} "
        f"{series.x[turn]:.3g} (95 % interval {low:.3g} to {high:.3g}) to {series.end * seen.unit:.3g}, while the "
        "training loss does not",
        float(series.x[turn]),
        (low, high),
        size=float(np.median(rise / fall)),
    )


def underfitting(seen: Seen) -> Sign:
    """Training and validation loss stand still together near the start, or where regularization holds them.

    Replicates which are flat and high (see `stalled`) after a fall of at least 5 %, with the validation loss no farther
    above the training loss than a third of that fall. Targets that are mostly noise look the same. Where the recipe's
    decay makes weights forget within 50 steps, high is a quarter of the start.
    """
    train, series = seen.train, seen.validation
    if seen.start <= 0:
        return NOTHING
    memory = _memory(seen)
    fall = seen.start - train.ends
    if memory < 50:
        before, after = seen.calm.within(0.4, 0.7), seen.calm.within(0.7, 1.0)
        shown = (train.ends > 0.25 * seen.start) & (np.abs(before - after) < 0.1 * seen.start)
    else:
        shown = _flat_and_high(seen) & (fall > 0.05 * seen.start)
    share = 100 * train.end / seen.start
    words = f"the training loss stands still at {train.end * seen.unit:.3g}, {share:.0f} % of its start"
    if series is not None:
        shown &= series.ends - train.ends < fall / 3
        words += f", and the validation loss at {series.end * seen.unit:.3g}"
    if memory < 50:
        words += f"; learning_rate x weight_decay makes weights forget within {memory:.0f} steps"
    return Sign(float(shown.mean()), words, size=train.end / seen.start, cause="forgets" if memory < 50 else "")


def _memory(seen: Seen) -> float:
    """Steps after which decoupled decay has shrunk a weight by e."""
    recipe, rate = seen.curve.recipe, seen.curve.rate
    if recipe is None or rate is None or not isinstance(recipe.weight_decay, int | float) or not len(rate):
        return np.inf
    if has_high_rate(recipe):
        return np.inf  # it is the rate then
    return 1 / max(float(np.median(rate)) * recipe.weight_decay, 1e-300)


def has_low_rate(recipe: Recipe | None) -> bool:
    """True for a rate below 1.5e-4 where steps have the rate's size."""
    if recipe is None or not isinstance(recipe.learning_rate, int | float):
        return False
    return recipe.optimizer not in PLAIN and not callable(recipe.optimizer) and recipe.learning_rate < 1.5e-4


def has_high_rate(recipe: Recipe | None) -> bool:
    """True for a rate that hardly any task wants: above 0.01 where steps have the rate's size, above 1 elsewhere."""
    if recipe is None or not isinstance(recipe.learning_rate, int | float):
        return False
    plain = recipe.optimizer in PLAIN or callable(recipe.optimizer)
    return recipe.learning_rate > (1.0 if plain else 0.01)


SIGNS: dict[str, Callable[[Seen], Sign]] = {
    "diverged": diverged,
    "oscillating": oscillating,
    "stalled": stalled,
    "too_slow": too_slow,
    "overfitting": overfitting,
    "underfitting": underfitting,
    "still_improving": still_improving,
}
