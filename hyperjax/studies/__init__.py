"""Studies: what to vary, the search, and its result."""

from hyperjax.studies.ranges import Range, integer, log_integer, log_uniform, uniform
from hyperjax.studies.search import StudyInterrupted, study
from hyperjax.studies.space import Space, default_space, space
from hyperjax.studies.space_file import read_space
from hyperjax.studies.study import Effect, EffectPoint, Study, Trial

__all__ = [
    "Effect",
    "EffectPoint",
    "Range",
    "Space",
    "Study",
    "StudyInterrupted",
    "Trial",
    "default_space",
    "integer",
    "log_integer",
    "log_uniform",
    "read_space",
    "space",
    "study",
    "uniform",
]
