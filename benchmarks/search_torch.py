"""Optuna's TPE and Hyperband over a training function in PyTorch, a process on each core."""

import math
import multiprocessing
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
from searched import (
    ACTIVATIONS,
    CHANNELS,
    DECAYS,
    DROPOUTS,
    OPTIMIZERS,
    RATES,
    SCHEDULES,
    WIDTHS,
    Setting,
    better,
    tell,
)
from setting import cores_available


def model(task: str, values: dict[str, Any]) -> Any:
    """The task's network."""
    from torch import nn

    activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": lambda: nn.GELU("tanh")}[values["activation"]]
    layers: list[Any] = []
    if task == "mlp":
        for inner, outer in pairwise(WIDTHS[:-1]):
            layers += [nn.Linear(inner, outer), activation(), nn.Dropout(values["dropout"])]
    else:
        layers.append(nn.Unflatten(1, (1, 8, 8)))
        for inner, outer in pairwise((1, *CHANNELS)):
            layers += [nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), activation()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(values["dropout"])]
    layers.append(nn.Linear(WIDTHS[-2] if task == "mlp" else CHANNELS[-1], WIDTHS[-1]))
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def optimizer(values: dict[str, Any], weights: Any) -> Any:
    import torch

    rate = values["learning_rate"]
    return {
        "momentum": lambda: torch.optim.SGD(weights, rate, momentum=0.9),
        "adam": lambda: torch.optim.Adam(weights, rate),
        "rmsprop": lambda: torch.optim.RMSprop(weights, rate, alpha=0.9),
    }[values["optimizer"]]()


def factor(schedule: str, share: float) -> float:
    return {"constant": 1.0, "linear": 1 - share, "cosine_decay": (1 + math.cos(math.pi * share)) / 2}[schedule]


def train(trial: optuna.Trial, setting: Setting, data: dict[str, Any]) -> float:
    """One training as PyTorch's and Optuna's tutorials write it, which may be pruned after each epoch."""
    import torch
    import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)

    values = {
        "optimizer": trial.suggest_categorical("optimizer", OPTIMIZERS),
        "learning_rate": trial.suggest_float("learning_rate", *RATES, log=True),
        "schedule": trial.suggest_categorical("schedule", SCHEDULES),
        "weight_decay": trial.suggest_float("weight_decay", *DECAYS, log=True),
        "dropout": trial.suggest_float("dropout", *DROPOUTS),
        "activation": trial.suggest_categorical("activation", ACTIVATIONS),
        "batch_size": trial.suggest_categorical("batch_size", setting.batches),
    }
    torch.manual_seed(setting.seed)
    network, epochs = model(setting.task, values), setting.epochs
    weights = list(network.parameters())
    rule = optimizer(values, weights)
    step, steps = 0, epochs * math.ceil(len(data["train_x"]) / values["batch_size"])
    accuracy = 0.0
    for epoch in range(epochs):
        network.train()
        for index in torch.randperm(len(data["train_x"])).split(values["batch_size"]):
            rate = rule.param_groups[0]["lr"] = values["learning_rate"] * factor(values["schedule"], step / steps)
            loss = F.cross_entropy(network(data["train_x"][index]), data["train_y"][index])
            rule.zero_grad()
            loss.backward()
            with torch.no_grad():
                torch._foreach_mul_(weights, 1 - rate * values["weight_decay"])
            rule.step()
            step += 1
        if not math.isfinite(loss.item()):
            raise optuna.TrialPruned
        network.eval()
        with torch.no_grad():
            right = network(data["validation_x"]).argmax(1) == data["validation_y"]
        accuracy = right.float().mean().item()
        trial.report(accuracy, epoch + 1)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def opened(setting: Setting, journal: Path, worker: int) -> optuna.Study:
    """The study that all workers share."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name="search",
        direction="maximize",
        storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal))),
        sampler=optuna.samplers.TPESampler(seed=1000 * setting.seed + worker, constant_liar=True),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=setting.epochs, reduction_factor=3),
        load_if_exists=True,
    )


def work(setting: Setting, journal: Path, worker: int) -> None:
    """In each process: trials until there are enough of them."""
    import torch

    torch.set_num_threads(1)
    data = {name: torch.from_numpy(array) for name, array in setting.load().items()}

    def told(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.state == optuna.trial.TrialState.COMPLETE and study.best_trial.number == trial.number:
            better(setting, trial.params, trial.value)

    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    enough = optuna.study.MaxTrialsCallback(setting.trials, states=ended)
    opened(setting, journal, worker).optimize(lambda trial: train(trial, setting, data), callbacks=[told, enough])


def search(setting: Setting) -> None:
    """The contender."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "study.journal"
        opened(setting, journal, 0)  # by one alone, so that all find it
        context = multiprocessing.get_context("fork")  # nothing but Optuna is loaded, and the descriptor is kept
        workers = [context.Process(target=work, args=(setting, journal, n)) for n in range(cores_available())]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise SystemExit(f"a worker ended with code {worker.exitcode}")
        trials = opened(setting, journal, 0).get_trials(deepcopy=False)
        pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in trials)
        tell(setting.out, ended={"trials": len(trials), "pruned": pruned})
