"""Recipe: what a person writes down about one way of training, as comparable, JSON-ready data."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hyperjax import activations, losses, optimizers, schedules
from hyperjax.checks import nearest, one_of, within
from hyperjax.schedules import Length, Schedule

if TYPE_CHECKING:
    from hyperjax.tasks import Task
    from hyperjax.training.settings import Settings
    from hyperjax.training.structure import Structure


@dataclass(frozen=True)
class Recipe:
    """One way of training: every hyperparameter in one frozen, comparable value.

    A *number* may be a float or a `Schedule` (value over steps). In the order in which a step uses them:

    | field | what it is | range | where in a step |
    | --- | --- | --- | --- |
    | `batch_size` | examples a step, or "full" for all of them | 1 to the training set | which examples |
    | `epochs` | passes over the training set; may be fractional, steps are rounded up | above 0 | how many steps |
    | `dropout` | number bound to the model's "dropout" hyperparameters; None keeps the model's | 0 to 1 | model |
    | `activation` | name bound to the model's "activation"; None keeps the model's | a name | model |
    | `hyperparameters` | numbers bound to the model's other hyperparameters, by name | any | model |
    | `model` | arguments of the task's model factory (width, ...): structure | any | model |
    | `loss` | name of a loss for the task's kind of target; None is the task's own | a name | objective |
    | `label_smoothing` | share of each label spread over all classes | 0 to below 1 | objective |
    | `loss_arguments` | other numbers of the loss | by loss | objective |
    | `clip_norm` | largest 2-norm of the whole gradient; None does not clip | above 0 | 1. clip |
    | `l2` | coupled decay: `l2 * weights` is added to the gradient | at least 0 | 2. penalty |
    | `optimizer` | name of a rule, or an optax factory (structure) | a name | 3. rule |
    | `momentum` | momentum's or RMSprop's decay; None is the rule's own | 0 to below 1 | 3. rule |
    | `optimizer_arguments` | the rule's other numbers (`b1`, `b2`, `eps`, ...) | by rule | 3. rule |
    | `weight_decay` | decoupled: `weight_decay * weights` joins the direction; None: default | at least 0 | 4. decay |
    | `learning_rate` | number, or a Schedule in absolute values | at least 0 | 5. rate |
    | `schedule` | name of a shape that multiplies a plain rate and spans what follows the warm-up | a name | 5. rate |
    | `schedule_arguments` | the shape's arguments | by schedule | 5. rate |
    | `warmup` | the rate rises linearly from 0: steps, `hj.epochs(n)` or `hj.fraction(f)` | at least 0 | 5. rate |

    The defaults are Adam at 1e-3, batches of 32, 10 epochs and nothing else. A field that cannot matter (momentum of
    Adagrad) is refused. Fields whose place is the model must be bound by something in it, which is checked when recipe
    and task meet.

    Raises: ValueError that names the field, what is allowed and what came.

    >>> recipe = Recipe(optimizer="adamw", learning_rate=3e-3, schedule="cosine_decay", epochs=20)
    >>> recipe
    Recipe(optimizer='adamw', learning_rate=0.003, epochs=20, schedule='cosine_decay')
    >>> Recipe.from_json(recipe.to_json()) == recipe
    True
    """

    optimizer: str | Callable[..., Any] = "adam"
    learning_rate: float | Schedule = 1e-3
    batch_size: int | str = 32
    epochs: float = 10
    schedule: str = "constant"
    schedule_arguments: Mapping[str, Any] = field(default_factory=dict)
    warmup: float | Length = 0
    momentum: float | Schedule | None = None
    optimizer_arguments: Mapping[str, Any] = field(default_factory=dict)
    weight_decay: float | Schedule | None = None
    l2: float | Schedule = 0.0
    clip_norm: float | Schedule | None = None
    loss: str | None = None
    label_smoothing: float | Schedule | None = None
    loss_arguments: Mapping[str, Any] = field(default_factory=dict)
    activation: str | None = None
    dropout: float | Schedule | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.default_factory is not MISSING:
                if not isinstance(value, Mapping):
                    raise ValueError(f"{f.name} must be a mapping from names to values, got {value!r}")
                object.__setattr__(self, f.name, {str(k): _plain(v, f"{f.name}[{k!r}]") for k, v in value.items()})
            else:
                object.__setattr__(self, f.name, _plain(value, f.name))
        self._check_numbers()
        self._check_choices()
        self._check_optimizer()
        self._check_schedule()

    def _check_numbers(self) -> None:
        mappings = [self.loss_arguments, self.hyperparameters]
        mappings += [] if callable(self.optimizer) else [self.optimizer_arguments]
        named = {name: getattr(self, name) for name in _NUMBERS} | {k: v for m in mappings for k, v in m.items()}
        for name, value in named.items():
            alien = callable(value) and not isinstance(value, Schedule)
            if alien or isinstance(value, list | tuple | dict | np.ndarray | jax.Array):
                raise ValueError(f"{name} must be one number or a Schedule of hyperjax.schedules, got {value!r}")
        for name in ("learning_rate", "epochs", "l2", "warmup"):
            if getattr(self, name) is None:
                raise ValueError(f"{name} must be a number in [0, inf), got None")
        within("learning_rate", self.learning_rate, 0.0)
        within("epochs", self.epochs, 0.0, open_low=True)
        within("weight_decay", self.weight_decay, 0.0)
        within("l2", self.l2, 0.0)
        within("clip_norm", self.clip_norm, 0.0, open_low=True)
        within("dropout", self.dropout, 0.0, 1.0)
        for name, value in self.hyperparameters.items():
            within(f"hyperparameters[{name!r}]", value)
        if self.batch_size != "full":
            whole = isinstance(self.batch_size, int) and not isinstance(self.batch_size, bool)
            if not whole or self.batch_size < 1:  # type: ignore[operator]
                raise ValueError(f"batch_size must be a whole number of at least 1, or 'full', got {self.batch_size!r}")
        for name in ("epochs", "warmup"):
            if isinstance(getattr(self, name), Schedule):
                raise ValueError(f"{name} must be a number, got the schedule {getattr(self, name)!r}")
        if not isinstance(self.warmup, Length):
            within("warmup", self.warmup, 0.0)

    def _check_choices(self) -> None:
        if self.loss is not None:
            one_of("loss", self.loss, dict.fromkeys(name for table in losses.LOSSES.values() for name in table))
        if self.activation is not None:
            one_of("activation", self.activation, activations.TABLE)
        if self.label_smoothing is not None and "label_smoothing" in self.loss_arguments:
            raise ValueError("label_smoothing must be given once, got it as a field and in loss_arguments")
        for reserved in ("dropout", "activation"):
            if reserved in self.hyperparameters:
                raise ValueError(f"hyperparameters must not hold {reserved!r}; use the field {reserved}")

    def _check_optimizer(self) -> None:
        if callable(self.optimizer):
            if self.momentum is not None:
                raise ValueError("momentum must be given in optimizer_arguments when the optimizer is a factory")
            return
        one_of("optimizer", self.optimizer, optimizers.names())
        if "momentum" in self.optimizer_arguments:
            raise ValueError("optimizer_arguments must not hold 'momentum'; use the field momentum")
        for named in ("weight_decay", "l2"):
            if named in self.optimizer_arguments:
                raise ValueError(f"optimizer_arguments must not hold {named!r}; use the field {named}")
        if self.momentum is not None and "momentum" not in optimizers.numbers(self.optimizer):
            allowed = ", ".join(name for name in optimizers.names() if "momentum" in optimizers.numbers(name))
            raise ValueError(
                f"momentum must be None for {self.optimizer} (only {allowed} have it), got {self.momentum!r}"
            )
        optimizers.rule(self.optimizer, **self.rule_arguments)

    def _check_schedule(self) -> None:
        schedules.shape(self.schedule, self.schedule_arguments, 100)
        if isinstance(self.learning_rate, Schedule) and self.schedule != "constant":
            raise ValueError(
                f"schedule must be 'constant' when learning_rate is itself a Schedule, got {self.schedule!r}; "
                "give the rate as a number, or leave schedule out"
            )

    @property
    def rule_arguments(self) -> dict[str, Any]:
        """What the optimizer's rule is built with: its numbers, momentum and coupled decay."""
        named = {"momentum": self.momentum, "weight_decay": self.weight_decay, "l2": self.l2 or None}
        return {**self.optimizer_arguments, **{k: v for k, v in named.items() if v is not None}}

    def replace(self, **changes: Any) -> "Recipe":
        """A copy with some fields changed.

        >>> Recipe(epochs=20).replace(learning_rate=0.1)
        Recipe(learning_rate=0.1, epochs=20)
        """
        known = [f.name for f in fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"field must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")
        return replace(self, **changes)

    def lower(self, task: "Task") -> "tuple[Settings, Structure]":
        """Split the recipe into the pytree of leaves that a compiled program takes and the static structure around it.

        Raises: ValueError where recipe and task do not fit: a hyperparameter that nothing in the model binds, a batch
            larger than the data, a loss of another kind of target.
        """
        from hyperjax.training.lowering import lower_together

        settings, structure = lower_together([self], task)
        return settings[0], structure

    def to_json(self, indent: int | None = None) -> str:
        """JSON text from which `from_json` makes an equal recipe; fields at their default are left out.

        Raises: ValueError for a factory without a public import path.
        """
        from hyperjax.training.recipe_json import dump

        return dump(self, indent)

    @classmethod
    def from_json(cls, text: str, allowed_modules: tuple[str, ...] = ()) -> "Recipe":
        """Read what `to_json` wrote.

        Args:
            text: JSON.
            allowed_modules: modules that an optimizer factory may be imported from, beside `optax` and its parts.
        Raises: ValueError for text that is not JSON, unknown fields, or a module that is not allowed.
        """
        from hyperjax.training.recipe_json import load

        return load(text, allowed_modules)

    def changed(self) -> dict[str, Any]:
        """The fields that differ from the defaults, in order."""
        blank = {f.name: f.default if f.default is not MISSING else {} for f in fields(self)}
        return {name: getattr(self, name) for name in blank if not _same(getattr(self, name), blank[name])}

    def __repr__(self) -> str:
        def text(value: Any) -> str:
            return (
                getattr(value, "__qualname__", repr(value))
                if callable(value) and not isinstance(value, Schedule)
                else repr(value)
            )

        return f"Recipe({', '.join(f'{name}={text(value)}' for name, value in self.changed().items())})"

    def __hash__(self) -> int:
        return hash(repr(self))


_NUMBERS = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "l2",
    "clip_norm",
    "label_smoothing",
    "dropout",
    "epochs",
    "warmup",
)


def _same(a: Any, b: Any) -> bool:
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    return bool(a == b) if numbers or type(a) is type(b) else False


def _plain(value: Any, name: str) -> Any:
    """NumPy and JAX scalars as Python numbers, so that recipes compare and print alike."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} must be a known value, got a tracer; "
            "differentiate and vmap the leaves of recipe.lower(task) instead"
        )
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        return value.item()
    return value
