"""The mapper: same results as jax.vmap, in chunks, on threads, padded, and plain under tracers."""

import os
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperjax import population
from hyperjax.training.mapping import Population


def walk(key, limit):
    """Steps of a random walk until it leaves [-limit, limit]: a loop of a length of its own."""

    def step(state):
        position, steps = state
        return position + jax.random.normal(jax.random.fold_in(key, steps)), steps + 1

    return jax.lax.while_loop(lambda s: jnp.abs(s[0]) < limit, step, (0.0, 0))


@pytest.fixture(scope="module")
def members():
    keys = jax.random.split(jax.random.key(0), 23)
    limits = jnp.linspace(1.0, 20.0, 23)
    return (keys, limits), jax.vmap(walk)(keys, limits)


@pytest.mark.parametrize(
    "options",
    [{}, {"threads": 1}, {"width": 1}, {"width": 5}, {"width": 40}, {"layout": "vmap"}, {"layout": "vmap", "width": 4}],
)
def test_a_stranger_s_function_gives_what_vmap_gives(members, options):
    args, expected = members
    result = population(walk, **options)(*args)
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_allclose(result[0], expected[0], rtol=1e-6)


def test_shared_arguments_and_trees():
    def scale(member, data):
        return {"sum": member["x"] * data.sum(), "both": (member["y"], data)}

    member = {"x": np.arange(6.0, dtype=np.float32), "y": np.arange(12).reshape(6, 2)}
    out = population(scale, in_axes=(0, None), width=4)(member, np.ones(3, np.float32))
    np.testing.assert_array_equal(out["sum"], member["x"] * 3)
    np.testing.assert_array_equal(out["both"][0], member["y"])
    assert out["both"][1].shape == (6, 3)


def test_progress_counts_members_and_not_padding():
    seen = []
    population(lambda x: x, width=4, threads=1, progress=lambda done, total: seen.append((done, total)))(
        np.arange(10.0)
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_chunks_that_end_together_are_counted_in_order():
    seen = []

    def slow(done, total):
        time.sleep(0.02)  # so that others end meanwhile
        seen.append(done)

    population(lambda x: x, width=3, threads=2, progress=slow)(np.arange(40.0))
    assert seen[-1] == 40
    partial = seen.index(next(done for done in seen if done % 3))  # where the last chunk, of one member, was counted
    assert partial == len(seen) - 1


def test_chunks_run_on_several_threads():
    names = set()

    def record(x):
        names.add(threading.get_ident())
        barrier.wait(timeout=20)
        return x

    barrier = threading.Barrier(2)

    def member(x):
        return jax.pure_callback(record, jax.ShapeDtypeStruct((), np.float32), x)

    population(member, width=1, threads=2)(
        np.arange(2.0, dtype=np.float32)
    )  # would time out if one waited for the other
    assert len(names) == 2


def test_one_compilation_for_all_calls_of_a_shape(monkeypatch):
    compiled = []
    monkeypatch.setattr(
        Population, "_compile_piece", lambda self, piece: compiled.append(1) or self.lower(*piece).compile()
    )
    mapped = population(lambda x: x + 1, width=4)
    for size in (10, 4, 7):
        np.testing.assert_array_equal(mapped(np.arange(size, dtype=np.float32)), np.arange(size) + 1)
    assert len(compiled) == 1


@pytest.mark.parametrize("layout", ["map", "vmap"])
def test_given_tracers_it_is_a_plain_map(members, layout):
    (keys, limits), expected = members
    steps = jax.jit(lambda k, x: population(walk, layout)(k, x)[1])(keys, limits)
    np.testing.assert_array_equal(steps, expected[1])
    slope = jax.grad(lambda x: population(lambda a: a**3, layout)(x).sum())(jnp.arange(3.0))
    np.testing.assert_allclose(slope, 3 * np.arange(3.0) ** 2)


def test_an_error_in_a_member_is_raised():
    def broken(x):
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        population(broken)(np.arange(3.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: population(walk, "grid"), r"layout must be one of auto, map, vmap, got 'grid'"),
        (lambda: population(walk, width=0), r"width must be a whole number of at least 1, got 0"),
        (lambda: population(walk, threads=-1), r"threads must be a whole number of at least 1, got -1"),
        (lambda: population(walk)(np.zeros(3), np.zeros(4)), r"leading member axis of at least 1, got sizes 3, 4"),
        (lambda: population(walk)(np.zeros(0), np.zeros(0)), r"at least 1, got sizes 0"),
        (lambda: population(walk)(1.0, np.zeros(2)), r"got sizes 2, None"),
        (
            lambda: population(walk, in_axes=(0, 1))(np.zeros(2), np.zeros(2)),
            r"in_axes must be 0 or None for each of the 2",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_callers_64_bits_hold_in_its_threads():
    with jax.enable_x64(True):
        seen = population(lambda x: x + 2.0**-40, width=1, threads=2)(np.arange(4.0))
    assert np.array_equal(seen, np.arange(4.0) + 2.0**-40)


INTERRUPTED = """
import os, random, signal, threading, time
from hyperjax.training.mapping import Population

signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells leave ignored in the background
mapped, drawn, ended = Population(lambda member: member, "map"), random.Random(0), 0
for _ in range(40):
    clock = threading.Timer(0.02 + drawn.random() / 5, os.kill, (os.getpid(), signal.SIGINT))
    try:
        clock.start()
        for _ in mapped.serve(range(2000), lambda piece: time.sleep(0.002)):
            pass
    except KeyboardInterrupt:
        ended += 1
    clock.join()
print(ended)
"""


@pytest.mark.slow
def test_an_interruption_at_any_moment_ends_the_threads():
    """They waited for ever where it came while their locks were held."""
    code = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0 and int(done.stdout) >= 30, done.stderr  # Python drops one in a garbage collection
