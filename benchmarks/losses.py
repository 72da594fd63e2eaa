"""Every loss and its gradient: ours against optax and PyTorch, where they have the same.

    python benchmarks/losses.py                        # about three minutes on two cores
    python benchmarks/losses.py --quick                # a sixteenth of the examples and fewer rounds
    python benchmarks/losses.py --losses huber,ntxent

Timed is `jax.value_and_grad` of the mean over examples, jitted, with labels and numbers as a person would give them;
for PyTorch the forward and the backward pass, eager. What takes a derivative is what a model makes: logits,
predictions, embeddings. Before anything is timed, the gradients must agree. Contenders take turns, round after round; a
ratio is taken within a round, shown are its median and quartiles over the rounds.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from update import conditions, measure, quartiles, restrict

from hyperjax import losses

CLASSES, ITEMS, WIDTH = 1000, 64, 128
LONGEST = 0.2  # seconds: when a turn has taken them, it ends early
Function = Callable[..., Any]


class Case(NamedTuple):
    """A loss on its arguments: those before `free` take a derivative. Each function gives a value or an array."""

    arguments: tuple[np.ndarray, ...]
    ours: Function
    optax: Function | None = None
    torch: Function | None = None
    free: int = 1


def cases(scale: int) -> dict[str, Case]:
    """Arguments and functions of every loss; `scale` divides the number of examples."""
    draw = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape, np.float32)

    rows, entries, examples, queries = 4096 // scale, 2**20 // scale, 512 // max(1, scale // 4), 256 // scale
    logits, classes = normal(rows, CLASSES), draw.integers(0, CLASSES, rows)
    shares = np.exp(normal(rows, CLASSES))
    shares /= shares.sum(1, keepdims=True)
    logit, label = normal(entries), draw.integers(0, 2, entries).astype(np.float32)
    prediction, target = 2 * normal(entries), normal(entries)
    pixels = (64 // min(scale, 16), 128, 128)
    views = [normal(examples, WIDTH) for _ in range(3)]
    groups = np.arange(examples) // 4
    few = examples // 4  # the semi-hard loss needs memory of examples^3 numbers
    scores, relevance = normal(queries, ITEMS), draw.integers(0, 5, (queries, ITEMS)).astype(np.float32)
    sides = 2 * label - 1
    mask_logits, masks = normal(*pixels), draw.integers(0, 2, pixels).astype(np.float32)
    f, t = torch_functions()
    made = {
        "cross_entropy": Case(
            (logits, classes),
            losses.cross_entropy,
            optax.softmax_cross_entropy_with_integer_labels,
            lambda x, y: f.cross_entropy(x, y),
        ),
        "cross_entropy smoothed": Case(
            (logits, classes),
            lambda x, y: losses.cross_entropy(x, y, 0.1),
            lambda x, y: optax.softmax_cross_entropy(x, optax.smooth_labels(jax.nn.one_hot(y, CLASSES), 0.1)),
            lambda x, y: f.cross_entropy(x, y, label_smoothing=0.1),
        ),
        "cross_entropy of shares": Case(
            (logits, shares),
            losses.cross_entropy,
            optax.softmax_cross_entropy,
            lambda x, y: f.cross_entropy(x, y),
        ),
        "focal": Case((logits, classes), losses.focal),
        "multiclass_hinge": Case((logits, classes), losses.multiclass_hinge, optax.losses.multiclass_hinge_loss),
        "one_hot_squared_error": Case(
            (logits, classes),
            losses.one_hot_squared_error,
            lambda x, y: optax.squared_error(x, jax.nn.one_hot(y, CLASSES)),
            lambda x, y: f.mse_loss(x, f.one_hot(y, CLASSES).to(x.dtype)),
        ),
        "kl_divergence": Case(
            (np.log(shares), shares[::-1].copy()),
            losses.kl_divergence,
            optax.losses.kl_divergence,
            lambda x, y: f.kl_div(x, y, reduction="batchmean"),
        ),
        "distillation": Case(
            (logits, logits[::-1].copy(), classes),
            losses.distillation,
            None,
            lambda s, g, y: (
                2.0 * f.kl_div((s / 2).log_softmax(1), (g / 2).softmax(1), reduction="batchmean")
                + 0.5 * f.cross_entropy(s, y)
            ),
        ),
        "gaussian_kl": Case(
            (normal(rows, WIDTH), normal(rows, WIDTH)),
            losses.gaussian_kl,
            None,
            lambda m, v: 0.5 * (v.exp() + m**2 - 1 - v).sum(1),
            free=2,
        ),
        "binary_cross_entropy": Case(
            (logit, label),
            losses.binary_cross_entropy,
            optax.sigmoid_binary_cross_entropy,
            lambda x, y: f.binary_cross_entropy_with_logits(x, y),
        ),
        "binary_focal": Case((logit, label), losses.binary_focal, optax.losses.sigmoid_focal_loss),
        "hinge": Case((logit, sides), losses.hinge, optax.losses.hinge_loss, lambda x, y: (1 - x * y).relu()),
        "zero_one_hinge": Case(
            (logit, label),
            losses.zero_one_hinge,
            lambda x, y: optax.losses.hinge_loss(x, 2 * y - 1),
            lambda x, y: (1 - x * (2 * y - 1)).relu(),
        ),
        "squared_error": Case(
            (prediction, target), losses.squared_error, optax.squared_error, lambda x, y: f.mse_loss(x, y)
        ),
        "absolute_error": Case((prediction, target), losses.absolute_error, None, lambda x, y: f.l1_loss(x, y)),
        "huber": Case((prediction, target), losses.huber, optax.huber_loss, lambda x, y: f.huber_loss(x, y)),
        "log_cosh": Case((prediction, target), losses.log_cosh, optax.log_cosh),
        "quantile": Case(
            (prediction, target),
            lambda x, y: losses.quantile(x, y, 0.75),
            None,
            lambda x, y: t.maximum(0.75 * (y - x), -0.25 * (y - x)),
        ),
        "dice": Case(
            (mask_logits, masks),
            losses.dice,
            lambda x, y: optax.losses.dice_loss(x[..., None], y[..., None], smooth=0.5),
        ),
        "tversky": Case(
            (mask_logits, masks),
            lambda x, y: losses.tversky(x, y, 0.3),
            lambda x, y: optax.losses.dice_loss(x[..., None], y[..., None], alpha=0.3, beta=0.7),
        ),
        "triplet": Case(
            tuple(views),
            losses.triplet,
            lambda a, p, n: optax.losses.triplet_margin_loss(a, p, n, eps=0.0),
            lambda a, p, n: f.triplet_margin_loss(a, p, n, eps=0.0),
            free=3,
        ),
        "batch_hard_triplet": Case((views[0], groups), losses.batch_hard_triplet),
        "semi_hard_triplet": Case((views[0][:few], groups[:few]), losses.semi_hard_triplet),
        "contrastive": Case((views[0] / 16, views[1] / 16, groups % 2 == 0), losses.contrastive, free=2),
        "ntxent": Case(
            (views[0], views[1]),
            losses.ntxent,
            lambda a, b: optax.losses.ntxent(jnp.concatenate((a, b)), np.tile(np.arange(examples), 2), 0.5),
            free=2,
        ),
        "pairwise_ranking": Case((scores, relevance), losses.pairwise_ranking),
        "list_ranking": Case(
            (scores, relevance),
            losses.list_ranking,
            lambda x, y: optax.softmax_cross_entropy(x, jax.nn.softmax(y)),
            lambda x, y: f.cross_entropy(x, y.softmax(1)),
        ),
        "lambda_ranking": Case((scores, relevance), losses.lambda_ranking),
    }
    return made | games(logit, logit[::-1].copy(), views[:2])


def games(real: np.ndarray, fake: np.ndarray, views: list[np.ndarray]) -> dict[str, Case]:
    """The losses of two players; optax and PyTorch have the pieces of the non-saturating one."""
    f, _ = torch_functions()
    made = {}
    for kind in ("minimax", "non_saturating", "least_squares", "wasserstein", "hinge"):
        players = losses.gan(kind)
        made[f"gan {kind}"] = Case(
            (real, fake), lambda r, g, p=players: p.discriminator(r, g) + p.generator(g), None, None, free=2
        )
    entropy = optax.sigmoid_binary_cross_entropy
    made["gan non_saturating"] = made["gan non_saturating"]._replace(
        optax=lambda r, g: entropy(r, 1.0) + entropy(g, 0.0) + entropy(g, 1.0),
        torch=lambda r, g: f.softplus(-r) + f.softplus(g) + f.softplus(-g),
    )
    hidden = np.random.default_rng(1).standard_normal((WIDTH, WIDTH), np.float32) / np.sqrt(WIDTH)
    made["gradient_penalty"] = Case(
        (hidden, *views),
        lambda w, r, g: losses.gradient_penalty(lambda x: jnp.sum(jnp.tanh(x @ w), 1), r, g, jax.random.key(0)),
    )
    return made


def torch_functions() -> tuple[Any, Any]:
    """`torch.nn.functional` and `torch`, or None twice."""
    if importlib.util.find_spec("torch") is None:
        return None, None
    import torch

    return torch.nn.functional, torch


def prepared(function: Function, case: Case) -> tuple[Callable[[], Any], float]:
    """Value and gradient in JAX, ready to run, and the seconds its compilation took."""

    def objective(*arguments: Any) -> Any:
        return jnp.mean(function(*arguments))

    arguments = [jnp.asarray(x) for x in case.arguments]
    begin = time.perf_counter()
    both = jax.jit(jax.value_and_grad(objective, tuple(range(case.free)))).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    return lambda: jax.block_until_ready(both(*arguments)), seconds


def prepared_torch(function: Function, case: Case) -> Callable[[], Any]:
    import torch

    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    arguments = [torch.tensor(x, device=device, requires_grad=i < case.free) for i, x in enumerate(case.arguments)]

    def run() -> Any:
        for argument in arguments[: case.free]:
            argument.grad = None
        value = function(*arguments).mean()
        value.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        return value.detach().cpu(), [argument.grad.cpu() for argument in arguments[: case.free]]

    return run


def contenders(case: Case) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """What to run by label, and the seconds that compilations took; PyTorch only where it is installed."""
    ours, seconds = prepared(case.ours, case)
    runs, compiled = {"ours": ours}, {"ours": seconds}
    if case.optax is not None:
        runs["optax"], compiled["optax"] = prepared(case.optax, case)
    if case.torch is not None and torch_functions()[0] is not None:
        runs["torch"] = prepared_torch(case.torch, case)
    return runs, compiled


def gap(runs: dict[str, Callable[[], Any]]) -> float:
    """The largest relative difference, in the norm, of the others' gradients from ours."""
    gradients = {label: np.concatenate([np.ravel(x) for x in run()[1]]) for label, run in runs.items()}
    size = np.linalg.norm(gradients["ours"])
    return max(float(np.linalg.norm(g - gradients["ours"]) / size) for g in gradients.values())


def row(name: str, times: dict[str, list[float]], compiled: dict[str, float], difference: float) -> str:
    cells = [f"{statistics.median(times[x]):10.2f}" if x in times else f"{'':10s}" for x in ("ours", "optax", "torch")]
    for label in ("optax", "torch"):
        ratio = quartiles(times, label)
        cells.append(f"{f'{ratio[1]:.2f} ({ratio[0]:.2f}-{ratio[2]:.2f})' if ratio else '':>20s}")
    seconds = "".join(f"{compiled[x]:8.2f}" if x in compiled else f"{'':8s}" for x in ("ours", "optax"))
    return f"{name:25s}{''.join(cells)}{seconds}{f'{difference:.0e}' if len(times) > 1 else '':>9s}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--losses", metavar="A,B", help="which of them, by the names in the table")
    parser.add_argument("--rounds", type=int, help="turns of each contender (11, with --quick 3)")
    parser.add_argument("--cores", type=int, help="how many to use (Linux); default: all")
    parser.add_argument("--quick", action="store_true", help="fewer examples and rounds")
    arguments = parser.parse_args()
    restrict(arguments.cores)
    every = cases(16 if arguments.quick else 1)
    chosen = arguments.losses.split(",") if arguments.losses else list(every)
    unknown = [name for name in chosen if name not in every]
    if unknown:
        parser.error(f"--losses must be among {', '.join(every)}, got {', '.join(unknown)}")
    rounds = arguments.rounds or (3 if arguments.quick else 11)
    print(conditions(torch_functions()[0] is not None))
    print(f"value and gradient of the mean; median over {rounds} rounds, in milliseconds\n")
    print(f"{'':25s}{'ours':>10s}{'optax':>10s}{'torch':>10s}{'ours to optax':>20s}{'ours to torch':>20s}", end="")
    print(f"{'compiled, s':>16s}{'gap':>9s}")
    slower = []
    for name in chosen:
        runs, compiled = contenders(every[name])
        difference = gap(runs)
        times = measure(runs, rounds, 5, LONGEST)
        print(row(name, times, compiled, difference), flush=True)
        if difference > 1e-4:
            raise SystemExit(f"the gradients of {name} differ by {difference:.1e}: these are not the same loss")
        ratios = [(label, quartiles(times, label)) for label in ("optax", "torch")]
        slower += [f"{name} ({label}, {q[1]:.2f})" for label, q in ratios if q is not None and q[0] > 1]
    print(f"\nslower than another in three rounds of four: {', '.join(slower) or 'none'}")


if __name__ == "__main__":
    main()
