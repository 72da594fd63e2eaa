"""Losses of adversarial games against their formulas, and the gradient penalty against critics of known slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from hyperjax import losses

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(2, 5, 3)) * 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# (of the discriminator, of the generator), as the papers write them, with what they maximize turned
FORMULAS = {
    "minimax": (lambda r, f: -np.log(sigmoid(r)) - np.log(1 - sigmoid(f)), lambda f: np.log(1 - sigmoid(f))),
    "non_saturating": (lambda r, f: -np.log(sigmoid(r)) - np.log(1 - sigmoid(f)), lambda f: -np.log(sigmoid(f))),
    "least_squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda f: (f - 1) ** 2 / 2),
    "wasserstein": (lambda r, f: f - r, lambda f: -f),
    "hinge": (lambda r, f: -np.minimum(0, r - 1) - np.minimum(0, -f - 1), lambda f: -f),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_follows_the_formulas(kind):
    game, (discriminator, generator) = losses.gan(kind), FORMULAS[kind]
    with jax.enable_x64(True):
        np.testing.assert_allclose(game.discriminator(REAL, FAKE), discriminator(REAL, FAKE).mean(1), rtol=1e-12)
        np.testing.assert_allclose(game.generator(FAKE), generator(FAKE).mean(1), rtol=1e-12)
        np.testing.assert_allclose(game.generator(FAKE[:, 0]), generator(FAKE[:, 0]), rtol=1e-12)


def test_who_pulls_how_hard():
    """A generator that the discriminator sees through learns nothing by "minimax", and most by "non_saturating"."""
    logit = jnp.array([-10.0])
    slopes = {kind: jax.grad(lambda f, kind=kind: losses.gan(kind).generator(f).sum())(logit) for kind in FORMULAS}
    np.testing.assert_allclose(slopes["minimax"], [-sigmoid(-10.0)], rtol=1e-5)
    np.testing.assert_allclose(slopes["non_saturating"], [-sigmoid(10.0)], rtol=1e-5)
    both = losses.gan("minimax").discriminator(jnp.zeros(1), jnp.zeros(1))
    np.testing.assert_allclose(both, [np.log(4)], rtol=1e-6)  # where neither can better itself


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize("kind", FORMULAS)
def test_extremes_stay_finite_and_types_are_kept(kind, dtype):
    game = losses.gan(kind)
    with jax.enable_x64(dtype == jnp.float64):
        real, fake = jnp.meshgrid(*[jnp.array([-1e4, 0.0, 1e4], dtype)] * 2)

        @jax.jit
        def run(real, fake):
            value, pull = jax.vjp(game.discriminator, real, fake)
            own, back = jax.vjp(game.generator, fake)
            return value, own, *pull(jnp.ones_like(value)), *back(jnp.ones_like(own))

        for result in run(real.ravel(), fake.ravel()):
            assert result.dtype == dtype
            assert result.shape == (9,)
            assert np.all(np.isfinite(np.asarray(result, np.float32)))
    assert game.discriminator(np.array([1, 2]), np.array([0, 1])).dtype == jnp.float32


@pytest.mark.parametrize("kind", FORMULAS)
def test_mapped_and_scanned_as_called(kind):
    game = losses.gan(kind)

    def all_of_it(pair):
        (value, own), pull = jax.vjp(lambda r, f: (game.discriminator(r, f), game.generator(f)), *pair)
        return value, own, *pull((jnp.ones_like(value), jnp.ones_like(own)))

    several = tuple(jnp.asarray(RNG.normal(size=(3, 5, 3)), jnp.float32) for _ in range(2))
    mapped = jax.jit(jax.vmap(all_of_it))(several)
    scanned = jax.jit(lambda p: jax.lax.scan(lambda count, one: (count + 1, all_of_it(one)), 0, p)[1])(several)
    for i in range(3):
        plain = all_of_it(jax.tree.map(lambda x, i=i: x[i], several))
        for each in (mapped, scanned):
            for ours, theirs in zip(each, plain, strict=True):
                np.testing.assert_allclose(ours[i], theirs, rtol=1e-5, atol=1e-7)


def test_penalty_of_a_slope_that_is_the_point():
    """Between 0 and a point at distance 1 the critic |x|^2 / 2 has slope u: one uniform number an example."""
    real = np.full((4000, 4), 0.5, np.float32)
    values = losses.gradient_penalty(lambda x: 0.5 * jnp.sum(x**2, -1), real, 0 * real, jax.random.key(0))
    u = 1 - np.sqrt(np.asarray(values, float))
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert len(np.unique(u)) > 3900
    other = losses.gradient_penalty(lambda x: 0.5 * jnp.sum(x**2, -1), real, 0 * real, jax.random.key(1))
    assert not np.allclose(values, other)
    # real examples at 1, made ones at 3
    between = losses.gradient_penalty(lambda x: 0.5 * jnp.sum(x**2, -1), real, 3 * real, jax.random.key(0))
    np.testing.assert_allclose(np.sqrt(between) + 1, 3 - 2 * u, rtol=1e-5)


def test_penalty_of_known_slopes():
    real, fake, key = REAL.astype(np.float32), FAKE.astype(np.float32), jax.random.key(0)
    slope = np.array([1.0, 2.0, 2.0], np.float32)
    for shaped in (lambda x: x @ slope, lambda x: (x @ slope)[:, None]):
        np.testing.assert_allclose(losses.gradient_penalty(shaped, real, fake, key), np.full(5, 4.0), rtol=1e-6)
    targets = jnp.array([0.0, 1.0, 4.0])
    mapped = jax.jit(jax.vmap(lambda t: losses.gradient_penalty(lambda x: x @ jnp.asarray(slope), real, fake, key, t)))(
        targets
    )
    np.testing.assert_allclose(mapped, np.array([9.0, 4.0, 1.0])[:, None] * np.ones(5), rtol=1e-5)
    at_real = losses.gradient_penalty(lambda x: jnp.sum(x**2, -1), real, real, key, 0.0)
    np.testing.assert_allclose(at_real, (4 * real**2).sum(1), rtol=1e-5)
    images = np.ones((2, 3, 3, 1), np.float32)
    spread = losses.gradient_penalty(lambda x: x.sum((1, 2, 3)), images, 0 * images, key)
    np.testing.assert_allclose(spread, [4.0, 4.0], rtol=1e-6)  # slope 1 in each of 9 entries


def test_penalty_of_no_examples_is_empty():
    none = jnp.zeros((0, 3))
    assert losses.gradient_penalty(lambda x: x.sum(-1), none, none, jax.random.key(0)).shape == (0,)


def test_penalty_where_the_critic_is_flat():
    def total(weight):
        return losses.gradient_penalty(lambda x: weight * jnp.sum(x, -1), REAL, FAKE, jax.random.key(0)).sum()

    value, slope = jax.value_and_grad(total)(jnp.float32(0.0))
    np.testing.assert_array_equal([value, slope], [5.0, 0.0])


def test_penalty_of_narrow_types_is_computed_in_a_wide_one():
    real, slope = jnp.ones((2, 2), jnp.bfloat16), jnp.array([1.0, 1 / 16], jnp.bfloat16)
    values = losses.gradient_penalty(lambda x: x @ slope, real, 0 * real, jax.random.key(0))
    # 1.00195, which bfloat16 rounds to 1
    np.testing.assert_allclose(np.asarray(values, float), (np.sqrt(1 + 1 / 256) - 1) ** 2, rtol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_penalty_of_large_slopes(dtype):
    real, fake = jnp.asarray(REAL, dtype), jnp.asarray(FAKE, dtype)

    def values(weight):
        return losses.gradient_penalty(lambda x: weight * jnp.sum(x, -1), real, fake, jax.random.key(0))

    found, pull = jax.jit(lambda w: jax.vjp(values, w))(jnp.asarray(1e4, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, float), 3e8, rtol=2e-2)
    assert np.isfinite(np.float32(pull(jnp.ones_like(found))[0]))


def test_penalty_is_differentiable_through_a_critic():
    with jax.enable_x64(True):
        weights = [jnp.asarray(RNG.normal(size=shape)) for shape in ((3, 8), (8, 1))]

        def total(weights):
            critic = lambda x: jnp.tanh(x @ weights[0]) @ weights[1]  # noqa: E731
            return losses.gradient_penalty(critic, REAL, FAKE, jax.random.key(3)).sum()

        slopes = jax.jit(jax.grad(total))(weights)
        along = [RNG.normal(size=w.shape) for w in weights]
        ends = [total([w + s * 1e-6 * a for w, a in zip(weights, along, strict=True)]) for s in (1, -1)]
        ours = sum(jnp.sum(g * a) for g, a in zip(slopes, along, strict=True))
        np.testing.assert_allclose(ours, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_penalty_of_a_flax_module():
    critic = nnx.Sequential(nnx.Linear(3, 8, rngs=nnx.Rngs(0)), nnx.tanh, nnx.Linear(8, 1, rngs=nnx.Rngs(1)))
    real, fake = jnp.asarray(REAL, jnp.float32), jnp.asarray(FAKE, jnp.float32)

    @nnx.jit
    def slopes(critic):
        return nnx.grad(lambda c: losses.gradient_penalty(c, real, fake, jax.random.key(0)).mean())(critic)

    leaves = jax.tree.leaves(slopes(critic))
    assert len(leaves) == 4
    assert np.any(leaves[1])
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: losses.gan("wasserstien"), "did you mean 'wasserstein'"),
        (lambda: losses.gan(None), "kind must be one of minimax"),
        (lambda: losses.gan("hinge").discriminator(REAL, FAKE[:2]), "fake_logits"),
        (lambda: losses.gradient_penalty(jnp.sum, REAL, FAKE[:2], jax.random.key(0)), "fake"),
        (lambda: losses.gradient_penalty(jnp.sum, REAL, FAKE, jax.random.key(0)), "critic must give one value"),
        (lambda: losses.gradient_penalty(lambda x: x, REAL, FAKE, jax.random.key(0)), "critic must give one value"),
        (lambda: losses.gradient_penalty(jnp.sum, REAL, FAKE, jax.random.key(0), -1.0), "target"),
        (lambda: losses.gradient_penalty(jnp.sum, REAL, FAKE, jax.random.key(0), None), "target must be a number"),
    ],
)
def test_bad_input_names_the_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()
