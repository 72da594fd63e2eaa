"""Intervals and how many values they take, against SciPy and against a coin that is thrown."""

import math

import numpy as np
import pytest
from scipy import stats

from hyperjax.statistics import count_needed, median_interval


def power(effect, count):
    limit, shift = stats.t.ppf(0.975, count - 1), effect * math.sqrt(count)
    return stats.nct.sf(limit, count - 1, shift) + stats.nct.cdf(-limit, count - 1, shift)


@pytest.mark.parametrize("effect", [0.15, 0.19, 0.21, 0.3, 0.5, 1.0, 2.0, 4.0])
def test_the_count_is_the_least_that_has_the_power(effect):
    count = count_needed(-3 * effect, 3.0)
    assert power(effect, count) >= 0.8 > power(effect, count - 1)


def test_so_many_values_leave_out_zero_four_times_in_five():
    values = np.random.default_rng(0).normal(0.6, 1.0, (4000, count_needed(0.6, 1.0)))
    low, high = stats.t.interval(0.95, values.shape[1] - 1, values.mean(1), stats.sem(values, axis=1))
    assert np.mean((low > 0) | (high < 0)) == pytest.approx(0.8, abs=0.03)


def test_ends():
    assert count_needed(0.0, 1.0) == math.inf and count_needed(0.1, 0.0) == 2
    assert math.isnan(count_needed(1.0, math.nan)) and math.isnan(count_needed(math.nan, 1.0))


@pytest.mark.parametrize("count", [6, 7, 16, 301])
def test_the_interval_of_a_median_holds_it_however_skewed(count):
    values = np.random.default_rng(count).lognormal(0.0, 1.5, (4000, count))  # of median 1
    held = np.mean([low <= 1 <= high for _, low, high in map(median_interval, values)])
    assert held == pytest.approx(0.95, abs=0.012)


def test_its_ends_are_those_of_order_statistics_where_these_hold_as_often_as_asked():
    values = np.arange(1.0, 21.0)
    confidence = 1 - 2 * stats.binom.cdf(5, 20, 0.5)
    np.testing.assert_allclose(median_interval(values, confidence), (10.5, 6.0, 15.0), rtol=1e-9)
    assert median_interval([3.0, np.nan, 1.0])[1:] == (-math.inf, math.inf) and math.isnan(median_interval([]).median)
