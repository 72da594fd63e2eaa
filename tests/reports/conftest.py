"""Studies made up from formulas, so that pages can be tested without training anything."""

import math

import numpy as np
import pytest

from hyperjax.studies.study import Study, Trial
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run


def make_run(recipe, seed=0, score=0.9, epochs=20, diverged_at=None, finished=True, direction="max", noise=0.0):
    """A run whose validation metric rises (falls, for "min") towards `score`, 10 steps an epoch."""
    rng = np.random.default_rng([seed, round(1e6 * score)])
    steps_done = diverged_at if diverged_at is not None else (10 * epochs if finished else 5 * epochs)
    steps = np.arange(max(steps_done, 1) + (diverged_at is not None))
    losses = (2.3 * np.exp(-steps / (3.0 * epochs)) + 0.05 + 0.02 * rng.random(len(steps))).astype(np.float32)
    if diverged_at is not None:
        losses[-1] = np.nan
    validations = np.arange(1, steps_done // 10 + 1, dtype=np.float64)
    pace = epochs / (2 + 8 * rng.random())
    progress = 1 - np.exp(-validations / max(1.0, pace))
    progress = progress / (1 - np.exp(-epochs / max(1.0, pace)))
    accuracy = 0.1 + (score - 0.1) * progress + noise * rng.standard_normal(len(validations))
    error = (2.3 * (1 - progress) + (1.02 - score) * 1.5).astype(np.float32)
    metric = "validation_accuracy" if direction == "max" else "validation_loss"
    if len(accuracy) and direction == "max" and diverged_at is None:
        accuracy[-1] = score
    metrics = {
        "train_loss": (0.9 * error).astype(np.float32),
        "train_accuracy": np.clip(accuracy + 0.01, 0, 1).astype(np.float32),
        "validation_loss": error,
        "validation_accuracy": accuracy.astype(np.float32),
    }
    return Run(
        recipe=recipe,
        seed=seed,
        steps=steps,
        losses=losses,
        gradient_norms=losses,
        update_norms=0.01 * losses,
        epochs=validations,
        metrics=metrics,
        metric=metric,
        direction=direction,
        total_steps=10 * epochs,
        steps_done=steps_done,
        diverged_at=diverged_at,
        finished=finished,
        layout="map",
        _numbers=lambda name, at: 0.01 * (1 - at / (10 * epochs + 1)),
        best=None,
        _model=lambda: None,
    )


def make_study(
    count=24, seeds=(0,), direction="max", all_diverge=False, unfinished=0, task="digits", search=True, epochs=20
):
    """Trials over five hyperparameters; rates above 0.3 diverge, adamw and rates near 0.01 do best."""
    rng = np.random.default_rng(3)
    trials = []
    for number in range(count):
        rate = float(10 ** rng.uniform(-4, 0))
        optimizer = str(rng.choice(["sgd", "momentum", "nesterov", "adamw", "lion"]))
        values = {
            "optimizer": optimizer,
            "learning_rate": rate,
            "schedule": str(rng.choice(["constant", "cosine_decay"])),
            "weight_decay": float(10 ** rng.uniform(-6, -1)),
            "dropout": float(rng.uniform(0, 0.5)),
            "batch_size": int(rng.choice([32, 128])),
        }
        if not search:
            values = {}
        recipe = Recipe(**{"epochs": epochs, **values})
        limit = 0.15 if optimizer in ("adamw", "lion") else 0.5
        diverges = all_diverge or rate > limit
        bonus = {"adamw": 0.03, "nesterov": 0.015, "momentum": 0.01}.get(optimizer, 0.0)
        ideal = -2.5 if optimizer in ("adamw", "lion") else -1.2
        score = 0.95 + bonus - 0.09 * abs(math.log10(rate) - ideal) ** 1.5 - 0.08 * values.get("dropout", 0) ** 2
        runs = tuple(
            make_run(
                recipe,
                seed,
                float(np.clip(score + 0.008 * rng.standard_normal(), 0.08, 0.992)),
                epochs,
                diverged_at=int(rng.integers(0, 60)) if diverges else None,
                finished=number >= unfinished,
                direction=direction,
                noise=0.006,
            )
            for seed in seeds
        )
        trials.append(Trial(number, values, recipe, runs))
    space = {
        "optimizer": "one of sgd, momentum, nesterov, adamw, lion",
        "learning_rate": "log-uniform from 1e-4 to 1",
        "schedule": "one of constant, cosine_decay",
        "weight_decay": "log-uniform from 1e-6 to 0.1",
        "dropout": "uniform from 0 to 0.5",
        "batch_size": "one of 32, 128",
    }
    return Study(
        task=task,
        space=space if search else {},
        trials=tuple(trials),
        metric="validation_accuracy" if direction == "max" else "validation_loss",
        direction=direction,
        seeds=tuple(seeds),
        logs=frozenset({"learning_rate", "weight_decay"}),
        test={} if all_diverge else {"test_loss": 0.09, "test_accuracy": 0.975},
        conditions={
            "versions": {"hyperjax": "0.1.0", "jax": "0.12.0.1", "flax": "0.12.8", "python": "3.12.3"},
            "device": "CPU",
            "cores": 2,
            "layout": "map",
            "seconds": 41.26,
            "seconds_compiling": 6.8,
            "seconds_training": 31.2,
            "programs": 2,
        },
    )


@pytest.fixture(scope="session")
def study_of():
    """The maker of studies."""
    return make_study


@pytest.fixture(scope="session")
def run_of():
    """The maker of runs."""
    return make_run
