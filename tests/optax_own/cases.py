"""Optax's own test cases, out of the installed optax, run with our functions in the place of its own."""

import importlib
import inspect
import unittest
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import pytest


class Case(NamedTuple):
    """One case of one of optax's test modules."""

    module: Any
    suite: type[unittest.TestCase]
    method: str  # as unittest knows it; absl numbers what it parametrizes
    function: Callable[..., None]  # the test's body
    arguments: Mapping[str, Any]

    @property
    def test(self) -> str:
        """The test that this is a case of: `AliasTest.test_optimization`."""
        name = self.function.__name__
        return f"{self.suite.__name__}.{name if name.startswith('test') else self.method}"

    @property
    def id(self) -> str:
        """The test and its arguments, as pytest shows them."""
        if self.method.startswith(f"{self.function.__name__}_"):  # optax has given the case a name
            return f"{self.suite.__name__}.{self.method}"
        return "-".join([self.test, *(_text(value) for value in self.arguments.values())])


class Names:
    """What an optax test sees instead of one of optax's modules: ours, a few of its own, and which of ours were read.

    A name that is not given is an error, so that no case passes on optax's own function by mistake.
    """

    def __init__(self, title: str, ours: Mapping[str, Any], **theirs: Any):
        self._title, self._ours, self._theirs = title, dict(ours), theirs
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in self._ours:
            self.read.append(name)
            return self._ours[name]
        if name in self._theirs:
            return self._theirs[name]
        raise AttributeError(f"a test of optax {optax.__version__} reads {self._title}.{name}, which is not ours")


def load(name: str) -> Any:
    """A test module of the installed optax; None where that optax comes without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            return None
        raise


def cases_of(name: str) -> list[Case]:
    """Every case that a test module defines, in the order of its text; none where optax comes without the module."""
    module = load(name)
    found = []
    for suite in vars(module).values() if module is not None else ():
        if inspect.isclass(suite) and issubclass(suite, unittest.TestCase) and suite.__module__ == name:
            methods = [key for key, value in vars(suite).items() if key.startswith("test") and callable(value)]
            found += [_case(module, suite, method) for method in methods]
    return found


def test_modules() -> set[str]:
    """Names of all test modules of the installed optax."""
    root = Path(optax.__file__).parent
    paths = [path.relative_to(root.parent).with_suffix("") for path in root.rglob("*_test.py")]
    return {".".join(path.parts) for path in paths}


test_modules.__test__ = False  # type: ignore[attr-defined]  # a function beside tests, not one of them


def parameters(cases: Iterable[Case], slow: Callable[[Case], bool] = lambda case: False) -> list[Any]:
    """Cases as parameters of a pytest function."""
    return [pytest.param(case, id=case.id, marks=[pytest.mark.slow] if slow(case) else []) for case in cases]


def run(case: Case, monkeypatch: pytest.MonkeyPatch, **places: Any) -> None:
    """Run a case with some of its module's names replaced.

    Raises: what the case raises; a failure where it skips itself, or used none of ours, since nothing would be tested.
    """
    for name, value in places.items():
        monkeypatch.setattr(case.module, name, value)
    suite = case.suite(case.method)
    monkeypatch.setattr(suite, case.method, lambda: case.function(suite, **case.arguments))
    wide = jax.config.jax_enable_x64
    try:
        suite.debug()
    except unittest.SkipTest as reason:
        pytest.fail(f"optax skips this case itself, so it must be listed: {reason}")
    finally:
        jax.config.update("jax_enable_x64", wide)  # some cases set it and do not set it back when they fail
    used = [name for place in places.values() if isinstance(place, Names) for name in place.read]
    assert used, "the case used none of ours, so it must be listed"


def _case(module: Any, suite: type[unittest.TestCase], method: str) -> Case:
    function = vars(suite)[method]
    if not hasattr(function, "__x_params_repr__") and not hasattr(function, "__x_use_name__"):
        return Case(module, suite, method, function, {})
    inner = inspect.getclosurevars(function).nonlocals  # absl's wrapper of a parametrized test holds both
    body, given = inner["test_method"], inner["testcase_params"]
    if not isinstance(given, Mapping):
        given = tuple(given) if isinstance(given, list | tuple) else (given,)
        given = dict(zip(list(inspect.signature(body).parameters)[1:], given, strict=False))
    return Case(module, suite, method, body, given)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(item)}" for key, item in value.items())
    if value is None or isinstance(value, str | int | float):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)
