"""PyTorch's ways to train the population: one after another, a process a core, `torch.func.vmap`, and both."""

import math
import multiprocessing
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from setting import (
    BATCH,
    EVERY_EIGHTH,
    EVERY_FOURTH,
    RATES,
    WIDTHS,
    Data,
    Measure,
    Outcome,
    Score,
    cores_available,
    outcome,
)


def torch_model() -> Any:
    from torch import nn

    layers = [layer for inner, outer in pairwise(WIDTHS) for layer in (nn.Linear(inner, outer), nn.ReLU())]
    for linear in layers[::2]:
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
    return nn.Sequential(*layers[:-1])


def torch_tensors(data: Data) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in data.items()}


def torch_train(rate: float, seed: int, t: dict[str, Any], epochs: int) -> Score:
    """One training, written as PyTorch's tutorials do, with the fused Adam."""
    import torch
    import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)

    torch.manual_seed(seed)
    model = torch_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    for _ in range(epochs):
        for index in torch.randperm(len(t["train_x"])).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(t["train_x"][index]), t["train_y"][index]).backward()
            optimizer.step()
    with torch.no_grad():
        parts = ("validation", "test")
        return tuple((model(t[f"{p}_x"]).argmax(1) == t[f"{p}_y"]).float().mean().item() for p in parts)


def torch_eager(threads: int, data: Data, epochs: int) -> Measure:
    import torch

    torch.set_num_threads(threads)
    tensors = torch_tensors(data)

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        scores = [torch_train(RATES[i], seed, tensors, epochs) for i in EVERY_EIGHTH]
        return outcome(time.perf_counter() - begin, EVERY_EIGHTH, scores)

    return measure


def torch_stacked(rates: Sequence[float], seed: int, t: dict[str, Any], epochs: int) -> list[Score]:
    """All rates side by side by `torch.func.vmap`, each member with an Adam of its own; batches are shared."""
    import torch
    import torch.nn.functional as F  # noqa: N812
    from torch.func import functional_call, grad, stack_module_state, vmap

    torch.manual_seed(seed)
    base = torch_model()
    parameters, _ = stack_module_state([torch_model() for _ in rates])
    parameters = {name: p.detach() for name, p in parameters.items()}
    first = {name: torch.zeros_like(p) for name, p in parameters.items()}
    second = {name: torch.zeros_like(p) for name, p in parameters.items()}
    column = torch.tensor(rates, dtype=torch.float32)
    rate = {name: column.view(-1, *[1] * (p.dim() - 1)) for name, p in parameters.items()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        return F.cross_entropy(functional_call(base, parameters, (x,)), y)

    gradients, step = vmap(grad(loss), in_dims=(0, None, None)), 0
    with torch.no_grad():
        for _ in range(epochs):
            for index in torch.randperm(len(t["train_x"])).split(BATCH):
                step += 1
                for name, g in gradients(parameters, t["train_x"][index], t["train_y"][index]).items():
                    m = first[name].lerp_(g, 0.1)
                    v = second[name].mul_(0.999).addcmul_(g, g, value=0.001)
                    scale = v.sqrt().div_(math.sqrt(1 - 0.999**step)).add_(1e-8)
                    parameters[name].sub_(scale.reciprocal_().mul_(m).mul_(rate[name] / (1 - 0.9**step)))
        predict = vmap(lambda p, x: functional_call(base, p, (x,)).argmax(1), in_dims=(0, None))
        columns = [(predict(parameters, t[f"{p}_x"]) == t[f"{p}_y"]).float().mean(1) for p in ("validation", "test")]
        return list(zip(*(column.tolist() for column in columns), strict=True))


def torch_vmap(data: Data, epochs: int) -> Measure:
    tensors = torch_tensors(data)

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        scores = torch_stacked(RATES[list(EVERY_FOURTH)].tolist(), seed, tensors, epochs)
        return outcome(time.perf_counter() - begin, EVERY_FOURTH, scores)

    return measure


def _start_worker(data: Data, epochs: int, ready: Any) -> None:
    """In each process of a pool: one thread, the data as tensors, one short training of each kind, then say so."""
    import torch

    torch.set_num_threads(1)
    _worker.update(tensors=torch_tensors(data), epochs=epochs)
    torch_train(1e-3, 0, _worker["tensors"], 1)
    torch_stacked([1e-3, 1e-3], 0, _worker["tensors"], 1)
    ready.wait()


def _work_alone(job: tuple[float, int]) -> Score:
    return torch_train(*job, _worker["tensors"], _worker["epochs"])


def _work_stacked(job: tuple[list[float], int]) -> list[Score]:
    return torch_stacked(*job, _worker["tensors"], _worker["epochs"])


_worker: dict[str, Any] = {}


def torch_pool(stacked: bool, data: Data, epochs: int) -> Measure:
    """A process on each core, warm before anything is timed, fed one job (a rate, or 16 stacked ones) at a time."""
    cores = cores_available()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(cores + 1)
    pool = context.Pool(cores, _start_worker, (data, epochs, ready))
    ready.wait()

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        if stacked:
            indices = [i for start in range(4) for i in range((start + 2) % 4, 64, 4)][: 16 * min(cores, 4)]
            chunks = [RATES[indices[i : i + 16]].tolist() for i in range(0, len(indices), 16)]
            scores = [score for part in pool.imap(_work_stacked, [(chunk, seed) for chunk in chunks]) for score in part]
        else:
            indices = list(EVERY_FOURTH)
            scores = list(pool.imap(_work_alone, [(float(RATES[i]), seed) for i in indices]))
        return outcome(time.perf_counter() - begin, indices, scores)

    return measure
