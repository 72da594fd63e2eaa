"""A program: the pure functions that train one member of a given task and structure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from hyperjax import losses
from hyperjax.checks import one_of
from hyperjax.optimizers import by_rule, matching, matrices
from hyperjax.random import Streams
from hyperjax.tasks import Task
from hyperjax.training import following, stages
from hyperjax.training.devices import Shards
from hyperjax.training.functional import Functional
from hyperjax.training.packing import Packing
from hyperjax.training.precision import computing_in, in_precision
from hyperjax.training.rows import rows_apart
from hyperjax.training.settings import Settings, at
from hyperjax.training.structure import Structure
from hyperjax.types import Array, PyTree

OBJECTIVE = 0xFFFFFFFF  # folded into a key for what an objective draws from
OPERATIONS_PER_SECOND = 4e10
SECONDS_PER_STEP_AT_LEAST = 3e-5
EVALUATED_TOGETHER = 2048  # examples; a larger validation set is evaluated in blocks of so many


class Gradient(NamedTuple):
    """What a batch says."""

    loss: Array  # f32[], mean over the batch
    metrics: Array  # f32[metrics]
    by_weights: PyTree
    rest: PyTree  # state of the model after the batch; of parts that were added up None


class Carry(NamedTuple):
    """What a member takes from one step to the next."""

    step: Array  # i32[], steps taken
    validated: Array  # i32[], steps taken at the last validation
    diverged_at: Array  # i32[], -1, or the step whose loss or gradient was not finite
    weights: PyTree  # as the program's packing lays them out
    rest: PyTree  # state of the model that is not trained
    optimizer: PyTree
    around: dict[str, PyTree]  # states of the stages behind the rule
    following: following.Following
    pending: Gradient | None = None  # of the parts of a batch that were seen; None where batches are whole


class Record(NamedTuple):
    """What a step reports; NaN where the member had ended, and for validations between epochs' ends."""

    loss: Array  # f32[]
    gradient_norm: Array  # f32[]
    update_norm: Array  # f32[]
    metrics: Array  # f32[metrics], means over the batch, in training mode
    validation: Array  # f32[1 + metrics], loss and metrics over the validation set, in evaluation mode
    scale: Array | None  # f32[], what a plateau has left of the rate; None where no recipe of the program follows one


class Program:
    """Init, step and evaluation of one member, built from a task and a structure; traced by whoever maps it.

    Args:
        task, structure: of the member.
        shards: devices that work on each of its batches together; None: whichever one the program runs on.
    """

    def __init__(self, task: Task, structure: Structure, shards: Shards | None = None):
        self.task, self.structure, self._shards = task, structure, shards
        bound = structure.numbers
        self.model = Functional(task, dict(structure.model), dict(structure.choices), bound)
        self.packing = Packing(self.model.weights, packed=False if structure.optimizer is not None else None)
        weights = [leaf.dtype for leaf in jax.tree.leaves(self.model.weights)]
        self._masks = [self._mask(decay) for decay in structure.decays]
        self.recorded = jnp.result_type(jnp.float32, *weights)  # what losses and norms are reported in
        self.metric_names = tuple(task.measures) if task.objective is None else self._objective_metrics()
        self._apart: bool | None = None
        self._seconds: float | None = None
        self.classes: int | None = None  # where targets are classes, as many as the model tells apart
        self._check_labels()

    def init(self, settings: Settings, streams: Streams) -> Carry:
        """A member's carry before its first step."""
        weights, rest = self.model.init(streams.weights)
        return self.start(settings, weights, rest)

    def start(self, settings: Settings, weights: PyTree, rest: PyTree) -> Carry:
        """The carry that begins from given weights."""
        packed = self.packing.pack(weights)
        zero = jnp.zeros((), jnp.int32)
        optimizer = self.optimizer(settings, zero, settings.rate_at(zero)).init(packed)
        around = stages.init(settings, packed, self.packing)
        follows = following.init(settings, packed, rest, self.recorded)
        pending = None
        if self.structure.gathers:
            nothing = jnp.zeros((), self.recorded), jnp.zeros((len(self.metric_names),), self.recorded)
            pending = Gradient(*nothing, jax.tree.map(jnp.zeros_like, packed), None)
        return Carry(zero, zero, zero - 1, packed, rest, optimizer, around, follows, pending)

    def optimizer(self, settings: Settings, step: Any, rate: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation in force at a step: the rule or the user's factory."""
        if self.structure.optimizer is None:
            assert settings.rule is not None
            return by_rule(settings.rule, rate)
        arguments = {name: at(number, step) for name, number in settings.arguments.items()}
        fixed = dict(self.structure.arguments)
        return optax.with_extra_args_support(self.structure.optimizer(learning_rate=rate, **fixed, **arguments))

    def decayed(self, weights: PyTree, settings: Settings) -> PyTree:
        """The weights that decay, 0 in the place of those that do not."""
        if self.structure.decays == ("all",):
            return weights
        masks = jax.tree.map(lambda *each: jnp.stack(each)[settings.decay], *self._masks)
        return jax.tree.map(jnp.multiply, weights, masks)

    def judged(self, carry: Carry, settings: Settings) -> PyTree:
        """The weights that a member is evaluated at, as the program's packing lays them out."""

        def is_schedule_free(state: Any) -> bool:
            return isinstance(state, optax.contrib.ScheduleFreeState)

        weights = carry.weights
        if self.structure.optimizer is not None:
            states = jax.tree.leaves(carry.optimizer, is_leaf=is_schedule_free)
            for state in filter(is_schedule_free, states):
                weights = optax.contrib.schedule_free_eval_params(state, weights)
        return stages.evaluated(carry.around, weights, settings)

    def objective(
        self,
        weights: PyTree,
        rest: PyTree,
        batch: PyTree,
        settings: Settings,
        step: Any,
        key: jax.Array,
        training: bool,
        shares: Array | None = None,
        counted: Array | None = None,
    ) -> tuple[Array, tuple[Array, PyTree]]:
        """Mean loss of a batch; beside it the means of the metrics, f32[metrics], and the model's other state.

        With `shares`, f32[examples], the loss of each example is multiplied by its own first; with `counted`, which
        needs the examples apart, its metrics too.
        """
        (values, metrics), after = self._values(weights, rest, batch, settings, step, key, training)
        values = values if shares is None else values * shares.astype(values.dtype)
        if self.task.objective is None:
            # A loss out of a switch is rounded before it is summed. One alone must be too: a zero that no compiler can
            # see keeps its last product, or its sum, from being contracted with the mean's.
            values = values + -0.0 * jnp.asarray(step, values.dtype)
        return _mean(values, counted), (self._row([_mean(metric, counted) for metric in metrics]), after)

    def apart(self, weights: PyTree, rest: PyTree, examples: PyTree, settings: Settings, key: jax.Array) -> bool:
        """Whether a batch's examples do not meet in training: the loss of none depends on another, nor does the state.

        Read from shapes alone, once; `examples` are any of the training set.
        """
        if self._apart is None:

            def values(batch: PyTree, weights: PyTree, rest: PyTree, settings: Settings, key: jax.Array) -> Any:
                return self._values(weights, rest, batch, settings, 0, key, training=True)

            self._apart = rows_apart(values, self._batch(examples), weights, rest, settings, key)
        return self._apart

    def _values(
        self,
        weights: PyTree,
        rest: PyTree,
        batch: PyTree,
        settings: Settings,
        step: Any,
        key: jax.Array,
        training: bool,
    ) -> tuple[tuple[Array, list[Array]], PyTree]:
        """What loss and metrics say of a batch, a value for each example or one; and the model's other state."""
        task = self.task
        # Losses and means are computed in float32 at least, whatever the model computes in.
        low, high = (None, None) if self.structure.precision == "float32" else (self.structure.precision, "float32")

        def measure(model: nnx.Module) -> tuple[Array, list[Array]]:
            if task.objective is not None:
                out = task.objective(model, in_precision(batch, low), jax.random.fold_in(key, OBJECTIVE))
                value, metrics = in_precision(out if isinstance(out, tuple) else (out, {}), high)
                return value, [metrics[name] for name in self.metric_names]
            inputs, targets = batch
            predictions = in_precision(model(in_precision(inputs, low)), high)
            if callable(task.loss):
                values = task.loss(predictions, targets)
            else:
                assert task.kind is not None
                names, numbers = self.structure.losses, settings.loss_arguments_at(step)
                always = jnp.asarray(step) < 2**31 - 1
                values = losses.branched(settings.loss, names, task.kind, predictions, targets, numbers, always)
            return values, [metric(predictions, targets) for metric in task.measures.values()]

        numbers = settings.model_numbers_at(step)
        computed = in_precision(self.unpacked(weights), low)
        told = measure if low is None else lambda model: measure(computing_in(model, low))
        found, after = self.model.call(told, computed, rest, numbers, key, training)
        # What a model remembers (BatchNorm's statistics) keeps its own type, whatever it was computed in.
        return found, jax.tree.map(lambda new, old: new.astype(old.dtype), after, rest)

    def seconds_per_step(self, settings: Settings) -> float:
        """Seconds of a core for a step: three forward passes' operations, at a speed that a core reaches.

        Never by a clock: what is cut by this must not depend on how busy the machine is.
        """
        if self._seconds is None:

            def forward(settings: Settings, batch: PyTree) -> Any:
                weights, rest = self.model.init(jax.random.key(0))
                packed = self.packing.pack(weights)
                return self.objective(packed, rest, batch, settings, 0, jax.random.key(0), training=False)[0]

            analysis = jax.jit(forward).lower(settings, self._batch(self.task.sample("train"))).cost_analysis()
            flops = float((analysis or {}).get("flops", 0.0))
            self._seconds = max(3 * flops / OPERATIONS_PER_SECOND, SECONDS_PER_STEP_AT_LEAST)
        return self._seconds

    def _batch(self, examples: PyTree) -> PyTree:
        """Shapes of a whole batch of such examples."""
        size = self.structure.batch_size
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((size, *jnp.shape(a)[1:]), _shape(a).dtype), examples)

    def unpacked(self, weights: PyTree) -> PyTree:
        """Weights as the model has them."""
        return self.packing.unpack(weights)

    def sharded(self, examples: PyTree) -> PyTree:
        """Arrays of examples, of which each device works on its part."""
        return examples if self._shards is None else self._shards.batch(examples)

    def evaluate(self, weights: PyTree, rest: PyTree, arrays: PyTree, settings: Settings, step: Any, key: Any) -> Array:
        """f32[1 + metrics]: loss and metrics over a whole set, in evaluation mode."""
        size = jax.tree.leaves(arrays)[0].shape[0]

        def block(part: PyTree) -> Array:
            part = self.sharded(part)
            loss, (metrics, _) = self.objective(weights, rest, part, settings, step, key, training=False)
            return jnp.concatenate([loss[None].astype(self.recorded), metrics])

        whole, left = divmod(size, EVALUATED_TOGETHER)
        if whole == 0 or size == EVALUATED_TOGETHER:
            return block(arrays)
        cut = whole * EVALUATED_TOGETHER
        blocks = jax.tree.map(lambda a: a[:cut].reshape(whole, EVALUATED_TOGETHER, *a.shape[1:]), arrays)
        total = jnp.sum(lax.map(block, blocks), 0) * EVALUATED_TOGETHER
        if left:
            total = total + block(jax.tree.map(lambda a: a[cut:], arrays)) * left
        mean: Array = total / size
        return mean

    def _mask(self, decay: Any) -> PyTree:
        """1.0 where weights decay, as the packing lays them out."""
        ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), self.model.weights)
        if decay == "all":
            chosen = jax.tree.map(lambda _: True, ones)
        else:
            chosen = matrices(ones) if decay == "matrices" else matching(ones, decay)
        with jax.ensure_compile_time_eval():
            return self.packing.pack(jax.tree.map(lambda one, yes: jnp.asarray(one * yes), ones, chosen))

    def _row(self, values: list[Array]) -> Array:
        return jnp.stack([v.astype(self.recorded) for v in values]) if values else jnp.zeros((0,), self.recorded)

    def _objective_metrics(self) -> tuple[str, ...]:
        """Names of what the task's objective reports beside its values."""
        names: list[str] = []
        batch = _one_example(self.task.sample("train"))

        def trace(weights: PyTree, rest: PyTree, batch: PyTree) -> Any:
            def measure(model: nnx.Module) -> Any:
                assert self.task.objective is not None
                out = self.task.objective(model, batch, jax.random.key(0))
                names.extend(sorted(out[1]) if isinstance(out, tuple) else ())
                return jnp.zeros(())

            return self.model.call(measure, weights, rest, _placeholders(self.structure), jax.random.key(0), True)[0]

        weights, rest = jax.eval_shape(self.model.init, jax.random.key(0))
        jax.eval_shape(trace, weights, rest, batch)
        declared = self.task.metrics
        for name in declared:
            one_of("metrics' key (of what the objective returns)", name, names)
        return (*declared, *(name for name in names if name not in declared))

    def _check_labels(self) -> None:
        """Labels outside the model's classes would be learnt silently: refuse them before anything compiles."""
        if self.task.kind != "classes" or callable(self.task.loss):
            return
        inputs = _one_example(self.task.sample("train")[0])

        def predict(weights: PyTree, rest: PyTree, inputs: PyTree) -> Any:
            numbers = _placeholders(self.structure)
            return self.model.call(lambda m: m(inputs), weights, rest, numbers, jax.random.key(0), False)[0]

        weights, rest = jax.eval_shape(self.model.init, jax.random.key(0))
        self.classes = jax.eval_shape(predict, weights, rest, inputs).shape[-1]
        for part in self.task.data:
            self.check_labels(part, self.task.sample(part)[1])

    def check_labels(self, part: str, labels: Any) -> None:
        """Raise a ValueError for classes that the model does not have, and for what the loss does not take."""
        self.task.check_labels(part, labels)
        array = np.asarray(labels)
        if self.classes is None or not array.size or (array.min() >= 0 and array.max() < self.classes):
            return
        outside = (array < 0) | (array >= self.classes)
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"labels in data[{part!r}] must be in [0, {self.classes}) for a model of {self.classes} outputs, "
            f"got {int(outside.sum())} outside; the first, {array[place]}, at {place}"
        )


def program_of(task: Task, structure: Structure, shards: Shards | None = None) -> Program:
    """The program of a task and a structure, made once."""
    known, name = task.programs, (structure, shards, jax.dtypes.canonicalize_dtype(np.float64))
    if name not in known:
        known[name] = Program(task, structure, shards)
    program: Program = known[name]
    return program


def rows_are_apart(task: Task, structure: Structure, settings: Settings) -> bool:
    """Whether examples of such members' batches do not meet; see `Program.apart`."""
    program, key = program_of(task, structure), jax.random.key(0)
    weights, rest = jax.eval_shape(program.model.init, key)
    packed = jax.eval_shape(program.packing.pack, weights)
    return program.apart(packed, rest, task.sample("train"), settings, key)


def _mean(values: Array, counted: Array | None) -> Array:
    """The mean of a batch's values; with `counted`, f32[examples], of mean 1, each counts so much."""
    if counted is None:
        return jnp.mean(values)
    return jnp.mean(values * counted.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1)))


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    """What the device has of an array."""
    dtype = array.dtype if isinstance(array, jax.Array) else jax.dtypes.canonicalize_dtype(np.asarray(array).dtype)
    return jax.ShapeDtypeStruct(np.shape(array), dtype)


def _one_example(arrays: PyTree) -> PyTree:
    """Shapes of a batch of one."""
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct((1, *np.shape(array)[1:]), _shape(array).dtype), arrays)


def _placeholders(structure: Structure) -> dict[str, Any]:
    """Values for tracing shapes alone."""
    return dict.fromkeys(structure.numbers, 0.0) | {name: np.int32(0) for name, _ in structure.choices}
