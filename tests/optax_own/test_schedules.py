"""Optax's tests of its schedules, run over ours."""

import types

import jax
import optax
import pytest

from hyperjax import schedules
from hyperjax.types import Number
from tests.optax_own.cases import Case, Names, cases_of, parameters, run
from tests.optax_own.listed import NO_RULE, SCHEDULES, SKIPPED
from tests.optax_own.test_optimizers import OURS as OPTIMIZERS

OURS = {
    "constant_schedule": schedules.constant,
    "cosine_decay_schedule": schedules.cosine_decay,
    "cosine_onecycle_schedule": schedules.cosine_onecycle,
    "exponential_decay": schedules.exponential_decay,
    "join_schedules": schedules.join,
    "linear_onecycle_schedule": schedules.linear_onecycle,
    "linear_schedule": schedules.linear,
    "piecewise_constant_schedule": schedules.piecewise_constant,
    "piecewise_interpolate_schedule": schedules.piecewise_interpolate,
    "polynomial_schedule": schedules.polynomial,
    "sgdr_schedule": schedules.sgdr,
    "warmup_cosine_decay_schedule": schedules.warmup_cosine_decay,
}
PLATEAU = {"reduce_on_plateau": schedules.reduce_on_plateau, "ReduceLROnPlateauState": schedules.PlateauState}


def left_out(case: Case) -> str | None:
    """Why a case of a test that runs does not; None: it does."""
    optimizer = case.arguments.get("opt_name", "sgd")
    if optimizer not in OPTIMIZERS:
        return NO_RULE
    return SKIPPED if optimizer == "adadelta" else None  # its rate, which may be None, is not annotated as a schedule


def places(module: str) -> dict[str, object]:
    """What takes the places of optax's modules in one of its test modules."""
    ours = Names("schedules", OURS)
    if module == "optax.schedules._schedule_test":
        base = types.SimpleNamespace(ScalarOrSchedule=Number, Schedule=Number)  # how rates are annotated
        alias = Names("alias", OPTIMIZERS)
        return {"_schedule": ours, "alias": alias, "base": base}
    if module == "optax.schedules._join_test":
        return {"_schedule": ours, "_join": ours}
    if module == "optax.schedules._inject_test":
        own = {"inject_hyperparams": optax.inject_hyperparams, "WrappedSchedule": optax.schedules.WrappedSchedule}
        return {"schedules": Names("schedules", OURS, **own)}
    assert module == "optax.contrib._reduce_on_plateau_test"
    return {"_reduce_on_plateau": Names("_reduce_on_plateau", PLATEAU)}


ALL = [case for module, tests in SCHEDULES.items() for case in cases_of(module) if case.test in tests]
RUN = [case for case in ALL if left_out(case) is None]


@pytest.mark.parametrize("case", parameters(RUN))
def test_ours_pass(case, monkeypatch):
    run(case, monkeypatch, **places(case.module.__name__))


def test_a_schedule_is_jitted_as_it_is():
    assert jax.jit(schedules.linear(1.0, 0.0, 4))(1) == 0.75
