"""Adversarial inputs: against closed forms, brute force and balls, and in the training of robust models."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import random, regularizers
from hyperjax.regularizers import fgsm, pgd

W = np.array([0.5, -2.0, 0.0, 1.5], np.float32)
LABELS = np.array([1, -1, 1, -1, 1], np.float32)
X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


def logistic(x):
    """The loss of a linear classifier: the larger the smaller `label * w x`."""
    return jnp.logaddexp(0, -LABELS * (x @ W))


@NORMS
def test_on_a_linear_model_both_find_the_best_change(norm):
    """It is -label times the direction, eps sign(w) or eps w / |w|, wherever the example stands."""
    direction = np.sign(W) if norm == "linf" else W / np.linalg.norm(W)
    expected = X - 0.3 * LABELS[:, None] * direction
    np.testing.assert_allclose(fgsm(logistic, X, 0.3, norm), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pgd(logistic, X, 0.3, 0.1, 5, norm), expected, rtol=1e-5, atol=1e-6)
    from_random = pgd(logistic, X, 0.3, 0.1, 40, norm, random.key(0))
    relevant = W != 0  # where the weight is 0 and the norm linf, the random start stays
    np.testing.assert_allclose(from_random[:, relevant], expected[:, relevant], rtol=1e-2, atol=1e-2)
    for scale in (1e-25, 1e15):  # squares of such gradients under- or overflow
        moved = fgsm(lambda x, scale=scale: scale * (x @ W), X, 0.3, norm)
        np.testing.assert_allclose(moved, X + 0.3 * direction, rtol=1e-5, atol=1e-6)


def test_a_range_of_the_data_leaves_the_best_corner_of_what_remains():
    """Every corner of the box that ball and range leave, by brute force; an input outside is not pushed further."""
    x = np.clip(X, -0.9, 0.9)
    x[0, 1], x[0, 3] = 1.2, -1.2  # where the loss calls for more, and for less
    lower = np.maximum(x - 0.3, np.minimum(-0.8, x))
    upper = np.minimum(x + 0.3, np.maximum(0.8, x))
    found = pgd(logistic, x, 0.3, 0.2, 4, low=-0.8, high=0.8)
    corners = [np.where(mask, lower, upper) for mask in itertools.product([False, True], repeat=4)]
    best = np.max([logistic(corner) for corner in corners], axis=0)
    np.testing.assert_allclose(logistic(found), best, rtol=1e-6)
    assert np.all(found >= lower - 1e-6) and np.all(found <= upper + 1e-6)
    per_feature = fgsm(logistic, x, 0.3, low=np.array([-2.0, -2, -2, 0.0]), high=2.0)
    assert np.all(np.asarray(per_feature)[:, 3] >= np.minimum(0, x[:, 3]))


def values_of(net, x):
    """A net of one tanh layer with two classes; label 0 throughout."""
    return jax.nn.logsumexp(jnp.tanh(x @ net[0]) @ net[1], axis=-1) - (jnp.tanh(x @ net[0]) @ net[1])[:, 0]


@NORMS
def test_always_inside_the_ball_and_the_range(norm):
    """400 random nets, inputs, strengths and step sizes in one program, with and without a random start."""

    def case(key):
        keys = jax.random.split(key, 5)
        net = jax.random.normal(keys[0], (6, 8)), 3 * jax.random.normal(keys[1], (8, 2))
        x = jax.random.uniform(keys[2], (3, 2, 3))
        strength, step = jnp.exp(jax.random.uniform(keys[3], (2,), minval=-7, maxval=1))

        def loss(x):
            return values_of(net, x.reshape(3, 6))

        started = pgd(loss, x, strength, step, 4, norm, keys[4])
        limited = pgd(loss, x, strength, step, 4, norm, keys[4], low=0.0, high=1.0)
        return x, strength, (started, limited, pgd(loss, x, strength, step, 3, norm), fgsm(loss, x, strength, norm))

    x, strength, results = jax.jit(jax.vmap(case))(jax.random.split(random.key(1), 400))
    x, strength = np.asarray(x, np.float64), np.asarray(strength, np.float64)[:, None]
    for found in results:
        change = np.asarray(found, np.float64) - x
        size = np.abs(change).max((2, 3)) if norm == "linf" else np.sqrt(np.square(change).sum((2, 3)))
        assert np.all(size <= strength * (1 + 1e-5) + 1e-6)  # what float32 rounds of sums up to about 4
        assert (size > 0.99 * strength).any()
    assert results[1].min() >= 0 and results[1].max() <= 1


@pytest.fixture(scope="module")
def classifier():
    """A trained network of two inputs, and 30 examples of its training set."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 2)).astype(np.float32)
    y = (np.square(x).sum(1) > 1.2).astype(np.int32)
    task = hj.Task(
        lambda rngs: hj.models.MLP(2, 2, (16,), activation="tanh", rngs=rngs), {"train": (x, y)}, "cross_entropy"
    )
    model = hj.fit(task, hj.Recipe(learning_rate=0.03, epochs=40)).model
    model.eval()
    return model, x[:30], y[:30]


@NORMS
def test_against_brute_force_on_a_trained_classifier(norm, classifier):
    """Two inputs, so that a fine grid over the ball shows what the worst change is."""
    (model, x, y), strength = classifier, 0.25
    loss = jax.jit(lambda x, y: hj.losses.cross_entropy(model(x), y))
    side = np.linspace(-1, 1, 61)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    grid = grid if norm == "linf" else grid[np.linalg.norm(grid, axis=1) <= 1]
    tried = (x[:, None] + strength * grid).astype(np.float32)
    worst = np.asarray(loss(tried.reshape(-1, 2), y.repeat(len(grid)))).reshape(len(x), -1).max(1)

    def attacked(x):
        own = lambda x: hj.losses.cross_entropy(model(x), y)  # noqa: E731
        return fgsm(own, x, strength, norm), pgd(own, x, strength, strength / 8, 30, norm, random.key(2))

    plain = np.asarray(loss(x, y))
    fast, climbed = (np.asarray(loss(found, y)) for found in jax.jit(attacked)(x))
    assert fast.mean() > 1.5 * plain.mean()
    assert climbed.mean() >= fast.mean() - 1e-6
    assert np.all(climbed > plain)
    assert np.all(climbed <= worst * 1.03 + 1e-3)  # nothing in the ball is worse than the grid's worst
    assert np.median(climbed / worst) > 0.98 and climbed.mean() > 0.95 * worst.mean()


@NORMS
def test_strengths_under_jit_vmap_map_and_in_a_loop_agree(norm):
    def run(strength):
        return pgd(logistic, X, strength, 0.4 * strength, 4, norm, random.key(3))

    strengths = jnp.array([0.0, 0.1, 0.5])
    stacked, mapped = jax.jit(lambda s: (jax.vmap(run)(s), jax.lax.map(run, s)))(strengths)
    alone = jax.jit(run)
    apart = np.stack([alone(strength) for strength in (0.0, 0.1, 0.5)])
    for out in (stacked, mapped):
        np.testing.assert_allclose(out, apart, rtol=1e-5, atol=1e-6)


@NORMS
def test_at_strength_zero_the_inputs_come_back_bit_for_bit(norm):
    x = np.array([[-0.0, 3.0, -7.0, 0.5]], np.float32)
    given = {"low": -1.0, "high": 1.0, "key": random.key(0)}
    run = lambda s: pgd(lambda x: jnp.sum(x @ W), x, s, 0.1, 3, norm, **given)  # noqa: E731
    alone, stacked = jax.jit(run), jax.jit(jax.vmap(run))(jnp.zeros(2))
    for out in (alone(0.0), alone(-0.5), stacked[0]):
        np.testing.assert_array_equal(np.asarray(out).view(np.uint32), x.view(np.uint32))
    outside = {equation.primitive.name for equation in jax.make_jaxpr(run)(0.0).eqns}
    assert "cond" in outside and not outside & {"while", "scan", "random_bits"}


@NORMS
def test_zero_gradients_leave_examples_alone(norm):
    flat = lambda x: 0.0 * jnp.sum(x, -1)  # noqa: E731
    np.testing.assert_array_equal(pgd(flat, X, 0.3, 0.1, 3, norm), X)
    half = lambda x: jnp.where(jnp.arange(5) < 2, x @ W, 0.0)  # noqa: E731
    moved = np.asarray(pgd(half, X, 0.3, 0.1, 3, norm)) != X
    assert moved.any(1).tolist() == [True, True, False, False, False]
    np.testing.assert_array_equal(pgd(flat, np.zeros((0, 4), np.float32), 0.3, 0.1, 3, norm), np.zeros((0, 4)))


@NORMS
def test_a_random_start_is_uniform_in_the_ball(norm):
    """Its distance from the centre, to the power of the number of elements, is uniform for either norm."""
    x = jnp.ones((4000, 2, 2))
    found = pgd(lambda x: 0.0 * jnp.sum(x), x, 0.5, 0.0, 1, norm, random.key(4))
    change = np.asarray(found - x, np.float64).reshape(4000, 4) / 0.5
    radius = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    quantiles = np.quantile(radius**4, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(quantiles, [0.1, 0.25, 0.5, 0.75, 0.9], atol=4 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(change.mean(0), 0, atol=4 * 0.58 / np.sqrt(4000))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_are_kept_and_small_steps_add_up(dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.full((2, 3), 2.0, dtype)
        steep = lambda x: jnp.sum(x.astype(jnp.float32))  # noqa: E731
        for norm in ("linf", "l2"):
            found = pgd(steep, x, 1.0, 2**-10, 300, norm)  # a step is below bfloat16's half unit at 2
            assert found.dtype == dtype
            gone = 300 * 2**-10 / (1 if norm == "linf" else np.sqrt(3))
            np.testing.assert_allclose(np.asarray(found, np.float64), 2 + gone, atol=2**-6)


def test_no_gradient_flows_through_the_attack():
    """Neither by weights nor by inputs nor strength: the gradient is that with the attacked inputs as constants."""

    def robust(w, x, strength):
        return jnp.sum(jnp.tanh(pgd(lambda x: jnp.tanh(x @ w), x, strength, 0.1, 3) @ w))

    w, fixed = jnp.asarray(W), pgd(lambda x: jnp.tanh(x @ W), X, 0.2, 0.1, 3)
    by_w, by_x, by_strength = jax.grad(robust, (0, 1, 2))(w, X, 0.2)
    np.testing.assert_allclose(by_w, jax.grad(lambda w: jnp.sum(jnp.tanh(fixed @ w)))(w), rtol=1e-5)
    assert not by_x.any() and by_strength == 0


class Fragile(nnx.Module):
    """A linear classifier behind dropout, with the attack's strength as a hyperparameter."""

    def __init__(self, rngs):
        self.dropout = hj.layers.Dropout(0.0, rngs=rngs)
        self.linear = nnx.Linear(21, 2, rngs=rngs)
        self.strength = hj.layers.Hyperparameter(0.0, name="strength")

    def __call__(self, x):
        return self.linear(self.dropout(x))


def robust_objective(model, batch, key):
    x, labels = batch
    still, strength = nnx.clone(model), model.strength.get_value()
    still.eval()
    attacked = regularizers.pgd(
        lambda x: hj.losses.cross_entropy(still(x), labels), x, strength, strength / 2, 3, key=key
    )
    return hj.losses.cross_entropy(model(attacked), labels)


@pytest.mark.slow
def test_training_against_the_attack_makes_a_model_robust():
    """One strong feature that is right 9 times of 10, and 20 weak ones, better together, that 0.7 each overturns.

    The data of Tsipras et al. 2019, "Robustness may be at odds with accuracy", section 2.1.
    """
    rng = np.random.default_rng(2)

    def made(count):
        sign = rng.choice([-1.0, 1.0], count)
        strong = sign * np.where(rng.random(count) < 0.9, 1, -1)
        weak = rng.normal(size=(count, 20)) + 0.5 * sign[:, None]
        return np.column_stack([strong, weak]).astype(np.float32), (sign > 0).astype(np.int32)

    data = {"train": made(512), "validation": made(512)}
    task = hj.Task(Fragile, data, objective=robust_objective)
    recipes = [
        hj.Recipe(learning_rate=0.02, epochs=15, batch_size=64, dropout=0.1, hyperparameters={"strength": strength})
        for strength in (0.0, 0.7)
    ]
    runs = hj.fit_population(task, recipes)
    assert runs.conditions["programs"] == 1
    x, y = data["validation"]
    clean, attacked = [], []
    for run in (runs[0], runs[1]):
        model = run.model
        model.eval()
        found = pgd(lambda x, model=model: hj.losses.cross_entropy(model(x), y), x, 0.7, 0.2, 10)
        clean.append(float(np.mean(np.argmax(model(x), -1) == y)))
        attacked.append(float(np.mean(np.argmax(model(found), -1) == y)))
    assert clean[0] > 0.97 and attacked[0] < 0.5
    assert clean[1] > 0.85 and attacked[1] > attacked[0] + 0.3


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        ("strength must", {"strength": -0.1}),
        ("step_size must", {"step_size": float("nan")}),
        ("steps must", {"steps": 0}),
        ("norm must be one of linf, l2, got 'l1'", {"norm": "l1"}),
        ("inputs must be real, f.*got int32", {"inputs": np.ones((2, 4), np.int32)}),
        ("inputs must be real, f.*got float32", {"inputs": np.float32(1)}),
        ("low must be at most high, got 1.0 and 0.0", {"low": 1.0, "high": 0.0}),
    ],
)
def test_names_the_bad_argument(named, changes):
    given = {"inputs": X, "strength": 0.1, "step_size": 0.1, "steps": 2}
    with pytest.raises(ValueError, match=named):
        pgd(logistic, **(given | changes))
