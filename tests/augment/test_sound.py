"""Waveforms and spectrograms: ratios in decibels, whole samples, runs of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hyperjax import random
from hyperjax.augment import spectrograms, waveforms

ALARM = 1e-6
RNG = np.random.default_rng(0)


def test_noise_has_the_ratio_that_was_asked_for():
    loud = np.array([0.01, 1.0, 300.0])[:, None]
    given = (loud * np.sin(np.arange(5000) / 7)).astype(np.float32)
    added = np.asarray(waveforms.noise(random.key(1), given, 0.1)) - given
    ratios = 10 * np.log10(np.mean(given**2, 1) / np.mean(added**2, 1))
    np.testing.assert_allclose(ratios, 20.0, atol=0.5)  # decibels: a standard error is 0.09
    unit = added / np.sqrt(np.mean(given**2, 1, keepdims=True)) / 0.1
    assert stats.kstest(unit.ravel(), "norm").pvalue > ALARM
    assert np.abs(np.corrcoef(unit) - np.eye(3)).max() < 5 / np.sqrt(5000)
    silence = jnp.zeros((1, 50))
    assert not waveforms.noise(random.key(1), silence, 1.0).any()


def test_gain_is_uniform_in_decibels():
    given = RNG.uniform(0.5, 1.0, (1000, 4)).astype(np.float32)
    decibels = 20 * np.log10(np.asarray(waveforms.gain(random.key(2), given, 12.0)) / given)
    np.testing.assert_allclose(decibels, np.broadcast_to(decibels[:, :1], decibels.shape), atol=1e-4)
    assert stats.kstest(decibels[:, 0] / 12, "uniform", (-1, 2)).pvalue > ALARM
    slope = jax.jvp(lambda s: waveforms.gain(random.key(2), given, s), (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slope, given * np.log(10) / 20 * decibels[:, :1] / 12, rtol=1e-3, atol=1e-6)


def test_time_shift_moves_whole_samples_and_fills_with_silence():
    length = 20
    given = np.arange(1, length + 1, dtype=np.float32)[None].repeat(2000, 0)
    moved = np.asarray(waveforms.time_shift(random.key(3), given, 0.5))
    index = np.arange(length)
    delays = []
    for row in moved:
        at = np.flatnonzero(row)
        delay = at[0] + 1 - int(row[at[0]])
        source = index - delay
        expected = np.where((source >= 0) & (source < length), source + 1, 0)
        np.testing.assert_array_equal(row, expected)
        delays.append(delay)
    counts = np.bincount(np.array(delays) + 10, minlength=21)
    expected = np.full(21, 100.0)  # rounding gives the two ends half as much
    expected[[0, -1]] = 50.0
    assert stats.chisquare(counts, expected).pvalue > ALARM
    gone = waveforms.time_shift(random.key(3), given, 1.0)
    assert np.abs(np.asarray(gone)).sum(1).min() < 10  # nearly all may leave


@pytest.mark.parametrize(("name", "axis"), [("time_mask", 1), ("frequency_mask", 2)])
def test_a_mask_is_a_run_of_uniform_width_and_place(name, axis):
    given = jnp.ones((6000, 10, 8) if axis == 1 else (6000, 8, 10))
    masked = np.asarray(spectrograms.TABLE[name](random.key(4), given, 0.4)) == 0
    across = masked.any(3 - axis)
    assert np.array_equal(masked, np.broadcast_to(np.expand_dims(across, 3 - axis), masked.shape)), (
        "all of the other axis"
    )
    assert np.all(np.abs(np.diff(across.astype(int), axis=1)).sum(1) <= 2), "one run"
    widths = across.sum(1)
    assert stats.chisquare(np.bincount(widths, minlength=5)).pvalue > ALARM
    for width in range(1, 5):
        starts = across[widths == width].argmax(1)
        counts = np.bincount(starts, minlength=11 - width)
        assert len(counts) == 11 - width and stats.chisquare(counts).pvalue > ALARM
    whole = np.asarray(spectrograms.TABLE[name](random.key(5), given, 1.0)) == 0
    assert set(whole.any(3 - axis).sum(1)) == set(range(11))
