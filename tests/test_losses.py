"""Losses and metrics against optax, closed forms and finite differences."""

import functools
import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from hyperjax import losses, metrics

LOGITS = jax.tree.map(np.asarray, np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * 3)
LABELS = np.array([0, 4, 2, 2, 1, 3])
TEXT = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
WORDS = np.random.default_rng(2).integers(0, 5, (3, 4))
BITS = np.random.default_rng(3).integers(0, 2, (6, 5))
TARGETS = {"classes": LABELS, "binary": BITS, "real": LOGITS[::-1] * 0.7, "mask": BITS}
# (kind, name, predictions, targets) for what must hold of every row
CASES = [(kind, name, LOGITS, TARGETS[kind]) for kind, table in losses.LOSSES.items() for name in table]
STORED = json.loads((Path(__file__).parent / "references" / "losses.json").read_text("utf-8"))
GIVEN = {name: np.asarray(value) for name, value in STORED["inputs"].items()}
SHARES = np.exp(GIVEN["teacher"]) / np.exp(GIVEN["teacher"]).sum(-1, keepdims=True)
# What gives PyTorch's values, by the name under which tests/references/losses.py stored them.
AS_PYTORCH = {
    "cross_entropy": lambda z: losses.cross_entropy(z, GIVEN["labels"]),
    "cross_entropy, weights": lambda z: losses.cross_entropy(z, GIVEN["labels"], 0.0, GIVEN["weights"]),
    "cross_entropy, weights and smoothing": lambda z: losses.cross_entropy(z, GIVEN["labels"], 0.3, GIVEN["weights"]),
    "cross_entropy, shares": lambda z: losses.cross_entropy(z, SHARES, 0.3, GIVEN["weights"]),
    "binary_cross_entropy": lambda z: losses.binary_cross_entropy(z, GIVEN["bits"]),
    "huber": lambda z: losses.huber(z, GIVEN["targets"], 1.3),
    "squared_error": lambda z: losses.squared_error(z, GIVEN["targets"]),
    "absolute_error": lambda z: losses.absolute_error(z, GIVEN["targets"]),
    "triplet": lambda z: losses.triplet(z, GIVEN["targets"], GIVEN["teacher"]),
    "kl_divergence": lambda z: losses.kl_divergence(jax.nn.log_softmax(z, -1), SHARES),
    "pairwise_ranking": lambda z: losses.pairwise_ranking(z, GIVEN["labels"][:5] * np.ones((6, 1)), 0.7),
    "list_ranking": lambda z: losses.list_ranking(z, np.abs(GIVEN["targets"]), 1.7),
    "non_saturating discriminator": lambda z: losses.gan("non_saturating").discriminator(z, GIVEN["targets"]),
    "non_saturating discriminator of fakes": lambda z: losses.gan("minimax").discriminator(GIVEN["targets"], z),
    "non_saturating generator": losses.gan("non_saturating").generator,
    "minimax generator": losses.gan("minimax").generator,
    "least_squares discriminator": lambda z: losses.gan("least_squares").discriminator(z, GIVEN["targets"]),
    "least_squares generator": losses.gan("least_squares").generator,
    "hinge discriminator": lambda z: losses.gan("hinge").discriminator(z, GIVEN["targets"]),
}


@pytest.mark.parametrize("name", AS_PYTORCH)
def test_follows_pytorch(name):
    assert set(AS_PYTORCH) == set(STORED["losses"])
    with jax.enable_x64(True):
        logits = jnp.asarray(GIVEN["logits"], jnp.float64)
        values, gradient = jax.jit(lambda z: (AS_PYTORCH[name](z), jax.grad(lambda z: AS_PYTORCH[name](z).sum())(z)))(
            logits
        )
    np.testing.assert_allclose(values, STORED["losses"][name]["values"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient, STORED["losses"][name]["gradient"], rtol=1e-9, atol=1e-12)


def test_the_rest_follows_optax():
    signs = 2 * BITS - 1
    shares = jax.nn.softmax(jnp.asarray(LOGITS[::-1]))
    pairs = {
        "hinge": (losses.hinge(LOGITS, signs), optax.hinge_loss(LOGITS, signs).mean(1)),
        "zero_one_hinge": (losses.zero_one_hinge(LOGITS, BITS), optax.hinge_loss(LOGITS, signs).mean(1)),
        "multiclass_hinge": (
            losses.multiclass_hinge(LOGITS, LABELS),
            optax.losses.multiclass_hinge_loss(jnp.asarray(LOGITS), jnp.asarray(LABELS)),
        ),
        "binary_focal": (
            losses.binary_focal(LOGITS, BITS, 1.5, 0.3),
            optax.sigmoid_focal_loss(LOGITS, BITS, alpha=0.3, gamma=1.5).mean(1),
        ),
        "binary_cross_entropy": (
            losses.binary_cross_entropy(LOGITS, BITS),
            optax.sigmoid_binary_cross_entropy(LOGITS, BITS).mean(1),
        ),
        "huber": (losses.huber(LOGITS, LOGITS[::-1], 0.7), optax.huber_loss(LOGITS, LOGITS[::-1], delta=0.7).mean(1)),
        "log_cosh": (losses.log_cosh(LOGITS, LOGITS[::-1]), optax.log_cosh(LOGITS, LOGITS[::-1]).mean(1)),
        "kl_divergence": (
            losses.kl_divergence(jax.nn.log_softmax(LOGITS), shares),
            optax.kl_divergence(jax.nn.log_softmax(LOGITS), shares),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-6, err_msg=name)


def test_focal_is_cross_entropy_of_the_unsure():
    np.testing.assert_allclose(losses.focal(LOGITS, LABELS, 0.0), losses.cross_entropy(LOGITS, LABELS), rtol=2e-6)
    alpha = np.array([0.5, 1.0, 2.0, 0.0, 1.5], np.float32)
    plain = np.asarray(losses.cross_entropy(LOGITS, LABELS))
    expected = alpha[LABELS] * (1 - np.exp(-plain)) ** 2.5 * plain
    np.testing.assert_allclose(losses.focal(LOGITS, LABELS, 2.5, alpha), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses.focal(LOGITS, np.eye(5)[LABELS], 2.5, alpha), expected, rtol=1e-4, atol=1e-6)
    two = jnp.stack([jnp.zeros(6), jnp.asarray(LOGITS[:, 0])], 1)  # of two classes, a sigmoid of their difference
    both = losses.focal(two, BITS[:, 0], 1.7), losses.binary_focal(LOGITS[:, 0], BITS[:, 0], 1.7)
    np.testing.assert_allclose(*both, rtol=1e-5)


def test_class_weights_of_0_leave_a_class_out_even_where_it_is_impossible():
    logits = jnp.array([[0.0, 1.0, -jnp.inf]])
    weighted = losses.cross_entropy(logits, jnp.array([1]), 0.2, jnp.array([1.0, 1.0, 0.0]))
    shares = jax.nn.log_softmax(logits[0, :2])
    np.testing.assert_allclose(weighted, [-(0.8 + 0.2 / 3) * shares[1] - 0.2 / 3 * shares[0]], rtol=1e-6)


def test_class_weights_are_those_of_scikit_learn():
    labels = np.random.default_rng(0).choice(5, 300, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    weights = losses.class_weights(labels)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    np.testing.assert_allclose(losses.class_weights(jnp.asarray(labels).reshape(3, 100)), expected, rtol=1e-6)
    # classes that do not occur change nothing for those that do
    wider = losses.class_weights(2 * labels, 12)
    np.testing.assert_allclose(wider[:10:2], expected, rtol=1e-6)
    assert wider[1::2].tolist() == [0] * 6
    counts = np.bincount(labels)
    for beta in (0.9, 0.999, 1 - 1e-12):
        weights = losses.class_weights(labels, beta=beta)
        np.testing.assert_allclose(weights @ counts / 300, 1, rtol=1e-6)
        effective = [sum(beta**i for i in range(n)) for n in counts]  # (1 - beta^n) / (1 - beta)
        np.testing.assert_allclose(weights / weights[0], effective[0] / np.array(effective), rtol=1e-6)
    np.testing.assert_array_equal(losses.class_weights(labels, beta=0.0), np.ones(5))


def test_weighted_means_are_the_callers():
    labels = np.array([0, 0, 1, 1, 1, 2])
    logits, of_examples = LOGITS[:, :3], np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0], np.float32)
    chances = np.asarray(jax.nn.softmax(logits.astype(np.float64)))
    weights = losses.class_weights(labels)
    by_class = losses.cross_entropy(logits, labels, 0.0, weights)
    expected = log_loss(labels, chances, sample_weight=compute_sample_weight("balanced", labels))
    np.testing.assert_allclose(by_class.sum() / weights[labels].sum(), expected, rtol=1e-5)
    np.testing.assert_allclose(by_class.mean(), expected, rtol=1e-5)  # the weights' mean is 1
    values = losses.cross_entropy(logits, labels)
    expected = log_loss(labels, chances, sample_weight=of_examples)
    np.testing.assert_allclose((of_examples * values).sum() / of_examples.sum(), expected, rtol=1e-5)


def test_quantiles_are_where_the_quantile_loss_is_least():
    sample = np.random.default_rng(5).exponential(size=2001).astype(np.float32)
    grid = np.linspace(0, 4, 801, dtype=np.float32)
    for level in (0.1, 0.5, 0.9):
        mean = jax.vmap(lambda q, level=level: losses.quantile(jnp.full(2001, q), sample, level).mean())(grid)
        assert abs(grid[int(jnp.argmin(mean))] - np.quantile(sample, level)) < 0.01
    np.testing.assert_allclose(losses.quantile(LOGITS, LABELS[:, None] * np.ones(5)), 0.5 * losses.absolute_error(
        LOGITS, LABELS[:, None] * np.ones(5)), rtol=1e-6)  # fmt: skip


def test_gaussian_kl_is_the_expected_log_ratio():
    mean, log_variance = np.array([[0.3, -1.0]], np.float32), np.array([[0.5, -0.7]], np.float32)
    draws = np.random.default_rng(0).normal(size=(400_000, 2)) * np.exp(log_variance / 2) + mean
    ratio = (draws**2 - (draws - mean) ** 2 / np.exp(log_variance) - log_variance) / 2
    np.testing.assert_allclose(losses.gaussian_kl(mean, log_variance), ratio.sum(1).mean(), rtol=5e-3)
    assert losses.gaussian_kl(np.zeros((2, 3)), np.zeros((2, 3))).tolist() == [0, 0]


def test_distillation_by_its_parts():
    teacher = LOGITS[::-1].copy()
    soft = [np.asarray(jax.nn.softmax(each / 3.0)) for each in (teacher, LOGITS)]
    apart = (soft[0] * np.log(soft[0] / soft[1])).sum(-1)
    expected = 0.7 * 9 * apart + 0.3 * np.asarray(losses.cross_entropy(LOGITS, LABELS))
    np.testing.assert_allclose(losses.distillation(LOGITS, teacher, LABELS, 3.0, 0.7), expected, rtol=1e-4)
    into_teacher = jax.grad(lambda t: losses.distillation(LOGITS, t, LABELS).sum())(jnp.asarray(teacher))
    assert np.all(into_teacher == 0)
    same = losses.distillation(LOGITS, LOGITS, LABELS, 2.0, 1.0)
    np.testing.assert_allclose(same, np.zeros(6), atol=1e-5)


def test_cross_entropy_follows_optax():
    one_hot = jax.nn.one_hot(LABELS, 5)
    soft = jax.nn.softmax(jnp.asarray(LOGITS[::-1]))
    ours = jax.jit(
        lambda smoothing: (
            losses.cross_entropy(LOGITS, LABELS),
            losses.cross_entropy(LOGITS, LABELS, smoothing),
            losses.cross_entropy(LOGITS, one_hot, smoothing),
            losses.cross_entropy(LOGITS, soft, smoothing),
            losses.cross_entropy(LOGITS, 0.5 * soft),
            losses.cross_entropy(TEXT, WORDS),
            losses.cross_entropy(LOGITS, LABELS, 0.1),
        )
    )(0.1)
    theirs = (
        optax.softmax_cross_entropy_with_integer_labels(LOGITS, LABELS),
        optax.softmax_cross_entropy(LOGITS, optax.smooth_labels(one_hot, 0.1)),
        optax.softmax_cross_entropy(LOGITS, optax.smooth_labels(one_hot, 0.1)),
        optax.softmax_cross_entropy(LOGITS, optax.smooth_labels(soft, 0.1)),
        optax.softmax_cross_entropy(LOGITS, 0.5 * soft),
        optax.softmax_cross_entropy_with_integer_labels(TEXT, WORDS).mean(1),
        optax.softmax_cross_entropy(LOGITS, optax.smooth_labels(one_hot, 0.1)),
    )
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6, err_msg=str(index))


def test_closed_forms():
    two = np.array([[2.0, 0.0]], np.float32)
    np.testing.assert_allclose(losses.cross_entropy(two, [1]), [np.log1p(np.exp(2.0))], rtol=1e-6)
    # half of the smoothing goes to each class: log(1 + e^-2) + 0.1 * 2
    np.testing.assert_allclose(losses.cross_entropy(two, [0], 0.2), [np.log1p(np.exp(-2.0)) + 0.2], rtol=1e-6)
    np.testing.assert_allclose(losses.one_hot_squared_error(two, [0]), [0.5])
    np.testing.assert_allclose(losses.one_hot_squared_error(two, jnp.array([[0.0, 1.0]])), [2.5])
    np.testing.assert_allclose(losses.squared_error(two, np.ones((1, 2))), [1.0])
    np.testing.assert_allclose(losses.absolute_error(two, np.full((1, 2), 3.0)), [2.0])
    np.testing.assert_allclose(
        losses.squared_error(TEXT[..., 0], TEXT[..., 1]), optax.squared_error(TEXT[..., 0], TEXT[..., 1]).mean(1)
    )
    gradient = jax.grad(lambda z: losses.cross_entropy(z, LABELS, 0.1).sum())(jnp.asarray(LOGITS))
    expected = jax.nn.softmax(LOGITS) - (0.9 * jax.nn.one_hot(LABELS, 5) + 0.02)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "name", "predictions", "targets"), CASES)
def test_gradients_match_finite_differences(kind, name, predictions, targets):
    row = losses.LOSSES[kind][name]
    with jax.enable_x64(True):
        predictions = np.asarray(predictions, np.float64)
        numbers = np.array([0.3] if row.number else [])
        total = jax.jit(lambda p, n: row.function(p, targets, *n).sum())
        gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(predictions, numbers)
        for argument, leaf in enumerate((predictions, numbers)):
            numeric = np.zeros(leaf.shape)
            for index in np.ndindex(leaf.shape):
                shift = np.zeros(leaf.shape)
                shift[index] = 1e-6
                ends = [
                    total(
                        *(
                            leaf + sign * shift if i == argument else each
                            for i, each in enumerate((predictions, numbers))
                        )
                    )
                    for sign in (1, -1)
                ]
                numeric[index] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(gradients[argument], numeric, atol=1e-8, rtol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize(("kind", "name", "predictions", "targets"), CASES)
def test_large_values_stay_finite_and_types_are_kept(kind, name, predictions, targets, dtype):
    row = losses.LOSSES[kind][name]
    with jax.enable_x64(dtype == jnp.float64):
        huge = jnp.asarray(np.sign(predictions) * 1e4, dtype)
        numbers = [jnp.asarray(0.1, dtype)] if row.number else []
        values, gradient = jax.jit(
            lambda p, n: (row.function(p, targets, *n), jax.grad(lambda p: row.function(p, targets, *n).sum())(p))
        )(huge, numbers)
        assert values.dtype == gradient.dtype == dtype
        assert values.shape == (6,)
        assert np.all(np.isfinite(np.asarray(values, np.float32)))
        assert np.all(np.isfinite(np.asarray(gradient, np.float32)))


def test_extremes_by_hand():
    logits = jnp.array([[1e4, -1e4], [-1e4, 1e4], [-jnp.inf, 0.0]])
    np.testing.assert_array_equal(losses.cross_entropy(logits, jnp.array([0, 0, 1])), [0, 2e4, 0])
    gradient = jax.grad(lambda z: losses.cross_entropy(z, jnp.array([0, 0, 1])).sum())(logits)
    np.testing.assert_array_equal(gradient, [[0, 0], [-1, 1], [0, 0]])
    assert jax.grad(lambda p: losses.absolute_error(p, jnp.ones(3)).sum())(jnp.ones(3)).tolist() == [0, 0, 0]
    # log-sum-exp in bfloat16 would have 3 digits
    narrow = jnp.asarray(LOGITS, jnp.bfloat16)
    wide = losses.cross_entropy(narrow.astype(jnp.float32), LABELS).astype(jnp.bfloat16)
    np.testing.assert_array_equal(losses.cross_entropy(narrow, LABELS), wide)


# Losses of a whole mask are no mean over its entries: tests/test_mask_losses.py.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [case[:2] for case in CASES if case[0] != "mask"])
def test_where_leaves_out(kind, name):
    function = losses.LOSSES[kind][name].function
    targets = {"classes": WORDS, "binary": BITS.ravel()[:12].reshape(3, 4), "real": TEXT[..., 0]}[kind]
    predictions = TEXT if kind == "classes" else TEXT[..., 1]
    keep = np.array([[True, True, False, False], [True] * 4, [False] * 4])
    spoiled = predictions.copy()
    spoiled[~keep] = np.nan  # what is left out may be anything
    missing = targets if kind == "classes" else np.where(keep, targets, np.nan)
    values, gradient = jax.jit(
        jax.value_and_grad(lambda p: (lambda v: (v.sum(), v))(function(p, missing, where=keep)), has_aux=True)
    )(spoiled)
    each = function(predictions.reshape(12, -1) if kind == "classes" else predictions.ravel(), targets.ravel())
    each = np.asarray(each).reshape(3, 4)
    np.testing.assert_allclose(values[1], [each[0, :2].mean(), each[1].mean(), 0.0], rtol=1e-6)
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[~keep] == 0)
    flat = predictions.reshape(12, -1) if kind == "classes" else predictions.ravel()
    own = np.asarray(jax.grad(lambda p: function(p, targets.ravel()).sum())(flat)).reshape(predictions.shape)
    counts = np.broadcast_to(keep.sum(1)[:, None], keep.shape)[keep].reshape(-1, *[1] * (own.ndim - 2))
    np.testing.assert_allclose(gradient[keep], own[keep] / counts, rtol=1e-5, atol=1e-7)
    if kind == "classes":
        unknown = np.where(keep[..., None], np.eye(5, dtype=np.float32)[WORDS], np.nan)  # as distributions
        again = jax.value_and_grad(lambda p: function(p, unknown, where=keep).sum())(spoiled)
        np.testing.assert_allclose(again[0], values[0], rtol=1e-6)
        np.testing.assert_allclose(again[1], gradient, atol=1e-6)
    per_row = function(predictions[:, 0], targets[:, 0], where=np.array([True, False, True]))
    np.testing.assert_allclose(per_row, each[:, 0] * [1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("kind", losses.LOSSES)
def test_a_switch_equals_the_direct_call_bit_for_bit(kind):
    names = list(losses.LOSSES[kind])
    targets = TARGETS[kind]

    def run(names, indices):
        read = [row.number for row in map(losses.LOSSES[kind].get, names) if row.number]
        numbers = {number.name: jnp.full(len(indices), 0.2) for number in read}

        def member(index, predictions, targets, numbers):
            loss = losses.select(index, names, kind)
            values, pull = jax.vjp(lambda p: loss(p, targets, numbers), predictions)
            return values, pull(jnp.ones_like(values))[0]

        everything = (jnp.asarray(indices), *(jnp.stack([each] * len(indices)) for each in (LOGITS, targets)), numbers)
        return jax.jit(lambda all_: jax.lax.map(lambda one: member(*one), all_))(everything)

    together = run(names, list(range(len(names))))
    for index, name in enumerate(names):
        alone = run([name], [0])
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_array_equal(ours[index], theirs[0], err_msg=name)
    default = losses.select(0, names, kind)(LOGITS, targets)
    np.testing.assert_allclose(default, losses.LOSSES[kind][names[0]].function(LOGITS, targets), rtol=1e-6)


def test_metrics_by_hand():
    np.testing.assert_array_equal(metrics.accuracy(np.eye(3), [0, 2, 2]), [1, 0, 1])
    np.testing.assert_array_equal(metrics.accuracy(np.eye(3), np.eye(3)[[0, 2, 2]]), [1, 0, 1])
    np.testing.assert_array_equal(metrics.binary_accuracy([0.5, -0.5, 2.0], [1, 1, 0]), [1, 0, 0])
    np.testing.assert_array_equal(metrics.accuracy(np.eye(4).reshape(2, 2, 4), [[0, 1], [2, 0]]), [1, 0.5])
    assert metrics.accuracy(jnp.eye(3, dtype=jnp.bfloat16), [0, 2, 2]).dtype == jnp.float32
    np.testing.assert_array_equal(
        metrics.mean_squared_error([[1.0, 3.0], [0.0, 0.0]], [[1.0, 0.0], [2.0, 2.0]]), [4.5, 4]
    )
    np.testing.assert_array_equal(metrics.mean_absolute_error([1.0, 3.0], [2.0, 3.0]), [1, 0])
    assert (metrics.mean_squared_error.direction, metrics.accuracy.direction) == ("min", "max")
    assert metrics.mean_squared_error.better(1.0, 2.0)
    assert not metrics.accuracy.better(1.0, 2.0)


def test_a_plain_function_becomes_a_metric():
    def worst(predictions, targets):
        return jnp.abs(predictions - targets)

    assert metrics.as_metric("worst", worst).direction == "max"
    worst.direction = "min"
    metric = metrics.as_metric("worst", worst)
    assert (metric.direction, metric.name, float(metric(1.0, 3.0))) == ("min", "worst", 2.0)
    assert metric == metrics.as_metric("worst", worst)
    assert metrics.as_metric("mine", metrics.accuracy) == metrics.Metric(metrics.accuracy.function, "max", "mine")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: losses.cross_entropy(LOGITS, LABELS, 1.0), "label_smoothing"),
        (lambda: losses.cross_entropy(LOGITS, LABELS, -0.1), "label_smoothing"),
        (lambda: losses.cross_entropy(LOGITS, LABELS + 1), r"labels must be in \[0, 5\)"),
        (lambda: jax.jit(lambda z: losses.cross_entropy(z, LABELS - 1))(LOGITS), r"labels must be in \[0, 5\)"),
        (lambda: losses.cross_entropy(LOGITS, LABELS[:3]), "labels"),
        (lambda: losses.cross_entropy(LOGITS, LABELS.astype(float)), "labels"),
        (lambda: losses.one_hot_squared_error(LOGITS, LOGITS[:, :2]), "labels"),
        (lambda: losses.squared_error(LOGITS[:, :1], LABELS), "targets"),
        (lambda: losses.absolute_error(LOGITS, LOGITS[0]), "targets"),
        (
            lambda: losses.cross_entropy(LOGITS, LABELS, 0.0, [1.0, 2.0]),
            "class_weights must be one number for each of 5",
        ),
        (lambda: losses.cross_entropy(LOGITS, LABELS, 0.0, [1.0, 2.0, -1.0, 0.0, 1.0]), "class_weights"),
        (lambda: losses.focal(LOGITS, LABELS, -1.0), "gamma"),
        (lambda: losses.binary_focal(LOGITS, BITS, 2.0, 1.5), "alpha"),
        (lambda: losses.binary_cross_entropy(LOGITS, 2 * BITS), r"labels must be in \[0, 1\]"),
        (lambda: losses.binary_cross_entropy(LOGITS, BITS[:, :1]), "labels must have the shape"),
        (lambda: losses.hinge(LOGITS, 3 * BITS), "labels must be -1 or 1, got 3, 0, 0"),
        (lambda: losses.hinge(LOGITS, BITS), "labels must be -1 or 1, got 0"),
        (lambda: losses.cross_entropy(np.zeros((1, 3)), [[-1.0, 5.0, 0.0]]), r"labels must be in \[0, 1\]"),
        (lambda: losses.cross_entropy(LOGITS, np.full((6, 5), np.nan)), "labels must be in"),
        (lambda: jax.jit(lambda z: losses.focal(z, 2.0 * np.eye(6, 5)))(LOGITS), "labels must be in"),
        (lambda: losses.multiclass_hinge(LOGITS, -np.eye(6, 5)), "labels must be in"),
        (lambda: losses.kl_divergence(LOGITS, -np.eye(6, 5)), r"targets must be in \[0, 1\], got values from -1 to"),
        (lambda: losses.kl_divergence(LOGITS, 2 * np.eye(6, 5)), "targets must be in"),
        (lambda: losses.select(5, ["cross_entropy", "focal"], "classes"), r"index must be in \[0, 2\), got 5"),
        (lambda: losses.cross_entropy(LOGITS, LABELS, None), r"label_smoothing must be a number in \[0, 1\), got None"),
        (lambda: losses.cross_entropy(LOGITS, LABELS, np.array([0.1, 0.2])), "label_smoothing must be a number"),
        (lambda: jax.jit(lambda s: losses.cross_entropy(LOGITS, LABELS, s))(np.ones(2)), "label_smoothing .* shape"),
        (lambda: losses.huber(LOGITS, LOGITS, "a"), "delta must be a number"),
        (lambda: losses.focal(LOGITS, LABELS, lambda step: 2.0), "gamma must be a number"),
        (lambda: losses.binary_cross_entropy(LOGITS, BITS, class_weights=[1.0]), "class_weights must be one number"),
        (lambda: losses.multiclass_hinge(LOGITS, LABELS, class_weights=-np.ones(5)), "class_weights must be"),
        (lambda: losses.huber(LOGITS, LOGITS, 0.0), "delta"),
        (lambda: losses.quantile(LOGITS, LOGITS, 1.5), "level"),
        (lambda: losses.kl_divergence(LOGITS, LOGITS[:, :2]), "targets"),
        (lambda: losses.gaussian_kl(LOGITS, LOGITS[:, :2]), "log_variance"),
        (lambda: losses.distillation(LOGITS, LOGITS[:, :2], LABELS), "teacher_logits"),
        (lambda: losses.distillation(LOGITS, LOGITS, LABELS, 0.0), "temperature"),
        (lambda: metrics.binary_accuracy(LOGITS, LABELS), "targets"),
        (lambda: losses.class_weights([0, 3], 3), r"labels must be in \[0, 3\), got values from 0 to 3"),
        (lambda: losses.class_weights([-1, 1]), "labels must be in"),
        (lambda: losses.class_weights([]), "labels must be whole numbers"),
        (lambda: losses.class_weights(np.zeros(0, int)), "labels must hold at least one"),
        (lambda: losses.class_weights([0.0, 1.0]), "labels must be whole numbers"),
        (lambda: jax.jit(losses.class_weights)(LABELS), "labels must be known"),
        (lambda: losses.class_weights(LABELS, 0), "classes"),
        (lambda: losses.class_weights(LABELS, beta=1.5), "beta"),
        (lambda: losses.select(0, ["cross_entropi"], "classes"), "did you mean 'cross_entropy'"),
        (lambda: losses.select(0, ["cross_entropy"], "reel"), "kind"),
        (lambda: losses.select(0, [], "real"), "names"),
        (
            lambda: losses.select(0, ["cross_entropy"], "classes")(LOGITS, LABELS, {"label_smothing": 0.1}),
            "did you mean",
        ),
        (
            lambda: losses.select(0, ["cross_entropy", "squared_error"], "classes")(
                LOGITS, LABELS, {"label_smoothing": 2.0}
            ),
            "label_smoothing",
        ),
        (lambda: metrics.accuracy(LOGITS, LABELS[:3]), "targets"),
        (lambda: metrics.mean_squared_error(LOGITS, LABELS), "targets"),
        (lambda: metrics.as_metric("mine", 3), "mine"),
        (lambda: metrics.as_metric("mine", abs, "up"), "direction"),
    ],
)
def test_bad_input_names_the_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_loss_in_a_branch_has_the_values_and_derivatives_of_the_loss(name):
    logits = jax.random.normal(jax.random.key(3), (5, 4))
    labels = jnp.array([0, 3, 1, 2, 2])
    number = losses.LOSSES["classes"][name].number.name
    plain = losses.select(0, [name], "classes")

    def mean(inside, logits, value):
        if not inside:
            return jnp.mean(plain(logits, labels, {number: value}) ** 2)
        many = ["cross_entropy", "focal", "multiclass_hinge"]
        names, index = ([name], 0) if inside == "alone" else (many, jnp.int32(many.index(name)))
        found = losses.branched(index, names, "classes", logits, labels, {number: value}, logits[0, 0] < 1e9)
        return jnp.mean(found**2)

    for derive in (jax.value_and_grad, jax.jacfwd, jax.hessian):
        theirs, *ours = [
            jax.jit(derive(functools.partial(mean, inside), argnums=(0, 1))) for inside in (None, "alone", "mixed")
        ]
        for value in (0.0, 0.3):
            expected = theirs(logits, jnp.float32(value))
            for found in ours:
                chex.assert_trees_all_close(found(logits, jnp.float32(value)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "name", "predictions", "targets"), CASES)
def test_whole_numbers_give_what_their_floats_give(kind, name, predictions, targets):
    function = losses.LOSSES[kind][name].function
    whole = np.round(predictions).astype(np.int32)
    for given, floats in ((whole, whole.astype(np.float32)), (whole > 0, (whole > 0).astype(np.float32))):
        values = function(given, targets)
        assert values.dtype == jnp.float32
        np.testing.assert_array_equal(values, function(floats, targets))


def test_whole_numbers_give_floats_beside_the_table_too():
    whole = np.array([[2, 1, 0], [0, 3, 1]])
    np.testing.assert_allclose(losses.cross_entropy([[2, 1, 0]], [0]), [np.log(1 + np.exp(-1) + np.exp(-2))], rtol=1e-6)
    shares = np.array([[0.5, 0.5, 0.0]] * 2, np.float32)
    for call in (
        lambda z: losses.kl_divergence(z, shares),
        lambda z: losses.distillation(z, z[::-1], np.array([0, 1])),
        lambda z: losses.gaussian_kl(z, z[::-1]),
        lambda z: losses.hinge(z, np.array([[1, -1, 1]] * 2)),
    ):
        values = call(whole)
        assert values.dtype == jnp.float32
        np.testing.assert_array_equal(values, call(whole.astype(np.float32)))


@pytest.mark.parametrize("form", ["whole", "shares"])
def test_impossible_classes_leave_values_and_slopes_finite(form):
    """A class at -inf changes nothing for the others, as if it were not there."""
    masked, without = jnp.array([[0.0, 1.0, -jnp.inf]]), jnp.array([[0.0, 1.0]])
    label, fewer = (np.array([1]), np.array([1])) if form == "whole" else (np.eye(3)[[1]], np.eye(2)[[1]])
    calls = {
        "cross_entropy": lambda z, y, n: losses.cross_entropy(z, y, n),
        "focal": lambda z, y, n: losses.focal(z, y, n + 2),
        "multiclass_hinge": lambda z, y, n: losses.multiclass_hinge(z, y),
    }
    for name, call in calls.items():
        derive = jax.jit(jax.value_and_grad(lambda z, n, y, call=call: call(z, y, n).sum()))
        value, slope = derive(masked, 0.0, label)
        expected, own = derive(without, 0.0, fewer)
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(slope, [[*own[0], 0.0]], rtol=1e-6, err_msg=name)
    # The derivative by a smoothing of 0 is not cut off by the guard.
    by_smoothing = jax.grad(lambda s: losses.cross_entropy(without, fewer, s).sum())(0.0)
    np.testing.assert_allclose(by_smoothing, 0.5, rtol=1e-6)  # half of the labels' distance in logits


@pytest.mark.parametrize(("kind", "name", "predictions", "targets"), CASES)
def test_a_misfit_where_is_named(kind, name, predictions, targets):
    with pytest.raises(ValueError, match="where must be broadcastable to shape"):
        losses.LOSSES[kind][name].function(predictions, targets, where=np.ones(4, bool))


def test_weights_of_two_classes_by_hand():
    logits, bits = LOGITS.astype(np.float64), BITS
    # PyTorch's BCEWithLogitsLoss(weight=0.5, pos_weight=6): weight (-pos_weight y log p - (1 - y) log(1 - p))
    expected = (0.5 * (6.0 * bits * np.logaddexp(0, -logits) + (1 - bits) * np.logaddexp(0, logits))).mean(1)
    found = losses.binary_cross_entropy(LOGITS, BITS, class_weights=[0.5, 3.0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # A sigmoid is a softmax over 0 and its logit, smoothed labels included.
    two = jnp.stack([jnp.zeros(6), jnp.asarray(LOGITS[:, 0])], 1)
    traced = jax.jit(lambda w: losses.binary_cross_entropy(LOGITS[:, 0], BITS[:, 0], 0.2, None, w))(
        jnp.array([0.5, 3.0])
    )
    np.testing.assert_allclose(traced, losses.cross_entropy(two, BITS[:, 0], 0.2, [0.5, 3.0]), rtol=1e-5)
    signs = 2 * bits - 1
    expected = (np.where(bits, 3.0, 0.5) * np.maximum(0, 1 - signs * logits)).mean(1)
    np.testing.assert_allclose(losses.hinge(LOGITS, signs, None, [0.5, 3.0]), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.zero_one_hinge(LOGITS, BITS, None, [0.5, 3.0]), expected, rtol=1e-5)
    weights = np.array([0.5, 1.0, 2.0, 0.0, 1.5], np.float32)
    for labels in (LABELS, np.eye(5)[LABELS]):
        found = losses.multiclass_hinge(LOGITS, labels, class_weights=weights)
        np.testing.assert_allclose(found, weights[LABELS] * losses.multiclass_hinge(LOGITS, LABELS), rtol=1e-6)
