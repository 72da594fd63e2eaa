"""Ensembles: members of one population trained on re-weighted examples, and their joint predictions."""

from hyperjax.ensembles.bagging import bagging
from hyperjax.ensembles.boosting import boosting
from hyperjax.ensembles.ensemble import Ensemble

__all__ = ["Ensemble", "bagging", "boosting"]
