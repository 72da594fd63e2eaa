"""PyTorch's ways to train a workload: eager or compiled, with all threads, or a process on each core.

Imported by the processes that train with PyTorch alone.
"""

import math
import multiprocessing
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
from setting import cores_available
from torch import nn
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


def scaled_(weight: Any, scale: float) -> None:
    """Normal numbers cut at two deviations, of variance scale / inputs: what Flax calls LeCun (1) and He (2)."""
    deviation = math.sqrt(scale / weight[0].numel()) / 0.87962566103423978  # the cut one's
    torch.nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def linear(inputs: int, outputs: int, scale: float = 1.0) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    scaled_(made.weight, scale)
    nn.init.zeros_(made.bias)
    return made


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
    scaled_(made.weight, 2.0)
    if bias:
        nn.init.zeros_(made.bias)
    return made


class CNN(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        sizes = pairwise((shape[-1], *CHANNELS))
        self.layers = nn.ModuleList(convolution(a, b, bias=True) for a, b in sizes)
        self.output = linear(CHANNELS[-1], CLASSES, 2.0)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.output(x.mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = convolution(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = convolution(outputs, outputs), nn.BatchNorm2d(outputs)
        same = (inputs, stride) == (outputs, 1)
        self.shortcut = None if same else convolution(inputs, outputs, kernel=1, stride=stride)
        self.shortcut_norm = None if same else nn.BatchNorm2d(outputs)

    def forward(self, x: Any) -> Any:
        kept = x if self.shortcut is None else self.shortcut_norm(self.shortcut(x))
        return F.relu(kept + self.second_norm(self.second(F.relu(self.first_norm(self.first(x))))))


class ResNet(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, self.norm = convolution(shape[-1], WIDTHS[0]), nn.BatchNorm2d(WIDTHS[0])
        sizes = pairwise((WIDTHS[0], *WIDTHS))
        self.blocks = nn.Sequential(*(Residual(a, b, 1 if a == b else 2) for a, b in sizes))
        self.output = linear(WIDTHS[-1], CLASSES, 2.0)

    def forward(self, x: Any) -> Any:
        return self.output(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        added = 1 / (2 * LAYERS)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.inward, self.outward = linear(WIDTH, 3 * WIDTH), linear(WIDTH, WIDTH, added)
        self.up, self.down = linear(WIDTH, 4 * WIDTH), linear(4 * WIDTH, WIDTH, added)

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = self.inward(self.norms[0](x)).view(batch, length, 3, HEADS, width // HEADS)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.outward(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(shape[0], WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.output = nn.LayerNorm(WIDTH, eps=1e-6), nn.Linear(WIDTH, VOCABULARY, bias=False)
        for small in (self.embedding, self.positions, self.output):
            nn.init.normal_(small.weight, std=0.02)

    def forward(self, x: Any) -> Any:
        rows = self.embedding(x) + self.positions.weight
        return self.output(self.norm(self.blocks(rows))).flatten(0, 1)


class LSTM(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.cell, self.output = nn.LSTM(shape[-1], HIDDEN, batch_first=True), linear(HIDDEN, CLASSES)
        scaled_(self.cell.weight_ih_l0, 1.0)
        nn.init.orthogonal_(self.cell.weight_hh_l0)
        nn.init.zeros_(self.cell.bias_ih_l0)
        nn.init.zeros_(self.cell.bias_hh_l0)
        with torch.no_grad():
            self.cell.bias_hh_l0[HIDDEN : 2 * HIDDEN] = 1.0

    def forward(self, x: Any) -> Any:
        return self.output(self.cell(x)[0][:, -1])


MODELS = {"cnn": CNN, "resnet": ResNet, "transformer": Transformer, "lstm": LSTM}


def tensors(arrays: Arrays) -> tuple[Any, Any]:
    """As PyTorch wants them: channels before height and width, though still last in memory, and labels of 64 bits."""
    x, y = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
    return (x.permute(0, 3, 1, 2) if x.dim() == 4 else x), y.long()


def loss_of(model: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y.flatten())


def train(name: str, workload: Workload, x: Any, y: Any, rate: float, seed: int, loss: Any = loss_of) -> np.ndarray:
    """One training, written as PyTorch's tutorials do, with the fused Adam; f[steps], its losses."""
    torch.manual_seed(seed)
    shape = tuple(x.shape[1:]) if x.dim() < 4 else (*x.shape[2:], x.shape[1])
    model = MODELS[name](shape)
    if x.dim() == 4:
        model = model.to(memory_format=torch.channels_last)  # the faster one here
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    losses = []
    for _ in range(workload.epochs):
        for index in torch.randperm(len(x)).split(workload.batch):
            optimizer.zero_grad()
            value = loss(model, x[index], y[index])
            value.backward()
            optimizer.step()
            losses.append(value.detach())
    return torch.stack(losses).numpy()


def torch_lone(compiled: bool, name: str, workload: Workload, arrays: Arrays) -> Measure:
    """Trials one after another, each with all threads; `compiled` by `torch.compile`, once for all of them."""
    torch.set_num_threads(cores_available())
    x, y = tensors(arrays)
    loss = torch.compile(loss_of) if compiled else loss_of

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        losses = {rate: train(name, workload, x, y, rate, seed, loss) for rate in workload.few}
        return outcome(time.perf_counter() - begin, workload, losses)

    return measure


_worker: dict[str, Any] = {}


def _start_worker(name: str, workload: Workload, arrays: Arrays, ready: Any) -> None:
    """In each process of a pool: one thread, the data as tensors, one training, then say so."""
    torch.set_num_threads(1)
    _worker["given"] = (name, workload, *tensors(arrays))
    train(*_worker["given"], workload.shown, 0)
    ready.wait()


def _work(job: tuple[float, int]) -> np.ndarray:
    return train(*_worker["given"], *job)


def torch_pool(name: str, workload: Workload, arrays: Arrays) -> Measure:
    """A process on each core, warm before anything is timed, fed one rate at a time."""
    cores = cores_available()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(cores + 1)
    pool = context.Pool(cores, _start_worker, (name, workload._replace(arrays=None), arrays, ready))
    ready.wait()

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        found = pool.imap(_work, [(rate, seed) for rate in workload.rates])
        losses = dict(zip(workload.rates, found, strict=True))
        return outcome(time.perf_counter() - begin, workload, losses)

    return measure
