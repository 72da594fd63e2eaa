"""Training curves: what is wrong with them, and where they lead."""

from hyperjax.diagnostics.curves.curve import Curve
from hyperjax.diagnostics.curves.diagnosis import Diagnosis, diagnose
from hyperjax.diagnostics.curves.epochs_needed import EpochsNeeded, epochs_needed
from hyperjax.diagnostics.curves.finding import Finding, Times

__all__ = ["Curve", "Diagnosis", "EpochsNeeded", "Finding", "Times", "diagnose", "epochs_needed"]
