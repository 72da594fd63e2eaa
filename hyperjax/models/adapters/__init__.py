"""Models of the user's own, of every kind, as the engine's NNX modules, and back."""

from hyperjax.models.adapters.calling import in_mode
from hyperjax.models.adapters.factory import Factory
from hyperjax.models.adapters.kinds import as_factory, as_module, given_back
from hyperjax.models.adapters.linen import LinenModule, linen
from hyperjax.models.adapters.pure import PureModel, Trained, pure

__all__ = [
    "Factory",
    "LinenModule",
    "PureModel",
    "Trained",
    "as_factory",
    "as_module",
    "given_back",
    "in_mode",
    "linen",
    "pure",
]
