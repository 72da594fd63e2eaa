"""What a random mask costs inside a training loop: our keys beside JAX's; optionally a picture of masks to look at."""

import argparse
import platform
import statistics
import struct
import time
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import random

IMPLEMENTATIONS = {"hash (ours)": random.IMPLEMENTATION, "threefry2x32": "threefry2x32", "rbg": "rbg"}


def masking(key, shape, steps):
    """A loop whose step draws one mask from the step's own key and uses it; compiled, with the seconds that took."""

    def step(carry, i):
        keep = jax.random.bernoulli(jax.random.fold_in(key, i), 0.7, shape)
        return carry + jnp.where(keep, carry * 1e-3, 0.0), None

    run = jax.jit(lambda: jax.lax.scan(step, jnp.ones(shape), jnp.arange(steps))[0])
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return run, time.perf_counter() - begin


def seconds(run):
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def write_png(path, pixels):
    """Write a uint8[height, width] greyscale image; a PNG is three chunks, each with its length and checksum."""
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def picture(size=192, gap=8):
    """Six panels: masks of rate 0.5 and 0.05; where those of two steps, two members, two layers differ; raw bytes."""
    root, shape = random.key(0), (size, size)
    half = jax.random.bernoulli(root, 0.5, shape)
    sparse = jax.random.bernoulli(jax.random.fold_in(root, 1), 0.05, shape)
    steps = [jax.random.bernoulli(jax.random.fold_in(root, i), 0.5, shape) for i in (0, 1)]
    members = [jax.random.bernoulli(random.key(i), 0.5, shape) for i in (0, 1)]
    layers = [jax.random.bernoulli(k, 0.5, shape) for k in jax.random.split(root)]
    panels = [half, sparse, *(a != b for a, b in (steps, members, layers))]
    pixels = [np.asarray(panel).astype(np.uint8) * 255 for panel in panels]
    pixels.append(np.asarray(jax.random.bits(root, shape, "uint8")))
    pixels = [np.kron(p, np.ones((2, 2), np.uint8)) for p in pixels]
    framed = [np.pad(p, gap, constant_values=128) for p in pixels]
    return np.vstack([np.hstack(framed[:3]), np.hstack(framed[3:])])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=2, default=(64, 256))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--picture", type=Path, help="write a PNG of masks here")
    options = parser.parse_args()
    shape = tuple(options.shape)
    device = jax.devices()[0]
    print(f"jax {jax.__version__}, Python {platform.python_version()}, {device.platform} ({device.device_kind})")
    print(f"one Bernoulli mask of {shape[0]} x {shape[1]} a step, {options.steps} steps, {options.repeats} repeats")
    runs = {name: masking(jax.random.key(0, impl=i), shape, options.steps) for name, i in IMPLEMENTATIONS.items()}
    times = {name: [] for name in runs}
    for _ in range(options.repeats):  # in turn, so that a busy moment of the machine hits all alike
        for name, (run, _) in runs.items():
            times[name].append(seconds(run) / options.steps * 1e6)
    for name, (_, compilation) in runs.items():
        median, least = statistics.median(times[name]), min(times[name])
        print(f"{name:14s} {median:7.1f} us a mask (least {least:.1f}), first call {compilation:.2f} s")
    if options.picture:
        write_png(options.picture, picture())
        print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
