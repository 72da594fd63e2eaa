"""What is wrong with a run, and what to change: measured on the user's own task, with the evidence."""

from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.moments import Moment, Moments
from hyperjax.diagnostics.noise_scale import NoiseScale, noise_scale

__all__ = [
    "Diagnostic",
    "Moment",
    "Moments",
    "NoiseScale",
    "Table",
    "noise_scale",
]
