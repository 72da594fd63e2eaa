"""Random search by a vmapped loop in Flax: all recipes of a batch size side by side, in a program of their own."""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from searched import (
    ACTIVATIONS,
    CHANNELS,
    DECAYS,
    DROPOUTS,
    OPTIMIZERS,
    RATES,
    SCHEDULES,
    WIDTHS,
    Setting,
    better,
    tell,
)

RULES = (optax.trace(0.9), optax.scale_by_adam(), optax.scale_by_rms(0.9))
HE = nnx.initializers.he_normal()


def activated(x: Any, which: Any) -> Any:
    return jnp.select([which == 0, which == 1], [nnx.relu(x), jnp.tanh(x)], nnx.gelu(x))


def dropped(x: Any, rate: Any, key: Any) -> Any:
    """`key` is None in evaluation."""
    return x if key is None else jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


class MLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(a, b, kernel_init=HE, rngs=rngs) for a, b in pairwise(WIDTHS)])

    def __call__(self, x: Any, h: dict[str, Any], key: Any) -> Any:
        for place, layer in enumerate(self.layers[:-1]):
            own = None if key is None else jax.random.fold_in(key, place)
            x = dropped(activated(layer(x), h["activation"]), h["dropout"], own)
        return self.layers[-1](x)


class CNN(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        sizes = list(pairwise((1, *CHANNELS)))
        self.layers = nnx.List([nnx.Conv(a, b, (3, 3), use_bias=False, kernel_init=HE, rngs=rngs) for a, b in sizes])
        self.norms = nnx.List([nnx.BatchNorm(b, momentum=0.9, rngs=rngs) for _, b in sizes])
        self.output = nnx.Linear(CHANNELS[-1], WIDTHS[-1], kernel_init=HE, rngs=rngs)

    def __call__(self, x: Any, h: dict[str, Any], key: Any) -> Any:
        x = x.reshape(-1, 8, 8, 1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = activated(norm(layer(x), use_running_average=key is None), h["activation"])
        return self.output(dropped(x.mean((1, 2)), h["dropout"], key))


def rate(h: dict[str, Any], share: Any) -> Any:
    factors = [1.0, 1 - share, (1 + jnp.cos(jnp.pi * share)) / 2]
    return h["learning_rate"] * jnp.select([h["schedule"] == 0, h["schedule"] == 1], factors[:2], factors[2])


def programs(task: str, batch: int, epochs: int, data: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Functions of one member that begin, train an epoch, and measure; the population is their vmap."""
    make = MLP if task == "mlp" else CNN
    x, y = jnp.asarray(data["train_x"]), jnp.asarray(data["train_y"], jnp.int32)
    per_epoch = len(x) // batch
    graph, *_ = nnx.split(make(nnx.Rngs(0)), nnx.Param, ...)

    def begin(key: Any) -> Any:
        _, weights, rest = nnx.split(make(nnx.Rngs(key)), nnx.Param, ...)
        return weights, rest, tuple(rule.init(weights) for rule in RULES), jnp.zeros((), jnp.int32)

    def step(h: dict[str, Any], key: Any, state: Any, index: Any) -> Any:
        weights, rest, states, count = state

        def loss(weights: Any) -> Any:
            network = nnx.merge(graph, weights, rest, copy=True)  # its running means change
            logits = network(x[index], h, jax.random.fold_in(key, count))
            after = nnx.split(network, nnx.Param, ...)[2]
            return optax.softmax_cross_entropy_with_integer_labels(logits, y[index]).mean(), after

        gradient, rest = jax.grad(loss, has_aux=True)(weights)
        updates, states = zip(*(r.update(gradient, s) for r, s in zip(RULES, states, strict=True)), strict=True)
        now, which = rate(h, count / (epochs * per_epoch)), h["optimizer"]

        def moved(weight: Any, *each: Any) -> Any:
            direction = jnp.select([which == 0, which == 1], each[:2], each[2])
            return weight - now * (direction + h["weight_decay"] * weight)

        return (jax.tree.map(moved, weights, *updates), rest, states, count + 1), None

    def epoch(h: dict[str, Any], key: Any, state: Any) -> Any:
        order = jax.random.permutation(jax.random.fold_in(key, -1 - state[3]), len(x))
        return jax.lax.scan(partial(step, h, key), state, order[: per_epoch * batch].reshape(per_epoch, batch))[0]

    def accuracy(h: dict[str, Any], state: Any) -> Any:
        logits = nnx.merge(graph, *state[:2])(jnp.asarray(data["validation_x"]), h, None)
        return (logits.argmax(1) == jnp.asarray(data["validation_y"])).mean()

    return tuple(jax.jit(jax.vmap(part)) for part in (begin, epoch, accuracy))


def drawn(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """A column for each name; choices as their places."""
    logarithms = {"learning_rate": RATES, "weight_decay": DECAYS}
    choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "activation": ACTIVATIONS}
    found = {name: np.exp(rng.uniform(*np.log(ends), count)).astype(np.float32) for name, ends in logarithms.items()}
    found |= {name: rng.integers(len(listed), size=count) for name, listed in choices.items()}
    return found | {"dropout": rng.uniform(*DROPOUTS, count).astype(np.float32)}


def search(setting: Setting) -> None:
    """The contender."""
    data, rng, best = setting.load(), np.random.default_rng(setting.seed), -1.0
    sizes = rng.choice(setting.batches, setting.trials)
    names = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "activation": ACTIVATIONS}
    for batch in setting.batches:
        count = int((sizes == batch).sum())
        if not count:
            continue
        h = drawn(rng, count)
        begin, epoch, accuracy = programs(setting.task, batch, setting.epochs, data)
        keys = jax.random.split(jax.random.key(setting.seed), count)
        state = begin(keys)
        for _ in range(setting.epochs):
            state = epoch(h, keys, state)
            scores = np.asarray(accuracy(h, state))
        at = int(np.argmax(scores))
        if scores[at] > best:
            best = float(scores[at])
            values = {n: names[n][int(c[at])] if n in names else float(c[at]) for n, c in h.items()}
            better(setting, values | {"batch_size": batch}, best)
    tell(setting.out, ended={"trials": setting.trials})
