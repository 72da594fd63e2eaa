"""What is wrong with a run, and what to change: measured on the user's own task, with the evidence."""

from hyperjax.diagnostics.batch_cost import BatchCost, batch_cost
from hyperjax.diagnostics.curves import Curve, Diagnosis, EpochsNeeded, Finding, Times, diagnose, epochs_needed
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.moments import Moment, Moments
from hyperjax.diagnostics.noise_scale import NoiseScale, noise_scale
from hyperjax.diagnostics.range_test import RangeTest, lr_range_test
from hyperjax.diagnostics.sharpness import Sharpness, sharpness
from hyperjax.diagnostics.signal import Signal, signal
from hyperjax.diagnostics.transfer import Transfer, transfer

__all__ = [
    "BatchCost",
    "Curve",
    "Diagnosis",
    "Diagnostic",
    "EpochsNeeded",
    "Finding",
    "Moment",
    "Moments",
    "NoiseScale",
    "RangeTest",
    "Sharpness",
    "Signal",
    "Table",
    "Times",
    "Transfer",
    "batch_cost",
    "diagnose",
    "epochs_needed",
    "lr_range_test",
    "noise_scale",
    "sharpness",
    "signal",
    "transfer",
]
