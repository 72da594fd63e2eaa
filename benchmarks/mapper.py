"""`hj.population` over a stranger's function, a random walk of data-dependent length: threads, one thread, jax.vmap.

    python benchmarks/mapper.py [--members 256] [--repeats 7]

Prints the median seconds of each, compile apart, and whether the results are equal.
"""

import argparse
import os
import statistics
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from hyperjax import population


def walk(key: jax.Array, limit: jax.Array) -> jax.Array:
    """Steps of a random walk until it leaves [-limit, limit]."""

    def step(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        position, steps = state
        return position + jax.random.normal(jax.random.fold_in(key, steps)), steps + 1

    start = (jnp.zeros(()), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda s: jnp.abs(s[0]) < limit, step, start)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    args = jax.random.split(jax.random.key(0), given.members), jnp.linspace(10.0, 200.0, given.members)
    contenders = {
        "population, a thread a core": population(walk),
        "population, one thread": population(walk, threads=1),
        "jax.vmap": jax.jit(jax.vmap(walk)),
    }
    once, seconds, results = {}, {name: [] for name in contenders}, {}
    for name, run in contenders.items():
        begin = time.perf_counter()
        results[name] = np.asarray(run(*args))
        once[name] = time.perf_counter() - begin
    for _ in range(given.repeats):  # in turn, so that a drift of the machine meets all of them
        for name, run in contenders.items():
            begin = time.perf_counter()
            np.asarray(run(*args))
            seconds[name].append(time.perf_counter() - begin)
    print(f"jax {version('jax')}, {jax.default_backend()}, {os.cpu_count()} cores, {given.members} members")
    base = statistics.median(seconds["population, a thread a core"])
    for name, times in seconds.items():
        median = statistics.median(times)
        same = "same results" if (results[name] == results["jax.vmap"]).all() else "OTHER RESULTS"
        print(f"{name:28s} {median:7.3f} s ({median / base:.2f}x), first call {once[name]:6.2f} s, {same}")


if __name__ == "__main__":
    main()
