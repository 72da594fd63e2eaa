"""A space: which hyperparameters a study varies, and over what."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from hyperjax.checks import nearest, one_of
from hyperjax.schedules import Length
from hyperjax.studies.constraints import Constraints, Predicate
from hyperjax.studies.governing import CHOICES, GOVERNORS, governed, numbers_read
from hyperjax.studies.parts import MAPPINGS, owners, put_together, taken_apart
from hyperjax.studies.ranges import Range, log_uniform, uniform
from hyperjax.studies.structural import apart, worded
from hyperjax.studies.widening import widest
from hyperjax.tasks import Task
from hyperjax.training.functional import Functional
from hyperjax.training.recipe import Recipe


def space(
    given: Mapping[str, Any] | None = None,
    /,
    *,
    constraints: Mapping[str, Predicate] | None = None,
    **named: Any,
) -> "Space":
    """Describe what a study varies: for each field of a recipe a range, a list of choices, or one fixed value.

    Args:
        given: the same as a mapping, for dotted names that reach inside a field: "model.width",
            "optimizer_arguments.b2", "schedule_arguments.alpha", "hyperparameters.slope".
        named: field name -> `uniform(...)`, `log_uniform(...)`, `integer(...)`, `log_integer(...)`, a list of choices,
            or a fixed value. A schedule whose own numbers vary is a mapping of its parts: `schedule`, a constructor of
            `hyperjax.schedules` or its name, and the constructor's arguments (`after` for the one that `warmup` calls
            schedule), each again any of these or, as in a `join`, several. A length is one of `epochs` or `fraction`.
            Each part is a name of the space.
        constraints: what ranges and lists cannot say: message -> what is true where a sample is allowed, a comparison
            as text, or a function of the sample's values by name. A sample that breaks one is drawn again.
    Returns: a `Space`.
    Raises: ValueError for an unknown field, an empty list, or a value that the field does not allow.

    >>> space(optimizer=["sgd", "adam"], learning_rate=log_uniform(1e-4, 1.0), epochs=20)
    Space(optimizer=['sgd', 'adam'], learning_rate=numbers from 0.0001 to 1, log scale, epochs=20)
    >>> space(
    ...     batch_size=[32, 128],
    ...     learning_rate=log_uniform(1e-4, 1.0),
    ...     constraints={"small batches want small rates": "learning_rate <= batch_size / 320"},
    ... )
    Space(batch_size=[32, 128], learning_rate=numbers from 0.0001 to 1, log scale; small batches want small rates)
    >>> from hyperjax import schedules
    >>> decay = {"schedule": schedules.cosine_decay, "init_value": log_uniform(1e-3, 1.0), "decay_steps": 100}
    >>> list(space(learning_rate=decay, warmup={"epochs": uniform(0, 2)}).searched)
    ['learning_rate.init_value', 'warmup.epochs']
    """
    return Space({**(given or {}), **named}, constraints)


class Space:
    """Names and what each may be; see `space`."""

    def __init__(
        self,
        entries: Mapping[str, Any],
        constraints: Mapping[str, Predicate] | None = None,
    ):
        known = [f.name for f in fields(Recipe)]
        self.entries: dict[str, Any] = {}
        entries = taken_apart(entries)
        parts = owners([str(name) for name in entries])
        for name, entry in entries.items():
            head, dot, tail = str(name).partition(".")
            if head not in known or (dot and name not in parts and (head not in MAPPINGS or not tail)):
                raise ValueError(
                    f"space must name fields of a recipe, {', '.join(known)}, got {name!r}{nearest(head, known)}"
                )
            above = list(itertools.accumulate(name.split(".")[:-1], "{}.{}".format))
            for whole in above if name in parts else above[:1]:
                if whole in entries:
                    raise ValueError(f"space must give {whole} whole or by its parts, got both {whole!r} and {name!r}")
            if isinstance(entry, list | tuple):
                if not entry:
                    raise ValueError(f"{name} must have at least one choice, got an empty list")
                entry = list(entry)
            for value in entry if isinstance(entry, list) else [entry]:
                if head not in MAPPINGS and isinstance(value, list | tuple | Mapping | np.ndarray):
                    raise ValueError(f"{name} must be one number or name at a time, got {value!r}")
            self.entries[name] = entry
        self.constraints = Constraints(constraints, self.entries)
        for values in self.corners():
            self.constraints.broken(values)  # one that reads an unknown name is refused here
        self.room()  # what no recipe allows is refused here, not in the middle of a study
        self.refuse_unread()

    @property
    def searched(self) -> dict[str, Any]:
        """The entries that vary: ranges, and lists of more than one choice."""
        return {
            name: e for name, e in self.entries.items() if isinstance(e, Range) or (isinstance(e, list) and len(e) > 1)
        }

    @property
    def is_grid(self) -> bool:
        """True when everything that varies is a list."""
        return all(isinstance(entry, list) for entry in self.searched.values())

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of a space of lists, the last name fastest."""
        options = [entry if isinstance(entry, list) else [entry] for entry in self.entries.values()]
        return (dict(zip(self.entries, values, strict=True)) for values in itertools.product(*options))

    def sample(self, rng: np.random.Generator, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One value for each name, independently but for those given, drawn again while a constraint is broken.

        Raises: ValueError that names the constraints when they leave nothing.
        """
        return self.constraints.kept(lambda: self.sample_freely(rng) | dict(given or {}))

    def sample_freely(self, rng: np.random.Generator) -> dict[str, Any]:
        """One value for each name, whatever the constraints say."""
        values = {}
        for name, entry in self.entries.items():
            if isinstance(entry, Range):
                values[name] = entry.sample(rng)
            else:
                values[name] = entry[int(rng.integers(len(entry)))] if isinstance(entry, list) else entry
        return values

    def corners(self, samples: Iterable[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Points that show all that may occur beside each structure: each end of a range and each choice in turn.

        Args:
            samples: whose structures (batch size, the model's arguments, ...) to go through; None: each one once.
        """
        options = {name: _ends(entry) for name, entry in self.entries.items()}
        first = {name: values[0] for name, values in options.items()}
        if samples is None:
            samples = [first, *(first | {name: v} for name, values in options.items() for v in values[1:])]
        points: list[dict[str, Any]] = []
        for sample in {self.structure(sample): sample for sample in samples}.values():
            alike = {
                name: [v for v in values if apart(name, v) == apart(name, sample[name])] or [sample[name]]
                for name, values in options.items()
            }
            at = {name: values[0] for name, values in alike.items()}
            points.append(at)
            for name, values in alike.items():
                governor = GOVERNORS.get(name.partition(".")[0], name)
                settings = alike.get(governor, []) if governor != name else []
                points += [at | {name: v, governor: s} for v in values for s in settings]
                points += [] if settings else [at | {name: v} for v in values[1:]]
        return points

    def structure(self, values: Mapping[str, Any], base: Recipe | None = None) -> str:
        """What of a sample sets its program apart, as text; no batch size where `base` has all in equal parts."""
        shared = () if base is None or base.micro_batch_size is None else ("batch_size",)
        return repr([apart(name, values[name]) for name in self.entries if name not in shared])

    def room(self, samples: Iterable[Mapping[str, Any]] | None = None, base: Recipe | None = None) -> list[Recipe]:
        """The recipes of `corners`, for which programs must have room; without what constraints keep from being made.

        Raises: ValueError for a value that its field does not allow.
        """
        found = []
        for values in self.corners(samples):
            try:
                found.append(self.recipe(values, base))
            except ValueError:
                if self.constraints.broken(values) is None:
                    raise
        return found

    def recipe(self, values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
        """The recipe of a sample: `base` (default `Recipe()`) with the values that can matter in place."""
        base = base or _usual()
        return base.replace(**_nested(put_together(self.meaningful(values, base)), base))

    def default(self, base: Recipe | None = None) -> Recipe:
        """The recipe of who searches nothing: the fixed values in place, and for all that is searched `base`'s own.

        A schedule of which a part is searched is searched as a whole.
        """
        whole = owners(self.entries)
        searched = {whole.get(name, name) for name in self.searched}
        fixed = {name: entry for name, entry in self.entries.items() if whole.get(name, name) not in searched}
        return self.recipe({name: e[0] if isinstance(e, list) else e for name, e in fixed.items()}, base)

    def meaningful(self, values: Mapping[str, Any], base: Recipe | None = None) -> dict[str, Any]:
        """The values that can matter beside one another: no momentum for Adagrad, no argument of another schedule."""
        base = base or _usual()

        def matters(name: str) -> bool:
            part, governor = governed(name), GOVERNORS.get(name.partition(".")[0])
            if part is None or governor is None:
                return True
            readable = numbers_read(governor, values.get(governor, getattr(base, governor)))
            return readable is None or part in readable

        return {name: value for name, value in values.items() if matters(name)}

    def refuse_unread(self, base: Recipe | None = None) -> None:
        """Raise for a name that can matter beside none of the choices, of the space or else of `base`.

        Raises: ValueError such as for momentum in a space whose only optimizer is Adam.
        """
        for name, part in ((name, governed(name)) for name in self.entries):
            if part is None:
                continue
            governor = GOVERNORS[name.partition(".")[0]]
            if governor in self.entries:
                choices = _ends(self.entries[governor])
            else:
                choices = list(CHOICES[governor]()) if base is None else [getattr(base, governor)]
            read = [numbers_read(governor, choice) for choice in choices]
            if all(numbers is not None and part not in numbers for numbers in read):
                known = dict.fromkeys(n for numbers in read for n in numbers or ())
                listed = f"can read {', '.join(known)}" if known else "reads nothing"
                raise ValueError(
                    f"{name} must be left out, since {governor} {worded(choices)} {listed}, "
                    f"got {self.entries[name]}{nearest(part, known)}"
                )

    def wider(self, edges: Mapping[str, str], base: Recipe | None = None) -> dict[str, Range]:
        """The range to search next of each name that is given with one of its ends, as `Study.edges` gives them.

        What a field allows, its recipes say: a dropout stays in [0, 1]. Where that is no more, a range stays as it is.

        Raises: ValueError for a name that has no range.
        """
        found = {}
        for name, end in edges.items():
            if not isinstance(self.entries.get(name), Range):
                ranges = [n for n, entry in self.entries.items() if isinstance(entry, Range)]
                raise ValueError(f"edges must name ranges of the space, {', '.join(ranges)}, got {name!r}")
            found[name] = self._wider(name, one_of(f"edges[{name!r}]", end, ("low", "high")), base)
        return found

    def _wider(self, name: str, end: str, base: Recipe | None) -> Range:
        entry: Range = self.entries[name]

        def allows(point: Mapping[str, Any], value: float, strictly: bool) -> bool:
            values = {**point, name: value}
            try:
                self.recipe(values, base)
            except ValueError:
                return not strictly and self.constraints.broken(values) is not None
            return True

        points = [p for p in self.corners() if p[name] == getattr(entry, end) and name in self.meaningful(p, base)]
        return widest(entry, end, points, allows)

    def widened(self, edges: Mapping[str, str], base: Recipe | None = None) -> "Space":
        """This space with more room where a study's best trial lay at the end of a range: `space.widened(study.edges)`.

        A range on a logarithmic scale reaches ten times as far, any other by its width, both within what the field
        allows; one that it allows no more of stays as it is, which `Study.wider` and the report say.

        Args:
            edges: name -> "low" or "high".
            base: what everything outside the space is, as a study's `recipe`.
        Raises: ValueError for a name that has no range, or where no field allows more.

        >>> space(learning_rate=log_uniform(1e-3, 1.0), dropout=uniform(0.0, 0.5)).widened({"learning_rate": "low"})
        Space(learning_rate=numbers from 0.0001 to 1, log scale, dropout=numbers from 0 to 0.5)
        """
        found = self.wider(edges, base)
        if edges and all(entry == self.entries[name] for name, entry in found.items()):
            told = ", ".join(f"{name} {self.entries[name]}" for name in edges)
            raise ValueError(f"edges must name a range whose field allows more beside the others, got {told}")
        return Space(self.entries | found, self.constraints.given)

    def __repr__(self) -> str:
        shown = (f"{name}={entry}" for name, entry in self.entries.items())
        return f"Space({'; '.join([', '.join(shown), *self.constraints.given])})"

    def described(self) -> dict[str, str]:
        """Each name with what it may be, as text."""
        return {name: worded(entry) for name, entry in self.entries.items()}


@functools.cache
def _usual() -> Recipe:
    """What everything outside a space is where nobody says so, made and checked once."""
    return Recipe()


def _ends(entry: Any) -> list[Any]:
    """All choices, or both ends of a range."""
    return [entry.low, entry.high] if isinstance(entry, Range) else entry if isinstance(entry, list) else [entry]


def _nested(values: Mapping[str, Any], base: Recipe) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, value in values.items():
        head, dot, tail = name.partition(".")
        if dot:
            changes.setdefault(head, dict(getattr(base, head)))[tail] = value
        else:
            changes[head] = value
    return changes


def default_space(epochs: float = 20, task: Task | None = None) -> Space:
    """What the command searches when it is not told: every kind of hyperparameter that any classifier has.

    Args:
        epochs: of each trial.
        task: leaves out what its model does not bind, and batches larger than its training set; of a stream,
            those that it gives.

    >>> from hyperjax.tasks import copying
    >>> "activation" in default_space().searched, "activation" in default_space(20, copying()).searched
    (True, False)
    """
    bound: tuple[str, ...] = ("dropout", "activation")
    examples = math.inf
    if task is not None:
        bound, examples = Functional(task, {}, {}, ()).names, task.size("train")
    model: dict[str, Any] = {"dropout": uniform(0.0, 0.5), "activation": ["relu", "tanh", "gelu", "swish"]}
    sizes = [size for size in (32, 128) if size <= examples]
    if task is not None and task.stream is not None and task.stream.batch_size is not None:
        sizes = [task.stream.batch_size]
    return space(
        optimizer=["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "radam", "lion"],
        learning_rate=log_uniform(1e-4, 1.0),
        schedule=["constant", "linear", "cosine_decay", "exponential_decay", "step_decay"],
        warmup=[0, Length(0.05, "fraction"), Length(0.2, "fraction")],
        weight_decay=log_uniform(1e-6, 1e-1),
        batch_size=sizes if len(sizes) > 1 else sizes[0] if sizes else "full",
        epochs=epochs,
        **{name: values for name, values in model.items() if name in bound},
    )
