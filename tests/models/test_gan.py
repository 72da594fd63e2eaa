"""The two players of a GAN: each is moved by its own loss alone, in every kind of game, and learns in the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers, losses, random
from hyperjax.models import GAN, game
from tests.models.alone import a_member_equals_its_lone_run

KINDS = ["minimax", "non_saturating", "least_squares", "wasserstein", "hinge"]


def forward(kernels, x):
    """A perceptron with tanh from its kernels and biases."""
    for kernel, bias in kernels[:-1]:
        x = jnp.tanh(x @ kernel + bias)
    return x @ kernels[-1][0] + kernels[-1][1]


def kernels(network):
    return [(layer.kernel[...], layer.bias[...]) for layer in (*network.layers, network.output)]


@pytest.mark.parametrize(("kind", "penalty"), [*((kind, 0.0) for kind in KINDS), ("wasserstein", 10.0), ("hinge", 1.0)])
def test_each_player_feels_its_own_loss_alone(kind, penalty):
    """The one gradient of the sum is, part by part, that of each player's loss with the other held fixed."""
    model = GAN(2, latent=3, widths=(5,), activation="tanh", rngs=nnx.Rngs(random.key(0)))
    real, key = jax.random.normal(random.key(1), (6, 2)), random.key(2)
    graph, weights, rest = nnx.split(model, nnx.Param, ...)
    objective = game(kind, penalty)

    @jax.jit
    def both(weights):
        values, metrics = objective(nnx.merge(graph, weights, rest, copy=True), real, key)
        return values.mean(), metrics

    (value, metrics), gradient = jax.value_and_grad(both, has_aux=True)(weights)

    for_noise, for_points = jax.random.split(key)
    noise = jax.random.normal(for_noise, (6, 3))
    makes, judges = kernels(model.generator), kernels(model.discriminator)
    made = forward(makes, noise)

    def penalized(judges):
        if penalty == 0:
            return 0.0
        return penalty * losses.gradient_penalty(lambda x: forward(judges, x), real, made, for_points).mean()

    def discriminator(judges):
        return losses.gan(kind).discriminator(forward(judges, real), forward(judges, made)).mean()

    def generator(makes):
        return losses.gan(kind).generator(forward(judges, forward(makes, noise))).mean()

    expected = {
        "discriminator": jax.jit(jax.grad(lambda judges: discriminator(judges) + penalized(judges)))(judges),
        "generator": jax.jit(jax.grad(generator))(makes),
    }
    parts = nnx.merge(graph, gradient, rest)
    for name, wanted in expected.items():
        found = jax.tree.leaves(kernels(getattr(parts, name)))
        assert max(np.abs(leaf).max() for leaf in found) > 1e-3
        for mine, theirs in zip(found, jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(metrics["discriminator"].mean(), discriminator(judges), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["generator"].mean(), generator(makes), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, discriminator(judges) + generator(makes) + penalized(judges), rtol=1e-5)


def test_examples_may_have_axes_and_noise_comes_from_the_key():
    model, images = GAN(6, widths=(4,), rngs=nnx.Rngs(0)), jax.random.normal(random.key(0), (4, 2, 3))
    graph, state = nnx.split(model)
    values = jax.jit(lambda x, key: game()(nnx.merge(graph, state, copy=True), x, key)[0])
    np.testing.assert_array_equal(values(images.reshape(4, 6), random.key(1)), values(images, random.key(1)))
    assert not np.array_equal(values(images, random.key(2)), values(images, random.key(1)))
    assert values(images, random.key(1)).shape == (4,)


def test_dropout_is_the_discriminators_and_draws_anew_also_under_the_penalty():
    model = GAN(2, latent=3, widths=(8,), dropout=0.5, rngs=nnx.Rngs(random.key(0)))
    assert layers.names(model) == ("activation", "dropout")
    np.testing.assert_array_equal(model.sample(random.key(1), 3), model.sample(random.key(1), 3))
    play = nnx.jit(lambda model: game("hinge", 1.0)(model, jnp.ones((4, 2)), random.key(2))[0])
    assert not np.array_equal(play(model), play(model))


@pytest.mark.slow
def test_it_trains_in_the_engine():
    """The generator is drawn from 0 to the far point where all examples lie."""

    def model(rngs):
        return GAN(2, latent=2, widths=(16,), rngs=rngs)

    far = np.tile(np.array([[2.0, -1.0]], np.float32), (64, 1))
    task = hj.Task(model, {"train": far}, objective=game("wasserstein", 1.0))
    recipe = hj.Recipe(
        learning_rate=0.005, optimizer_arguments={"b1": 0.5}, batch_size=64, epochs=600, dropout=0.0, activation="tanh"
    )
    runs = a_member_equals_its_lone_run(task, [recipe, recipe.replace(dropout=0.2, activation="relu", epochs=5)])
    distances = np.linalg.norm(np.asarray(runs[0].model.sample(random.key(0), 200)) - far[0], axis=1)
    assert distances.mean() < 0.5  # it began 2.2 away
    assert set(runs[0].metrics) >= {"train_discriminator", "train_generator"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GAN(0, rngs=nnx.Rngs(0)), "outputs must be a whole number of at least 1, got 0"),
        (lambda: GAN(2, latent=0, rngs=nnx.Rngs(0)), "latent must be a whole number of at least 1, got 0"),
        (lambda: GAN(2, widths=(0,), rngs=nnx.Rngs(0)), "widths must be a whole number of at least 1, got 0"),
        (lambda: GAN(2, dropout=2.0, rngs=nnx.Rngs(0)), r"rate must be a number in \[0, 1\], got 2.0"),
        (lambda: game("wassertein"), "kind must be one of .*; did you mean 'wasserstein'"),
        (lambda: game(penalty=-1.0), r"penalty must be a number in \[0, inf\), got -1.0"),
        (lambda: game(target=-1.0), r"target must be a number in \[0, inf\), got -1.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
