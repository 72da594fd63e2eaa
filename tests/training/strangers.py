"""Models as strangers write them, in the manner of Flax's and Equinox's own documentation, and what they learn here."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

import hyperjax as hj


def pictures(model, examples=24, size=8, **changes):
    """Pictures whose class is the quarter with the bright spot."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, examples)
    x = rng.normal(0, 0.3, (examples, size, size, 1)).astype(np.float32)
    half = size // 2
    for i, label in enumerate(labels):
        row, column = divmod(int(label), 2)
        x[i, row * half : (row + 1) * half, column * half : (column + 1) * half] += 1.0
    return _task(model, x, labels.astype(np.int32), **changes)


def sequences(model, examples=24, length=5, width=4, **changes):
    """Sequences whose class is where their sum is largest."""
    x = np.random.default_rng(0).normal(size=(examples, length, width)).astype(np.float32)
    return _task(model, x, x.sum(1)[:, :3].argmax(-1).astype(np.int32), **changes)


def rows(model, examples=24, width=4, **changes):
    """Rows of numbers whose class is where the largest of the first three stands."""
    x = np.random.default_rng(0).normal(size=(examples, width)).astype(np.float32)
    return _task(model, x, x[:, :3].argmax(-1).astype(np.int32), **changes)


def _task(model, x, y, **changes):
    given = {"loss": "cross_entropy", "metrics": {"accuracy": hj.metrics.accuracy}, "name": "stranger's"}
    data = {"train": (x, y), "validation": (x[::3], y[::3])}
    return hj.Task(**({"model": model, "data": data} | given | changes))


class CNN(nnx.Module):
    """Dropout without a stream of its own: whoever calls the model brings one."""

    def __init__(self, dropout: float = 0.0, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 4, kernel_size=(3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(rate=dropout)
        self.linear = nnx.Linear(4 * 4 * 4, 4, rngs=rngs)

    def __call__(self, x, rngs: nnx.Rngs | None = None):
        x = nnx.relu(self.norm(self.conv(x)))
        x = nnx.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = self.dropout(x.reshape(x.shape[0], -1), rngs=rngs)
        return self.linear(x)


class LinenCNN(nn.Module):
    features: int = 4

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(features=self.features, kernel_size=(3, 3))(x))
        x = nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
        return nn.Dense(features=4)(x.reshape((x.shape[0], -1)))


class LinenNormed(nn.Module):
    """BatchNorm told by a flag whether it is trained; dropout by a rate that a recipe may bind."""

    width: int = 8

    @nn.compact
    def __call__(self, x, train: bool):
        rate = self.variable("hyperparameters", "dropout", lambda: 0.0)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(self.width, use_bias=False)(x))
        key = self.make_rng("dropout") if train else None
        x = hj.layers.Dropout(rate.value)(nn.relu(x), deterministic=not train, rngs=key)
        return nn.Dense(3)(x)


class LSTM(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.rnn = nnx.RNN(nnx.LSTMCell(4, 6, rngs=rngs))
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x)[:, -1])


class Transformer(nnx.Module):
    """One block in front of a mean."""

    def __init__(self, rngs: nnx.Rngs, dropout: float = 0.0):
        self.attention = nnx.MultiHeadAttention(
            num_heads=2, in_features=4, decode=False, dropout_rate=dropout, rngs=rngs
        )
        self.before, self.behind = nnx.LayerNorm(4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs)
        self.up, self.down = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 4, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = x + self.dropout(self.attention(self.before(x)))
        x = x + self.dropout(self.down(nnx.gelu(self.up(self.behind(x)))))
        return self.head(x.mean(axis=1))


class Calls(nnx.Variable):
    """A kind of variable that no library knows."""


class Odd(nnx.Module):
    """State of every kind: a whole number, a tree, a bare array, a key, and one weight in two places."""

    def __init__(self, rngs: nnx.Rngs):
        self.tied = nnx.Linear(4, 4, rngs=rngs)
        self.again = nnx.Linear(4, 4, rngs=rngs)
        self.again.kernel = self.tied.kernel
        self.head = nnx.Linear(4, 3, rngs=rngs)
        self.calls = Calls(jnp.zeros((), jnp.int32))
        self.seen = nnx.Variable({"mean": jnp.zeros(4), "largest": jnp.zeros(())})
        self.offset = jnp.full(4, 0.5)
        self.last = jnp.zeros(4)
        self.chain = nnx.Variable(jax.random.key(3))

    def __call__(self, x, train: bool = False):
        noise = 0.0
        if train:
            self.calls.set_value(self.calls.get_value() + 1)
            seen = self.seen.get_value()
            self.seen.set_value({"mean": 0.5 * (seen["mean"] + x.mean(0)), "largest": x.max()})
            self.last = x[-1]
            key, drawn = jax.random.split(self.chain.get_value())
            self.chain.set_value(key)
            noise = 0.1 * jax.random.normal(drawn, x.shape)
        return self.head(nnx.tanh(self.again(nnx.tanh(self.tied(x + noise)))) + self.offset)


def dense_init(key, width: int = 6):
    first, second = jax.random.split(key)
    return {
        "hidden": {"kernel": jax.random.normal(first, (4, width)) / 2, "bias": jnp.zeros(width)},
        "head": jax.random.normal(second, (width, 3)) / 2,
        "steps": np.int32(7),
    }


def dense_apply(params, x, *, train: bool = False, key=None, dropout: float = 0.0):
    hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    if train:
        kept = jax.random.bernoulli(key, 1 - dropout, hidden.shape)
        hidden = jnp.where(kept, hidden / (1 - dropout), 0)
    return hidden @ params["head"]


def counting_init(key):
    """As Haiku's `transform_with_state` gives: parameters and state apart, both under the names of modules."""
    return {"linear": {"w": jax.random.normal(key, (4, 3)) / 2}}, {"linear": {"mean": jnp.zeros(4), "n": 0}}


def counting_apply(params, state, rng, x, is_training):
    own = state["linear"]
    if is_training:
        own = {"mean": 0.5 * (own["mean"] + x.mean(0)), "n": own["n"] + 1}
        x = x + 0.1 * jax.random.normal(rng, x.shape)
    return (x - own["mean"]) @ params["linear"]["w"], {"linear": own}
