"""Metrics against scikit-learn, plain loops and hand-worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score, ndcg_score, top_k_accuracy_score

import hyperjax as hj
from hyperjax import metrics

DRAW = np.random.default_rng(0)
LOGITS = DRAW.normal(size=(60, 5)).astype(np.float32)
LABELS = np.concatenate([DRAW.integers(0, 3, 50), np.full(10, 3)])  # the last class never occurs
MASKS = (DRAW.random((7, 4, 6)) < 0.4).astype(np.int32)
MASK_LOGITS = DRAW.normal(size=(7, 4, 6)).astype(np.float32)
SCORES = DRAW.normal(size=(9, 12)).astype(np.float32)
RELEVANCE = DRAW.integers(0, 5, (9, 12))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_follows_scikit_learn(k):
    metric = metrics.top_k_accuracy(k)
    expected = top_k_accuracy_score(LABELS, LOGITS, k=k, labels=range(5))
    assert float(metric(LOGITS, LABELS).mean()) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(metric(LOGITS, np.eye(5)[LABELS]), metric(LOGITS, LABELS))
    if k == 1:
        tied = np.round(LOGITS)
        np.testing.assert_array_equal(metric(tied, LABELS), metrics.accuracy(tied, LABELS))


def test_ratios_of_classes_follow_scikit_learn():
    predicted = LOGITS.argmax(1)
    assert {0, 1, 2, 3, 4} == set(predicted) and set(LABELS) == {0, 1, 2, 3}
    balanced = metrics.balanced_accuracy(LOGITS, LABELS)
    known = [(predicted[c == LABELS] == c).mean() for c in range(4)]
    assert balanced.shape == (60,) and float(balanced.mean()) == pytest.approx(np.mean(known), abs=1e-6)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert np.mean(known) == pytest.approx(balanced_accuracy_score(LABELS, predicted))
    assert float(metrics.f1(LOGITS, LABELS).mean()) == pytest.approx(f1_score(LABELS, predicted, average="macro"))
    few = LOGITS[:, :4]  # no class that is neither there nor predicted counts
    wide = np.concatenate([few, np.full((60, 1), -9)], 1)
    expected = f1_score(LABELS, few.argmax(1), average="macro")
    assert float(metrics.f1(wide, LABELS).mean()) == pytest.approx(expected)
    binary = LABELS == 1
    assert float(metrics.f1(LOGITS[:, 0], binary).mean()) == pytest.approx(f1_score(binary, LOGITS[:, 0] > 0))
    assert float(metrics.f1(np.full(4, -1.0), np.zeros(4)).mean()) == 0.0


def test_a_ratio_over_a_validation_set_is_the_ratio_and_not_a_mean_of_batches():
    x = LOGITS.copy()
    task = hj.Task(
        lambda rngs: nnx.Linear(5, 5, rngs=rngs),
        {"train": (x, LABELS), "validation": (x[::-1], LABELS)},
        loss="cross_entropy",
        metrics={"f1": metrics.f1, "balanced_accuracy": metrics.balanced_accuracy},
    )
    run = hj.fit(task, hj.Recipe(learning_rate=0.05, batch_size=16, epochs=3))
    predicted = hj.training.predict(run.model, x[::-1]).argmax(1)
    assert run.score == pytest.approx(f1_score(LABELS, predicted, average="macro"), abs=1e-6)
    rates = [(predicted[c == LABELS] == c).mean() for c in range(4)]
    assert run.metrics["validation_balanced_accuracy"][-1] == pytest.approx(np.mean(rates), abs=1e-6)
    found = hj.training.evaluate(task, run.model)
    assert found["f1"] == pytest.approx(run.score, abs=1e-6)


def test_masks_follow_scikit_learn():
    flat, guess = MASKS.reshape(7, -1), (MASK_LOGITS > 0).reshape(7, -1)
    overlap = [jaccard_score(m, p) for m, p in zip(flat, guess, strict=True)]
    np.testing.assert_allclose(metrics.iou(MASK_LOGITS, MASKS), overlap, rtol=1e-6)
    np.testing.assert_allclose(
        metrics.dice(MASK_LOGITS, MASKS), [f1_score(m, p) for m, p in zip(flat, guess, strict=True)], rtol=1e-6
    )
    nothing = np.zeros((1, 3))
    for metric in (metrics.iou, metrics.dice):
        assert [float(metric(sign + nothing, nothing)[0]) for sign in (-1, 1)] == [1.0, 0.0]


def test_ndcg_follows_scikit_learn():
    for metric, k in ((metrics.ndcg, None), (metrics.ndcg_at(3), 3), (metrics.ndcg_at(20), None)):
        expected = [ndcg_score(2.0 ** r[None] - 1, s[None], k=k) for r, s in zip(RELEVANCE, SCORES, strict=True)]
        np.testing.assert_allclose(metric(SCORES, RELEVANCE), expected, rtol=1e-5)
    np.testing.assert_array_equal(metrics.ndcg(SCORES, 0 * RELEVANCE), np.zeros(9))
    np.testing.assert_allclose(metrics.ndcg(RELEVANCE, RELEVANCE), np.ones(9), rtol=1e-6)
    tied = metrics.ndcg(np.zeros((1, 2)), np.array([[0, 1]]))  # in their order: the second place gains 1 / log2(3)
    np.testing.assert_allclose(tied, 1 / np.log2(3), rtol=1e-6)


def test_recall_is_that_of_a_loop():
    embeddings = DRAW.normal(size=(40, 3)).astype(np.float32) + 1000.0
    labels = DRAW.integers(0, 4, 40)
    distances = cdist(embeddings.astype(np.float64), embeddings.astype(np.float64))
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(metrics.recall_at_1(embeddings, labels), labels[distances.argmin(1)] == labels)


def test_bits_per_character_by_hand():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]]], np.float32))
    assert metrics.bits_per_character(logits, np.array([[0, 2]])).tolist() == pytest.approx([2.0])  # of 1 and 3 bits
    uniform = metrics.bits_per_character(np.zeros((2, 5, 32)), np.zeros((2, 5), int))
    np.testing.assert_allclose(uniform, [5.0, 5.0])
    assert metrics.bits_per_character.direction == "min"


def test_modes_are_counted_by_what_lies_near_them():
    modes = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    samples = np.array([[0.2, 0.0], [0.0, 0.2], [1.4, 0.0], [0.0, 1.8], [9.0, 9.0]])
    counts = {0.1: 0, 0.25: 2, 0.7: 3}
    for radius, expected in counts.items():
        assert float(metrics.modes_counted(samples, modes, radius)) == expected
    assert float(metrics.modes_counted(samples, modes, 0.7, share=0.3)) == 1  # two of the five samples
    assert float(jax.jit(metrics.modes_counted)(samples, modes, 0.7)) == 3
    between = np.array([[1.0, 0.1]])  # belongs to one mode, though near to two
    assert float(metrics.modes_counted(between, modes, 3.0)) == 1


def test_the_energy_distance_is_that_of_a_loop_and_of_scipy():
    x, y = DRAW.normal(size=(30, 3)).astype(np.float32), 1 + DRAW.normal(size=(20, 3)).astype(np.float32)
    expected = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    assert float(metrics.energy_distance(x, y)) == pytest.approx(expected, rel=1e-3)
    assert float(metrics.energy_distance(x, x)) == pytest.approx(0.0, abs=1e-6)
    line = float(metrics.energy_distance(x[:, :1], y[:, :1]))
    assert line == pytest.approx(energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-3)


def test_what_comes_in_half_precision_is_measured_in_full():
    coarse = jnp.asarray(LOGITS, jnp.bfloat16)
    for metric in (metrics.accuracy, metrics.balanced_accuracy, metrics.f1, metrics.top_k_accuracy(2)):
        assert metric(coarse, LABELS).dtype == jnp.float32, metric
    assert metrics.recall_at_1(coarse, LABELS).dtype == jnp.float32
    assert metrics.bits_per_character(coarse, LABELS).dtype == jnp.float32
    assert metrics.iou(jnp.asarray(MASK_LOGITS, jnp.bfloat16), MASKS).dtype == jnp.float32
    assert metrics.ndcg(jnp.asarray(SCORES, jnp.bfloat16), RELEVANCE).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.top_k_accuracy(0), "k must be a whole number"),
        (lambda: metrics.top_k_accuracy(6)(LOGITS, LABELS), "k must be at most the number of classes, 5, got 6"),
        (lambda: metrics.ndcg_at(0), "k must be a whole number"),
        (lambda: metrics.ndcg(SCORES, RELEVANCE[:3]), "targets must have the shape of the scores"),
        (lambda: metrics.ndcg(SCORES[0], RELEVANCE[0]), r"predictions must be of shape \[queries, items\]"),
        (lambda: metrics.balanced_accuracy(LOGITS, LABELS[:3]), "targets"),
        (lambda: metrics.balanced_accuracy(LOGITS[None], LABELS[None]), "one class an example"),
        (lambda: metrics.f1(MASK_LOGITS, MASKS), "one logit an example"),
        (lambda: metrics.iou(MASK_LOGITS, MASKS[:2]), "targets must have the shape of the logits"),
        (lambda: metrics.dice(MASK_LOGITS, MASKS[:2]), "targets must have the shape of the logits"),
        (lambda: metrics.recall_at_1(LOGITS, LABELS[:2]), "targets must be one label for each"),
        (lambda: metrics.bits_per_character(LOGITS, LABELS[:2]), "targets must be integers of shape"),
        (lambda: metrics.modes_counted(LOGITS, MASKS[0], 1.0), "modes must be of shape"),
        (lambda: metrics.modes_counted(LOGITS, LOGITS, 0.0), "radius"),
        (lambda: metrics.energy_distance(LOGITS, MASKS[0]), "others must be of shape"),
        (lambda: metrics.modes_counted(LOGITS, LOGITS, 1.0, 2.0), "share"),
    ],
)
def test_bad_input_names_the_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()
