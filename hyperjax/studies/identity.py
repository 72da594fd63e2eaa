"""What makes two studies one: a study's task, data, space, recipe, seeds and sampler as JSON, compared by name."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hyperjax.studies.distributions import labels, to_optuna
from hyperjax.studies.measures import in_words
from hyperjax.studies.space import Space
from hyperjax.tasks import Task
from hyperjax.training.checkpoint import plan_of
from hyperjax.training.recipe import Recipe

FORMAT = 1


def identity(
    task: Task,
    space: Space,
    base: Recipe | None,
    seeds: Sequence[int],
    seed: int,
    sampler: Any,
    pruner: str | None,
    batch: int | None,
    layout: str,
    width: int | None,
    metrics: Mapping[str, str],
    scientific: Sequence[str] = (),
    ahead: bool = False,
) -> dict[str, Any]:
    """What a study is, ready for JSON; beside it lies what is decided when it begins, see `Archive`.

    Args:
        task, space, seeds, seed, sampler: as in `study`.
        base: what everything outside the space is.
        pruner: as text.
        batch: trials of a round; None: all.
        layout, width: of the members, "auto" and None where the engine decides.
        metrics: as `Measures` has them.
        scientific: names whose values are compared.
        ahead: whether a batch is drawn while the one before it trains.
    """
    from optuna.distributions import distribution_to_json

    distributions, told = to_optuna(space), space.described()
    plan = plan_of(task, (), seeds, "study", False, {})
    return {
        "format": FORMAT,
        "task": plan.task,
        "data": plan.data,
        "metric": in_words(metrics),
        "space": {
            name: [told[name], distribution_to_json(distributions[name]) if name in distributions else labels([entry])]
            for name, entry in space.entries.items()
        },
        "constraints": list(space.constraints.given),
        "recipe": _text(base or Recipe()),
        "seeds": list(plan.seeds),
        "seed": seed,
        "sampler": sampler if isinstance(sampler, str) else type(sampler).__name__,
        **({} if pruner is None else {"pruner": pruner}),
        **({"ahead": True} if ahead else {}),
        **({"scientific": list(scientific)} if scientific else {}),
        "batch": batch,
        "layout": layout,
        "width": width,
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """In words, by name, in what the study that is kept is not the one that is asked for.

    >>> differences({"seeds": [0], "space": {"epochs": ["2", ""]}}, {"seeds": [0, 1], "space": {}})
    ['seeds is [0] there and [0, 1] here', 'epochs is 2 there and not searched here']
    """
    found = []
    for name in dict.fromkeys([*there, *here]):
        mine, theirs = here.get(name), there.get(name)
        if mine == theirs:
            continue
        if name != "space":
            shown = str if name == "metric" else _short  # several may differ at their end
            found.append(f"{name} is {shown(theirs)} there and {shown(mine)} here")
            continue
        mine, theirs = mine or {}, theirs or {}
        for entry in dict.fromkeys([*theirs, *mine]):
            if mine.get(entry) != theirs.get(entry):
                found.append(f"{entry} is {_of_space(theirs.get(entry))} there and {_of_space(mine.get(entry))} here")
        if not found:
            found.append(f"the space's order is {', '.join(theirs)} there and {', '.join(mine)} here")
    return found


def versions() -> dict[str, str]:
    """What a result may depend on, by package."""
    packages = ("hyperjax", "jax", "flax", "optax", "numpy", "optuna")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its sources: no reason to lose a study
        return "not installed"


def _text(recipe: Recipe) -> str:
    try:
        return recipe.to_json()
    except ValueError:  # of a function that only its own program knows
        return repr(recipe)


def _of_space(entry: Any) -> str:
    return "not searched" if entry is None else _short(entry[0])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
