"""A model as pure functions of its weights, its other state, its hyperparameters and a key."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax import activations, layers
from hyperjax.checks import nearest
from hyperjax.models.adapters import as_module, in_mode
from hyperjax.optimizers.groups import path_of
from hyperjax.tasks import Task
from hyperjax.types import PyTree

_CALLS = 0xFFFFFFFE  # folded into a key for what a model's call is told to draw from
_NEEDS_A_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


class Functional:
    """The model of a task, taken apart once; nothing is computed until `init` and `call` are traced.

    Args:
        task: gives the factory (or the module to fine-tune) and says what is trainable.
        arguments: for the factory.
        choices: name of a choice in the model -> the names that its index counts.
        bound: the hyperparameters that the caller will give values for.

    Raises: ValueError for a choice or hyperparameter that nothing in the model binds, and for arguments that the
        factory does not take.
    """

    def __init__(
        self, task: Task, arguments: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]], bound: tuple[str, ...]
    ):
        self._task, self._arguments, self._choices = task, dict(arguments), dict(choices)
        self._training: Any = None  # graphs of the model in its two modes, known after the first tracing
        self._evaluating: Any = None
        self._filters = (task.trainable, layers.Hyperparameter, nnx.RngState, ...)
        self._check_arguments()
        read = [
            number for options in choices.values() for name in options for number in activations.NUMBERS.get(name, {})
        ]
        self._numbers = [name for name in bound if name in read]  # of activations: given to the layers, not found there
        self.template = nnx.eval_shape(lambda: self._build(jax.random.key(0), {}))
        known = self.names = layers.names(self.template)  # of the hyperparameters and choices that the model binds
        self._check_bound(known, tuple(name for name in bound if name not in self._numbers))
        self.weights, self.rest = jax.eval_shape(self._states, jax.random.key(0))

    def _check_arguments(self) -> None:
        known = self._task.structure_arguments
        for name in self._arguments:
            if known is not None and name not in known:
                raise ValueError(
                    f"model arguments must be among those of {self._task.name}'s factory: "
                    f"{', '.join(known) or '(it takes none)'}; got {name!r}{nearest(name, known)}"
                )

    def _check_bound(self, known: tuple[str, ...], bound: tuple[str, ...]) -> None:
        for name in (*self._choices, *bound):
            if name not in known:
                raise ValueError(
                    f"{name} must be bound by a hyperparameter of that name in the model, which has "
                    f"{', '.join(known) or 'none'}; leave {name} out of the recipe, or use a layer of hyperjax.layers "
                    f"with name={name!r}"
                )

    def _build(self, key: jax.Array, choices: Mapping[str, tuple[str, ...]]) -> nnx.Module:
        with _traceable("model"):
            model = self._task.factory.build(nnx.Rngs(key), **self._arguments)
        _declare_arrays(model)
        for name, options in choices.items():
            layers.set_choices(model, name, options, self._numbers)
        return model

    def _states(self, key: jax.Array) -> tuple[PyTree, PyTree]:
        model = self._build(key, self._choices)
        model.eval()
        self._evaluating = nnx.graphdef(model)
        model.train()
        parts: Any = nnx.split(model, *self._filters)
        self._training, weights, hyper, streams, rest = parts
        self._hyper = nnx.to_flat_state(hyper)
        # A hyperparameter computed inside the factory is known to the program only: it travels with the state.
        self._carried = [path for path, variable in self._hyper if isinstance(variable.get_value(), jax.core.Tracer)]
        carried = {path: variable for path, variable in self._hyper if path in self._carried}
        self._streams = [(path, variable) for path, variable in nnx.to_flat_state(streams)]
        leaves = jax.tree.leaves(rest)
        self._keys = {i: jax.random.key_impl(leaf) for i, leaf in enumerate(leaves) if _is_key(leaf)}
        self._rest_paths = [path for path, _ in nnx.to_flat_state(rest)]
        return weights, (_as_words(rest), carried)

    def init(self, key: jax.Array) -> tuple[PyTree, PyTree]:
        """Initial weights, and the state that is not trained (BatchNorm's statistics and its like)."""
        return self._states(key)

    def split(self, source: Any) -> tuple[PyTree, PyTree]:
        """Weights and other state, copied, of a model of this structure and of whatever kind the task's is."""
        model = nnx.clone(as_module(source, self.template))
        parts: Any = nnx.split(model, *self._filters)
        _, weights, _, _, rest = parts
        carried = dict(nnx.to_flat_state(nnx.state(model, layers.Hyperparameter)))
        return weights, (_as_words(rest), {path: carried[path] for path in self._carried if path in carried})

    def call(
        self,
        fn: Callable[[Any], Any],
        weights: PyTree,
        rest: PyTree,
        numbers: Mapping[str, Any],
        key: jax.Array,
        training: bool,
    ) -> tuple[Any, PyTree]:
        """`fn(model)` with these weights and hyperparameters, and the state that the model is left in.

        Args:
            fn: what to do with the model, in training or evaluation mode.
            weights, rest: as `init` gives them.
            numbers: hyperparameters and indices of choices by name.
            key: the model's streams of randomness start from it.
        """
        model = self.model(weights, rest, numbers, key, training)
        # An objective calls the model itself, with what arguments it likes.
        has_loss = self._task.objective is None
        with _traceable("model, its objective and its loss"):
            out = fn(in_mode(model, training, jax.random.fold_in(key, _CALLS)) if has_loss else model)
        _declare_arrays(model)
        return out, (self._kept(nnx.split(model, *self._filters)[-1]), rest[1])

    def _kept(self, after: PyTree) -> PyTree:
        """The state that goes on, of what a model is left with; what its layers have sown meanwhile does not."""
        found = dict(nnx.to_flat_state(after))
        gone = ["/".join(map(str, path)) for path in self._rest_paths if path not in found]
        if gone:
            raise ValueError(f"model must keep its variables in a call, got none of {', '.join(gone)} after one")
        kept = _as_words(nnx.from_flat_state([(path, found[path]) for path in self._rest_paths]))
        leaves = zip(jax.tree.leaves_with_path(self.rest[0]), jax.tree.leaves(kept), strict=True)
        for (path, before), now in leaves:
            both_real = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in (before, now))  # one may be bfloat16
            if before.shape != now.shape or not (both_real or before.dtype == now.dtype):
                raise ValueError(
                    f"model must leave the shape and type of its variable {path_of(path)} as they are, "
                    f"{before.dtype}{list(before.shape)}, got {now.dtype}{list(now.shape)}"
                )
        return kept

    def model(
        self, weights: PyTree, rest: PyTree, numbers: Mapping[str, Any], key: jax.Array, training: bool
    ) -> nnx.Module:
        """The model put together again."""
        state, carried = rest
        hyper = []
        for path, variable in self._hyper:
            if variable.name in numbers:
                value = jnp.asarray(numbers[variable.name]).astype(variable.get_value().dtype)
                hyper.append((path, variable.replace(value)))
            else:
                kept = carried.get(path, variable)
                hyper.append((path, kept.replace(kept.get_value())))  # made anew: it was made in a trace that has ended
        streams = []
        for i, (path, variable) in enumerate(self._streams):
            shape = variable.get_value().shape
            fresh = _stream_key(key, i, shape) if _is_key(variable.get_value()) else jnp.zeros(shape, jnp.uint32)
            streams.append((path, variable.replace(fresh)))
        # Flax lets a variable change only at the level of tracing where it was made: remake them here.
        weights = jax.tree.map(lambda leaf: leaf, weights)
        leaves, treedef = jax.tree.flatten(state)
        for i, implementation in self._keys.items():
            leaves[i] = jax.random.wrap_key_data(leaves[i], impl=implementation)
        state = jax.tree.unflatten(treedef, leaves)
        graph = self._training if training else self._evaluating
        model: nnx.Module = nnx.merge(graph, weights, nnx.from_flat_state(hyper), nnx.from_flat_state(streams), state)
        return model


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _as_words(state: PyTree) -> PyTree:
    """The state with keys as the words that they are made of, as which they can be copied, stacked and kept."""

    def words(leaf: Any) -> Any:
        leaf = jax.random.key_data(leaf) if _is_key(leaf) else leaf
        return jax.lax.convert_element_type(leaf, leaf.dtype)  # no weak type: that would change on its way

    return jax.tree.map(words, state)


def _declare_arrays(model: nnx.Module) -> None:
    """Tell Flax that bare arrays made in a trace are data too, as it sees by itself of those made outside."""
    for _, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Pytree):
            for name, value in list(vars(node).items()):
                if isinstance(value, jax.core.Tracer):
                    setattr(node, name, nnx.data(value))


def _stream_key(key: jax.Array, index: int, shape: tuple[int, ...]) -> jax.Array:
    own = jax.random.fold_in(key, index)
    return jax.random.split(own, shape) if shape else own


@contextlib.contextmanager
def _traceable(what: str) -> Iterator[None]:
    """Say in our words what JAX says where a traced value is used as a known one."""
    try:
        yield
    except _NEEDS_A_VALUE as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{what} must be traceable: Python may branch on shapes and flags, but not on the values of arrays, "
            f"hyperparameters or keys, for which there are jnp.where and jax.lax.cond; got {first}"
        ) from error
