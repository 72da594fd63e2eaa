"""A Flax model as pure functions of its weights, its other state, its hyperparameters and a key."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hyperjax import activations, layers
from hyperjax.checks import nearest
from hyperjax.tasks import Task
from hyperjax.types import PyTree


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
        known = layers.names(nnx.eval_shape(lambda: self._build(jax.random.key(0), {})))
        self._check_bound(known, tuple(name for name in bound if name not in self._numbers))
        self.weights, self._rest = jax.eval_shape(self._states, jax.random.key(0))

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
        given = self._task.model
        model = nnx.clone(given) if isinstance(given, nnx.Module) else given(nnx.Rngs(key), **self._arguments)
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
        self._rest_paths = [path for path, _ in nnx.to_flat_state(rest)]
        return weights, (rest, carried)

    def init(self, key: jax.Array) -> tuple[PyTree, PyTree]:
        """Initial weights, and the state that is not trained (BatchNorm's statistics and its like)."""
        return self._states(key)

    def split(self, model: nnx.Module) -> tuple[PyTree, PyTree]:
        """Weights and other state of a module of this structure, copied."""
        model = nnx.clone(model)
        parts: Any = nnx.split(model, *self._filters)
        _, weights, _, _, rest = parts
        carried = dict(nnx.to_flat_state(nnx.state(model, layers.Hyperparameter)))
        return weights, (rest, {path: carried[path] for path in self._carried})

    def call(
        self,
        fn: Callable[[nnx.Module], Any],
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
        out = fn(model)
        after = nnx.split(model, *self._filters)[-1]
        known = set(self._rest_paths)  # what a layer has sown meanwhile is not part of the state
        kept = nnx.from_flat_state([(path, v) for path, v in nnx.to_flat_state(after) if path in known])
        return out, (kept, rest[1])

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
            is_key = jnp.issubdtype(variable.get_value().dtype, jax.dtypes.prng_key)
            shape = variable.get_value().shape
            fresh = _stream_key(key, i, shape) if is_key else jnp.zeros(shape, jnp.uint32)
            streams.append((path, variable.replace(fresh)))
        # Flax lets a variable change only at the level of tracing where it was made: remake them here.
        weights, state = jax.tree.map(lambda leaf: leaf, (weights, state))
        graph = self._training if training else self._evaluating
        model: nnx.Module = nnx.merge(graph, weights, nnx.from_flat_state(hyper), nnx.from_flat_state(streams), state)
        return model


def _stream_key(key: jax.Array, index: int, shape: tuple[int, ...]) -> jax.Array:
    own = jax.random.fold_in(key, index)
    return jax.random.split(own, shape) if shape else own
