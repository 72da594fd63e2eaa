"""Where a picture goes: against scipy, NumPy, and the maps read back from pictures of their own coordinates."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from hyperjax import random
from hyperjax.augment import images

ALARM = 1e-6  # false alarm rate of one comparison under a fresh key; the keys are fixed
SIZE = (9, 11)
RNG = np.random.default_rng(0)
PICTURES = RNG.normal(size=(4, 7, 10, 2)).astype(np.float32)


def test_the_resampling_is_that_of_scipy():
    matrices = (np.eye(2, 3) + 0.4 * RNG.normal(size=(4, 2, 3)) * [1, 1, 3]).astype(np.float32)
    moved = images.affine(PICTURES, matrices)
    centre = (np.array(PICTURES.shape[1:3]) - 1) / 2
    for picture, matrix, result in zip(PICTURES, matrices, moved, strict=True):
        a, b = matrix[:, :2].astype(np.float64), matrix[:, 2]
        for channel in range(2):
            expected = ndimage.affine_transform(
                picture[:, :, channel], a, centre - a @ centre + b, order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(result[:, :, channel], expected, atol=1e-5)


def test_whole_pixels_and_quarter_turns_are_exact():
    square = PICTURES[:, :, :7]

    def by(matrix, given=PICTURES):
        return images.affine(given, jnp.stack([matrix] * 4))

    np.testing.assert_allclose(by(images.rotation(90.0), square), np.rot90(square, axes=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(by(images.rotation(180.0)), PICTURES[:, ::-1, ::-1], atol=1e-5)
    expected = np.zeros_like(PICTURES)
    expected[:, 2:, :-3] = PICTURES[:, :-2, 3:]
    np.testing.assert_array_equal(by(images.translation(2, -3)), expected)
    expected = np.stack([np.roll(PICTURES[:, r], r - 3, axis=1) for r in range(7)], axis=1)
    for r in range(7):
        expected[:, r, 10 + min(r - 3, 0) :] = 0
        expected[:, r, : max(r - 3, 0)] = 0
    np.testing.assert_array_equal(by(images.shearing(1)), expected)
    np.testing.assert_array_equal(by(images.scaling(0.5), square)[:, 2:5, 2:5], square[:, 1:6:2, 1:6:2])
    for call in (lambda m: images.affine(PICTURES, m[:3]), lambda m: images.affine(PICTURES, m[..., :2])):
        with pytest.raises(ValueError, match=r"^matrices must be of shape \(4, 2, 3\)"):
            call(np.zeros((4, 2, 3), np.float32))


def maps(name, strength, examples=300):
    """float[examples, 2, 3], the matrices that a function drew: a picture of its own coordinates shows them."""
    rows, columns = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SIZE), indexing="ij")
    coordinates = np.stack([rows, columns, np.ones(SIZE)], -1).astype(np.float32)
    moved = images.TABLE[name](random.key(11), np.stack([coordinates] * examples), strength)
    found = []
    for picture in np.asarray(moved):
        inside = picture[:, :, 2] > 1 - 1e-5
        assert inside.sum() >= 6
        solution, *_ = np.linalg.lstsq(coordinates[inside], picture[inside], rcond=None)
        np.testing.assert_allclose(coordinates[inside] @ solution, picture[inside], atol=2e-4)
        found.append(solution.T[:2])
    return np.array(found), moved


def uniform(values, limit):
    """True where some 300 values look as if uniform in [-limit, limit]."""
    parts = values / limit
    reaches = 0.95 < np.abs(parts).max() <= 1 + 1e-4
    return reaches and stats.kstest(parts, "uniform", (-1, 2)).pvalue > ALARM


def test_shift_draws_both_ways_apart():
    found, _ = maps("shift", 0.4)
    np.testing.assert_allclose(found[:, :, :2], np.broadcast_to(np.eye(2), (300, 2, 2)), atol=1e-3)
    assert uniform(found[:, 0, 2], 0.4 * 9) and uniform(found[:, 1, 2], 0.4 * 11)
    assert abs(np.corrcoef(found[:, :, 2].T)[0, 1]) < 5 / np.sqrt(300)


def test_rotate_draws_an_angle():
    found, _ = maps("rotate", 50.0)
    angles = np.rad2deg(np.arctan2(found[:, 0, 1], found[:, 0, 0]))
    assert uniform(angles, 50.0)
    turns = np.deg2rad(angles)
    expected = np.array([[np.cos(turns), np.sin(turns)], [-np.sin(turns), np.cos(turns)]]).transpose(2, 0, 1)
    np.testing.assert_allclose(found[:, :, :2], expected, atol=1e-4)
    np.testing.assert_allclose(found[:, :, 2], 0, atol=1e-4)


def test_scale_grows_as_often_as_it_shrinks():
    found, _ = maps("scale", 0.8)
    factors = 1 / found[:, 0, 0]
    assert uniform(np.log(factors), np.log(1.8))
    expected = np.eye(2, 3) / factors[:, None, None]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_shear_slants_rows_alone():
    found, _ = maps("shear", 0.7)
    assert uniform(found[:, 1, 0], 0.7)
    found[:, 1, 0] = 0
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(2, 3), found.shape), atol=1e-4)


def test_crop_stays_inside_and_has_its_size():
    found, moved = maps("crop", 0.3)
    np.testing.assert_allclose(moved[..., 2], 1, atol=1e-5)
    np.testing.assert_allclose(found[:, :, :2], np.broadcast_to(0.7 * np.eye(2), (300, 2, 2)), atol=1e-4)
    assert uniform(found[:, 0, 2], 0.15 * 8) and uniform(found[:, 1, 2], 0.15 * 10)
    assert abs(np.corrcoef(found[:, :, 2].T)[0, 1]) < 5 / np.sqrt(300)


def test_flip_mirrors_as_often_as_it_should():
    given = jnp.asarray(RNG.normal(size=(4000, 2, 3, 1)), jnp.float32)
    flipped = images.flip(random.key(12), given, 0.3)
    mirrored = np.all(np.asarray(flipped) == given[:, :, ::-1], axis=(1, 2, 3))
    kept = np.all(np.asarray(flipped) == given, axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    assert stats.binomtest(int(mirrored.sum()), 4000, 0.3).pvalue > ALARM
    assert np.array_equal(images.flip(random.key(12), given, 1.0), given[:, :, ::-1])
