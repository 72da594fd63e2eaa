"""Flax's way to train a workload: stock NNX modules and a jitted step that a Python loop calls; and FLOPs by XLA.

Imported by the processes that train with Flax alone.
"""

import time
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from workloads import (
    CHANNELS,
    CLASSES,
    HEADS,
    HIDDEN,
    LAYERS,
    VOCABULARY,
    WIDTH,
    WIDTHS,
    Arrays,
    Measure,
    Outcome,
    Workload,
    outcome,
)

HE = nnx.initializers.he_normal()


def convolution(
    inputs: int, outputs: int, rngs: nnx.Rngs, kernel: int = 3, stride: int = 1, bias: bool = False
) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, (kernel, kernel), stride, use_bias=bias, kernel_init=HE, rngs=rngs)


def norm(channels: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(channels, momentum=0.9, rngs=rngs)


class CNN(nnx.Module):
    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> None:
        sizes = pairwise((shape[-1], *CHANNELS))
        self.layers = nnx.List([convolution(a, b, rngs, bias=True) for a, b in sizes])
        self.output = nnx.Linear(CHANNELS[-1], CLASSES, kernel_init=HE, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.output(x.mean((1, 2)))


class Residual(nnx.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs) -> None:
        self.first, self.first_norm = convolution(inputs, outputs, rngs, stride=stride), norm(outputs, rngs)
        self.second, self.second_norm = convolution(outputs, outputs, rngs), norm(outputs, rngs)
        same = (inputs, stride) == (outputs, 1)
        both = [convolution(inputs, outputs, rngs, kernel=1, stride=stride), norm(outputs, rngs)]
        self.shortcut = nnx.Sequential(*([] if same else both))

    def __call__(self, x: Any) -> Any:
        kept = self.shortcut(x) if self.shortcut.layers else x
        return nnx.relu(kept + self.second_norm(self.second(nnx.relu(self.first_norm(self.first(x))))))


class ResNet(nnx.Module):
    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> None:
        self.stem, self.norm = convolution(shape[-1], WIDTHS[0], rngs), norm(WIDTHS[0], rngs)
        sizes = pairwise((WIDTHS[0], *WIDTHS))
        self.blocks = nnx.List([Residual(a, b, 1 if a == b else 2, rngs) for a, b in sizes])
        self.output = nnx.Linear(WIDTHS[-1], CLASSES, kernel_init=HE, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.output(x.mean((1, 2)))


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        added = nnx.initializers.variance_scaling(1 / (2 * LAYERS), "fan_in", "truncated_normal")
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, out_kernel_init=added, decode=False, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, kernel_init=added, rngs=rngs)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norms[1](x))))


class Transformer(nnx.Module):
    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> None:
        small = nnx.initializers.normal(0.02)
        self.embedding = nnx.Embed(VOCABULARY, WIDTH, embedding_init=small, rngs=rngs)
        self.positions = nnx.Embed(shape[0], WIDTH, embedding_init=small, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.output = nnx.Linear(WIDTH, VOCABULARY, use_bias=False, kernel_init=small, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        mask = nnx.make_causal_mask(x)
        rows = self.embedding(x) + self.positions(jnp.arange(x.shape[1]))
        for block in self.blocks:
            rows = block(rows, mask)
        return self.output(self.norm(rows))


def remembering(_: Any, shape: tuple[int, ...], dtype: Any, *__: Any) -> Any:
    return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), shape[0] // 4)


class LSTM(nnx.Module):
    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, unroll: int = 1) -> None:
        cell = nnx.OptimizedLSTMCell(shape[-1], HIDDEN, bias_init=remembering, rngs=rngs)
        self.layer = nnx.RNN(cell, unroll=unroll, rngs=rngs)
        self.output = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.output(self.layer(x)[:, -1])


MODELS = {"cnn": CNN, "resnet": ResNet, "transformer": Transformer, "lstm": LSTM}


def loss_of(model: Any, x: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def flax_loop(name: str, workload: Workload, arrays: Arrays) -> Measure:
    """A loop as Flax NNX's tutorial writes it, but compiled once for all trials.

    The learning rate is an input, where the tutorial's is a constant, and the step is an `nnx.cached_partial`.
    """

    @nnx.jit
    def train_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = nnx.value_and_grad(loss_of)(model, x, y)
        optimizer.update(model, grads)
        return value

    injected = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)
    x, y = arrays

    def train(rate: float, seed: int) -> np.ndarray:
        model = MODELS[name](x.shape[1:], nnx.Rngs(seed))
        optimizer = nnx.Optimizer(model, injected, wrt=nnx.Param)
        optimizer.opt_state.hyperparams["learning_rate"][...] = jnp.float32(rate)
        step = nnx.cached_partial(train_step, model, optimizer)
        shuffle, losses = np.random.default_rng(seed), []
        for _ in range(workload.epochs):
            order = shuffle.permutation(len(x))
            for start in range(0, len(order), workload.batch):
                index = order[start : start + workload.batch]
                losses.append(step(x[index], y[index]))
        return np.asarray(jax.device_get(losses))

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        losses = {rate: train(rate, seed) for rate in workload.few}
        return outcome(time.perf_counter() - begin, workload, losses)

    return measure


def flops_of(name: str, workload: Workload, arrays: Arrays) -> float:
    """FLOPs of one trial: XLA's count for one Adam step at each of its batch sizes, times the steps.

    The LSTM's loop over time is unrolled for it, since XLA counts a loop's body once.
    """
    x, y = arrays
    whole_loop = {"unroll": x.shape[1]} if name == "lstm" else {}
    model = MODELS[name](x.shape[1:], nnx.Rngs(0), **whole_loop)
    graph, state = nnx.split((model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)))

    def step(state: Any, x: Any, y: Any) -> Any:
        model, optimizer = nnx.merge(graph, state)
        value, grads = nnx.value_and_grad(loss_of)(model, x, y)
        optimizer.update(model, grads)
        return value, nnx.state((model, optimizer))

    def count(size: int) -> float:
        return float(jax.jit(step).lower(state, x[:size], y[:size]).cost_analysis()["flops"])

    whole, rest = divmod(len(x), workload.batch)
    return workload.epochs * (whole * count(workload.batch) + (count(rest) if rest else 0.0))
