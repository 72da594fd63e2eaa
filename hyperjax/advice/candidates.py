"""Recipes worth trying around a prior, drawn so that each number is spread over its range."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hyperjax.advice.description import Description
from hyperjax.advice.priors import Prior
from hyperjax.optimizers import numbers
from hyperjax.schedules import fraction
from hyperjax.training.recipe import Recipe

RATES = (5e-4, 4e-3, 3e-2)  # Adam's: lowest, and between which the highest is twice the suggestion
DECAYS = (1e-4, 0.03)  # decoupled weight decay of plain descent, whose rates are about a hundred times Adam's
DROPOUT = (0.1, 0.5)
SMOOTHING = 0.1
SHORTER = (1.0, 0.5, 0.25)  # of the longest run
_ADAPTIVE = ("adam", "adamw")


def draw(
    prior: Prior,
    described: Description,
    rate: float,
    sizes: Sequence[int],
    epochs: int,
    count: int,
    seed: int,
) -> list[Recipe]:
    """Recipes around a prior, all of them different.

    The optimizer is the prior's for seven in ten, else one of those that people use beside it. Adam's rates go from
    5e-4 to twice `rate`, or to 4e-3 at least and 3e-2 at most, since what is best for some steps is too high for many;
    every other choice is drawn alone: schedule, warm-up, weight
    decay, dropout where the model has it, label smoothing where classes are told, the norm at which the gradient is cut
    and Adam's b1 where the prior says so, batch size, and the length.

    Args:
        prior, described: of the task.
        rate: for the prior's optimizer.
        sizes: batch sizes, the first in two of three.
        epochs: of the longest run.
        count: how many.
        seed: of the drawing.
    """
    rng = np.random.default_rng([seed, 0xAD])
    # Latin: the k-th of the rates falls into the k-th part of its range, so that few recipes leave no hole.
    places = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    own, others = str(prior.recipe.optimizer), sorted(prior.rates)

    def one(place: float) -> Recipe:
        other = bool(others) and rng.random() < 0.3
        optimizer = others[int(rng.integers(len(others)))] if other else own
        adaptive = optimizer in _ADAPTIVE
        low, high = prior.rates[optimizer] if other else _around(rate, adaptive)
        fields: dict[str, Any] = {"optimizer": optimizer, "learning_rate": _rounded(low * (high / low) ** place)}
        fields["schedule"] = ("constant", "cosine_decay", "linear")[int(rng.choice(3, p=(0.2, 0.4, 0.4)))]
        fields["warmup"] = (0, fraction(0.05), fraction(0.1))[int(rng.integers(3))]
        decays = prior.weight_decay if adaptive or optimizer == "adagrad" else DECAYS
        decay = _rounded(decays[0] * (decays[1] / decays[0]) ** rng.random())
        if rng.random() < 0.6:
            fields["weight_decay"] = decay
        elif optimizer == "adamw":
            fields["optimizer"] = "adam"
        dropout, clipped, smooth, calm = rng.random(4)
        if described.dropout is not None:  # bound by all or by none, which keeps one program
            low, high = DROPOUT
            fields["dropout"] = round(low + (high - low) * rng.random(), 2) if dropout < 0.6 else described.dropout
        if described.classified and smooth < 0.3:
            fields["label_smoothing"] = SMOOTHING
        if prior.clip_norm is not None and clipped < 0.6:
            fields["clip_norm"] = prior.clip_norm
        if prior.b1 is not None and calm < 0.5 and "b1" in numbers(fields["optimizer"]):
            fields["optimizer_arguments"] = {"b1": prior.b1}
        fields["batch_size"] = sizes[0] if len(sizes) == 1 or rng.random() < 2 / 3 else sizes[1]
        share = SHORTER[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
        return Recipe(**fields, epochs=max(1, round(epochs * share)))

    return list(dict.fromkeys(one(place) for place in places))


def offspring(parents: Sequence[Recipe], described: Description, count: int, seed: int) -> list[Recipe]:
    """Recipes near good ones: each field is one of two parents', numbers moved a little.

    Optimizer, rate and weight decay go together, since one's size depends on the other.

    Args:
        parents: good recipes, best first.
        described: of the task.
        count: how many at most; seed: of the drawing.
    """
    rng = np.random.default_rng([seed, 0xC0])
    found: dict[Recipe, None] = {}
    for _ in range(count):
        one, other = (parents[int(place)] for place in rng.integers(len(parents), size=2))
        fields: dict[str, Any] = {
            name: getattr((one, other)[int(rng.integers(2))], name)
            for name in ("schedule", "warmup", "label_smoothing", "clip_norm", "dropout", "epochs", "batch_size")
        }
        fields["learning_rate"] = _rounded(float(one.learning_rate) * math.exp(0.4 * rng.normal()))  # type: ignore[arg-type]
        if one.weight_decay is not None:
            fields["weight_decay"] = _rounded(float(one.weight_decay) * math.exp(0.8 * rng.normal()))  # type: ignore[arg-type]
        if described.dropout is not None and rng.random() < 0.7:
            fields["dropout"] = round(min(max(fields["dropout"] + 0.1 * rng.normal(), 0.0), 0.7), 2)
        found[one.replace(**fields)] = None
    return [recipe for recipe in found if recipe not in parents]


def neighbours(recipe: Recipe, described: Description) -> dict[str, Recipe]:
    """By field, the recipe with that field as if nobody had thought of it: what each is worth is what is lost without.

    >>> best = Recipe(learning_rate=0.01, schedule="cosine_decay", weight_decay=0.1)
    >>> sorted(neighbours(best, Description("tabular", 100, 10, 4, None, True)))
    ['learning_rate', 'schedule', 'weight_decay']
    """
    plain: dict[str, Any] = {"schedule": "constant", "warmup": 0, "clip_norm": None, "label_smoothing": None}
    plain |= {"optimizer_arguments": {}, "weight_decay": None}
    if described.dropout is not None:
        plain["dropout"] = described.dropout
    found = {name: recipe.replace(**{name: value}) for name, value in plain.items() if getattr(recipe, name) != value}
    if "weight_decay" in found and recipe.optimizer == "adamw":  # whose own default is not 0
        found["weight_decay"] = recipe.replace(optimizer="adam", weight_decay=None)
    if recipe.optimizer in _ADAPTIVE and recipe.learning_rate != Recipe().learning_rate:
        found["learning_rate"] = recipe.replace(learning_rate=Recipe().learning_rate)
    return found


def _around(rate: float, adaptive: bool) -> tuple[float, float]:
    if not adaptive:
        return rate / 8, rate * 2
    low, least, most = RATES
    return low, min(max(2 * rate, least), most)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
