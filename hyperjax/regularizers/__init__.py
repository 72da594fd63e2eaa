"""Penalties and constraints on weights, as functions and as optax transformations."""

from hyperjax.regularizers.penalties import (
    ProximalState,
    add_elastic_net,
    elastic_net,
    max_norm,
    proximal_elastic_net,
)

__all__ = ["ProximalState", "add_elastic_net", "elastic_net", "max_norm", "proximal_elastic_net"]
