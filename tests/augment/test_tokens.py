"""Sequences: order, padding and rates."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from hyperjax import random
from hyperjax.augment import tokens

ALARM = 1e-6
LENGTHS = np.array([8, 8, 5, 1, 0] * 800)
ROWS = np.where(np.arange(8) < LENGTHS[:, None], np.arange(8) + 10, 7).astype(np.int32)  # 7 is padding
REAL = ROWS != 7


def likely(hits, trials, rate):
    return stats.binomtest(int(hits), int(trials), rate).pvalue > ALARM


def test_drop_keeps_the_order_and_fills_the_end():
    dropped = np.asarray(tokens.drop(random.key(1), ROWS, 0.3, pad=7))
    for before, after in zip(ROWS.tolist(), dropped.tolist(), strict=True):
        left = [t for t in after if t != 7]
        assert left == [t for t in before if t in left and t != 7]  # tokens are distinct
        assert after == left + [7] * (8 - len(left))
    for place in range(8):  # every place goes as often
        rows = REAL[:, place]
        assert likely((dropped[rows] != place + 10).all(1).sum(), rows.sum(), 0.3)
    np.testing.assert_array_equal(tokens.drop(random.key(1), ROWS, 1.0, pad=7), np.full_like(ROWS, 7))


def test_drop_leaves_padding_in_front_and_between():
    row = jnp.array([[0, 0, 5, 0, 6]] * 64)
    after = {tuple(r) for r in tokens.drop(random.key(2), row, 0.5).tolist()}
    assert after == {(0, 0, 5, 0, 6), (0, 0, 0, 6, 0), (0, 0, 5, 0, 0), (0, 0, 0, 0, 0)}


def test_mask_replaces_at_its_rate_and_skips_padding():
    masked = np.asarray(tokens.mask(random.key(3), ROWS, 0.15, mask_id=99, pad=7))
    hit = masked == 99
    np.testing.assert_array_equal(masked, np.where(hit, 99, ROWS))
    assert not hit[~REAL].any()
    for place in range(8):
        assert likely(hit[:, place].sum(), REAL[:, place].sum(), 0.15)
    both = (hit[:, 0] & hit[:, 1]).sum()
    assert likely(both, REAL[:, 1].sum(), 0.15**2)
    traced = jax.jit(lambda m, p: tokens.mask(random.key(3), ROWS, 0.15, mask_id=m, pad=p))(99, 7)
    np.testing.assert_array_equal(traced, masked)


def test_swap_moves_by_one_place_at_most():
    swapped = np.asarray(tokens.swap(random.key(4), ROWS, 0.4, pad=7))
    np.testing.assert_array_equal(np.sort(swapped, 1), np.sort(ROWS, 1))
    np.testing.assert_array_equal(swapped[~REAL], 7)
    moved = np.where(REAL, swapped - 10 - np.arange(8), 0)
    assert set(np.unique(moved)) == {-1, 0, 1}
    for place in range(7):  # a pair is there in half of the rows, and trades in 0.4 of those
        both = REAL[:, place + 1]
        assert likely((moved[both, place] == 1).sum(), both.sum(), 0.2)
    full = LENGTHS == 8
    apart = ((moved[full, 0] == 1) & (moved[full, 2] == 1)).sum()
    assert likely(apart, full.sum(), 0.5 * 0.4**2), "pairs trade independently"
    certain = np.unique(np.asarray(tokens.swap(random.key(5), np.arange(1, 6)[None].repeat(99, 0), 1.0)), axis=0)
    assert certain.tolist() == [[1, 3, 2, 5, 4], [2, 1, 4, 3, 5]]
