"""Whether examples meet is read from a program's operations: what is taken as apart is, and what is not is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers
from hyperjax.tasks import find
from hyperjax.training.lowering import lower_together
from hyperjax.training.program import rows_are_apart
from hyperjax.training.rows import rows_apart

KEY = jax.random.key(3)
MATRIX = jax.random.normal(KEY, (6, 6))
KERNEL = jax.random.normal(KEY, (3, 3, 1, 4))
TABLE = jax.random.normal(KEY, (10, 5))


def images(x):
    return jnp.tile(x[:, :, None, None], (1, 1, 6, 1))


def labels(x):
    return (jnp.abs(x[:, 0]) * 3).astype(jnp.int32) % 6


def lstm(x):
    cell = nnx.LSTMCell(1, 4, rngs=nnx.Rngs(0))
    return nnx.RNN(cell)(x[:, :, None])


def attention(x):
    return nnx.MultiHeadAttention(2, 4, decode=False, rngs=nnx.Rngs(0))(x[:, :, None] * jnp.ones(4))


def own_loop(x):
    def body(carry):
        turn, value = carry
        return turn + 1, jnp.tanh(value @ MATRIX)

    return jax.lax.while_loop(lambda carry: carry[0] < 3, body, (0, x))[1]


APART = {
    "dense": lambda x: jax.nn.gelu(x @ MATRIX + 1.0),
    "the other side of a product": lambda x: (MATRIX @ x.T).T,
    "products of each with its own": lambda x: jnp.einsum("bi,bj->bij", x, x),
    "layer norm": lambda x: nnx.LayerNorm(6, rngs=nnx.Rngs(0))(x),
    "softmax": jax.nn.log_softmax,
    "masks": lambda x: x * jax.random.bernoulli(KEY, 0.5, x.shape),
    "a number of its own": lambda x: x + jnp.arange(len(x))[:, None],
    "convolution": lambda x: jax.lax.conv_general_dilated(
        images(x), KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "patches": lambda x: layers.conv_general_dilated(
        images(x), KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "pooling": lambda x: nnx.max_pool(images(x), (2, 2), (2, 2)),
    "mean pooling": lambda x: nnx.avg_pool(images(x), (2, 2)).mean((1, 2)),
    "flat and back": lambda x: jnp.tanh(x.reshape(-1, 2) @ jnp.ones((2, 3))).reshape(len(x), -1),
    "an embedding": lambda x: TABLE[labels(x)],
    "the label's own": lambda x: jnp.take_along_axis(x, labels(x)[:, None], 1),
    "one-hot": lambda x: jax.nn.one_hot(labels(x), 6) * x,
    "columns in turn": lambda x: jax.lax.scan(lambda c, column: (c + column, c * 2), jnp.zeros(len(x)), x.T)[1].T,
    "a recurrent network": lstm,
    "attention within": attention,
    "a loop": own_loop,
    "a branch for all": lambda x: jax.lax.cond(MATRIX[0, 0] > 0, jnp.tanh, jnp.exp, x),
    "sorted columns": lambda x: jnp.sort(x, axis=1),
    "sums along": lambda x: jnp.cumsum(x, 1),
    "the best": lambda x: jnp.argmax(x, -1) == labels(x),
    "parts joined": lambda x: jnp.concatenate([x[:, :2], x[:, 3:], jnp.ones((len(x), 2))], 1),
    "padded columns": lambda x: jnp.pad(x, ((0, 0), (1, 1))),
    "reversed columns": lambda x: x[:, ::-1],
    "kept and computed again": jax.checkpoint(lambda x: jnp.sin(x) @ MATRIX),
    "a rule of its own": jax.nn.relu,
    "two of the best": lambda x: jax.lax.top_k(x, 2)[0],
    "split": lambda x: sum(jnp.split(x, 3, axis=1)),
}
TOGETHER = {
    "batch norm": lambda x: (x - x.mean(0)) / x.std(0),
    "a mean": lambda x: x * x.mean(),
    "the first": lambda x: x - x[0],
    "the next": lambda x: jnp.roll(x, 1, axis=0),
    "in reverse": lambda x: x[::-1],
    "sums from the first": lambda x: jnp.cumsum(x, 0),
    "sorted rows": lambda x: jnp.sort(x, axis=0),
    "pairs": lambda x: x @ x.T @ x,
    "differences of all": lambda x: (x[:, None] - x[None]).sum(1),
    "softmax over all": lambda x: jax.nn.softmax(x, axis=0),
    "a scan over examples": lambda x: jax.lax.scan(lambda c, row: (c + row, c), jnp.zeros(6), x)[1],
    "rows of others": lambda x: x[labels(x)],
    "turned on its side": lambda x: x.reshape(6, -1).T,
    "windows over rows": lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (2, 1), (1, 1), "SAME"),
    "convolution over rows": lambda x: jax.lax.conv_general_dilated(x.T[None], jnp.ones((6, 6, 3)), (1,), "SAME")[0].T,
    "a branch by them": lambda x: jax.lax.cond(x.sum() > 0, jnp.tanh, jnp.exp, x),
    "a loop until all": lambda x: jax.lax.while_loop(lambda v: v.max() > 1, lambda v: v / 2, x),
    "solved together": lambda x: jnp.linalg.solve(x.T @ x + jnp.eye(6), x.T).T,
    "divided by their number": lambda x: x / len(x),
    "another way for many": lambda x: jnp.tanh(x) if len(x) > 8 else x,
    "an unknown operation": lambda x: jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(x.shape, x.dtype), x),
}


@pytest.mark.parametrize("name", APART)
def test_examples_by_themselves_are_apart(name):
    function = APART[name]
    x = jax.random.normal(KEY, (8, 6))
    assert rows_apart(lambda x: (function(x), ()), jax.ShapeDtypeStruct((8, 6), jnp.float32))
    others = x.at[5:].set(jnp.nan)
    np.testing.assert_array_equal(function(others)[:5], function(x)[:5])  # the claim itself, by example
    np.testing.assert_allclose(function(x[:5]), function(x)[:5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TOGETHER)
def test_examples_that_meet_are_not_apart(name):
    assert not rows_apart(lambda x: (TOGETHER[name](x), ()), jax.ShapeDtypeStruct((8, 6), jnp.float32))


def test_what_belongs_to_all_may_depend_on_none():
    shape = jax.ShapeDtypeStruct((8, 6), jnp.float32)
    assert rows_apart(lambda x, count: (x, count + 1), shape, jnp.zeros(()))
    assert not rows_apart(lambda x, count: (x, count + x.sum()), shape, jnp.zeros(()))
    assert not rows_apart(lambda x: (MATRIX, ()), shape)  # no row for each
    assert not rows_apart(lambda x: (x.T, ()), shape)  # not in front


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        *((name, True) for name in ("digits", "words", "mnist1d", "text", "adding", "diabetes", "ranking")),
        *((name, False) for name in ("digits_cnn", "wine", "embedding", "digits_gan")),
    ],
)
def test_bundled_tasks(name, apart):
    task = find(name)
    (settings,), structure = lower_together([hj.Recipe(epochs=1, batch_size=16)], task)
    assert rows_are_apart(task, structure, settings) is apart
