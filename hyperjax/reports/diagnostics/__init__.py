"""Figures of diagnostics, one file each."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hyperjax.advice import Advice
from hyperjax.diagnostics import BatchCost, Diagnosis, EpochsNeeded, NoiseScale, RangeTest, Sharpness, Signal, Transfer
from hyperjax.reports.diagnostics.advice import advice_figures
from hyperjax.reports.diagnostics.batch_cost import batch_cost_figures
from hyperjax.reports.diagnostics.curves import diagnosis_figures, epochs_needed_figures
from hyperjax.reports.diagnostics.noise_scale import noise_scale_figures
from hyperjax.reports.diagnostics.range_test import range_test_figures
from hyperjax.reports.diagnostics.sharpness import sharpness_figures
from hyperjax.reports.diagnostics.signal import signal_figures
from hyperjax.reports.diagnostics.transfer import transfer_figures

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["FIGURES"]

# What `plot` draws of each kind of diagnostic, by headings; a kind that is not here has a page without figures.
FIGURES: "dict[type, Callable[[Any], dict[str, Figure]]]" = {
    Advice: advice_figures,
    BatchCost: batch_cost_figures,
    NoiseScale: noise_scale_figures,
    RangeTest: range_test_figures,
    Transfer: transfer_figures,
    Sharpness: sharpness_figures,
    Signal: signal_figures,
    Diagnosis: diagnosis_figures,
    EpochsNeeded: epochs_needed_figures,
}
