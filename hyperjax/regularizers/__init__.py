"""Penalties and constraints on weights, as functions and as optax transformations; adversarial inputs."""

from hyperjax.regularizers.adversarial import fgsm, pgd
from hyperjax.regularizers.penalties import (
    ProximalState,
    add_elastic_net,
    elastic_net,
    max_norm,
    proximal_elastic_net,
)

__all__ = ["ProximalState", "add_elastic_net", "elastic_net", "fgsm", "max_norm", "pgd", "proximal_elastic_net"]
