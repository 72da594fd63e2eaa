"""One update of every rule: ours against optax, PyTorch and the time that memory needs for the same bytes.

    python benchmarks/update.py            # 50 leaves of a million numbers, then 200 of 2,000: about ten minutes
    python benchmarks/update.py --quick    # a fortieth of the numbers and fewer rounds: shows that it runs
    python benchmarks/update.py --rules sgd,adam --size large
    python benchmarks/update.py --cores 1  # on a machine that others use: PyTorch's threads wait for one another

Timed is a step as a training loop makes it: the transformation's update and the sum of parameters and updates in one
jitted function, with parameters and state donated and the learning rate an argument; for PyTorch `optimizer.step()`.
Beside it stands a copy, which in place adds a long array to one and a number to as many others as the rule has slots,
and so reads and writes as many bytes as the rule must: parameter and gradient read, parameter written, each slot read
and written. A rule's contenders take turns, round after round, and begin each turn with a step that is not timed. A
ratio is taken within a round; shown are its median and quartiles over the rounds. "By least" compares the two shortest
turns, which a busy machine disturbs less. Where PyTorch has no such optimizer, or no fused one, the column is empty.
"""

import argparse
import gc
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from setting import cores_available

from hyperjax.optimizers import by_rule, names, rule

Step = Callable[[], None]  # makes one update and waits for it


class Size(NamedTuple):
    leaves: int
    numbers: int  # in a leaf
    steps: int  # a turn


class Entry(NamedTuple):
    """What stands beside a row of the table: optax's function, PyTorch's class, each with its arguments."""

    optax: tuple[str, dict[str, Any]]
    torch: tuple[str, dict[str, Any]] | None = None


SIZES = {"large": Size(50, 1_000_000, 3), "small": Size(200, 2_000, 40)}
QUICK = {"large": Size(50, 25_000, 3), "small": Size(200, 2_000, 5)}
RATE = 1e-3
LONGEST = 0.3  # seconds: when a turn has taken them, it ends early
FUSED = ("SGD", "Adagrad", "Adam", "AdamW")  # PyTorch's optimizers with `fused=True` on a processor
ENTRIES = {
    "sgd": Entry(("sgd", {}), ("SGD", {})),
    "momentum": Entry(("sgd", {"momentum": 0.9}), ("SGD", {"momentum": 0.9})),
    "nesterov": Entry(("sgd", {"momentum": 0.9, "nesterov": True}), ("SGD", {"momentum": 0.9, "nesterov": True})),
    "adagrad": Entry(("adagrad", {}), ("Adagrad", {})),
    "rmsprop": Entry(("rmsprop", {}), ("RMSprop", {})),
    "adam": Entry(("adam", {}), ("Adam", {})),
    "adamw": Entry(("adamw", {}), ("AdamW", {})),
    "adadelta": Entry(("adadelta", {}), ("Adadelta", {})),
    "nadam": Entry(("nadam", {}), ("NAdam", {})),
    "nadamw": Entry(("nadamw", {}), ("NAdam", {"weight_decay": 1e-4, "decoupled_weight_decay": True})),
    "radam": Entry(("radam", {}), ("RAdam", {})),
    "lion": Entry(("lion", {})),
    "sign_sgd": Entry(("sign_sgd", {})),
}
GOALS = (("adam", "torch fused", 1.25), ("sgd", "copy", 1.15))  # of the large size


def tree_of(size: Size, value: float) -> list[jax.Array]:
    return [jnp.full(size.numbers, value * (1 + i / size.leaves)) for i in range(size.leaves)]


def transformed(make: Callable[[Any], Any], size: Size, grads: list[jax.Array]) -> tuple[Step, float]:
    """A step of the transformation that `make(rate)` gives, and the seconds its compilation took."""
    params, rate = tree_of(size, 1.0), jnp.float32(RATE)
    state = jax.tree.map(jnp.array, make(RATE).init(params))

    def update(params: Any, state: Any, grads: Any, rate: Any) -> Any:
        updates, state = make(rate).update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return stepping(update, (params, state), (grads, rate))


def copied(slots: int, size: Size) -> tuple[Step, float]:
    """Add one long array to another, and a number to each of some more, in place."""
    long = size.leaves * size.numbers
    kept, added = [jnp.full(long, 1.0 + i) for i in range(1 + slots)], jnp.full(long, 1e-9)

    def add(kept: Any, added: Any, number: Any) -> Any:
        return ([kept[0] + added, *(x + number for x in kept[1:])],)

    return stepping(add, (kept,), (added, jnp.float32(1e-9)))


def stepping(function: Callable[..., Any], carried: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[Step, float]:
    """Compile `function(*carried, *given) -> carried`, donating what it carries."""
    begin = time.perf_counter()
    donated = tuple(range(len(carried)))
    program = jax.jit(function, donate_argnums=donated).lower(*carried, *given).compile()
    seconds = time.perf_counter() - begin
    held = [carried]

    def step() -> None:
        held[0] = program(*held[0], *given)
        jax.block_until_ready(held[0])

    return step, seconds


def torch_step(name: str, arguments: dict[str, Any], size: Size) -> Step:
    import torch

    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    params = [
        torch.nn.Parameter(torch.ones(size.numbers, device="cuda" if on_gpu else "cpu")) for _ in range(size.leaves)
    ]
    for parameter in params:
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer = getattr(torch.optim, name)(params, lr=RATE, **arguments)

    def step() -> None:
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    return step


def contenders(name: str, size: Size, with_torch: bool) -> tuple[dict[str, Step], dict[str, float]]:
    """The steps of a rule by label, and the seconds that compilations took."""
    entry, grads = ENTRIES[name], tree_of(size, 0.01)
    function, arguments = entry.optax
    made = {
        "ours": transformed(lambda rate: by_rule(rule(name), rate), size, grads),
        "optax": transformed(lambda rate: getattr(optax, function)(rate, **arguments), size, grads),
        "copy": copied(sum(rule(name).form.slots), size),
    }
    steps = {label: step for label, (step, _) in made.items()}
    if with_torch and entry.torch is not None:
        kind, settings = entry.torch
        ways = ("fused", "foreach") if kind in FUSED else ("foreach",)
        steps |= {f"torch {way}": torch_step(kind, settings | {way: True}, size) for way in ways}
    return steps, {label: seconds for label, (_, seconds) in made.items()}


def measure(
    steps: dict[str, Callable[[], Any]], rounds: int, repeats: int, longest: float = LONGEST
) -> dict[str, list[float]]:
    """Milliseconds a step of each contender in each round: the median over its turn, whose first step is not timed."""
    times: dict[str, list[float]] = {label: [] for label in steps}
    order = list(steps)
    for turn in range(rounds):
        start = turn % len(order)
        for label in order[start:] + order[:start]:
            time.sleep(0.01)  # let the other library's threads stop waiting for work
            steps[label]()
            taken: list[float] = []
            while len(taken) < repeats and sum(taken) < longest:
                begin = time.perf_counter()
                steps[label]()
                taken.append(time.perf_counter() - begin)
            times[label].append(1e3 * statistics.median(taken))
    return times


def quartiles(times: dict[str, list[float]], label: str) -> tuple[float, float, float] | None:
    """Ours over the other's time: lower quartile, median, upper quartile."""
    if label not in times:
        return None
    ratios = [a / b for a, b in zip(times["ours"], times[label], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, middle, high


def restrict(cores: int | None) -> None:
    """Use only so many of the cores; must come before the first array is made."""
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])


def conditions(with_torch: bool) -> str:
    device = jax.devices()[0]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    line = f"jax {jax.__version__}, optax {optax.__version__}, Python {platform.python_version()}, "
    line += f"{device.platform} ({device.device_kind}), {cores_available()} cores{load}"
    if not with_torch:
        return f"{line}\nPyTorch is not installed here, so its columns are missing (pip install 'hyperjax[bench]')"
    import torch

    torch.set_num_threads(cores_available())
    return f"{line}, torch {torch.__version__}"


def compare(chosen: list[str], size: Size, rounds: int, with_torch: bool) -> dict[str, dict[str, list[float]]]:
    """Measure each rule, print its row, and give back all times."""
    print(f"\n{size.leaves} leaves of {size.numbers:,} float32 numbers; median over {rounds} rounds, in milliseconds")
    labels = ("ours", "optax", "torch fused", "torch foreach", "copy")
    print(f"{'':10s}" + "".join(f"{label:>14s}" for label in labels), end="")
    print(f"{'to optax':>20s}{'by least':>10s}{'to fused':>10s}{'to copy':>9s}{'compiled, s':>15s}")
    found = {}
    for name in chosen:
        steps, compiled = contenders(name, size, with_torch)
        times = found[name] = measure(steps, rounds, size.steps)
        del steps
        gc.collect()
        cells = [f"{statistics.median(times[label]):14.2f}" if label in times else f"{'':14s}" for label in labels]
        low, middle, high = quartiles(times, "optax") or (0.0, 0.0, 0.0)
        fused, copy = (quartiles(times, label) for label in ("torch fused", "copy"))
        least = min(times["ours"]) / min(times["optax"])
        print(f"{name:10s}{''.join(cells)}{f'{middle:.2f} ({low:.2f}-{high:.2f})':>20s}{least:10.2f}", end="")
        print(f"{f'{fused[1]:.2f}' if fused else '':>10s}{f'{copy[1]:.2f}' if copy else '':>9s}", end="")
        print(f"{compiled['ours']:8.2f} {compiled['optax']:6.2f}", flush=True)
    return found


def judge(found: dict[str, dict[str, list[float]]], large: bool) -> None:
    """The goals, each with what was measured. Level: the quartiles of the ratio lie on both sides of the goal."""
    goals = [(name, "optax", 1.0) for name in found]
    goals += [goal for goal in GOALS if large and goal[0] in found]
    for name, label, most in goals:
        ratio = quartiles(found[name], label)
        if ratio is not None:
            low, middle, high = ratio
            word = "met   " if high <= most else "MISSED" if low > most else "level "
            print(f"{word} {name} to {label}: {middle:.2f} ({low:.2f}-{high:.2f}), wanted at most {most:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", metavar="A,B", default=",".join(names()), help="which rules of the table")
    parser.add_argument("--size", choices=[*SIZES, "both"], default="both")
    parser.add_argument("--rounds", type=int, help="turns of each contender (15, with --quick 3)")
    parser.add_argument("--cores", type=int, help="how many to use (Linux); default: all")
    parser.add_argument("--quick", action="store_true", help="smaller leaves and fewer rounds")
    arguments = parser.parse_args()
    chosen = arguments.rules.split(",")
    unknown = [name for name in chosen if name not in names()]
    if unknown:
        parser.error(f"--rules must be among {', '.join(names())}, got {', '.join(unknown)}")
    restrict(arguments.cores)
    with_torch = importlib.util.find_spec("torch") is not None
    print(conditions(with_torch))
    rounds = arguments.rounds or (3 if arguments.quick else 15)
    sizes = QUICK if arguments.quick else SIZES
    for label in SIZES if arguments.size == "both" else [arguments.size]:
        judge(compare(chosen, sizes[label], rounds, with_torch), label == "large")


if __name__ == "__main__":
    main()
