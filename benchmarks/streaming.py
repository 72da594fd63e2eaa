"""Seconds a step on data that are read while they are used, beside the same data on the device.

    python benchmarks/streaming.py [--examples 60000] [--width 256] [--epochs 2] [--rounds 5]

Made images of 784 bytes each, an MLP with two hidden layers, Adam, batches of 64. The memory map lies in a new file,
which the page cache holds after the first round; that round, in which all is compiled too, is not counted.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from contest import conditions
from flax import nnx

import hyperjax as hj
from hyperjax.tasks import MemoryMap, Stream


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, width: int):
        self.first = nnx.Linear(784, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.last = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x.astype(np.float32) / 255.0
        return self.last(nnx.relu(self.second(nnx.relu(self.first(x)))))


def batches(images: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """A loader as people write it: a new order each time, one batch after another."""

    class Loader:
        def __len__(self) -> int:
            return len(images) // 64

        def __iter__(self) -> Any:
            order = np.random.default_rng(seed).permutation(len(images))
            for i in range(len(self)):
                rows = order[64 * i : 64 * (i + 1)]
                yield images[rows], labels[rows]

    return Stream(Loader())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"examples": 60000, "width": 256, "epochs": 2, "rounds": 5, "members": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (given.examples, 784)).astype(np.uint8)
    labels = rng.integers(0, 10, given.examples).astype(np.int32)
    folder = Path(tempfile.mkdtemp())
    np.save(folder / "images.npy", images)
    mapped = np.load(folder / "images.npy", mmap_mode="r")
    ways = {
        "on the device": (images, labels),
        "memory map": MemoryMap((mapped, labels)),
        "a loader's batches": batches(images, labels, 0),
    }
    recipes = [hj.Recipe(batch_size=64, epochs=given.epochs, learning_rate=1e-3 / 2**i) for i in range(given.members)]
    tasks = {
        name: hj.Task(lambda rngs: Net(rngs, given.width), {"train": train}, loss="cross_entropy", name=name)
        for name, train in ways.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(given.rounds + 1):
        for name, task in tasks.items():
            begin = time.perf_counter()
            runs = hj.fit_population(task, recipes, seeds=[turn])
            if turn:
                seconds[name].append((time.perf_counter() - begin) / runs[0].steps_done)
    print(conditions())
    first = next(iter(seconds))
    print(f"{'training set':<20} {'us a step':>10} {'to the device':>14}")
    for name, each in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(each, seconds[first], strict=True))
        print(f"{name:<20} {1e6 * statistics.median(each):>10.0f} {ratio:>13.2f}x")


if __name__ == "__main__":
    main()
