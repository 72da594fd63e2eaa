"""Light, noise and holes: hand-worked numbers, and the factors read back from the pictures."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from hyperjax import random
from hyperjax.augment import images

ALARM = 1e-6
RNG = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])


def uniform_factors(factors, strength):
    return stats.kstest((factors - 1) / strength, "uniform", (-1, 2)).pvalue > ALARM


def test_brightness_multiplies():
    given = RNG.uniform(0.2, 1.0, (500, 3, 4, 3)).astype(np.float32)
    ratio = np.asarray(images.brightness(random.key(1), given, 0.6)) / given
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], ratio.shape), rtol=1e-4)
    assert uniform_factors(ratio[:, 0, 0, 0], 0.6)


def test_contrast_blends_with_the_mean_grey():
    for channels, weights in ((3, LUMA), (1, np.ones(1)), (2, np.full(2, 0.5))):
        given = RNG.uniform(0.0, 1.0, (200, 3, 4, channels)).astype(np.float32)
        changed = np.asarray(images.contrast(random.key(2), given, 0.6))
        grey = (given @ weights).mean((1, 2))[:, None, None, None]
        factors = np.sum((changed - grey) * (given - grey), (1, 2, 3)) / np.sum((given - grey) ** 2, (1, 2, 3))
        np.testing.assert_allclose(changed, grey + factors[:, None, None, None] * (given - grey), atol=1e-5)
        assert uniform_factors(factors, 0.6)


def test_saturation_blends_each_pixel_with_its_grey():
    given = RNG.uniform(0.0, 1.0, (200, 3, 4, 3)).astype(np.float32)
    changed = np.asarray(images.saturation(random.key(3), given, 0.6))
    grey = (given @ LUMA)[..., None]
    factors = np.sum((changed - grey) * (given - grey), (1, 2, 3)) / np.sum((given - grey) ** 2, (1, 2, 3))
    np.testing.assert_allclose(changed, grey + factors[:, None, None, None] * (given - grey), atol=1e-5)
    assert uniform_factors(factors, 0.6)
    one_channel = given[..., :1]
    np.testing.assert_array_equal(images.saturation(random.key(3), one_channel, 0.6), one_channel)


def test_by_hand():
    """Pure red beside black, the factor read from the output: red keeps 0.299 of grey when the colour goes."""
    given = jnp.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])[None]
    coloured = np.asarray(images.saturation(random.key(4), given, 1.0))[0, 0]
    f = 1 - coloured[0, 1] / 0.299
    np.testing.assert_allclose(coloured, [[0.299 + 0.701 * f, 0.299 * (1 - f), 0.299 * (1 - f)], [0, 0, 0]], atol=1e-6)
    contrasted = np.asarray(images.contrast(random.key(4), given, 1.0))[0, 0]
    f = 1 - contrasted[1, 0] / 0.1495  # the mean grey of the two pixels
    expected = [[0.1495 + 0.8505 * f, 0.1495 * (1 - f), 0.1495 * (1 - f)], [0.1495 * (1 - f)] * 3]
    np.testing.assert_allclose(contrasted, expected, atol=1e-6)


def test_the_slope_at_0_is_that_of_the_change():
    """A factor of 1 + s u has the slope u x at s = 0, read from the change at s = 1; a plain select would give 0."""
    given = jnp.asarray(RNG.uniform(0.2, 1.0, (3, 2, 2, 3)), jnp.float32)
    for name in ("brightness", "noise"):
        row = images.TABLE[name]
        slope = jax.jvp(lambda s, row=row: row(random.key(5), given, s), (0.0,), (1.0,))[1]
        np.testing.assert_allclose(slope, row(random.key(5), given, 1.0) - given, atol=1e-6)
        assert np.abs(slope).max() > 0.05


def test_noise_is_normal_and_independent():
    given = jnp.asarray(RNG.uniform(size=(2, 40, 30, 3)), jnp.float32)
    added = np.asarray(images.noise(random.key(6), given, 0.25) - given).reshape(2, -1)
    assert stats.kstest(added.ravel() / 0.25, "norm").pvalue > ALARM
    assert abs(np.corrcoef(added)[0, 1]) < 5 / np.sqrt(3600)


def test_cutout_is_a_square_of_its_side():
    examples, size, side = 2000, (10, 13), 3.2  # pixels: 0.32 of the shorter side
    cut = np.asarray(images.cutout(random.key(7), np.ones((examples, *size, 2), np.float32), 0.32)) == 0
    assert np.array_equal(cut[..., 0], cut[..., 1])
    rows, columns = cut[..., 0].any(2), cut[..., 0].any(1)
    assert np.array_equal(cut[..., 0], rows[:, :, None] & columns[:, None, :])
    for edge in (rows, columns):
        assert np.all(np.abs(np.diff(edge.astype(int), axis=1)).sum(1) <= 2), "one piece"
        inner = ~edge[:, 0] & ~edge[:, -1]
        counts = edge.sum(1)
        assert set(counts[inner]) == {3, 4} and counts.max() == 4 and counts.min() >= 1
        assert stats.binomtest(int((counts[inner] == 4).sum()), int(inner.sum()), side - 3).pvalue > ALARM
    for row in (0, -1):  # the middle of a border row is half a pixel inside
        assert stats.binomtest(int(rows[:, row].sum()), examples, (0.5 + side / 2) / size[0]).pvalue > ALARM
    # The middle of the image is covered by centres in an area of the square's own size.
    expected = side**2 / (size[0] * size[1])
    assert stats.binomtest(int(cut[:, 5, 6, 0].sum()), examples, expected).pvalue > ALARM
