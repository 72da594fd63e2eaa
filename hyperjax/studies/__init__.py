"""Studies: what to vary, the search, and its result."""

from hyperjax.studies.comparing import Comparison
from hyperjax.studies.confirming import confirm
from hyperjax.studies.distributions import from_optuna, to_optuna
from hyperjax.studies.front import Front
from hyperjax.studies.importance import Importance
from hyperjax.studies.isolating import IsolatedPoint, Isolation
from hyperjax.studies.joint import JointEffect
from hyperjax.studies.plan import plan
from hyperjax.studies.population_based import PopulationBased, population_based
from hyperjax.studies.pruners import PRUNERS
from hyperjax.studies.ranges import Range, integer, log_integer, log_uniform, uniform
from hyperjax.studies.samplers import SAMPLERS
from hyperjax.studies.search import StudyInterrupted, StudyNotKept, study
from hyperjax.studies.space import Space, default_space, space
from hyperjax.studies.space_file import read_space, to_toml
from hyperjax.studies.study import Effect, EffectPoint, Study, Trial
from hyperjax.studies.winner import Candidate, Winner

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "Candidate",
    "Comparison",
    "Effect",
    "EffectPoint",
    "Front",
    "Importance",
    "IsolatedPoint",
    "Isolation",
    "JointEffect",
    "PopulationBased",
    "Range",
    "Space",
    "Study",
    "StudyInterrupted",
    "StudyNotKept",
    "Trial",
    "Winner",
    "confirm",
    "default_space",
    "from_optuna",
    "integer",
    "log_integer",
    "log_uniform",
    "plan",
    "population_based",
    "read_space",
    "space",
    "study",
    "to_optuna",
    "to_toml",
    "uniform",
]
