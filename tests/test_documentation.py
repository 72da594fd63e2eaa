"""Every public name says what it is."""

import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hyperjax


def public_packages() -> list[str]:
    """Dotted names of hyperjax and its folders, found without importing them."""
    root = Path(hyperjax.__path__[0])
    return sorted(".".join(path.parent.relative_to(root.parent).parts) for path in root.rglob("__init__.py"))


def names(package: ModuleType) -> list[str]:
    return [name for name in getattr(package, "__all__", ()) if not name.startswith("__")]


def documented(name: str, value: Any) -> bool:
    """True when a function, class or module has a docstring of its own; plain data needs none."""
    if not (inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value)):
        return True
    text = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    generated = inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))
    return bool(text and text.strip()) and not (generated and text.startswith(f"{value.__name__}("))


def undocumented(package: ModuleType) -> Iterator[str]:
    for name in names(package):
        if not documented(name, getattr(package, name)):
            yield f"{package.__name__}.{name}"


@pytest.mark.parametrize("name", public_packages())
def test_public_names_exist_and_have_docstrings(name):
    package = importlib.import_module(name)
    assert package.__doc__, f"{name} has no docstring"
    assert len(set(names(package))) == len(names(package)), "a name is listed twice"
    assert not [*undocumented(package)]


@pytest.mark.parametrize("name", public_packages()[1:])
def test_every_folder_lists_its_public_names(name):
    assert isinstance(getattr(importlib.import_module(name), "__all__", None), list | tuple)


def test_lifted_names_are_those_of_their_folders():
    for name in names(hyperjax):
        value = getattr(hyperjax, name)
        home = getattr(value, "__module__", None)
        if inspect.isroutine(value) or inspect.isclass(value):
            assert home.startswith("hyperjax."), f"{name} comes from {home}"
        assert getattr(hyperjax, name) is value
    assert set(names(hyperjax)) <= set(dir(hyperjax))
    with pytest.raises(AttributeError, match="recipee"):
        _ = hyperjax.recipee


def test_the_check_would_notice():
    class Bare:
        pass

    class Inherits(ValueError):  # noqa: N818 (its point is the inherited docstring)
        pass

    @dataclasses.dataclass
    class Generated:
        x: int

    class Written:
        """Has one."""

    assert [documented("x", v) for v in (Bare, Inherits, Generated, lambda: 0)] == [False] * 4
    assert [documented("x", v) for v in (Written, inspect, len, 3, {"a": 1})] == [True] * 5
