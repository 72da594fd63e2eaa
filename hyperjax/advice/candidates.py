"""Recipes worth trying around a prior, drawn so that each number is spread over its range."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hyperjax.advice.description import Description
from hyperjax.advice.priors import Prior
from hyperjax.optimizers import numbers
from hyperjax.schedules import fraction
from hyperjax.training.recipe import Recipe

ABOVE, BELOW = 2.0, 8.0  # times the suggested rate: how far rates go up and down
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

    The optimizer is the prior's for seven in ten, else one of those that people use beside it. Rates go from an eighth
    of `rate` (1e-3 at the highest) to twice as much; every other choice is drawn alone: schedule, warm-up, weight
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
        low, high = prior.rates[optimizer] if other else (min(rate / BELOW, 1e-3), rate * ABOVE)
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


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
