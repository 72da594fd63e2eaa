"""Losses of whole masks against scikit-learn's scores of hard masks, NumPy and closed forms; and a task that has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import f1_score, fbeta_score, jaccard_score

import hyperjax as hj
from hyperjax import losses

RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(4, 5, 6)) * 2).astype(np.float32)
MASKS = RNG.integers(0, 2, (4, 5, 6))
CALLS = {
    "dice": lambda x, n: losses.dice(x, MASKS, n),
    "tversky, alpha": lambda x, n: losses.tversky(x, MASKS, n),
    "tversky, beta": lambda x, n: losses.tversky(x, MASKS, 0.3, n),
    "tversky, smooth": lambda x, n: losses.tversky(x, MASKS, 0.3, 0.9, n),
}


def test_hard_masks_have_the_scores_of_scikit_learn():
    hard, flat = np.where(LOGITS > 0, 1e3, -1e3).astype(np.float32), (LOGITS > 0).reshape(4, -1)

    def scored(score, **options):
        return [1 - score(t, p, **options) for t, p in zip(MASKS.reshape(4, -1), flat, strict=True)]

    np.testing.assert_allclose(losses.dice(hard, MASKS, 0.0), scored(f1_score), rtol=1e-6)
    np.testing.assert_allclose(losses.tversky(hard, MASKS, 1.0, 1.0, 0.0), scored(jaccard_score), rtol=1e-6)
    share = 1 / (1 + 1.5**2)  # recall counts 1.5 times what precision does
    np.testing.assert_allclose(losses.tversky(hard, MASKS, share, smooth=0.0), scored(fbeta_score, beta=1.5), rtol=1e-6)


def test_soft_masks_by_the_formulas():
    masks = RNG.uniform(size=LOGITS.shape)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))

    def total(x):
        return x.sum((1, 2))

    expected = 1 - (2 * total(p * masks) + 0.7) / (total(p) + total(masks) + 0.7)
    np.testing.assert_allclose(losses.dice(LOGITS, masks, 0.7), expected, rtol=1e-6)
    right = total(p * masks)
    wrong = 0.2 * total(p * (1 - masks)) + 1.4 * total((1 - p) * masks)
    expected = 1 - (right + 0.7) / (right + wrong + 0.7)
    np.testing.assert_allclose(losses.tversky(LOGITS, masks, 0.2, 1.4, 0.7), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.tversky(LOGITS, masks, smooth=0.35), losses.dice(LOGITS, masks, 0.7), rtol=1e-6)
    assert losses.dice(LOGITS[0, 0], MASKS[0, 0]).shape == (6,)  # an entry an example


def test_a_loss_near_0_keeps_its_digits():
    sure = np.where(MASKS, 20.0, -20.0).astype(np.float32)
    wrong = MASKS[0].size * np.exp(-20.0)
    expected = wrong / (2 * MASKS.sum((1, 2)) + 1)
    np.testing.assert_allclose(losses.dice(sure, MASKS), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
def test_empty_masks_are_finite(dtype):
    heights, smooths = [-1e4, -100.0, -80.0, -60.0, -1.0, 60.0, 1e4], [0.0, 1e-20, 1.0]
    # Each with the weight of what is too much beside that of `smooth`.
    calls = {"dice": (losses.dice, 1.0), "tversky": (lambda x, m, s: losses.tversky(x, m, 0.3, 0.7, s), 0.3)}
    with jax.enable_x64(dtype == jnp.float64):
        logits = jnp.broadcast_to(jnp.asarray(heights, dtype)[:, None], (7, 9))

        def both(call, mask, smooth):
            values, pull = jax.vjp(lambda x, s: call(x, jnp.full((7, 9), mask, dtype), s), logits, smooth)
            return values, *pull(jnp.ones_like(values))

        @jax.jit
        def run(smooths):
            each = {name: call for name, (call, _) in calls.items()}
            return {
                (name, mask): jax.vmap(lambda s, call=call, mask=mask: both(call, mask, s))(smooths)
                for name, call in each.items()
                for mask in (0, 1)
            }

        found = jax.tree.map(lambda x: np.asarray(x, np.float64), run(jnp.asarray(smooths, dtype)))
    for result in jax.tree.leaves(found):
        assert np.all(np.isfinite(result))
    for name, (_, weight) in calls.items():
        values, slopes, _ = found[name, 0]
        np.testing.assert_allclose(slopes[0], 0, atol=1e-6)
        assert values[0].tolist()[2:] == [1] * 5  # without smooth, whatever is predicted is all wrong
        assert values[0, 0] == 0  # nothing predicted, nothing there
        predicted = weight * 9 / (1 + np.exp(np.array([1e2, 1.0, -1e2])))
        expected = predicted / (predicted + 1)
        np.testing.assert_allclose(values[2, [0, 4, 6]], expected, rtol=4e-3, atol=1e-30)
        np.testing.assert_allclose(found[name, 1][0][0, [0, 6]], [1, 0], atol=1e-6)  # all there, none or all predicted


@pytest.mark.parametrize("name", ["dice", "tversky"])
def test_where_leaves_entries_out(name):
    function = losses.LOSSES["mask"][name].function
    keep = RNG.integers(0, 2, (4, 5, 6)).astype(bool)
    keep[3] = False
    spoiled, unknown = np.where(keep, LOGITS, np.nan), np.where(keep, MASKS, np.nan)

    @jax.jit
    def both(x):
        values, pull = jax.vjp(lambda x: function(x, unknown, where=keep), x)
        return values, pull(jnp.ones(4))[0]

    values, slopes = both(spoiled)
    for i in range(3):
        entries, wanted = LOGITS[i][keep[i]][None], MASKS[i][keep[i]][None]
        own, pull = jax.jit(jax.value_and_grad(lambda x, m: function(x, m)[0]))(entries, wanted)
        np.testing.assert_allclose(values[i], own, rtol=1e-6)
        np.testing.assert_allclose(slopes[i][keep[i]], pull[0], rtol=1e-5, atol=1e-8)
    assert values[3] == 0
    assert np.all(np.asarray(slopes)[~keep] == 0)
    per_example = np.array([True, False, True, True])[:, None, None]
    np.testing.assert_allclose(
        function(LOGITS, MASKS, where=per_example), function(LOGITS, MASKS) * per_example.ravel(), rtol=1e-6
    )


@pytest.mark.parametrize("name", CALLS)
def test_the_contract(name):
    call, numbers = CALLS[name], np.array([0.2, 0.5, 0.9], np.float32)

    def both(number):
        values, pull = jax.vjp(lambda x: call(x, number), jnp.asarray(LOGITS))
        return values, pull(jnp.ones_like(values))[0]

    def scanned(numbers):
        return jax.lax.scan(lambda count, n: (count + 1, both(n)), 0, numbers)[1]

    alone = jax.jit(both)
    mapped, in_scan = jax.jit(lambda n: (jax.vmap(both)(n), scanned(n)))(numbers)
    for i, number in enumerate(numbers):
        for each in (mapped, in_scan):
            for ours, plain in zip(each, alone(number), strict=True):
                np.testing.assert_allclose(ours[i], plain, rtol=2e-6, atol=1e-8)
    np.testing.assert_allclose(call(LOGITS, 0.5), mapped[0][1], rtol=2e-6)  # outside of any jit
    with jax.enable_x64(True):
        x = jnp.asarray(LOGITS, jnp.float64)
        total = jax.jit(lambda x, n: call(x, n).sum())
        into, number = jax.jit(jax.grad(total, argnums=(0, 1)))(x, 0.4)
        along = RNG.normal(size=x.shape)
        ends = [total(x + s * 1e-6 * along, 0.4) for s in (1, -1)]
        np.testing.assert_allclose(jnp.sum(into * along), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)
        ends = [total(x, 0.4 + s * 1e-6) for s in (1, -1)]
        np.testing.assert_allclose(number, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def task(loss, high=1):
    """Which of 8 places are within a stretch, whose ends are given."""
    ends = np.sort(RNG.uniform(-1, 1, (96, 2)), 1).astype(np.float32)
    places = np.linspace(-1, 1, 8)
    masks = high * ((places > ends[:, :1]) & (places < ends[:, 1:])).astype(np.int32)

    def model(rngs):
        return nnx.Sequential(nnx.Linear(2, 16, rngs=rngs), nnx.tanh, nnx.Linear(16, 8, rngs=rngs))

    return hj.Task(model, {"train": (ends, masks)}, loss=loss)


def test_a_task_can_be_trained_on_masks():
    stretches = task("dice")
    assert [stretches.kind, task("tversky").kind, task("binary_cross_entropy").kind] == ["mask", "mask", "binary"]
    recipe = hj.Recipe(learning_rate=0.02, epochs=30)
    chosen = [
        recipe,
        recipe.replace(loss_arguments={"smooth": 0.0}),
        recipe.replace(loss="tversky", loss_arguments={"alpha": 0.2}),
        recipe.replace(loss="binary_cross_entropy", label_smoothing=0.1),
    ]
    runs = hj.fit_population(stretches, chosen)
    assert runs.conditions["programs"] == 1
    for run in runs:
        assert run.losses[-1] < 0.6 * run.losses[0]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: losses.dice(LOGITS, MASKS[:, :1]), "masks must have the shape"),
        (lambda: losses.dice(LOGITS, 2 * MASKS), r"masks must be in \[0, 1\], got values from 0 to 2"),
        (lambda: losses.dice(LOGITS, 2 * MASKS, where=MASKS > 0), r"masks must be in \[0, 1\], got values from 2 to 2"),
        (lambda: losses.dice(LOGITS, MASKS, -1.0), "smooth"),
        (lambda: losses.dice(LOGITS, MASKS, where=MASKS[0, 0, :5] > 0), "where must be broadcastable"),
        (lambda: losses.tversky(LOGITS, MASKS, -0.5, 1.0), "alpha"),
        (lambda: losses.tversky(LOGITS, MASKS, 1.5), r"alpha must be a number in \[0, 1\]"),
        (lambda: losses.tversky(LOGITS, MASKS, 0.5, -0.5), "beta"),
        (lambda: losses.tversky(LOGITS, MASKS, smooth=-0.5), "smooth"),
        (lambda: task("dice", high=2), r"labels in data\['train'\] must be 0 or 1 for the loss dice"),
        (lambda: task("dise"), "loss must be one of .* did you mean 'dice'"),
        (lambda: losses.select(0, ["dise"], "mask"), "did you mean 'dice'"),
    ],
)
def test_bad_input_names_the_argument(call, named):
    with pytest.raises(ValueError, match=named):
        call()
