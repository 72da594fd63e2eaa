"""Studies: what to vary, the search, and its result."""

from hyperjax.studies.distributions import from_optuna, to_optuna
from hyperjax.studies.plan import plan
from hyperjax.studies.ranges import Range, integer, log_integer, log_uniform, uniform
from hyperjax.studies.samplers import SAMPLERS
from hyperjax.studies.search import StudyInterrupted, study
from hyperjax.studies.space import Space, default_space, space
from hyperjax.studies.space_file import read_space, to_toml
from hyperjax.studies.study import Effect, EffectPoint, Study, Trial

__all__ = [
    "SAMPLERS",
    "Effect",
    "EffectPoint",
    "Range",
    "Space",
    "Study",
    "StudyInterrupted",
    "Trial",
    "default_space",
    "from_optuna",
    "integer",
    "log_integer",
    "log_uniform",
    "plan",
    "read_space",
    "space",
    "study",
    "to_optuna",
    "to_toml",
    "uniform",
]
