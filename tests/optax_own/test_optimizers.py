"""Optax's tests of its optimizers, run over ours."""

import types

import jax.numpy as jnp
import optax
import pytest
from optax import contrib

from hyperjax import optimizers, schedules
from tests.optax_own.cases import Case, Names, cases_of, parameters, run
from tests.optax_own.listed import COMPLEX, NO_RULE, NOT_OURS, OPTIMIZERS, OWN, SKIPPED, require_version

OURS = {name: getattr(optimizers, name) for name in optimizers.names() if hasattr(optax, name)}
OF_CONTRIB = ("mechanize", "schedule_free", "schedule_free_eval_params")  # its wrappers, which ours go into
SLOW = (
    "AccumulationTest.test_multi_steps_mixed_precision",
    "AggregatorsTest",
    "AliasTest.test_gradient_accumulation",
    "AliasTest.test_optimization",
    "AliasTest.test_state_shape_dtype_shard_stability",
    "BacktrackingLinesearchTest.test_linesearch",
    "ContribTest",
    "SAMTest",
)


def named(case: Case) -> list[str]:
    """The optimizers that a case names in its arguments."""
    return [value for key, value in case.arguments.items() if key.endswith("opt_name") and value != "sgd_mom"]


def left_out(case: Case) -> str | None:
    """Why a case of a test that runs does not; None: it does."""
    given = case.arguments
    if any(name not in OURS for name in named(case)):
        return NO_RULE
    dtypes = [given.get(key) for key in ("dtype", "params_dtype", "state_dtype")]
    if any(dtype is not None and jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes):
        return COMPLEX
    if "transform_constr" in given and constructor(case) is None:
        return OWN
    if case.test == "AliasTest.test_optimization":
        without_rate = given["opt_name"] == "adadelta" and not given["opt_kwargs"]
        unsteady = given["opt_name"] == "sign_sgd" and given["target"].__name__ == "_setup_rosenbrock"
        return SKIPPED if without_rate or unsteady else None
    wraps_plateau = given.get("wrapper_name") == "reduce_on_plateau"
    return SKIPPED if wraps_plateau and case.function.__name__.endswith("inject_hyperparams") else None


def constructor(case: Case) -> str | None:
    """The name of the optimizer that a case holds as a function; None where that is none of ours."""
    return next((name for name in OURS if getattr(optax, name) is case.arguments["transform_constr"]), None)


ALL = [case for module, tests in OPTIMIZERS.items() for case in cases_of(module) if case.test in tests]
RUN = [case for case in ALL if left_out(case) is None]


@pytest.mark.parametrize("case", parameters(RUN, slow=lambda case: case.test.startswith(SLOW)))
def test_ours_pass(case, monkeypatch):
    alias = Names("alias", OURS)
    places = {"alias": alias}
    if "transform_constr" in case.arguments:
        mine = getattr(alias, str(constructor(case)))
        case = case._replace(arguments={**case.arguments, "transform_constr": mine})
    if case.test.startswith("ContribTest"):
        own = {name: getattr(contrib, name) for name in OF_CONTRIB}
        places["contrib"] = Names("contrib", {"reduce_on_plateau": schedules.reduce_on_plateau}, **own)
    if case.test == "AliasTest.test_explicit_dtype":
        places["optax"] = types.SimpleNamespace(tree=types.SimpleNamespace(get=first_slot))
    run(case, monkeypatch, **places)


def first_slot(state, name):
    """The state's field that optax calls `trace` or `mu`."""
    assert name in ("trace", "mu")
    return optax.tree.get(state, "first")


def test_every_case_runs_or_its_optimizer_is_listed():
    require_version()
    met = {name for case in ALL for name in named(case)}
    assert met - set(OURS) == NOT_OURS, "an optimizer in optax's tests is neither ours nor listed, or is listed in vain"
    assert len(RUN) >= 300
