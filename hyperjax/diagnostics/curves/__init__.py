"""Training curves: what is wrong with them, and where they lead."""

from hyperjax.diagnostics.curves.curve import Curve

__all__ = ["Curve"]
