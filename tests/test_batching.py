"""The keyed bijection: each element once, no order preferred, keys unrelated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hyperjax import batching, random

ALARM = 1e-6  # false alarm rate of one comparison under fresh keys; the keys are fixed


def permutations(size, count, seed=0):
    """int32[count, size], one permutation a key."""
    keys = jax.random.split(random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(lambda k: batching.permute(k, jnp.arange(size), size)))(keys))


def test_every_size_is_a_bijection():
    largest = 70
    whole = jax.jit(lambda size, seed: batching.permute(random.key(seed), jnp.arange(largest), size))
    for size, seed in itertools.product(range(1, largest + 1), range(3)):  # the size is traced: one program
        assert sorted(whole(size, seed)[:size].tolist()) == list(range(size))


@pytest.mark.parametrize("size", [1437, 60000, 65536])
def test_large_sizes_are_bijections(size):
    landed = batching.permute(random.key(3), jnp.arange(size), size)
    np.testing.assert_array_equal(np.sort(landed), np.arange(size))
    assert np.mean(np.asarray(landed) == np.arange(size)) < 20 / size


def test_all_orders_of_five_are_equally_likely():
    drawn = permutations(5, 60_000)
    codes = drawn @ 5 ** np.arange(5)
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == 120
    assert ALARM < stats.chisquare(counts).pvalue < 1 - ALARM


def test_an_element_lands_anywhere_and_so_does_a_pair():
    drawn, count = permutations(23, 40_000, seed=1), 40_000
    table = (drawn[:, :, None] == np.arange(23)).sum(0)
    statistic = np.sum((table - count / 23) ** 2) / (count / 23)
    assert ALARM < stats.chi2.sf(statistic * 22 / 23, 22 * 22) < 1 - ALARM  # rows and columns sum to the count
    pairs = drawn[:, 0] * 23 + drawn[:, 1]
    counts = np.bincount(pairs, minlength=529)[np.flatnonzero(~np.eye(23, dtype=bool))]
    assert ALARM < stats.chisquare(counts).pvalue < 1 - ALARM


def test_neighbours_fixed_points_and_rises_are_those_of_chance():
    """Classical counts over 4000 permutations of 300: each mean against its closed form, within five deviations."""
    drawn, count, size = permutations(300, 4000, seed=2), 4000, 300
    fixed = (drawn == np.arange(size)).sum(1)
    assert abs(fixed.mean() - 1) < 5 / np.sqrt(count)
    assert abs(fixed.var() - 1) < 5 * np.sqrt(3 / count)  # Poisson of mean 1: the fourth central moment is 4
    adjacent = (np.abs(np.diff(drawn, axis=1)) == 1).sum(1)
    assert abs(adjacent.mean() - 2 * (size - 1) / size) < 5 * np.sqrt(2 / count)
    rises = (np.diff(drawn, axis=1) > 0).sum(1)
    assert abs(rises.mean() - (size - 1) / 2) < 5 * np.sqrt((size + 1) / 12 / count)
    assert abs(rises.var() / ((size + 1) / 12) - 1) < 5 * np.sqrt(2 / count)
    odd = np.array([_parity(row) for row in drawn[:1000]])
    assert abs(odd.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)


def _parity(permutation):
    seen, cycles = np.zeros(len(permutation), bool), 0
    for start in range(len(permutation)):
        cycles += not seen[start]
        while not seen[start]:
            seen[start] = True
            start = permutation[start]
    return (len(permutation) - cycles) % 2


def test_neighbouring_keys_give_unrelated_orders():
    size, count = 300, 2000
    keys = jax.vmap(lambda i: jax.random.fold_in(random.key(4), i))(jnp.arange(count))
    drawn = np.asarray(jax.jit(jax.vmap(lambda k: batching.permute(k, jnp.arange(size), size)))(keys), np.float64)
    centred = (drawn - (size - 1) / 2) / np.sqrt((size**2 - 1) / 12)
    z = (centred[:-1] * centred[1:]).sum(1) / np.sqrt(size) * np.sqrt((size - 1) / size)  # variance 1 / (size - 1)
    assert abs(z.mean()) < 5 / np.sqrt(count)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / count)
    same = (drawn[:-1] == drawn[1:]).sum()
    assert abs(same - count) < 5 * np.sqrt(count)


def test_two_rounds_are_too_few(monkeypatch):
    from hyperjax.batching import permutation

    monkeypatch.setattr(permutation, "_ROUNDS", 2)
    codes = permutations(5, 60_000) @ 5 ** np.arange(5)
    assert stats.chisquare(np.bincount(np.unique(codes, return_inverse=True)[1], minlength=120)).pvalue < ALARM


def test_transformations_agree_with_a_plain_loop():
    keys, positions = jax.random.split(random.key(8), 3), jnp.array([[0, 5], [99, 3]])
    loop = np.stack([batching.permute(k, positions, 100) for k in keys])
    assert loop.shape == (3, 2, 2)
    assert loop.dtype == np.int32
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(lambda k, s: batching.permute(k, positions, s)))(keys, jnp.full(3, 100)), loop
    )
    np.testing.assert_array_equal(jax.lax.scan(lambda c, k: (c, batching.permute(k, positions, 100)), 0, keys)[1], loop)
    np.testing.assert_array_equal(jax.lax.map(lambda k: batching.permute(k, positions, 100), keys), loop)
    threefry = jax.random.key(0, impl="threefry2x32")
    assert sorted(batching.permute(threefry, jnp.arange(9), 9).tolist()) == list(range(9))


def test_the_unrolled_rounds_of_other_backends_equal_the_loop(monkeypatch):
    expected = batching.permute(random.key(1), jnp.arange(50), 50)
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda x, cpu, default: default(x))
    np.testing.assert_array_equal(batching.permute(random.key(1), jnp.arange(50), 50), expected)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_lowers_for_accelerators(platform):
    traced = jax.jit(lambda seed: batching.permute(random.key(seed), jnp.arange(8), 30)).trace(0)
    assert "while" not in traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("examples", "batch_size"), [(1437, 64), (128, 64), (5, 8), (1, 1), (7, 1)])
def test_an_epoch_visits_each_example_once(examples, batch_size):
    steps = batching.steps_per_epoch(examples, batch_size)
    assert steps == int(np.ceil(examples / batch_size))
    last = batching.last_batch_size(examples, batch_size)
    take = jax.jit(batching.batch_indices, static_argnums=(2, 4))
    key = random.key(0)
    seen = [take(key, b, batch_size, examples, None if b < steps - 1 else last) for b in range(steps)]
    assert [len(batch) for batch in seen] == [batch_size] * (steps - 1) + [last]
    assert sorted(np.concatenate(seen).tolist()) == list(range(examples))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: batching.steps_per_epoch(0, 4), "examples"),
        (lambda: batching.steps_per_epoch(4, 2.5), "batch_size"),
        (lambda: batching.last_batch_size(4, -1), "batch_size"),
        (lambda: batching.batch_indices(random.key(0), 0, 4, 9, 0), "width"),
        (lambda: batching.permute(random.key(0), jnp.arange(3), 0), "size"),
        (lambda: batching.permute(random.key(0), jnp.arange(3), 2**31), "size"),
        (lambda: batching.permute(random.key(0), jnp.arange(3), 3.0), "size"),
        (lambda: batching.permute(random.key(0), jnp.ones(3), 3), "position"),
    ],
)
def test_bad_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} must"):
        call()


def test_learning_rates_scale_with_the_batch():
    assert batching.scale_learning_rate(0.1, 64, 16) == pytest.approx(0.025)
    assert batching.scale_learning_rate(0.1, 64, 16, rule="sqrt") == pytest.approx(0.05)
    rates = jax.jit(jax.vmap(lambda b: batching.scale_learning_rate(0.1, 32, b, "sqrt")))(jnp.array([32.0, 128.0]))
    np.testing.assert_allclose(rates, [0.1, 0.2], rtol=1e-6)
    # The plain sum over examples makes the same step as the mean at a rate scaled linearly: the rule's own premise.
    x = np.arange(6.0)
    assert batching.scale_learning_rate(0.1, 1, len(x)) * x.mean() == pytest.approx(0.1 * x.sum())
    for bad, named in (((-1.0, 1, 1), "rate"), ((1.0, 0, 1), "from_batch"), ((1.0, 1, 0), "to_batch")):
        with pytest.raises(ValueError, match=named):
            batching.scale_learning_rate(*bad)
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        batching.scale_learning_rate(1.0, 1, 1, rule="liner")
