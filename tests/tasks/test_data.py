"""The data of every bundled task: fixed, split once, of the shapes and classes that its docstring says."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_breast_cancer, load_wine

import hyperjax as hj
from tests.tasks.facts import digest, rows

# Sizes of the sets, and a hash of all arrays: whatever changes the data makes old scores meaningless.
FIXED = {
    "digits": ((1437, 180, 180), "b7c921f8f4bef3ce"),
    "diabetes": ((310, 66, 66), "7e40512639aa4ba1"),
    "wine": ((130, 24, 24), "e0abac24daeaebca"),
    "breast_cancer": ((399, 85, 85), "3ca9101f35f92e9a"),
    "words": ((1500, 400, 400), "63d5ac17d68972bc"),
    "embedding": ((1437, 180, 180), "b7c921f8f4bef3ce"),
    "ranking": ((400, 200, 200), "6da229ec92229031"),
    "distillation": ((1291, 180, 180), "ca6d582c09a03712"),
    "digits_cnn": ((1437, 180, 180), "a1d42bec0c61caf1"),
    "text": ((1200, 200, 200), "c0b40fd7bae3e17f"),
    "copying": ((2000, 300, 300), "5af005b28f253042"),
    "adding": ((2000, 300, 300), "e88c10a478755e9e"),
    "segmentation": ((600, 180, 180), "5e29e326dc085c86"),
    "autoencoding": ((1437, 180, 180), "f548a3c8530c9667"),
    "ring": ((2048, 512, 512), "8a3655b41a266657"),
    "digits_gan": ((1297, 250, 250), "4c08d83c09a21407"),
}


@pytest.mark.parametrize("name", FIXED)
def test_a_bundled_task_is_whole(name):
    """Three sets without a common example, a metric, a name, a recipe that fits, and one line about it."""
    task = hj.tasks.find(name)
    sizes, known = FIXED[name]
    assert task.name == name and tuple(task.data) == ("train", "validation", "test")
    assert tuple(task.size(part) for part in task.data) == sizes
    assert digest(task) == known
    train, validation, test = (rows(task, part) for part in task.data)
    assert not train & validation and not train & test and not validation & test
    assert task.recipe is not None and (task.metrics or name == "autoencoding")
    hj.Recipe(**task.recipe).lower(task)
    assert set(FIXED) == set(hj.tasks.bundled()) - {"mnist1d"}  # which needs an extra
    assert hj.tasks.bundled()[name].endswith(".") and len(hj.tasks.bundled()[name]) < 120


@pytest.mark.parametrize(("make", "load"), [(hj.tasks.wine, load_wine), (hj.tasks.breast_cancer, load_breast_cancer)])
def test_a_table_is_split_evenly_and_scaled_by_its_training_set(make, load):
    inputs, labels = load(return_X_y=True)
    task = make()
    x, y = (np.concatenate([task.data[part][i] for part in task.data]) for i in (0, 1))
    np.testing.assert_allclose(task.data["train"][0].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(task.data["train"][0].std(0), 1, atol=1e-5)
    # On the same scale, each row of the table is there once, with its label.
    lines = [np.polyfit(np.sort(inputs[:, i]), np.sort(x[:, i]), 1) for i in range(inputs.shape[1])]
    scaled = np.stack([np.polyval(line, column) for line, column in zip(lines, inputs.T, strict=True)], 1)
    distances = cdist(scaled, x)
    np.testing.assert_array_equal(np.sort(distances.argmin(1)), np.arange(len(x)))
    assert distances.min(1).max() < 1e-3
    np.testing.assert_array_equal(y[distances.argmin(1)], labels)
    shares = np.bincount(labels) / len(labels)
    for part in task.data:
        found = np.bincount(task.data[part][1])
        np.testing.assert_allclose(found, shares * task.size(part), atol=1.5)


def test_classes_are_made_rarer_in_the_training_set_alone():
    plain, rare = hj.tasks.wine(), hj.tasks.wine(imbalance=0.75)
    counts = np.bincount(plain.data["train"][1])  # 43, 52, 35
    assert np.bincount(rare.data["train"][1]).tolist() == [round(counts[0] * 0.5), counts[1], round(counts[2] * 0.25)]
    assert rows(rare, "train") < rows(plain, "train")
    for part in ("validation", "test"):
        np.testing.assert_array_equal(rare.data[part][0], plain.data[part][0])
    few = hj.tasks.breast_cancer(imbalance=0.999)
    assert np.bincount(few.data["train"][1]).tolist() == [1, 250]
    for make in (hj.tasks.wine, hj.tasks.breast_cancer):
        with pytest.raises(ValueError, match="imbalance must be below 1, got 1"):
            make(imbalance=1)
        with pytest.raises(ValueError, match=r"imbalance must be a number in \[0, 1\], got -0.1"):
            make(imbalance=-0.1)


def test_outliers_replace_a_share_of_the_training_targets_alone():
    plain, some, more = (hj.tasks.diabetes(outliers=share).data for share in (0.0, 0.1, 0.2))
    hit, also = (data["train"][1] != plain["train"][1] for data in (some, more))
    assert hit.sum() == 31 and also.sum() == 62 and not (hit & ~also).any()
    assert some["train"][1][hit].min() >= 8 and some["train"][1][hit].max() <= 12
    np.testing.assert_array_equal(some["train"][1][hit], more["train"][1][hit])
    np.testing.assert_array_equal(some["train"][0], plain["train"][0])
    for part in ("validation", "test"):
        for ours, theirs in zip(some[part], plain[part], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"outliers must be a number in \[0, 1\], got 1.5"):
        hj.tasks.diabetes(outliers=1.5)


def test_words_have_the_frequencies_that_are_promised():
    from hyperjax.tasks.words import frequencies

    task = hj.tasks.words()
    counts, topics = (np.concatenate([task.data[part][i] for part in task.data]) for i in (0, 1))
    np.testing.assert_array_equal(counts.sum(1), 80)
    assert (counts == 0).mean() > 0.9
    np.testing.assert_array_equal(np.bincount(topics), [288] * 4 + [287] * 4)
    shares = frequencies()
    np.testing.assert_allclose(shares.sum(1), 1)
    common = shares[:, :100] / shares[:, :1]
    np.testing.assert_allclose(common, np.tile(1 / np.arange(1, 101), (8, 1)))
    liked = shares[:, 100:] / shares[:, :1] * np.arange(101, 1001)
    assert set(np.round(liked.ravel(), 6)) == {1.0, 6.0} and np.isclose((liked > 3).mean(), 0.1, atol=0.01)
    for topic in range(8):  # within four deviations of what chance allows, the rare ones together
        expected = shares[topic] * counts[topics == topic].sum()
        found = counts[topics == topic].sum(0)
        groups = [*range(30), slice(30, 300), slice(300, 1000)]
        for group in groups:
            assert abs(found[group].sum() - expected[group].sum()) < 4 * np.sqrt(expected[group].sum())


def test_relevances_are_graded_within_each_query():
    task = hj.tasks.ranking()
    for part in task.data:
        features, relevance = task.data[part]
        np.testing.assert_array_equal(
            np.sort(relevance, 1), np.tile([0, 0, 0, 1, 1, 2, 2, 3, 3, 4], (len(features), 1))
        )
    features, relevance = task.data["train"]
    means = [features[relevance == grade][:, 4].mean() for grade in range(5)]  # one of those that count, by threshold
    assert means == sorted(means)
    assert abs(np.corrcoef(features[..., 7].ravel(), relevance.ravel())[0, 1]) < 0.05  # one of those that do not


def test_a_teacher_of_the_users_own():
    def teacher(images):
        assert images.dtype == np.float32 and images.shape[1:] == (64,)
        return np.tile(images.sum(1, keepdims=True), (1, 10))

    task = hj.tasks.distillation(teacher=teacher, missing=7)
    x, targets = task.data["validation"]
    np.testing.assert_allclose(targets["logits"][:, 3], x.sum(1))
    assert 7 not in task.data["train"][1]["labels"] and 7 in targets["labels"] and 3 in task.data["train"][1]["labels"]
    whole = hj.tasks.distillation(teacher=teacher, missing=None)
    assert whole.size("train") == 1437 and list(whole.metrics) == ["accuracy"]
    logits = np.eye(10, dtype=np.float32)[np.where(targets["labels"] == 7, np.arange(180) % 2 * 7, 1)]
    found = {name: np.mean(measure(logits, targets)) for name, measure in task.measures.items()}
    right = logits.argmax(1) == targets["labels"]
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["missing"] == pytest.approx(right[targets["labels"] == 7].mean(), abs=1e-6)
    for call, named in (
        (lambda: hj.tasks.distillation(missing=10), "missing must be a digit or None, got 10"),
        (lambda: hj.tasks.distillation(teacher=lambda x: x), r"teacher must give logits of shape \(1291, 10\)"),
        (lambda: hj.tasks.distillation(temperature=0.0), "temperature"),
        (lambda: hj.tasks.distillation(mix=2.0), "mix"),
    ):
        with pytest.raises(ValueError, match=named):
            call()


def test_the_default_teacher_is_ridge_regression_in_a_kernels_space():
    from sklearn.kernel_ridge import KernelRidge

    images, labels = hj.tasks.digits().data["train"]
    known = KernelRidge(alpha=1.0, kernel="rbf", gamma=0.02).fit(images.astype(np.float64), np.eye(10)[labels] - 0.1)
    x, targets = hj.tasks.distillation().data["test"]
    np.testing.assert_allclose(targets["logits"], 10 * known.predict(x.astype(np.float64)), atol=1e-4)


def test_images_of_a_convolution_are_those_of_the_mlp():
    for part in ("train", "validation", "test"):
        flat, square = (make().data[part] for make in (hj.tasks.digits, hj.tasks.digits_cnn))
        np.testing.assert_array_equal(flat[0].reshape(-1, 8, 8), square[0])
        np.testing.assert_array_equal(flat[1], square[1])


def test_symbols_come_back_after_the_signal():
    task = hj.tasks.copying(length=4, delay=7)
    for part in task.data:
        tokens, symbols = task.data[part]
        assert tokens.shape[1] == 15 and symbols.shape[1] == 4 and set(np.unique(symbols)) == set(range(8))
        np.testing.assert_array_equal(tokens[:, :4], symbols + 1)
        np.testing.assert_array_equal(tokens[:, 10], 9)
        np.testing.assert_array_equal(np.delete(tokens[:, 4:], 6, axis=1), 0)
    logits = np.zeros((300, 15, 8), np.float32)
    logits[:, 11:][np.arange(300)[:, None], np.arange(4), task.data["test"][1]] = 5.0
    assert float(task.measures["accuracy"](logits, task.data["test"][1]).mean()) == 1.0
    logits[:, -1] = 0.0
    logits[:, -1, 0] = 1.0
    expected = 0.75 + 0.25 * (task.data["test"][1][:, -1] == 0).mean()
    assert float(task.measures["accuracy"](logits, task.data["test"][1]).mean()) == pytest.approx(expected)
    for given in ({"delay": 0}, {"length": 3}):
        with pytest.raises(ValueError, match=f"{next(iter(given))} must be a whole number"):
            hj.tasks.copying(**given)


def test_two_marked_numbers_are_added():
    task = hj.tasks.adding(length=9)
    for part in task.data:
        pairs, sums = task.data[part]
        assert pairs.min() >= 0 and pairs.max() <= 1 and set(np.unique(pairs[..., 1])) == {0.0, 1.0}
        np.testing.assert_array_equal(pairs[:, :4, 1].sum(1), 1)
        np.testing.assert_array_equal(pairs[:, 4:, 1].sum(1), 1)
        np.testing.assert_allclose(sums[:, 0], [row[row[:, 1] == 1, 0].sum() for row in pairs], rtol=1e-6)
    assert task.data["train"][1].var() == pytest.approx(1 / 6, rel=0.1)
    with pytest.raises(ValueError, match="length must be a whole number of at least 2, got 1"):
        hj.tasks.adding(length=1)


def test_a_scene_holds_a_digit_where_its_mask_is():
    task, whole = hj.tasks.segmentation(), hj.tasks.digits()
    for part in task.data:
        scenes, masks = task.data[part]
        digits = whole.data[part][0].reshape(-1, 8, 8)
        for scene, mask, digit in zip(scenes[:40], masks[:40], digits, strict=False):
            rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            inner = np.argwhere(digit > 0.3).min(0)
            top, left = rows[0] - inner[0], columns[0] - inner[1]
            np.testing.assert_array_equal(mask[top : top + 8, left : left + 8], digit > 0.3)
            assert mask.sum() == (digit > 0.3).sum()
            assert (scene[top : top + 8, left : left + 8] - digit).min() > -0.6  # noise of deviation 0.1
        # As many bright pixels are clutter as belong to digits.
        assert (scenes[masks == 1] > 0.2).mean() > 0.9 and (scenes[masks == 0] > 0.3).mean() > 0.1 > masks.mean()


def test_the_grammars_bits_are_those_of_its_choices():
    """Minus the logarithm of the probability of one sentence, by hand; and sentences agree in number."""
    import re

    from hyperjax.tasks.text import ALPHABET, made

    numbers, bits = made(60_000)
    text = "".join(ALPHABET[i] for i in numbers)
    sentences = text.split(". ")[:-1]
    starts = np.cumsum([0, *(len(sentence) + 2 for sentence in sentences)])
    costs = {s: bits[a:b].sum() for s, a, b in zip(sentences, starts[:-1], starts[1:], strict=True)}
    rank = {"dog": 3, "sleeps": 1, "cats": 1, "cat": 1, "sees": 1, "old": 1}
    of = {"noun": sum(1 / r for r in range(1, 9)), "rest": sum(1 / r for r in range(1, 5))}
    of |= {"verb": sum(1 / r for r in range(1, 7)), "adjective": sum(1 / r for r in range(1, 6))}

    def share(word, kind):
        return 1 / rank[word] / of[kind]

    by_hand = {
        "the dog sleeps": 0.5 * 0.7 * share("dog", "noun") * 0.6 * 0.4 * share("sleeps", "rest"),
        "the old cat sees the cats": 0.5 * 0.3 * share("old", "adjective") * share("cat", "noun") * 0.6
        * 0.6 * share("sees", "verb") * 0.5 * 0.7 * share("cats", "noun"),
    }  # fmt: skip
    for sentence, probability in by_hand.items():
        assert costs[sentence] == pytest.approx(-np.log2(probability), rel=1e-9), sentence
        count = sentences.count(sentence)
        assert abs(count - probability * len(sentences)) < 4 * np.sqrt(probability * len(sentences))
    singular = {"cat", "child", "dog", "mouse", "woman", "sailor", "goose", "pilot"}
    simple = [re.fullmatch(r"the (?:\w+ )?(\w+) (sleeps?|sings?|runs?|waits?)", s) for s in sentences]
    agreed = [(m[1] in singular) == m[2].endswith("s") for m in simple if m]
    assert len(agreed) > 200 and all(agreed)
    task = hj.tasks.text()
    inputs, targets = task.data["test"]
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    np.testing.assert_array_equal(inputs[1:, 0], targets[:-1, -1])


def test_points_lie_in_eight_heaps():
    task = hj.tasks.ring()
    for part in task.data:
        points = task.data[part]
        angle = np.round(np.arctan2(points[:, 1], points[:, 0]) / (np.pi / 4)).astype(int) % 8
        assert np.bincount(angle, minlength=8).min() > 0.07 * len(points)
        places = np.stack([np.cos(angle * np.pi / 4), np.sin(angle * np.pi / 4)], 1)
        assert np.std(points - places) == pytest.approx(0.05, rel=0.1)


def test_mnist1d_is_the_packages_default_and_touches_no_global_state():
    package = pytest.importorskip("mnist1d.data")
    before = np.random.get_state()[1].copy()
    task = hj.tasks.mnist1d("mlp")
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    state = np.random.get_state()
    known = package.make_dataset(package.get_dataset_args())
    np.random.set_state(state)
    np.testing.assert_allclose(task.data["train"][0], known["x"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(task.data["test"][1], known["y_test"])
    assert [task.size(part) for part in task.data] == [4000, 1000, 1000]
    train, validation, test = (rows(task, part) for part in task.data)
    assert not train & validation and not train & test and not validation & test
    np.testing.assert_array_equal(np.bincount(task.data["validation"][1]), np.full(10, 100))


def test_mnist1d_says_what_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(ImportError, match=r"pip install 'hyperjax\[tasks\]'"):
        hj.tasks.mnist1d()
    with pytest.raises(ValueError, match=r"pip install 'hyperjax\[tasks\]'"):
        hj.tasks.find("mnist1d")
    with pytest.raises(ValueError, match="model must be one of logistic, mlp, cnn, gru, got 'rnn'"):
        hj.tasks.mnist1d("rnn")
