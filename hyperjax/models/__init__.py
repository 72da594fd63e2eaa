"""Small Flax models."""

from hyperjax.models.mlp import MLP

__all__ = ["MLP"]
