"""Mixed inputs and labels: the proportion in the labels is that in the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hyperjax import augment, random

ALARM = 1e-6


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_mixup_labels_hold_the_proportion_of_the_inputs(alpha):
    """Each input is a direction of its own, so that a mixture shows who was mixed and how much of each."""
    examples, labels = 500, np.arange(500) % 7
    one_hot = np.eye(7, dtype=np.float32)[labels]
    mixed, soft = augment.mixup(random.key(1), np.eye(examples, dtype=np.float32), one_hot, alpha)
    mixed, own = np.array(mixed), np.arange(examples)
    share = mixed[own, own].copy()
    mixed[own, own] = 0
    other = mixed.argmax(1)
    places = set((other - own)[share < 0.999] % examples)
    assert len(places) == 1 and places != {0}, "each is used once as the other, and never for itself"
    other = (own + places.pop()) % examples
    np.testing.assert_allclose(mixed[own, other], 1 - share, atol=1e-6)
    mixed[own, other] = 0
    assert not mixed.any()
    expected = share[:, None] * one_hot + (1 - share)[:, None] * one_hot[other]
    np.testing.assert_allclose(soft, expected, atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    assert stats.kstest(share, "beta", (alpha, alpha)).pvalue > ALARM


def test_partners_are_the_others_and_equally_likely():
    mix = jax.jit(jax.vmap(lambda key: augment.mixup(key, jnp.eye(5), jnp.eye(5), 1.0)[1][2]))
    labels = np.delete(mix(jax.random.split(random.key(2), 4000)), 2, axis=1)
    assert np.all((labels > 0).sum(1) == 1), "somebody else each time"
    assert stats.chisquare((labels > 0).sum(0)).pvalue > ALARM


def test_one_example_has_nothing_to_mix_with():
    x, t = jnp.array([[3.0]]), jnp.array([[0.25, 0.75]])
    mixed, soft = augment.mixup(random.key(3), x, t, 1.0)
    np.testing.assert_allclose(mixed, x, rtol=1e-6)
    np.testing.assert_allclose(soft, t, rtol=1e-6)


def test_an_input_s_proportion_does_not_depend_on_its_neighbours():
    shares = [augment.mixup(random.key(4), np.eye(n, dtype=np.float32), np.eye(n), 1.0)[0].diagonal() for n in (2, 5)]
    np.testing.assert_allclose(shares[0], shares[1][:2], rtol=1e-6)


def test_the_derivative_by_alpha_is_that_of_the_spread():
    """The variance of Beta(a, a) is 1 / (4 (2 a + 1)), its slope -1 / (2 (2 a + 1)^2)."""
    x = jnp.arange(2.0)[:, None] * jnp.ones((2, 1))

    def spread(alpha, key):
        mixed, _ = augment.mixup(key, x, x, alpha)
        return (mixed[1, 0] - 0.5) ** 2

    keys = jax.random.split(random.key(5), 5_000)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(spread), (None, 0)))(0.8, keys)
    for found, expected in ((values, 1 / (4 * 2.6)), (slopes, -1 / (2 * 2.6**2))):
        assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(len(keys))


def test_cutmix_pastes_a_rectangle_and_counts_it():
    examples, height, width = 400, 16, 24
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, height, width, 2)).astype(np.float32)
    t = np.eye(examples, dtype=np.float32)
    mixed, soft = (np.asarray(part) for part in augment.cutmix(random.key(6), x, t, 1.0))
    own = np.arange(examples)
    pasted = (mixed != x).any(-1)
    without_own = soft.copy()
    without_own[own, own] = -1
    other = without_own.argmax(1)
    np.testing.assert_array_equal(mixed[pasted], x[other][pasted])  # from the same place in the other image
    np.testing.assert_allclose(soft[own, own], 1 - pasted.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    rows, columns = pasted.any(2), pasted.any(1)
    assert np.array_equal(pasted, rows[:, :, None] & columns[:, None, :])
    inner = ~rows[:, 0] & ~rows[:, -1] & ~columns[:, 0] & ~columns[:, -1] & rows.any(1)
    assert inner.sum() > 20
    sides = np.stack([rows.sum(1) / height, columns.sum(1) / width], 1)[inner]
    assert np.all(np.abs(sides[:, 0] - sides[:, 1]) <= 1 / height + 1 / width), "the image's own aspect"
    # A rectangle of relative area r covers the middle with probability r, which is 1/2 on average at alpha 1.
    assert stats.binomtest(int(pasted[:, 8, 12].sum()), examples, 0.5).pvalue > ALARM
