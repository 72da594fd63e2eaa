"""Losses of embeddings against plain loops over triplets and pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hyperjax import losses

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(9, 3)).astype(np.float32)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])  # the last has no positive


def distance(i, j):
    return float(np.linalg.norm(POINTS[i].astype(np.float64) - POINTS[j]))


def by_loop(choose):
    """Mean over an anchor's positives of the margin's violation by the negative that `choose` picks."""
    found = []
    for a in range(len(POINTS)):
        positives = [i for i in range(len(POINTS)) if i != a and LABELS[i] == LABELS[a]]
        negatives = [distance(a, i) for i in range(len(POINTS)) if LABELS[i] != LABELS[a]]
        found.append(choose([distance(a, p) for p in positives], negatives) if positives else 0.0)
    return found


def test_batch_hard_by_loop():
    expected = by_loop(lambda positives, negatives: max(0.0, max(positives) - min(negatives) + 0.7))
    np.testing.assert_allclose(losses.batch_hard_triplet(POINTS, LABELS, 0.7), expected, rtol=1e-5, atol=1e-6)


def test_semi_hard_by_loop():
    def choose(positives, negatives):
        def one(p):
            return min([n for n in negatives if n > p], default=max(negatives))

        return np.mean([max(0.0, p - one(p) + 0.7) for p in positives])

    expected = by_loop(choose)
    np.testing.assert_allclose(losses.semi_hard_triplet(POINTS, LABELS, 0.7), expected, rtol=1e-5, atol=1e-6)


def test_contrastive_and_ntxent_by_loop():
    a, b = POINTS[:4], POINTS[4:8]
    same = np.array([True, False, True, False])
    d = np.linalg.norm(a - b, axis=1)
    expected = np.where(same, d**2 / 2, np.maximum(0, 1.5 - d) ** 2 / 2)
    np.testing.assert_allclose(losses.contrastive(a, b, same, 1.5), expected, rtol=1e-5)
    views = np.concatenate([a, b]).astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    each = []
    for i in range(8):
        weights = np.exp(views @ views[i] / 0.3)
        each.append(-np.log(weights[(i + 4) % 8] / (weights.sum() - weights[i])))
    expected = (np.array(each[:4]) + each[4:]) / 2
    np.testing.assert_allclose(losses.ntxent(a, b, 0.3), expected, rtol=1e-4)
    theirs = optax.losses.ntxent(jnp.concatenate([a, b]), jnp.tile(jnp.arange(4), 2), 0.3)
    np.testing.assert_allclose(losses.ntxent(a, b, 0.3).mean(), theirs, rtol=1e-4)


CALLS = {
    "triplet": lambda x, n: losses.triplet(x, x[::-1], jnp.roll(x, 1, 0), n),
    "batch_hard_triplet": lambda x, n: losses.batch_hard_triplet(x, LABELS, n),
    "semi_hard_triplet": lambda x, n: losses.semi_hard_triplet(x, LABELS, n),
    "contrastive": lambda x, n: losses.contrastive(x, x[::-1], LABELS % 2, n),
    "ntxent": lambda x, n: losses.ntxent(x, x[::-1] + 0.1, n),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_contract(name):
    call, numbers = CALLS[name], np.array([0.4, 0.9, 1.6], np.float32)
    together = jax.jit(jax.vmap(lambda n: call(jnp.asarray(POINTS), n)))(numbers)
    for row, number in zip(together, numbers, strict=True):
        np.testing.assert_allclose(row, call(POINTS, float(number)), rtol=1e-5, atol=1e-6)
    with jax.enable_x64(True):
        x = jnp.asarray(POINTS, jnp.float64)
        gradient = jax.jit(jax.grad(lambda x, n: call(x, n).sum(), argnums=(0, 1)))(x, 0.9)
        along = RNG.normal(size=x.shape)
        ends = [call(x + s * 1e-6 * along, 0.9).sum() for s in (1, -1)]
        np.testing.assert_allclose(jnp.sum(gradient[0] * along), (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
        ends = [call(x, 0.9 + s * 1e-6).sum() for s in (1, -1)]
        np.testing.assert_allclose(gradient[1], (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
    for same in (np.zeros_like(POINTS), POINTS * 0 + 1e4):  # all in one place, where a distance has a kink
        value, slope = jax.value_and_grad(lambda x: call(x, 0.9).sum())(jnp.asarray(same))
        assert np.isfinite(value)
        assert np.all(np.isfinite(slope))
    assert call(jnp.asarray(POINTS, jnp.bfloat16), 0.9).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: losses.triplet(POINTS, POINTS, POINTS[:3]), "negative"),
        (lambda: losses.triplet(POINTS, POINTS, POINTS, -1.0), "margin"),
        (lambda: losses.batch_hard_triplet(POINTS, LABELS[:3]), "labels"),
        (lambda: losses.semi_hard_triplet(POINTS[0], LABELS[0]), "labels"),
        (lambda: losses.contrastive(POINTS, POINTS, LABELS[:3]), "same"),
        (lambda: losses.contrastive(POINTS, POINTS, np.full(9, 2)), "same must be 0 or 1, got 2"),
        (lambda: losses.ntxent(POINTS, POINTS, 0.0), "temperature"),
        (lambda: losses.ntxent(POINTS[:1], POINTS[:1]), "first must hold at least two examples"),
        (lambda: losses.ntxent(POINTS, POINTS, None), "temperature must be a number"),
    ],
)
def test_names_the_bad_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()


@pytest.mark.parametrize("name", CALLS)
def test_whole_numbers_give_what_their_floats_give(name):
    whole = np.round(3 * POINTS).astype(np.int32)
    values = CALLS[name](whole, 0.9)
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(values, CALLS[name](whole.astype(np.float32), 0.9))


def test_no_examples_give_no_values():
    none, labels = jnp.zeros((0, 3)), jnp.zeros(0, int)
    for mine in (losses.batch_hard_triplet, losses.semi_hard_triplet):
        value, slope = jax.value_and_grad(lambda x, mine=mine: mine(x, labels).sum())(none)
        assert (mine(none, labels).shape, float(value), slope.shape) == ((0,), 0.0, (0, 3))
    assert losses.triplet(none, none, none).shape == losses.contrastive(none, none, labels).shape == (0,)
    assert losses.ntxent(none, none).shape == (0,)
