"""Autoencoder and VAE: what they are made of, the bound by closed forms, and training in the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.stats import bernoulli, norm

import hyperjax as hj
from hyperjax import layers, random
from hyperjax.models import VAE, Autoencoder, negative_elbo
from tests.models.alone import a_member_equals_its_lone_run


def test_an_autoencoder_is_a_narrow_chain():
    model = Autoencoder(12, 2, widths=(7, 5), activation="tanh", rngs=nnx.Rngs(random.key(0)))
    x = np.asarray(jax.random.normal(random.key(1), (3, 4, 3)))
    h, sizes = x.reshape(3, 12), []
    for network in (model.encoder, model.decoder):
        for layer in network.layers:
            h = np.tanh(h @ np.asarray(layer.kernel[...]))
            sizes.append(h.shape[1])
        h = h @ np.asarray(network.output.kernel[...])
        sizes.append(h.shape[1])
    assert sizes == [7, 5, 2, 5, 7, 12]
    np.testing.assert_allclose(model(x), h.reshape(3, 4, 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.decode(model.encode(x)), h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Autoencoder, VAE])
def test_hyperparameters_are_bound_in_both_halves(kind):
    model = kind(4, 2, widths=(3,), dropout=0.5, rngs=nnx.Rngs(random.key(0)))
    layers.bind(model, {"dropout": 1.0})
    assert [float(half.dropouts[0].rate[...]) for half in (model.encoder, model.decoder)] == [1.0, 1.0]
    layers.set_choices(model, "activation", ["tanh", "relu"])
    assert {half.activations[0].choices for half in (model.encoder, model.decoder)} == {("tanh", "relu")}
    assert ("divergence_weight" in layers.names(model)) == (kind is VAE)


def test_a_vae_draws_by_the_passed_key_alone():
    model = VAE(6, 2, widths=(5,), rngs=nnx.Rngs(random.key(0)))
    x, key = jax.random.uniform(random.key(1), (4, 2, 3)), random.key(2)
    made = model(x, key)
    assert made.logits.shape == x.shape
    np.testing.assert_array_equal(model(x, key).logits, made.logits)
    assert not np.array_equal(model(x, random.key(3)).logits, made.logits)
    noise = jax.random.normal(key, (4, 2))
    code = made.mean + jnp.sqrt(jnp.exp(made.log_variance)) * noise
    np.testing.assert_allclose(model.decode(code).reshape(x.shape), made.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(jnp.stack(model.encode(x)), jnp.stack(made[1:]))
    drawn = model.sample(random.key(4), 3)
    np.testing.assert_array_equal(model.sample(random.key(4), 3), drawn)
    assert drawn.shape == (3, 6) and drawn.min() > 0 and drawn.max() < 1


def test_the_terms_of_the_bound_are_scipys():
    """Reconstruction by SciPy's Bernoulli; divergence as the integral of its definition."""
    model = VAE(5, 1, widths=(4,), divergence_weight=3.0, rngs=nnx.Rngs(random.key(0)))
    x = np.asarray(jax.random.bernoulli(random.key(1), 0.4, (6, 5)), np.float32)
    values, metrics = negative_elbo(model, x, random.key(2))
    made = model(x, random.key(2))
    surprise = -bernoulli.logpmf(x, 1 / (1 + np.exp(-np.asarray(made.logits, np.float64)))).sum(1)
    np.testing.assert_allclose(metrics["reconstruction"], surprise, rtol=1e-5)
    grid = np.linspace(-30, 30, 60_001)
    for mean, log_variance, divergence in zip(made.mean, made.log_variance, metrics["divergence"], strict=True):
        coded = norm(float(mean[0]), np.exp(float(log_variance[0]) / 2))
        integral = (coded.pdf(grid) * (coded.logpdf(grid) - norm.logpdf(grid))).sum() * (grid[1] - grid[0])
        assert divergence == pytest.approx(integral, rel=1e-4)
    np.testing.assert_allclose(values, surprise + 3 * np.asarray(metrics["divergence"]), rtol=1e-5)


def test_the_bound_is_short_of_the_evidence_by_the_divergence_from_the_posterior():
    """Evidence and posterior of two examples by integrals over the code, the bound by the mean of many draws."""
    model = VAE(3, 1, widths=(4,), rngs=nnx.Rngs(random.key(5)))
    model.encoder.output.kernel[...] *= 0.3
    x = np.array([[0, 1, 1], [1, 1, 0]], np.float32)
    grid = np.linspace(-10, 10, 5001)
    step = grid[1] - grid[0]
    logits = np.asarray(model.decode(jnp.asarray(grid, jnp.float32)[:, None]), np.float64)
    log_joint = (x[:, None] * logits - np.logaddexp(0, logits)).sum(-1) + norm.logpdf(grid)
    log_evidence = np.log(np.exp(log_joint).sum(1) * step)[:, None]
    mean, log_variance = (np.asarray(part, np.float64) for part in model.encode(x))
    coded = norm(mean, np.exp(log_variance / 2))
    apart = (coded.pdf(grid) * (coded.logpdf(grid) - log_joint + log_evidence)).sum(1) * step
    values, _ = negative_elbo(model, np.repeat(x, 20_000, 0), random.key(1))
    np.testing.assert_allclose(-values.reshape(2, -1).mean(1), log_evidence[:, 0] - apart, atol=0.03)


BARS = np.repeat(np.eye(4, dtype=np.float32), 16, 0)[:, :, None] * np.ones(4, np.float32)  # one row of four lit


@pytest.mark.slow
def test_an_autoencoder_trains_in_the_engine():
    def model(rngs):
        return Autoencoder(16, 2, widths=(16,), rngs=rngs)

    task = hj.Task(model, {"train": (BARS, BARS)}, loss="squared_error")
    recipe = hj.Recipe(learning_rate=0.02, batch_size=16, epochs=60, dropout=0.0, activation="tanh")
    runs = a_member_equals_its_lone_run(task, [recipe, recipe.replace(dropout=0.1, activation="relu", epochs=5)])
    assert runs[0].losses[0] > 0.2
    assert runs[0].losses[-1] < 0.01  # the mean of each pixel leaves 0.19


@pytest.mark.slow
def test_a_vae_trains_in_the_engine():
    def model(rngs):
        return VAE(16, 2, widths=(16,), rngs=rngs)

    task = hj.Task(model, {"train": BARS}, objective=negative_elbo)
    recipe = hj.Recipe(
        learning_rate=0.02,
        batch_size=16,
        epochs=60,
        dropout=0.0,
        activation="tanh",
        hyperparameters={"divergence_weight": 1.0},
    )
    other = recipe.replace(dropout=0.1, activation="relu", epochs=5, hyperparameters={"divergence_weight": 4.0})
    runs = a_member_equals_its_lone_run(task, [recipe, other])
    assert runs[0].losses[0] > 10  # 16 log 2 is 11.1
    # A code that says which row, and nothing else, costs log 4 = 1.39: the least that the bound can be.
    assert 1.39 < np.mean(runs[0].losses[-20:]) < 3
    assert set(runs[0].metrics) >= {"train_reconstruction", "train_divergence"}
    assert runs[1].metrics["train_divergence"][-1] < runs[0].metrics["train_divergence"][-1]


@pytest.mark.parametrize("kind", [Autoencoder, VAE])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": 0}, "(inputs|outputs) must be a whole number of at least 1, got 0"),
        ({"latent": 0}, "latent must be a whole number of at least 1, got 0"),
        ({"widths": (0,)}, "widths must be a whole number of at least 1, got 0"),
        ({"dropout": 2.0}, r"rate must be a number in \[0, 1\], got 2.0"),
        ({"activation": "relue"}, "activation must be one of"),
    ],
)
def test_bad_arguments_are_named(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**({"inputs": 4, "rngs": nnx.Rngs(0)} | arguments))


def test_a_weight_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"divergence_weight must be a number in \[0, inf\), got -1.0"):
        VAE(4, divergence_weight=-1.0, rngs=nnx.Rngs(0))
