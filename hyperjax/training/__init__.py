"""Recipes, and the engine that trains populations of them."""

from hyperjax.training.engine import Engine
from hyperjax.training.evaluate import evaluate, predict
from hyperjax.training.fitting import fit, fit_population, resume
from hyperjax.training.forking import Difference, Fork, fork
from hyperjax.training.hosts import initialize
from hyperjax.training.mapping import Population, population
from hyperjax.training.meeting import ProcessLostError
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure

__all__ = [
    "Difference",
    "Engine",
    "Fork",
    "Population",
    "ProcessLostError",
    "Recipe",
    "Run",
    "Runs",
    "Settings",
    "Structure",
    "evaluate",
    "fit",
    "fit_population",
    "fork",
    "initialize",
    "population",
    "predict",
    "resume",
]
