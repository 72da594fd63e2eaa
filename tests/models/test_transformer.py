"""The transformer: attention against a plain loop, causality, sizes, gradients, training in the engine."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers, random
from hyperjax.models import Transformer
from hyperjax.models.transformer import CausalAttention
from tests.models.alone import a_member_equals_its_lone_run


def small(**changes):
    given = {"vocabulary": 11, "width": 8, "layers": 2, "heads": 2, "context": 6, "multiple": 3}
    return Transformer(**(given | changes), rngs=nnx.Rngs(random.key(0)))


def noisy(model):
    """Every weight drawn anew, so that no bias is 0 and no scale 1."""
    graph, weights, rest = nnx.split(model, nnx.Param, ...)
    leaves, tree = jax.tree.flatten(weights)
    drawn = [0.3 * jax.random.normal(random.key(i), leaf.shape) for i, leaf in enumerate(leaves)]
    return nnx.merge(graph, jax.tree.unflatten(tree, drawn), rest)


TOKENS = np.random.default_rng(0).integers(0, 11, (3, 5))


def test_attention_is_the_plain_loop():
    examples, time, heads, features = 2, 4, 3, 2
    width = heads * features
    attention = noisy(CausalAttention(width, heads, rngs=nnx.Rngs(0)))
    rows = np.asarray(jax.random.normal(random.key(9), (examples * time, width)), np.float64)
    inward, outward = (
        [np.asarray(v[...], np.float64) for v in (layer.kernel, layer.bias)]
        for layer in (attention.inward, attention.outward)
    )
    all_queries, all_keys, all_values = np.split(rows @ inward[0] + inward[1], 3, -1)
    mixed = np.zeros_like(rows)
    for example in range(examples):
        for head in range(heads):
            own = slice(head * features, (head + 1) * features)
            for t in range(time):
                seen = slice(example * time, example * time + t + 1)
                scores = all_keys[seen, own] @ all_queries[example * time + t, own] / math.sqrt(features)
                shares = np.exp(scores) / np.exp(scores).sum()
                mixed[example * time + t, own] = shares @ all_values[seen, own]
    expected = mixed @ outward[0] + outward[1]
    np.testing.assert_allclose(attention(jnp.asarray(rows, jnp.float32), time), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "tied"), [("layer", False), ("rms", True)])
def test_the_output_is_the_hand_written_network(norm, tied):
    model = noisy(small(norm=norm, tied=tied, activation="tanh"))

    def of(linear):
        return lambda x: (
            x @ np.asarray(linear.kernel[...]) + (0 if linear.bias is None else np.asarray(linear.bias[...]))
        )

    def normed(layer, x):
        scale = np.asarray(layer.scale[...])
        if norm == "rms":
            return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6) * scale
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6) * scale + np.asarray(layer.bias[...])

    embedding = np.asarray(model.embedding.embedding[...])
    h = (embedding[TOKENS] + np.asarray(model.positions[...])[:5]).reshape(15, 8)
    for block in model.blocks:
        h = h + np.asarray(block.attention(jnp.asarray(normed(block.norms[0], h)), 5))
        h = h + of(block.down)(np.tanh(of(block.up)(normed(block.norms[1], h))))
    h = normed(model.norm, h)
    expected = h @ embedding.T if tied else of(model.output)(h)
    np.testing.assert_allclose(model(TOKENS), expected.reshape(3, 5, 11), rtol=1e-3, atol=1e-4)


def test_a_later_token_changes_no_earlier_logits():
    model = noisy(small())
    before = np.asarray(model(TOKENS))
    for t in range(5):
        changed = TOKENS.copy()
        changed[:, t] = (changed[:, t] + 1) % 11
        after = np.asarray(model(changed))
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert np.abs(after[:, t:] - before[:, t:]).max((0, 2)).min() > 1e-3
    np.testing.assert_allclose(model(TOKENS[:, :3]), before[:, :3], rtol=1e-4, atol=1e-5)  # a shorter sequence


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        # embedding 11*8, positions 6*8, output 8*11, last norm 16; a block: norms 32, attention 8*24+24 + 8*8+8,
        # feed-forward 8*24+24 + 24*8+8
        ({}, 88 + 48 + 88 + 16 + 2 * (32 + 216 + 72 + 216 + 200)),
        ({"tied": True}, 88 + 48 + 16 + 2 * 736),
        ({"norm": "rms"}, 88 + 48 + 88 + 8 + 2 * (736 - 16)),
        # GPT-2's smallest model, as its authors' code makes it
        (
            {
                "vocabulary": 50257,
                "width": 768,
                "layers": 12,
                "heads": 12,
                "context": 1024,
                "multiple": 4,
                "tied": True,
            },
            124_439_808,
        ),
    ],
)
def test_parameters_are_counted_by_hand(changes, count):
    weights = nnx.state(nnx.eval_shape(lambda: small(**changes)), nnx.Param)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(weights)) == count


def test_initial_weights():
    model = Transformer(200, 64, layers=8, heads=2, rngs=nnx.Rngs(random.key(1)))
    block = model.blocks[3]
    for kernel, deviation in (
        (model.embedding.embedding, 0.02),
        (model.positions, 0.02),
        (model.output.kernel, 0.02),
        (block.attention.inward.kernel, 1 / 8),
        (block.up.kernel, 1 / 8),
        (block.attention.outward.kernel, 1 / 8 / 4),  # 1 / sqrt(2 * 8 layers)
        (block.down.kernel, 1 / 16 / 4),
    ):
        assert np.asarray(kernel[...]).std() == pytest.approx(deviation, rel=0.05)


def test_every_gradient_is_finite_and_agrees_with_differences():
    model = noisy(small(dropout=0.3))
    model.eval()
    graph, weights, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def loss(weights):
        logits = nnx.merge(graph, weights, rest, copy=True)(TOKENS)
        return hj.losses.cross_entropy(logits[:, :-1], TOKENS[:, 1:]).mean()

    gradient = jax.jit(jax.grad(loss))(weights)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
    direction = jax.tree.map(lambda leaf: jnp.sign(leaf) * 1e-3, gradient)
    ahead, behind = (loss(jax.tree.map(lambda w, d, s=sign: w + s * d, weights, direction)) for sign in (1, -1))
    slope = sum(float(jnp.vdot(g, d)) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    assert float(ahead - behind) / 2 == pytest.approx(slope, rel=1e-2)


def test_hyperparameters_are_everywhere():
    model = small(dropout=0.5)
    assert layers.names(model) == ("activation", "dropout")
    dropouts = [node for _, node in nnx.iter_graph(model) if isinstance(node, layers.Dropout)]
    activations = [node for _, node in nnx.iter_graph(model) if isinstance(node, layers.Activation)]
    assert (len(dropouts), len(activations)) == (1 + 2 * 2, 2)
    layers.bind(model, {"dropout": 1.0})
    np.testing.assert_array_equal(model(TOKENS), np.zeros((3, 5, 11)))  # nothing is left, and norms begin without bias


def copying():
    """Say what stood two places before: attention has to look there."""
    tokens = np.random.default_rng(0).integers(0, 4, (96, 6)).astype(np.int32)
    targets = np.concatenate([np.zeros((96, 2), np.int32), tokens[:, :-2]], 1)
    data = {"train": (tokens[:80], targets[:80]), "validation": (tokens[80:], targets[80:])}

    def model(rngs):
        return Transformer(4, 16, layers=1, heads=2, context=6, multiple=2, rngs=rngs)

    return hj.Task(model, data, loss="cross_entropy")


@pytest.mark.slow
def test_it_trains_in_the_engine():
    recipe = hj.Recipe(learning_rate=0.01, batch_size=40, epochs=100, activation="gelu", dropout=0.0)
    runs = a_member_equals_its_lone_run(copying(), [recipe, recipe.replace(dropout=0.1, activation="relu", epochs=3)])
    assert runs[0].losses[0] > 1.2  # log 4 is 1.39
    assert runs[0].losses[-1] < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": 0}, "vocabulary must be a whole number of at least 1, got 0"),
        ({"layers": 0}, "layers must be a whole number of at least 1, got 0"),
        ({"context": -1}, "context must be a whole number of at least 1, got -1"),
        ({"multiple": 0.5}, "multiple must be a whole number of at least 1, got 0.5"),
        ({"width": 9}, "width must be a multiple of heads, 2, got 9"),
        ({"norm": "batch"}, "norm must be one of layer, rms, got 'batch'"),
        ({"activation": "gelue"}, "activation must be one of"),
        ({"dropout": -0.1}, r"rate must be a number in \[0, 1\], got -0.1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_sequences_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"tokens must have 2 axes, \[examples, time\], got \(5,\)"):
        small()(np.zeros(5, np.int32))
    with pytest.raises(ValueError, match="tokens must be at most 6 in a sequence, got 7"):
        small()(np.zeros((1, 7), np.int32))
