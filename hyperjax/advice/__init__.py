"""A first recipe for a task that nobody has trained yet, with the evidence for each of its numbers."""

from hyperjax.advice.advice import Advice
from hyperjax.advice.advising import advise
from hyperjax.advice.comparison import Comparison
from hyperjax.advice.priors import PRIORS, Prior, prior_for

__all__ = ["PRIORS", "Advice", "Comparison", "Prior", "advise", "prior_for"]
