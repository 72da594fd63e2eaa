"""An activation that is a choice: an index held by the model, so that one program serves every activation."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from hyperjax import activations
from hyperjax.checks import nearest, one_of, require
from hyperjax.layers.hyperparameter import Choice, Hyperparameter


class Activation(nnx.Module):
    """Apply the activation that stands at `index` among `choices`.

    Args:
        activation: name in `hyperjax.activations.TABLE`; at first the only choice.
        name: name under which the index is bound, and by which `set_choices` finds the layer.
        numbers: what the activation reads (`negative_slope=0.2` of leaky_relu), each a `Hyperparameter` of that name;
            float, array or tracer. Those not given have their defaults, as part of the program.

    Raises: ValueError for an unknown activation, or a number that it does not read.

    >>> import jax.numpy as jnp
    >>> layer = Activation("tanh")
    >>> layer.choices, float(layer(jnp.zeros(())))
    (('tanh',), 0.0)
    """

    def __init__(self, activation: str = "relu", *, name: str = "activation", **numbers: Any) -> None:
        self.choices: tuple[str, ...] = (one_of("activation", activation, activations.TABLE),)
        activations.select(0, self.choices, numbers)  # refuses what it cannot read
        self.index = Choice(0, name=name)
        self.numbers = nnx.Dict({number: Hyperparameter(value, name=number) for number, value in numbers.items()})

    def __call__(self, x: jax.Array) -> jax.Array:
        numbers = {number: variable.get_value() for number, variable in self.numbers.items()}
        return activations.select(self.index.get_value(), self.choices, numbers)(x)


def set_choices(model: nnx.Module, name: str, choices: Sequence[str], numbers: Sequence[str] = ()) -> None:
    """Let every `Activation` of that name in a model choose among `choices`, in place.

    A layer goes on with the activation that it has where that is among the choices, else with the first of them. Layers
    of one name that had different activations keep their differences until the name is bound.

    Args:
        model: the module that holds the layers.
        name: the name that the layers were given.
        choices: names in `hyperjax.activations.TABLE`; an index bound later counts in their order.
        numbers: of `hyperjax.activations.NUMBERS`, read by one of the choices: those that may be bound later.

    Raises: ValueError for an unknown activation, no choices, a number that none of them reads, or a name that no
        `Activation` in the model bears.

    >>> layer = Activation("tanh")
    >>> set_choices(layer, "activation", ["relu", "tanh"])
    >>> layer.choices, int(layer.index[...])
    (('relu', 'tanh'), 1)
    """
    listed = tuple(one_of("activation", choice, activations.TABLE) for choice in choices)
    require(len(listed) > 0, "choices must hold at least one activation, got none")
    layers = [node for _, node in nnx.iter_graph(model) if isinstance(node, Activation)]
    known = sorted({layer.index.name for layer in layers})
    hint = nearest(name, known)
    require(name in known, f"name must be that of an Activation: {', '.join(known) or '(none)'}; got {name!r}{hint}")
    defaults = {number: value for choice in listed for number, value in activations.NUMBERS.get(choice, {}).items()}
    for number in numbers:
        one_of("numbers", number, defaults)
    for layer in layers:
        if layer.index.name == name:
            kept = {number: variable for number, variable in layer.numbers.items() if number in defaults}
            fresh = {number: Hyperparameter(defaults[number], name=number) for number in numbers if number not in kept}
            layer.numbers = nnx.Dict(kept | fresh)
            current = layer.choices[0] if len(layer.choices) == 1 else layer.choices[int(layer.index.get_value())]
            position = listed.index(current) if current in listed else 0
            layer.choices = listed
            layer.index.set_value(Choice(position).get_value())
