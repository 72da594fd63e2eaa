"""Quality and behaviour of the cheap keys.

Each statistical test turns its counts into one p-value and fails below 1e-6 (or above 1 - 1e-6 where too even is also
wrong). Seeds are fixed, so the outcome never changes; for a perfect generator under fresh constants the chance of a
false alarm is 1e-6 (2e-6 two-sided) a comparison, below 0.1 % for the whole file.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from hyperjax import random

ALARM = 1e-6
SEEDS = [0, 1, 2, 2**31, 2**32, 2**63, 2**64 - 1, -5, 123456789]
RAW = [[0, 0], [0, 1], [1, 0], [2**31, 0], [0, 2**31], [2**32 - 1, 2**32 - 1], [1, 1]]


@functools.partial(jax.jit, static_argnums=1)
def words(keys, count):
    return jax.vmap(lambda k: jax.random.bits(k, (count,)))(keys)


def draw(keys, count=2**15):
    return np.asarray(words(keys, count))


def signs(array):
    """float32[n, 32] of +-1, one column a bit."""
    octets = np.ascontiguousarray(array, "<u4").reshape(-1, 1).view(np.uint8)
    return 2 * np.unpackbits(octets, axis=1, bitorder="little").astype(np.float32) - 1


def chi_square(statistic, freedom):
    """Two-sided alarm: too uneven and too even are both wrong."""
    upper = float(stats.chi2.sf(statistic, freedom))
    return min(upper, 1 - upper)


def bit_balance(array):
    total = signs(array).sum(0, dtype=np.float64) / np.sqrt(array.size)
    return chi_square(np.sum(total**2), 32)


def byte_balance(array):
    counts = np.stack([np.bincount((array.ravel() >> shift) & 255, minlength=256) for shift in (0, 8, 16, 24)])
    expected = array.size / 256
    return chi_square(np.sum((counts - expected) ** 2 / expected), 4 * 255)


def cross_correlation(first, second):
    """Every bit of one word against every bit of its partner: 1024 correlations, summed squares of their z."""
    z = signs(first).T @ signs(second) / np.sqrt(first.size)
    return chi_square(np.sum(z.astype(np.float64) ** 2), 1024)


def collisions(array):
    """Equal words within a stream: a bijection of the counter has none, chance has about n^2 / 2^33 a stream."""
    streams, count = array.shape
    found = sum(count - len(np.unique(row)) for row in array)
    mean = streams * count * (count - 1) / 2 / 2**32
    return min(stats.poisson.sf(found - 1, mean), stats.poisson.cdf(found, mean))


def shared_windows(array):
    """How many runs of four words occur twice, among windows picked by their content (one in 16)."""
    windows = np.lib.stride_tricks.sliding_window_view(array, 4, axis=1)
    picked = windows[windows[..., 0] % 16 == 0]
    pairs = picked.astype(np.uint64)
    folded = (pairs[:, 0] << np.uint64(32) | pairs[:, 1]) ^ (pairs[:, 2] << np.uint64(32) | pairs[:, 3]) * np.uint64(3)
    return len(folded) - len(np.unique(folded))


def children(seed, count):
    return jax.vmap(lambda i: jax.random.fold_in(random.key(seed), i))(jnp.arange(count))


FAMILIES = {
    "positions": lambda: draw(random.key(np.array([*SEEDS[:4], 7, 8]))),
    "steps": lambda: draw(children(3, 512), 512),
    "members": lambda: draw(jax.vmap(random.key)(jnp.arange(512)), 512),
    "layers": lambda: draw(jax.random.split(random.key(11), 512), 512),
}


@pytest.mark.parametrize("family", [pytest.param(f, marks=[pytest.mark.slow] * (f == "positions")) for f in FAMILIES])
def test_streams_are_uniform_and_their_neighbours_unrelated(family):
    array = FAMILIES[family]()
    assert bit_balance(array) > ALARM
    assert byte_balance(array) > ALARM
    assert cross_correlation(array[:-1], array[1:]) > ALARM  # same position in the next stream
    assert cross_correlation(array[:-1, :-1], array[1:, 1:]) > ALARM
    for lag in (1, 2, 4, 16, 64, 256):
        assert cross_correlation(array[:, :-lag], array[:, lag:]) > ALARM


@pytest.mark.parametrize("lag", [2**power for power in range(0, 16, 3)])
def test_counters_that_differ_in_one_bit_give_unrelated_words(lag):
    array = draw(random.key(np.array([5, 6])), 2**17)
    assert cross_correlation(array[:, :-lag], array[:, lag:]) > ALARM


def test_no_key_is_weak():
    """The edges of the seeds, and raw key words of almost all zeros or ones."""
    edges = jax.random.wrap_key_data(jnp.array(RAW, jnp.uint32), impl=random.IMPLEMENTATION)
    for array in (*draw(random.key(np.array([s & (2**64 - 1) for s in SEEDS], np.uint64))), *draw(edges)):
        assert bit_balance(array) > ALARM
        assert byte_balance(array) > ALARM
        assert cross_correlation(array[:-1], array[1:]) > ALARM


@pytest.mark.slow
def test_words_repeat_as_often_as_chance():
    assert collisions(draw(random.key(np.arange(24)), 2**18)) > ALARM  # 192 expected


def test_no_window_is_shared():
    """4096 streams of every kind of descent; with the key added to the counter alone about 32 pairs would overlap."""
    keys = [children(0, 1024), jax.vmap(random.key)(jnp.arange(1024)), jax.random.split(random.key(0), 1024)]
    keys.append(jax.vmap(lambda i: jax.random.fold_in(jax.random.split(random.key(0))[1], i))(jnp.arange(1, 1025)))
    assert shared_windows(draw(jnp.concatenate(keys), 8192)) == 0


@pytest.mark.slow
def test_the_windows_test_sees_a_key_that_enters_once():
    """The weak design: rounds that do not depend on the key, hence one sequence of which each stream is a shift."""
    offsets = np.asarray(jax.random.key_data(random.key(np.arange(4096))))[:, :1]
    mix = jax.jit(lambda counters: random._mix(random._mix(counters)))
    assert shared_windows(np.asarray(mix(offsets + np.arange(8192, dtype=np.uint32)))) > 1000


@pytest.mark.slow
def test_the_battery_sees_half_a_round_and_a_bijection():
    """Two more weak designs: one multiplication, and two rounds whose first is not added at the end."""
    counters = np.arange(2**18, dtype=np.uint32)
    word = np.uint32(0x12345678)
    one = (counters ^ word) * np.uint32(0x21F0AAAD)
    one ^= one >> np.uint32(15)
    assert cross_correlation(one[:-1], one[1:]) < ALARM
    two = np.asarray(jax.jit(lambda c: random._mix(random._mix(c ^ word) + word))(counters))
    assert collisions(np.stack([two] * 24)) < ALARM


def test_each_bit_of_the_key_and_of_the_seed_flips_half_of_every_output_bit():
    data = np.asarray(jax.random.key_data(random.key(np.arange(512))))
    flips = (np.uint64(1) << np.arange(64, dtype=np.uint64)).view(np.uint32).reshape(64, 2)[:, None]

    def flipped(base, change):
        changed = (signs(base)[None] * np.stack([signs(c) for c in change])).mean(1)  # +-1 a flip, [64, 32]
        return chi_square(np.sum(changed.astype(np.float64) ** 2) * base.size, changed.size)

    def first(data):  # a few words of each key
        keys = jax.random.wrap_key_data(jnp.asarray(data), impl=random.IMPLEMENTATION)
        return draw(keys.reshape(-1), 8).reshape(*data.shape[:-1], 8)

    assert flipped(first(data), first(data ^ flips)) > ALARM

    seeds = np.arange(512, dtype=np.uint64) * np.uint64(0x0123456789ABCDEF)  # spread over both halves
    other = seeds ^ (np.uint64(1) << np.arange(64, dtype=np.uint64))[:, None]
    for half in (0, 1):
        base, change = (np.asarray(jax.random.key_data(random.key(s)))[..., half] for s in (seeds, other))
        assert flipped(base, change) > ALARM


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_masks_of_layers_steps_and_members_meet_as_often_as_chance(rate):
    """Coincidences of set bits between all pairs of 96 masks: sums of z^2 over the pairs of the three kinds."""
    roots = [jax.random.split(random.key(1), 32), children(1, 32), jax.vmap(random.key)(jnp.arange(32))]
    masks = jax.jit(jax.vmap(lambda k: jax.random.bernoulli(k, rate, (64, 256))))(jnp.concatenate(roots))
    centred = np.asarray(masks, np.float64).reshape(96, -1) - rate
    z = centred @ centred.T / (rate * (1 - rate) * np.sqrt(centred.shape[1]))
    pairs = z[np.triu_indices(96, 1)]
    # z is a scaled binomial sum: its variance is 1, that of z^2 a little above 2; Gaussian limit over 4560 pairs.
    assert abs(np.mean(pairs**2) - 1) / np.sqrt(2.2 / len(pairs)) < 5
    columns = np.asarray(masks, np.float64).sum((0, 1))  # over masks and rows, 256 columns
    expected, variance = 96 * 64 * rate, 96 * 64 * rate * (1 - rate)
    assert chi_square(np.sum((columns - expected) ** 2) / variance, 256) > ALARM


def test_children_by_split_and_by_fold_in_never_meet():
    parent = random.key(0)
    folded = jax.random.key_data(children(0, 4096))
    split = jax.random.key_data(jax.random.split(parent, 4096))
    every = np.concatenate([folded, split, jax.random.key_data(parent)[None]])
    assert len(np.unique(every, axis=0)) == 8193
    assert len(np.unique(every.ravel())) > 16386 - 5  # even single words coincide by chance alone (0.03 expected)


def test_the_three_streams_differ_and_follow_the_key():
    from_seed, from_key = random.streams(4), random.streams(random.key(4))
    data = np.stack([jax.random.key_data(k) for k in from_seed])
    assert len(np.unique(data, axis=0)) == 3
    np.testing.assert_array_equal(data, np.stack([jax.random.key_data(k) for k in from_key]))
    together = jax.jit(jax.vmap(random.streams))(jnp.arange(3, 6)).masks
    np.testing.assert_array_equal(jax.random.key_data(together)[1], data[2])
    np.testing.assert_array_equal(jax.random.key_data(random.streams(np.arange(3, 6)).masks)[1], data[2])
    assert jax.random.key_impl(random.streams(jax.random.key(0, impl="threefry2x32")).order) == "threefry2x32"


def test_a_seed_means_one_key_however_it_arrives():
    def data(k):
        return np.asarray(jax.random.key_data(k)).tolist()

    for seed in (0, 7, -1, 2**31 - 1):
        forms = [random.key(seed), random.key(jnp.int32(seed)), jax.jit(random.key)(seed), random.key(np.int64(seed))]
        forms.append(jax.random.key(seed, impl=random.IMPLEMENTATION))
        assert all(data(form) == data(forms[0]) for form in forms)
    with jax.enable_x64(True):
        for seed in (-1, 2**40, 2**63 - 1):
            assert data(jax.jit(random.key)(jnp.int64(seed))) == data(random.key(seed))
    assert data(random.key(np.array([3, 2**40, -9]))) == [data(random.key(s)) for s in (3, 2**40, -9)]
    assert len({tuple(data(random.key(s))) for s in SEEDS}) == len(SEEDS)


def mix(word, key=0):
    """The mixer in Python's integers."""
    word = (word ^ word >> 16) * 0x21F0AAAD % 2**32
    word = ((word ^ word >> 15) + key) * 0x735A2D97 % 2**32
    return word ^ word >> 15


def block(key, left, right):
    left ^= mix((right + key[0]) % 2**32)
    right ^= mix((left + key[1]) % 2**32)
    left ^= mix((right + (key[0] ^ 0x9E3779B9)) % 2**32)
    right ^= mix((left + (key[1] ^ 0x85A308D3)) % 2**32)
    return [left, right]


def test_keys_are_those_of_an_independent_implementation():
    """A seed means the same numbers in every version: a change here breaks everybody's runs."""
    parent = block((0x243F6A88, 0xA4093822), 5, 1)  # the two halves of 2**32 + 5
    typed = random.key(2**32 + 5)
    assert jax.random.key_data(typed).tolist() == parent
    assert jax.random.key_data(jax.random.fold_in(typed, 9)).tolist() == block(parent, 9, 0x13198A2E)
    children = [block(parent, i, 0x03707344) for i in range(4)]
    assert jax.random.key_data(jax.random.split(typed, (2, 2))).reshape(4, 2).tolist() == children


def test_the_words_are_those_of_an_independent_implementation():
    """Python's integers, written from the docstring's formula: the same numbers on every backend and version."""
    limit = 2**32
    k0, k1 = 0xDEADBEEF, 0x01234567
    typed = jax.random.wrap_key_data(jnp.array([k0, k1], jnp.uint32), impl=random.IMPLEMENTATION)
    firsts = [mix(i ^ k0, k1) for i in range(6)]
    expected = [(mix((f + (k0 ^ 0x9E3779B9)) % limit, k1 ^ 0x85A308D3) + f) % limit for f in firsts]
    assert jax.random.bits(typed, (2, 3)).ravel().tolist() == expected
    assert jax.random.bits(typed, (6,), "uint8").tolist() == [w >> 24 for w in expected]
    assert jax.random.bits(typed, (6,), "uint16").tolist() == [w >> 16 for w in expected]
    with jax.enable_x64(True):
        wide = jax.random.bits(typed, (3,), "uint64")
    assert wide.tolist() == [(expected[i] << 32) + expected[3 + i] for i in range(3)]


def test_moments_of_what_jax_makes_of_them():
    n = 2**16
    k1, k2, k3, k4 = jax.random.split(random.key(2), 4)
    assert stats.kstest(np.asarray(jax.random.uniform(k1, (n,))), "uniform").pvalue > ALARM
    assert stats.kstest(np.asarray(jax.random.normal(k2, (n,))), "norm").pvalue > ALARM
    counts = np.bincount(np.asarray(jax.random.randint(k3, (n,), 0, 10)), minlength=10)
    assert stats.chisquare(counts).pvalue > ALARM
    assert sorted(jax.random.permutation(k4, 50).tolist()) == list(range(50))
    with jax.enable_x64(True):
        assert stats.kstest(np.asarray(jax.random.uniform(k1, (n,), jnp.float64)), "uniform").pvalue > ALARM


def test_transformations_change_no_bit():
    def mask(k):
        return jax.random.bernoulli(k, 0.3, (4, 5))

    keys = jax.random.split(random.key(9), 3)
    loop = np.stack([mask(k) for k in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(mask))(keys), loop)
    np.testing.assert_array_equal(jax.lax.map(mask, keys), loop)
    np.testing.assert_array_equal(jax.lax.scan(lambda c, k: (c, mask(k)), 0, keys)[1], loop)
    again = jax.random.wrap_key_data(jax.random.key_data(keys), impl=random.IMPLEMENTATION)
    np.testing.assert_array_equal(jax.vmap(mask)(again), loop)


def test_stock_flax_layers_take_our_keys():
    rngs = nnx.Rngs(random.key(0))
    layer, dropout = nnx.Linear(8, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
    x = jnp.ones((64, 8))
    dropped = nnx.jit(lambda layer, dropout, x: dropout(layer(x)))(layer, dropout, x)
    kept = dropped != 0
    assert 80 < int(kept.sum()) < 176  # 128 expected of 256, deviation 8
    np.testing.assert_allclose(np.asarray(dropped)[kept], np.asarray(2 * layer(x))[kept], rtol=1e-6)
    assert np.any(kept != (dropout(layer(x)) != 0))  # the stream moved on


@pytest.mark.parametrize("bad", [2**64, -(2**63) - 1, 1.5, "0", True, None])
def test_bad_seeds_are_named(bad):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        random.key(bad)
