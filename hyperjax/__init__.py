"""HyperJAX: every training hyperparameter as a value in a JAX program."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperjax.advice import advise as advise
    from hyperjax.reports import plot as plot
    from hyperjax.reports.report import report as report
    from hyperjax.schedules import epochs as epochs
    from hyperjax.schedules import fraction as fraction
    from hyperjax.studies import integer as integer
    from hyperjax.studies import log_integer as log_integer
    from hyperjax.studies import log_uniform as log_uniform
    from hyperjax.studies import uniform as uniform
    from hyperjax.studies.search import study as study
    from hyperjax.studies.space import space as space
    from hyperjax.tasks import Task as Task
    from hyperjax.training import Recipe as Recipe
    from hyperjax.training import fit as fit
    from hyperjax.training import fit_population as fit_population
    from hyperjax.training import fork as fork
    from hyperjax.training import initialize as initialize
    from hyperjax.training import population as population
    from hyperjax.training import resume as resume
    from hyperjax.training.hypergradient import hypergradient as hypergradient

# Names that everybody types, and where they live. They are looked up on first use: importing hyperjax itself costs
# next to nothing, starts no backend, and brings in no plotting library.
_LIFTED = {
    "Recipe": "training",
    "Task": "tasks",
    "advise": "advice",
    "epochs": "schedules",
    "fit": "training",
    "fit_population": "training",
    "fork": "training",
    "fraction": "schedules",
    "hypergradient": "training",
    "initialize": "training",
    "integer": "studies",
    "log_integer": "studies",
    "log_uniform": "studies",
    "plot": "reports",
    "population": "training",
    "report": "reports",
    "resume": "training",
    "space": "studies",
    "study": "studies",
    "uniform": "studies",
}
_MODULES = (
    "activations",
    "advice",
    "augment",
    "batching",
    "diagnostics",
    "ensembles",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "random",
    "regularizers",
    "reports",
    "schedules",
    "statistics",
    "studies",
    "tasks",
    "training",
)

__version__ = "0.1.0"

__all__ = [
    "Recipe",
    "Task",
    "advise",
    "epochs",
    "fit",
    "fit_population",
    "fork",
    "fraction",
    "hypergradient",
    "initialize",
    "integer",
    "log_integer",
    "log_uniform",
    "plot",
    "population",
    "report",
    "resume",
    "space",
    "study",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"hyperjax.{name}")
    if name in _LIFTED:
        value = getattr(import_module(f"hyperjax.{_LIFTED[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hyperjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIFTED, *_MODULES})
