"""Recipe: what a person writes down about one way of training, as comparable, JSON-ready data."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hyperjax.checks import nearest
from hyperjax.schedules import Length, Schedule
from hyperjax.training.recipe_checks import check

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
    | `batch_ramp` | epochs after which the batch grows, see below | by name | which examples |
    | `epochs` | passes over the training set; may be fractional, steps are rounded up | above 0 | how many steps |
    | `dropout` | number bound to the model's "dropout" hyperparameters; None keeps the model's | 0 to 1 | model |
    | `activation_arguments` | numbers of the activations: `negative_slope`, `alpha`, `beta` | by activation | model |
    | `activation` | name bound to the model's "activation"; None keeps the model's | a name | model |
    | `hyperparameters` | numbers bound to the model's other hyperparameters, by name | any | model |
    | `model` | arguments of the task's model factory (width, ...): structure | any | model |
    | `loss` | name of a loss for the task's kind of target; None is the task's own | a name | objective |
    | `label_smoothing` | share of each label spread over all classes | 0 to below 1 | objective |
    | `loss_arguments` | other numbers of the loss | by loss | objective |
    | `class_weights` | "balanced": examples of rare classes count more; None: all alike | a name | objective |
    | `sampling` | how examples are drawn: "permutation", "replacement", "balanced" | a name | which examples |
    | `micro_batches` | parts that a batch is cut into, their gradients added | at least 1 | how much memory |
    | `micro_batch_size` | examples of each part of a batch, see below; None: it is whole | at least 1 | program |
    | `precision` | what the model computes in: "float32", or "bfloat16" beside float32 weights | a name | model |
    | `rematerialize` | True: what lies between matrix products is computed twice, not kept | a bool | how much memory |
    | `sam` | radius around the weights in which the gradient is taken at the worst (SAM) | at least 0 | gradient |
    | `clip_norm` | largest 2-norm of the whole gradient; None does not clip | above 0 | 1. clip |
    | `clip_value` | largest size of each entry of the gradient; None does not clip | above 0 | 1. clip |
    | `clip_adaptive` | largest ratio of a unit's gradient to its weights (AGC); None: any | above 0 | 1. clip |
    | `centralize` | True: each unit's gradient loses its mean | a bool | 1. clip |
    | `gradient_noise` | standard deviation of normal noise on the gradient | at least 0 | 1. clip |
    | `l1` | `l1 * sign(weights)` is added to the gradient | at least 0 | 2. penalty |
    | `l2` | coupled decay: `l2 * weights` is added to the gradient | at least 0 | 2. penalty |
    | `optimizer` | name of a rule, or an optax factory (structure) | a name | 3. rule |
    | `momentum` | momentum's or RMSprop's decay; None is the rule's own | 0 to below 1 | 3. rule |
    | `optimizer_arguments` | numbers of the rule (`b1`, `eps`, ...), or the factory's arguments | by rule | 3. rule |
    | `weight_decay` | decoupled: `weight_decay * weights` joins the direction; None: default | at least 0 | 4. decay |
    | `decay` | which weights decay: "all", "matrices", or a function of path and array | a name | 4. decay |
    | `learning_rate` | number, or a Schedule in absolute values | at least 0 | 5. rate |
    | `schedule` | name of a shape that multiplies a plain rate and spans what follows the warm-up | a name | 5. rate |
    | `schedule_arguments` | the shape's arguments | by schedule | 5. rate |
    | `warmup` | the rate rises linearly from 0: steps, `hj.epochs(n)` or `hj.fraction(f)` | at least 0 | 5. rate |
    | `plateau` | `reduce_on_plateau`'s numbers and the `metric` it follows, see below | by name | 5. rate |
    | `rate_multipliers` | multipliers by parameter group, as `scale_by_group` takes them | at least 0 | 5. rate |
    | `proximal_l1` | L1 by a proximal step, which makes weights exactly 0 | at least 0 | 6. weights |
    | `max_norm` | largest 2-norm of each unit's incoming weights; None: any | above 0 | 6. weights |
    | `lookahead` | `sync_period` and `slow_step_size` of `lookahead` | by name | 7. averages |
    | `average` | decay of the average that is evaluated; 1: the plain mean; None: none | 0 to 1 | 7. averages |
    | `average_start` | when it begins: steps, `hj.epochs(n)` or `hj.fraction(f)` | at least 0 | 7. averages |
    | `early_stopping` | `patience` in epochs, `min_gain` and `metric`, see below | by name | how many steps |

    The defaults are Adam at 1e-3, batches of 32, 10 epochs and nothing else. A field that cannot matter (momentum of
    Adagrad) is refused. Fields whose place is the model must be bound by something in it, which is checked when recipe
    and task meet.

    `metric` is `train_loss`, which a plateau counts at every step, or a validation's (`validation_accuracy`), counted
    at the end of every epoch; without it, it is what ranks runs. Early stopping ends a run when `patience` epochs (10)
    have brought no gain of more than `min_gain` (0); model and score are then those of its best epoch, also of a run
    that reached its end. An empty mapping is neither.

    `batch_ramp` multiplies the batch size by `factor` (2) after each of the whole numbers of epochs in `epochs`, up to
    the whole training set, and the learning rate by as much (`rate="linear"`, the default), by its root ("sqrt") or not
    at all ("constant"). Each batch size is a program of its own; the state goes from one to the next.

    With `micro_batch_size`, of which the batch size is a multiple, a step's gradient is gathered from parts of that
    many examples, one turn of the program's loop each, so that the batch size is a number: recipes with equal parts
    share a program whatever their batch sizes. Where examples meet (batch normalization) they do within a part alone.

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
    activation_arguments: Mapping[str, Any] = field(default_factory=dict)
    class_weights: str | None = None
    batch_ramp: Mapping[str, Any] = field(default_factory=dict)
    sampling: str = "permutation"
    micro_batches: int = 1
    micro_batch_size: int | None = None
    precision: str = "float32"
    rematerialize: bool = False
    sam: float | Schedule | None = None
    clip_value: float | Schedule | None = None
    clip_adaptive: float | Schedule | None = None
    centralize: bool = False
    gradient_noise: float | Schedule = 0.0
    l1: float | Schedule = 0.0
    decay: str | Callable[[str, Any], bool] = "all"
    plateau: Mapping[str, Any] = field(default_factory=dict)
    rate_multipliers: Mapping[str, Any] = field(default_factory=dict)
    proximal_l1: float | Schedule = 0.0
    max_norm: float | Schedule | None = None
    lookahead: Mapping[str, Any] = field(default_factory=dict)
    average: float | Schedule | None = None
    average_start: float | Length = 0
    early_stopping: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.default_factory is not MISSING:
                if not isinstance(value, Mapping):
                    raise ValueError(f"{f.name} must be a mapping from names to values, got {value!r}")
                object.__setattr__(
                    self, f.name, {str(k): _tupled(_plain(v, f"{f.name}[{k!r}]")) for k, v in value.items()}
                )
            else:
                object.__setattr__(self, f.name, _plain(value, f.name))
        check(self)

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


def _tupled(value: Any) -> Any:
    """Lists, which JSON makes of tuples, as tuples."""
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value
