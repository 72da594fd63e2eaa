"""What is learnt: a model, data, a loss or an objective, and metrics."""

from hyperjax.tasks.bundled import bundled, find
from hyperjax.tasks.diabetes import diabetes
from hyperjax.tasks.digits import digits
from hyperjax.tasks.task import Task

__all__ = ["Task", "bundled", "diabetes", "digits", "find"]
