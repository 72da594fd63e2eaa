"""The rules on made-up curves, against the same rules written out by hand."""

import math

import numpy as np
import pytest

from hyperjax.studies.pruners import (
    PRUNERS,
    Standing,
    check_pruner,
    hyperband,
    median,
    patience,
    pruner_of,
    successive_halving,
    threshold,
)


def raced(rule, curves, direction="max", begun=None):
    """Epoch at which each trial of a batch is pruned, None where it is not; `begun` are curves of trials before."""
    curves = np.asarray(curves, float)
    count, epochs = curves.shape
    before = np.zeros((0, epochs)) if begun is None else np.asarray(begun, float)
    whole = np.concatenate([before, curves])
    batch = np.arange(len(whole)) >= len(before)
    out = [None] * count
    for epoch in rule.rungs(epochs):
        gone = np.array([False] * len(before) + [end is not None for end in out])
        seen = np.where(
            gone[:, None] & (np.arange(1, epoch + 1) > _ends(out, len(before))[:, None]), np.nan, whole[:, :epoch]
        )
        standing = Standing(epoch, epochs, seen, 1.0 if direction == "max" else -1.0, batch, batch & ~gone, gone)
        for trial in np.flatnonzero(rule.losers(standing)[len(before) :]):
            assert out[trial] is None
            out[trial] = epoch
    return out


def _ends(out, before):
    return np.array([math.inf] * before + [math.inf if end is None else end for end in out])


def curves_of(count, epochs, seed=0):
    rng = np.random.default_rng(seed)
    return (
        1 - np.outer(rng.uniform(0.1, 1, count), np.arange(1, epochs + 1) ** -0.5) + rng.normal(0, 0.1, (count, epochs))
    )


def halved(curves, rungs, factor, direction):
    """Plain successive halving: who is out, and when."""
    alive, out, first = list(range(len(curves))), [None] * len(curves), len(curves)
    for i, epoch in enumerate(rungs):
        sign = -1 if direction == "max" else 1
        alive.sort(key=lambda trial: (sign * curves[trial][epoch - 1], trial))
        keep = max(1, first // factor ** (i + 1))
        for trial in alive[keep:]:
            out[trial] = epoch
        alive = alive[:keep]
    return out


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize(
    ("least", "factor", "count", "rungs"), [(1, 3, 29, [1, 3, 9]), (2, 2, 16, [2, 4, 8]), (1, 4, 5, [1, 4])]
)
def test_halving_keeps_whom_a_plain_loop_keeps(direction, least, factor, count, rungs):
    curves, rule = curves_of(count, 10), successive_halving(least, factor)
    assert rule.rungs(10) == rungs
    assert raced(rule, curves, direction) == halved(curves, rungs, factor, direction)


def test_the_last_epoch_is_no_rung_and_equals_are_kept_in_order():
    assert (successive_halving().rungs(9), successive_halving(5).rungs(4), hyperband().rungs(1)) == ([1, 3], [], [])
    assert raced(successive_halving(), np.ones((7, 2))) == [None, None, 1, 1, 1, 1, 1]


def test_hyperband_is_halving_in_brackets():
    curves, rule = curves_of(66, 27), hyperband()
    brackets = rule.brackets(66, 27)
    # Li et al., table 1 with R = 27: brackets of 27, 12, 6 and 4, which begin at 1, 3, 9 and 27 epochs
    np.testing.assert_allclose(np.bincount(brackets), 66 * np.array([4, 6, 12, 27]) / 49, atol=1)
    np.testing.assert_array_equal(rule.brackets(20, 27), brackets[:20])
    expected = [None] * 66
    for bracket, rungs in enumerate([[], [9], [3, 9], [1, 3, 9]]):
        members = np.flatnonzero(brackets == bracket)
        for member, end in zip(members, halved(curves[members], rungs, 3, "max"), strict=True):
            expected[member] = end
    assert raced(rule, curves) == expected
    assert hyperband(least=2).rungs(20) == [2, 6, 18] and hyperband().rungs(8) == [1, 3]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_median_rule_of_vizier(direction):
    curves, sign = curves_of(12, 8, seed=3), 1 if direction == "max" else -1
    earlier = curves_of(3, 8, seed=4)
    found = raced(median(warmup=2, least=13, every=2), curves, direction, earlier)
    out = [None] * 12
    for epoch in (2, 4, 6):
        alive = [i for i in range(12) if out[i] is None]
        means = {i: np.mean(curves[i][:epoch]) for i in alive}
        others_before = [np.mean(row[:epoch]) for row in earlier]
        for i in alive:
            others = [means[j] for j in alive if j != i] + others_before
            if len(others) >= 13 and max(sign * curves[i][:epoch]) < np.median([sign * other for other in others]):
                out[i] = epoch
    assert found == out and 0 < sum(end is not None for end in out) < 12


def test_threshold_and_patience():
    curves = np.array([[0.1, 0.2, 0.9, 0.9], [0.6, 0.2, 0.9, 0.9], [0.6, 0.6, np.nan, 0.7], [0.6, 0.7, 0.8, 0.9]])
    assert raced(threshold(low=0.5), curves) == [1, 2, 3, None]
    assert raced(threshold(low=0.5, high=0.75, warmup=3), curves) == [3, 3, 3, 3]
    assert raced(patience(epochs=1), curves) == [None, 2, 2, None]
    assert raced(patience(epochs=1), -curves, "min") == [None, 2, 2, None]
    assert raced(patience(epochs=2, gain=0.25), curves) == [None, None, 3, 3]


@pytest.mark.parametrize(
    "rule", [successive_halving(), hyperband(), median(warmup=1), patience(1), threshold(low=-9.0)]
)
@pytest.mark.parametrize("direction", ["max", "min"])
def test_what_is_no_number_is_worst(rule, direction):
    curves = curves_of(20, 4) * (1 if direction == "max" else -1)
    curves[:3] = np.nan
    out = raced(rule, curves, direction)
    assert all(out[:3]) or (isinstance(rule, hyperband) and any(out[:3]))  # of its brackets one does not prune
    assert None in out[3:]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: successive_halving(least=0), "least must be a whole number of at least 1, got 0"),
        (lambda: hyperband(factor=1.5), r"factor must be a number in \[2, inf\), got 1.5"),
        (lambda: median(every=0), "every must be a whole number of at least 1, got 0"),
        (lambda: median(warmup=2.5), "warmup must be a whole number of at least 1, got 2.5"),
        (lambda: threshold(), "threshold must have low, high or both, got neither"),
        (lambda: threshold(low=math.nan), "low must be a number in"),
        (lambda: patience(epochs=0), "epochs must be a whole number of at least 1, got 0"),
        (lambda: patience(gain=-1), r"gain must be a number in \[0, inf\), got -1"),
        (lambda: check_pruner("hyperbend"), "pruner must be one of .*, got 'hyperbend'; did you mean 'hyperband'?"),
        (lambda: check_pruner(3), "pruner must be one of .*, one of hyperjax.studies.pruners, or one of optuna"),
        (lambda: check_pruner(median), "pruner must be one of .*, one of hyperjax.studies.pruners, or one of optuna"),
    ],
)
def test_names_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_names_stand_for_the_rules_with_their_defaults():
    assert [pruner_of(name, "max") for name in PRUNERS] == [successive_halving(), hyperband(), median(), patience()]
    check_pruner(None)
