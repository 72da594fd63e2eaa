"""Recipes, and the engine that trains populations of them."""

from hyperjax.training.descent import Descent, descend
from hyperjax.training.engine import Engine
from hyperjax.training.evaluate import evaluate, predict
from hyperjax.training.fitting import fit, fit_population, resume
from hyperjax.training.forking import Difference, Fork, fork
from hyperjax.training.hosts import initialize
from hyperjax.training.hypergradient import Hypergradient, hypergradient
from hyperjax.training.mapping import Population, population
from hyperjax.training.meeting import ProcessLostError
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs
from hyperjax.training.settings import Settings
from hyperjax.training.structure import Structure

__all__ = [
    "Descent",
    "Difference",
    "Engine",
    "Fork",
    "Hypergradient",
    "Population",
    "ProcessLostError",
    "Recipe",
    "Run",
    "Runs",
    "Settings",
    "Structure",
    "descend",
    "evaluate",
    "fit",
    "fit_population",
    "fork",
    "hypergradient",
    "initialize",
    "population",
    "predict",
    "resume",
]
