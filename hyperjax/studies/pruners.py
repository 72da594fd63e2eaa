"""Pruners: which trials are not worth going on with, decided for a whole batch at epochs that all of it has reached."""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import numpy as np

from hyperjax.checks import one_number, one_of, positive_integer


class Standing(NamedTuple):
    """A study's trials when those of a batch have reached an epoch."""

    epoch: int
    epochs: int  # of the longest trial that the study may hold
    scores: np.ndarray  # f64[trials, epoch], means over seeds; one that has ended stays at its last, else NaN
    sign: float  # 1.0 where a larger score is better, -1.0 where a smaller one is
    batch: np.ndarray  # bool[trials], those that were begun together and are judged now
    racing: np.ndarray  # bool[trials], those of them that would go on
    pruned: np.ndarray  # bool[trials], by an earlier verdict

    @property
    def gains(self) -> np.ndarray:
        """f64[trials, epoch], scores of which a larger one is better; minus infinity for one that is no number."""
        return np.where(np.isnan(self.scores), -np.inf, self.sign * self.scores)


class Pruner(Protocol):
    """A rule by which trials are pruned."""

    def rungs(self, epochs: int) -> list[int]:
        """The epochs at which it decides, of trials that take at most so many; none at the end."""

    def losers(self, standing: Standing) -> np.ndarray:
        """bool[trials], those that shall not go on, at one of these epochs."""


@dataclass(frozen=True)
class successive_halving:  # noqa: N801, called like a function
    """Let the best third go on to three times as many epochs, and again.

    At `least * factor**i` epochs `trials / factor**(i + 1)` of a batch go on, at least one.

    Args:
        least: epochs before the first verdict, a whole number of at least 1.
        factor: at least 2.
    Source: Jamieson & Talwalkar 2016, arXiv:1502.07943; all trials of a rung are judged together.

    >>> successive_halving(least=1, factor=3).rungs(30)
    [1, 3, 9, 27]
    """

    least: int = 1
    factor: float = 3

    def __post_init__(self) -> None:
        _check_halving(self.least, self.factor)

    def rungs(self, epochs: int) -> list[int]:
        """As in `Pruner`."""
        found = dict.fromkeys(
            round(self.least * self.factor**i) for i in range(_times(epochs, self.least, self.factor))
        )
        return [epoch for epoch in found if epoch < epochs]

    def losers(self, standing: Standing) -> np.ndarray:
        """As in `Pruner`."""
        place = self.rungs(standing.epochs).index(standing.epoch)
        return _behind(standing, standing.batch, self.factor ** -(place + 1))


@dataclass(frozen=True)
class hyperband:  # noqa: N801
    """Successive halving with several first verdicts side by side, since an early one may be wrong.

    Bracket `s` halves at the last `s` of the epochs at which `successive_halving` does; bracket 0 not at all. The
    brackets share each batch, most of it in the one that decides first.

    Args:
        least: epochs before the first verdict of the most hasty bracket, a whole number of at least 1.
        factor: at least 2.
    Source: Li et al. 2018, arXiv:1603.06560, Algorithm 1, where the longest trial takes `least * factor**i` epochs.
        Theirs counts down from its epochs, so that the first verdict of 8 would be at 3 epochs and not at 1.

    >>> rule = hyperband(least=1, factor=3)
    >>> rule.rungs(27), rule.brackets(12, 27).tolist()
    ([1, 3, 9], [3, 2, 3, 1, 3, 0, 3, 2, 3, 3, 2, 3])
    """

    least: int = 1
    factor: float = 3

    def __post_init__(self) -> None:
        _check_halving(self.least, self.factor)

    def rungs(self, epochs: int) -> list[int]:
        """As in `Pruner`."""
        return successive_halving(self.least, self.factor).rungs(epochs)

    def losers(self, standing: Standing) -> np.ndarray:
        """As in `Pruner`."""
        rungs, bracket = self.rungs(standing.epochs), np.full(len(standing.batch), -1)
        bracket[standing.batch] = self.brackets(int(standing.batch.sum()), standing.epochs)
        found = np.zeros(len(bracket), bool)
        for each in range(int(bracket.max()) + 1):
            verdicts = rungs[len(rungs) - each :]
            if standing.epoch in verdicts and (bracket == each).any():
                share = self.factor ** -(verdicts.index(standing.epoch) + 1)
                found |= _behind(standing, bracket == each, share)
        return found

    def brackets(self, trials: int, epochs: int) -> np.ndarray:
        """i[trials], the bracket of each trial of a batch; every stretch of a batch has its share of each."""
        count = len(self.rungs(epochs)) + 1
        sizes = np.array([math.ceil(count / (s + 1) * self.factor**s) for s in range(count)])
        shares, dealt, found = sizes / sizes.sum(), np.zeros(count), []
        for trial in range(trials):
            found.append(int(np.argmax(shares * (trial + 1) - dealt)))
            dealt[found[-1]] += 1
        return np.array(found, int)


@dataclass(frozen=True)
class median:  # noqa: N801
    """Prune a trial whose best score so far is worse than the median of the others' means so far.

    Args:
        warmup: epochs before the first verdict, a whole number of at least 1.
        least: others that must have come as far, at least 1.
        every: epochs between verdicts, a whole number of at least 1.
    Source: Golovin et al. 2017, "Google Vizier", section 3.2.1; the others are all that have come as far, since those
        of a batch end together.

    >>> median(warmup=2).rungs(6)
    [2, 3, 4, 5]
    """

    warmup: int = 2
    least: int = 4
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("warmup", "least", "every"):
            positive_integer(name, getattr(self, name))

    def rungs(self, epochs: int) -> list[int]:
        """As in `Pruner`."""
        return list(range(self.warmup, epochs, self.every))

    def losers(self, standing: Standing) -> np.ndarray:
        """As in `Pruner`."""
        reached = np.isfinite(standing.scores).all(1)
        means, best = standing.gains.mean(1), standing.gains.max(1)
        found = np.zeros(len(best), bool)
        for trial in np.flatnonzero(standing.racing):
            others = np.delete(means, trial)[np.delete(reached, trial)]
            found[trial] = len(others) >= self.least and best[trial] < np.median(others)
        return found


@dataclass(frozen=True)
class threshold:  # noqa: N801
    """Prune a trial whose score is below one limit or above another.

    Args:
        low, high: the limits, in the unit of the metric that ranks; None: none. At least one of them.
        warmup: epochs before the first verdict, a whole number of at least 1.

    >>> threshold(low=0.5, warmup=3).rungs(6)
    [3, 4, 5]
    """

    low: float | None = None
    high: float | None = None
    warmup: int = 1

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("threshold must have low, high or both, got neither")
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                one_number(name, getattr(self, name))
        positive_integer("warmup", self.warmup)

    def rungs(self, epochs: int) -> list[int]:
        """As in `Pruner`."""
        return list(range(self.warmup, epochs))

    def losers(self, standing: Standing) -> np.ndarray:
        """As in `Pruner`."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        now = standing.scores[:, -1]
        return standing.racing & ~((now >= low) & (now <= high))  # one that is no number is neither


@dataclass(frozen=True)
class patience:  # noqa: N801
    """Prune a trial that has gained nothing for some epochs.

    Args:
        epochs: to wait for a better score, a whole number of at least 1.
        gain: what a better one must be better by, at least 0.

    >>> patience(epochs=3).rungs(6)
    [4, 5]
    """

    epochs: int = 5
    gain: float = 0.0

    def __post_init__(self) -> None:
        positive_integer("epochs", self.epochs)
        one_number("gain", self.gain, 0.0)

    def rungs(self, epochs: int) -> list[int]:
        """As in `Pruner`."""
        return list(range(self.epochs + 1, epochs))

    def losers(self, standing: Standing) -> np.ndarray:
        """As in `Pruner`."""
        before, since = standing.gains[:, : -self.epochs].max(1), standing.gains[:, -self.epochs :].max(1)
        found: np.ndarray = standing.racing & ~(since > before + self.gain)
        return found


PRUNERS = {  # by name; a threshold has none, since it needs a number
    "successive_halving": successive_halving,
    "hyperband": hyperband,
    "median": median,
    "patience": patience,
}
RULES = (*PRUNERS.values(), threshold)


def judges_batches_alone(pruner: Any) -> bool:
    """Whether a batch's verdicts follow from that batch, so that batches may be raced in any order.

    >>> judges_batches_alone("hyperband"), judges_batches_alone(median())
    (True, False)
    """
    rule = PRUNERS[pruner]() if isinstance(pruner, str) else pruner
    return isinstance(rule, RULES) and not isinstance(rule, median)


def check_pruner(pruner: Any) -> None:
    """Refuse what is no pruner, before anything else happens.

    Args:
        pruner: as in `study`.
    Raises: ValueError for an unknown name, or another object.
    """
    if isinstance(pruner, str):
        one_of("pruner", pruner, PRUNERS)
    elif pruner is not None and not isinstance(pruner, RULES) and not is_optunas(pruner):
        raise ValueError(
            f"pruner must be one of {', '.join(PRUNERS)}, one of hyperjax.studies.pruners, or one of optuna.pruners, "
            f"got {pruner!r}"
        )


def is_optunas(pruner: Any) -> bool:
    """Whether it is an object of `optuna.pruners`."""
    if pruner is None or isinstance(pruner, (str, *RULES)) or find_spec("optuna") is None:
        return False
    from optuna.pruners import BasePruner

    return isinstance(pruner, BasePruner)


def pruner_of(pruner: Any, direction: str) -> Pruner:
    """What prunes a study's trials.

    Args:
        pruner: as in `study`, but None.
        direction: "max" or "min", whichever score is better.
    """
    if isinstance(pruner, str):
        rule: Pruner = PRUNERS[pruner]()
        return rule
    if is_optunas(pruner):
        from hyperjax.studies.reporting import Reported

        return Reported(pruner, direction)
    own: Pruner = pruner
    return own


def _check_halving(least: Any, factor: Any) -> None:
    positive_integer("least", least)
    one_number("factor", factor, 2.0)


def _times(epochs: int, least: int, factor: float) -> int:
    """How often `least` can be multiplied before it is above `epochs`, and once more."""
    return 0 if epochs < least else math.floor(math.log(epochs / least) / math.log(factor) + 1e-9) + 1


def _behind(standing: Standing, rivals: np.ndarray, share: float) -> np.ndarray:
    """Those of some rivals that are not in the best share of all of them; of equals the earlier is better."""
    going = max(math.floor(rivals.sum() * share + 1e-9), 1)
    left = np.flatnonzero(rivals & ~standing.pruned)
    order = left[np.argsort(-standing.gains[left, -1], kind="stable")]
    found = np.zeros(len(rivals), bool)
    found[order[going:]] = True
    found &= standing.racing
    return found
