"""What the machine can do and what one training asks of it: matrix products a second, and FLOPs by XLA's count."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = (1024, 2048, 4096)  # of square matrices; the best counts
REPEATS = 3


def peak_jax() -> float:
    """Best GFLOP/s of JAX's float32 matrix product over the sizes, all cores."""
    import jax

    product = jax.jit(lambda a: a @ a)
    return _best(jax.device_put, lambda a: product(a).block_until_ready())


def peak_torch(cores: int) -> float:
    """Best GFLOP/s of PyTorch's float32 matrix product over the sizes, all cores."""
    import torch

    torch.set_num_threads(cores)
    return _best(torch.from_numpy, lambda a: a @ a)


def _best(place: Callable[[np.ndarray], Any], product: Callable[[Any], Any]) -> float:
    rates = []
    for size in SIZES:
        matrix = place(np.random.default_rng(0).standard_normal((size, size), np.float32))
        product(matrix)
        for _ in range(REPEATS):
            begin = time.perf_counter()
            product(matrix)
            rates.append(2e-9 * size**3 / (time.perf_counter() - begin))
    return max(rates)


def training_flops(widths: tuple[int, ...], examples: int, batch: int, epochs: int) -> float:
    """FLOPs of one trial: XLA's count for one Adam step at each of its two batch sizes, times the steps.

    Of a whole program XLA counts a loop's body once, whatever the number of turns.
    """
    import jax
    import jax.numpy as jnp
    import optax

    adam = optax.adam(1e-3)
    params = [(jnp.zeros(pair), jnp.zeros(pair[1])) for pair in itertools.pairwise(widths)]

    def loss(params: Any, x: Any, y: Any) -> Any:
        for kernel, bias in params[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        logits = x @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        updates, state = adam.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    def count(size: int) -> float:
        x, y = jnp.zeros((size, widths[0])), jnp.zeros(size, jnp.int32)
        return float(jax.jit(step).lower(params, adam.init(params), x, y).cost_analysis()["flops"])

    whole, rest = divmod(examples, batch)
    return epochs * (whole * count(batch) + (count(rest) if rest else 0.0))
