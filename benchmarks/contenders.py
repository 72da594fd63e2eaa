"""The contenders by name: PyTorch's ways, a Flax loop, scikit-learn, and ours; heavy imports wait until one is made."""

import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from setting import BATCH, EVERY_EIGHTH, NEAR_BEST, RATES, WIDTHS, Data, Measure, Outcome, Score, outcome
from torch_peer import torch_eager, torch_pool, torch_vmap


def flax_loop(recompile: bool, data: Data, epochs: int) -> Measure:
    """A loop as Flax NNX's tutorial writes it; `recompile` builds each trial's optimizer anew, as the tutorial would.

    Otherwise generous: one optimizer whose rate is an input, one compilation, and `nnx.cached_partial`.
    """
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class MLP(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            he = nnx.initializers.he_normal()
            self.first = nnx.Linear(WIDTHS[0], WIDTHS[1], kernel_init=he, rngs=rngs)
            self.second = nnx.Linear(WIDTHS[1], WIDTHS[2], kernel_init=he, rngs=rngs)
            self.last = nnx.Linear(WIDTHS[2], WIDTHS[3], kernel_init=he, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.last(nnx.relu(self.second(nnx.relu(self.first(x)))))

    def loss(model: MLP, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    @nnx.jit
    def train_step(model: MLP, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = nnx.value_and_grad(loss)(model, x, y)
        optimizer.update(model, grads)
        return value

    injected = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)

    def train(rate: float, seed: int) -> Score:
        model = MLP(nnx.Rngs(seed))
        optimizer = nnx.Optimizer(model, optax.adam(float(rate)) if recompile else injected, wrt=nnx.Param)
        step = train_step
        if not recompile:
            optimizer.opt_state.hyperparams["learning_rate"][...] = jnp.float32(rate)
            step = nnx.cached_partial(train_step, model, optimizer)
        shuffle = np.random.default_rng(seed)
        for _ in range(epochs):
            order = shuffle.permutation(len(data["train_x"]))
            for start in range(0, len(order), BATCH):
                index = order[start : start + BATCH]
                batch = data["train_x"][index], data["train_y"][index]
                step(*batch) if not recompile else step(model, optimizer, *batch)
        predicted = [np.asarray(model(data[f"{p}_x"]).argmax(1)) == data[f"{p}_y"] for p in ("validation", "test")]
        return float(predicted[0].mean()), float(predicted[1].mean())

    indices = NEAR_BEST if recompile else EVERY_EIGHTH

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        scores = [train(RATES[i], seed) for i in indices]
        return outcome(time.perf_counter() - begin, indices, scores)

    return measure


def sklearn_fit(threads: int, data: Data, epochs: int) -> Measure:
    """scikit-learn's own class, without its stopping rule and its L2, which the others do not have."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore", ConvergenceWarning)  # it is told to stop after so many epochs
    fixed = {
        "hidden_layer_sizes": WIDTHS[1:-1],
        "batch_size": BATCH,
        "alpha": 0.0,
        "tol": 0.0,
        "n_iter_no_change": 10**6,
    }

    def train(rate: float, seed: int) -> Score:
        model = MLPClassifier(learning_rate_init=rate, max_iter=epochs, random_state=seed, **fixed)
        model.fit(data["train_x"], data["train_y"])
        return tuple(model.score(data[f"{p}_x"], data[f"{p}_y"]) for p in ("validation", "test"))

    def measure(seed: int) -> Outcome:
        with threadpool_limits(threads):
            begin = time.perf_counter()
            scores = [train(RATES[i], seed) for i in EVERY_EIGHTH]
            return outcome(time.perf_counter() - begin, EVERY_EIGHTH, scores)

    return measure


def ours(dropout: float | None, data: Data, epochs: int) -> Measure:
    """All 64 rates by `fit_population`, validation each epoch and records included; test is evaluated untimed."""
    import hyperjax as hj

    task = hj.tasks.digits()
    fixed: dict[str, Any] = {"optimizer": "adam", "batch_size": BATCH, "epochs": epochs}
    if dropout is not None:
        fixed["dropout"] = dropout
    recipes = [hj.Recipe(learning_rate=float(rate), **fixed) for rate in RATES]

    def measure(seed: int) -> Outcome:
        begin = time.perf_counter()
        runs = hj.fit_population(task, recipes, seeds=[seed])
        seconds = time.perf_counter() - begin
        test = {i: np.asarray(runs[i].model(data["test_x"])).argmax(1) == data["test_y"] for i in NEAR_BEST}
        scores = [(float(score), float(np.mean(test.get(i, np.nan)))) for i, score in enumerate(runs.scores)]
        return outcome(seconds, range(len(RATES)), scores)

    return measure


class Contender(NamedTuple):
    label: str
    needs: str  # the module without which it is skipped
    make: Callable[[Data, int], Measure]

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.needs) is not None


CONTENDERS = {
    "torch-1": Contender("PyTorch eager, 1 thread", "torch", lambda *a: torch_eager(1, *a)),
    "torch-2": Contender("PyTorch eager, 2 threads", "torch", lambda *a: torch_eager(2, *a)),
    "torch-pool": Contender("PyTorch eager, a process a core", "torch", lambda *a: torch_pool(False, *a)),
    "torch-vmap": Contender("torch.func.vmap, chunks of 16", "torch", torch_vmap),
    "torch-vmap-pool": Contender("torch.func.vmap, a process a core", "torch", lambda *a: torch_pool(True, *a)),
    "flax-docs": Contender("Flax NNX loop, compiled each trial", "flax", lambda *a: flax_loop(True, *a)),
    "flax-once": Contender("Flax NNX loop, compiled once", "flax", lambda *a: flax_loop(False, *a)),
    "sklearn-1": Contender("scikit-learn MLP, 1 thread", "sklearn", lambda *a: sklearn_fit(1, *a)),
    "sklearn-2": Contender("scikit-learn MLP, 2 threads", "sklearn", lambda *a: sklearn_fit(2, *a)),
    "ours": Contender("HyperJAX fit_population", "hyperjax", lambda *a: ours(None, *a)),
    "ours-dropout": Contender("HyperJAX, dropout 0.2", "hyperjax", lambda *a: ours(0.2, *a)),
}
