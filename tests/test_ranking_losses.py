"""Losses of rankings against loops over pairs, scikit-learn's NDCG and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from hyperjax import losses

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(4, 7)) * 2
RELEVANCE = RNG.integers(0, 4, (4, 7))
KEEP = np.arange(7) < np.array([[7], [5], [2], [6]])
RANKING = {
    "pairwise_ranking": losses.pairwise_ranking,
    "list_ranking": losses.list_ranking,
    "lambda_ranking": losses.lambda_ranking,
}


def pairs(relevance):
    places = range(len(relevance))
    return [(i, j) for i in places for j in places if relevance[i] > relevance[j]]


def pairwise_by_loop(scores, relevance, sigma):
    return np.mean([np.log1p(np.exp(-sigma * (scores[i] - scores[j]))) for i, j in pairs(relevance)] or [0.0])


def list_by_loop(scores, relevance, temperature):
    p, q = (np.exp(x / temperature) / np.exp(x / temperature).sum() for x in (np.asarray(relevance, float), scores))
    return -(p * np.log(q)).sum()


def lambda_by_loop(scores, relevance, sigma):
    def ndcg(scores):
        return ndcg_score([2.0**relevance - 1], [scores])

    total = 0.0
    for i, j in pairs(relevance):
        swapped = scores.copy()
        swapped[[i, j]] = scores[[j, i]]
        total += abs(ndcg(swapped) - ndcg(scores)) * np.log1p(np.exp(-sigma * (scores[i] - scores[j])))
    return total


LOOPS = {"pairwise_ranking": pairwise_by_loop, "list_ranking": list_by_loop, "lambda_ranking": lambda_by_loop}


@pytest.mark.parametrize("name", RANKING)
def test_follows_a_loop(name):
    spoiled, unknown = np.where(KEEP, SCORES, np.nan), np.where(KEEP, RELEVANCE, -np.inf)
    with jax.enable_x64(True):

        @jax.jit
        def run(scores, spoiled):
            values, pull = jax.vjp(lambda s: RANKING[name](s, unknown, 0.6, where=KEEP), spoiled)
            return RANKING[name](scores, RELEVANCE), values, pull(jnp.ones(4))[0]

        whole, values, slopes = run(SCORES, spoiled)
    expected = [LOOPS[name](s, r, 1.0) for s, r in zip(SCORES, RELEVANCE, strict=True)]
    np.testing.assert_allclose(whole, expected, rtol=1e-12)
    expected = [LOOPS[name](s[k], r[k], 0.6) for s, r, k in zip(SCORES, RELEVANCE, KEEP, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert np.all(np.isfinite(slopes))
    assert np.all(np.asarray(slopes)[~KEEP] == 0)
    learns = [name == "list_ranking" or len(set(r[k])) > 1 for r, k in zip(RELEVANCE, KEEP, strict=True)]
    np.testing.assert_array_equal(np.any(slopes, 1), learns)


def test_closed_forms():
    @jax.jit
    def run(best):
        even, order = jnp.zeros((1, 3)), np.array([[2, 1, 0]])
        wrong = jnp.array([[3.0, 0.0]])
        least = [
            jax.value_and_grad(lambda s, t=temperature: losses.list_ranking(s, RELEVANCE, t).sum())(best)
            for temperature in (0.5, 2.0)
        ]
        return (
            losses.pairwise_ranking(even, order),
            losses.list_ranking(even, order),
            losses.lambda_ranking(wrong, np.array([[0, 1]]), 2.0),
            losses.lambda_ranking(wrong, np.array([[0.0, 1000.0]]), 2.0),
            losses.lambda_ranking(jnp.zeros((2, 3)), np.array([[1, 0, 0], [0, 0, 1]])),
            least,
        )

    pairwise, listwise, wrong, huge, equal, least = run(np.asarray(RELEVANCE + 5, np.float32))
    np.testing.assert_allclose(pairwise, [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(listwise, [np.log(3)], rtol=1e-6)
    # Two items in the wrong order, a 0 before a 1: NDCG is 1 / log2(3) and would be 1.
    np.testing.assert_allclose(wrong, [(1 - 1 / np.log2(3)) * np.log1p(np.exp(6.0))], rtol=1e-6)
    np.testing.assert_allclose(huge, wrong, rtol=1e-6)  # a gain of 2^1000 has no float, its share of the best DCG has
    # Equal scores rank in their order.
    first = (1 - 1 / np.log2(3)) + (1 - 1 / np.log2(4))
    last = (1 - 1 / np.log2(4)) + (1 / np.log2(3) - 1 / np.log2(4))
    np.testing.assert_allclose(equal, np.log(2) * np.array([first, last]), rtol=1e-6)
    # Least where the scores are the relevances, up to a constant, at the entropy of their shares.
    for temperature, (value, slope) in zip((0.5, 2.0), least, strict=True):
        shares = np.exp(RELEVANCE / temperature) / np.exp(RELEVANCE / temperature).sum(1, keepdims=True)
        np.testing.assert_allclose(value, -(shares * np.log(shares)).sum(), rtol=1e-5)
        np.testing.assert_allclose(slope, 0, atol=1e-6)


@pytest.mark.parametrize("name", RANKING)
def test_descent_puts_items_in_order(name):
    def step(scores, _):
        return scores - jax.grad(lambda s: RANKING[name](s, RELEVANCE, where=KEEP).sum())(scores), None

    scores = jax.jit(lambda s: jax.lax.scan(step, s, None, 300)[0])(jnp.asarray(SCORES, jnp.float32))
    for own, relevance, keep in zip(np.asarray(scores), RELEVANCE, KEEP, strict=True):
        assert ndcg_score([2.0 ** relevance[keep] - 1], [own[keep]]) > 1 - 1e-9


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize("name", RANKING)
def test_extremes_stay_finite_and_types_are_kept(name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        large = jnp.asarray(np.where(SCORES > 0, 1e4, -1e4), dtype)
        given = {
            "large": (large, RELEVANCE, None),
            "equal relevance": (large, np.full((4, 7), 2), None),
            "no relevance": (large, np.zeros((4, 7)), None),
            "nothing kept": (large * jnp.nan, np.full((4, 7), np.nan), np.zeros((4, 7), bool)),
            "equal scores": (large * 0, RELEVANCE, None),
        }

        def both(scores, relevance, where):
            values, pull = jax.vjp(lambda s, n: RANKING[name](s, relevance, n, where), scores, jnp.asarray(0.5, dtype))
            return values, *pull(jnp.ones_like(values))

        found = jax.jit(lambda: {case: both(*each) for case, each in given.items()})()
        for case, results in found.items():
            for result in results:
                assert result.dtype == dtype
                assert np.all(np.isfinite(np.asarray(result, np.float32))), case
        silent = ["nothing kept"] + (["equal relevance", "no relevance"] if name != "list_ranking" else [])
        for case in silent:
            assert not np.any(np.asarray(found[case][0], float)), case
            assert not np.any(np.asarray(found[case][1], float)), case
        if name == "pairwise_ranking":  # the sum of leads, wrong ones alone
            s = np.asarray(large, float)
            leads = [[0.5 * (s[q, i] - s[q, j]) for i, j in pairs(RELEVANCE[q])] for q in range(4)]
            expected = [np.mean(np.logaddexp(0, -np.array(each))) for each in leads]
            np.testing.assert_allclose(np.asarray(found["large"][0], float), expected, rtol=1e-2)


@pytest.mark.parametrize("name", RANKING)
def test_the_contract(name):
    call, numbers = RANKING[name], np.array([0.4, 0.9, 1.6], np.float32)
    scores = jnp.asarray(SCORES, jnp.float32)

    def both(number):
        values, pull = jax.vjp(lambda s: call(s, RELEVANCE, number, where=KEEP), scores)
        return values, pull(jnp.ones_like(values))[0]

    def scanned(numbers):
        return jax.lax.scan(lambda count, n: (count + 1, both(n)), 0, numbers)[1]

    alone = jax.jit(both)
    mapped, in_scan = jax.jit(lambda n: (jax.vmap(both)(n), scanned(n)))(numbers)
    for i, number in enumerate(numbers):
        for each in (mapped, in_scan):
            for ours, plain in zip(each, alone(number), strict=True):
                np.testing.assert_allclose(ours[i], plain, rtol=5e-6, atol=1e-7)
    np.testing.assert_allclose(call(scores, RELEVANCE, 0.9, where=KEEP), mapped[0][1], rtol=5e-6)  # outside of any jit
    with jax.enable_x64(True):
        x = jnp.asarray(SCORES, jnp.float64)  # no two are so near that a step would exchange them
        total = jax.jit(lambda s, n: call(s, RELEVANCE, n, where=KEEP).sum())
        into, slope = jax.jit(jax.grad(total, argnums=(0, 1)))(x, 0.9)
        numeric = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            shift = np.zeros(x.shape)
            shift[index] = 1e-6
            numeric[index] = (total(x + shift, 0.9) - total(x - shift, 0.9)) / 2e-6
        np.testing.assert_allclose(into, numeric, atol=1e-8, rtol=1e-6)
        np.testing.assert_allclose(slope, (total(x, 0.9 + 1e-6) - total(x, 0.9 - 1e-6)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((SCORES, RELEVANCE[:, :3]), "relevance must have the shape"),
        ((SCORES[0], RELEVANCE[0]), r"scores must be of shape \[queries, items\]"),
        ((SCORES, RELEVANCE - 4), "relevance must be in"),
        ((SCORES, np.where(KEEP, -1.0, np.nan), 1.0, KEEP), "relevance must be in"),
        ((SCORES, RELEVANCE, 0.0), "sigma|temperature"),
        ((SCORES, RELEVANCE, 1.0, KEEP[:, :3]), "where must be broadcastable"),
    ],
)
def test_bad_input_names_the_argument(name, arguments, named):
    with pytest.raises(ValueError, match=named):
        RANKING[name](*arguments)
