"""What people would start from, by kind of task: recipes, what is worth trying around them, and where that is from."""

from collections.abc import Mapping
from typing import NamedTuple

from hyperjax.advice.description import Description
from hyperjax.schedules import fraction
from hyperjax.training.recipe import Recipe

Range = tuple[float, float]


class Prior(NamedTuple):
    """A start, and what is worth trying around it.

    Attributes:
        title: the kind of task in words.
        recipe: what people start from; its epochs and batch size are left to what is measured.
        rates: rates worth trying for other optimizers, by name.
        weight_decay: decoupled ones worth trying, of an Adam's size of rate.
        clip_norm: worth trying; None: none.
        b1: of Adam, worth trying beside its own; None: none.
        reason: why people do so, with the sources.
    """

    title: str
    recipe: Recipe
    rates: Mapping[str, Range]
    weight_decay: Range
    clip_norm: float | None
    b1: float | None
    reason: str


PRIORS: Mapping[str, Prior] = {
    "vision": Prior(
        title="images, by convolutions",
        recipe=Recipe(optimizer="adamw", weight_decay=0.05, schedule="cosine_decay", warmup=fraction(0.05)),
        rates={"nesterov": (0.01, 0.5)},
        weight_decay=(0.005, 0.5),
        clip_norm=None,
        b1=None,
        reason="Adam with decoupled decay down a cosine is as good as momentum there and less sensitive to its rate "
        "(Loshchilov & Hutter, arXiv:1711.05101; Wightman et al., arXiv:2110.00476)",
    ),
    "vision, large": Prior(
        title="many images, by convolutions",
        recipe=Recipe(
            optimizer="nesterov",
            learning_rate=0.1,
            weight_decay=5e-4,
            batch_size=128,
            schedule="cosine_decay",
            warmup=fraction(0.05),
        ),
        rates={"adamw": (3e-4, 1e-2)},
        weight_decay=(0.005, 0.5),
        clip_norm=None,
        b1=None,
        reason="momentum from a rate of 0.1 with a decay of 5e-4 and a warm-up (He et al., arXiv:1512.03385; Goyal et "
        "al., arXiv:1706.02677)",
    ),
    "sequence": Prior(
        title="sequences",
        recipe=Recipe(optimizer="adam", clip_norm=1.0, schedule="cosine_decay", warmup=fraction(0.1)),
        rates={},
        weight_decay=(0.003, 0.3),
        clip_norm=1.0,
        b1=None,
        reason="gradients through time explode, so their norm is cut (Pascanu et al., arXiv:1211.5063), and attention "
        "wants a warm-up (Vaswani et al., arXiv:1706.03762)",
    ),
    "counts": Prior(
        title="counts of rare things (words)",
        recipe=Recipe(optimizer="adamw", weight_decay=0.1, schedule="linear"),
        rates={"adagrad": (3e-3, 0.3)},
        weight_decay=(0.03, 3.0),
        clip_norm=None,
        b1=None,
        reason="inputs that are mostly 0 want a step size for each weight (Duchi et al. 2011, JMLR 12:2121), and "
        "overfit early",
    ),
    "tabular": Prior(
        title="a table of numbers",
        recipe=Recipe(optimizer="adamw", weight_decay=0.01, schedule="cosine_decay"),
        rates={"nesterov": (0.003, 0.3)},
        weight_decay=(0.01, 2.0),
        clip_norm=None,
        b1=None,
        reason="plain networks with AdamW do well on tables when decay and dropout are tuned (Kadra et al., "
        "arXiv:2106.11189; Gorishniy et al., arXiv:2106.11959)",
    ),
    "objective": Prior(
        title="an objective of its own",
        recipe=Recipe(optimizer="adam", schedule="linear"),
        rates={},
        weight_decay=(0.003, 0.3),
        clip_norm=None,
        b1=0.5,
        reason="Adam, with less momentum where players meet (Radford et al., arXiv:1511.06434), the rate falling to 0 "
        "(Gulrajani et al., arXiv:1704.00028)",
    ),
}


def prior_for(description: Description) -> Prior:
    """What people would start from for such a task."""
    large = f"{description.kind}, large"
    return PRIORS[large if description.large and large in PRIORS else description.kind]
