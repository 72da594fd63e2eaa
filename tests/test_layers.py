"""Imports inside the package point one way: every one of them is read from the source and held against the layers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
LAYERS = (  # each line imports only from those above it; siblings on one line do not import one another
    ("types",),
    ("checks", "branching"),
    ("random", "statistics", "metrics"),
    ("optimizers", "schedules", "losses", "activations", "regularizers", "batching", "augment"),
    ("layers",),
    ("models",),
    ("tasks",),
    ("training",),
    ("ensembles", "diagnostics"),
    ("studies",),
    ("advice", "atlas"),
    ("reports",),
    ("cli",),
    ("__main__",),
)
LINE = {name: line for line, names in enumerate(LAYERS) for name in names}
VAGUE = {"util", "utils", "helper", "helpers", "common", "core"}


def imported(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a module's source imports, wherever the statement stands."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            target = node.args[0]
            text = target.value if isinstance(target, ast.Constant) else None
            if name in ("import_module", "__import__") and isinstance(text, str):
                yield node.lineno, text


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one module of the package, as `module:line: reason`."""
    own = module.split(".")[1] if "." in module else None
    if own is None:
        return []  # hyperjax/__init__.py lifts names from every layer
    if own not in LINE:
        return [f"{module}: {own!r} has no place in the layers"]
    found = []
    for line, target in imported(source, module, is_package):
        top, *rest = target.split(".")
        if top == "plotly" and own != "reports":
            found.append(f"{module}:{line}: only hyperjax.reports imports plotly")
        if top != "hyperjax":
            continue
        other = rest[0] if rest else None
        if other is not None and other.startswith("__") and other not in LINE:
            continue  # hyperjax.__version__ and its like belong to no layer
        if other not in LINE:
            found.append(f"{module}:{line}: {target} is lifted or unknown; import it from the folder it lives in")
        elif other != own and LINE[other] == LINE[own]:
            found.append(f"{module}:{line}: {own} imports its sibling {other}")
        elif LINE[other] > LINE[own]:
            found.append(f"{module}:{line}: {own} imports {other}, which is built on it")
    return found


def vague(path: Path) -> list[str]:
    """Parts of a path that name no idea."""
    return [part for part in path.with_suffix("").parts if part.strip("_").lower() in VAGUE]


def modules() -> Iterator[tuple[Path, str, bool]]:
    """Path, dotted name and packageness of every module of the package."""
    for path in sorted((PROJECT / "hyperjax").rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield path, ".".join(parts[:-1] if is_package else parts), is_package


def test_the_package_keeps_its_layers():
    wrong = [line for path, name, package in modules() for line in violations(path.read_text("utf-8"), name, package)]
    assert not wrong, "\n".join(wrong)


def test_every_folder_of_the_package_is_a_package_with_a_place():
    folders = {path.parent.relative_to(PROJECT / "hyperjax") for path, _, _ in modules()}
    assert not [str(folder) for folder in folders if not (PROJECT / "hyperjax" / folder / "__init__.py").is_file()]
    assert {folder.parts[0] for folder in folders if folder.parts} <= set(LINE)


def test_names_say_what_a_file_is_about():
    files = [
        path.relative_to(PROJECT)
        for part in ("hyperjax", "tests", "benchmarks")
        for path in (PROJECT / part).rglob("*.py")
    ]
    assert files
    assert not {str(path): vague(path) for path in files if vague(path)}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hyperjax.optimizers.rule", "from hyperjax.checks import require"),
        ("hyperjax.optimizers.rule", "from hyperjax.optimizers.table import ROWS"),
        ("hyperjax.optimizers.rule", "from .table import ROWS"),
        ("hyperjax.optimizers.rule", "from ..checks import require\nimport hyperjax.random"),
        ("hyperjax.training.engine", "from hyperjax import tasks, losses\nfrom hyperjax.models.mlp import MLP"),
        ("hyperjax.reports.page", "import plotly.graph_objects as go"),
        ("hyperjax.cli", "import hyperjax.studies\nfrom hyperjax import __version__"),
        ("hyperjax.__main__", "from hyperjax.cli import main"),
        ("hyperjax.checks", "import jax, optax\nfrom flax import nnx"),
        ("hyperjax.checks", "import hyperjaxed\nfrom training import recipe"),
    ],
)
def test_lets_rightful_imports_through(module, source):
    assert violations(source, module) == []


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("hyperjax.checks", "from hyperjax.random import key", "built on it"),
        ("hyperjax.losses.entropy", "from hyperjax.training.fitting import fit", "built on it"),
        ("hyperjax.losses.entropy", "import hyperjax.tasks", "built on it"),
        ("hyperjax.losses.entropy", "import jax, hyperjax.tasks.digits as d", "built on it"),
        ("hyperjax.losses.entropy", "from hyperjax import numpy, tasks", "built on it"),
        ("hyperjax.losses.entropy", "from .. import training", "built on it"),
        ("hyperjax.losses.entropy", "from ..training import fit", "built on it"),
        ("hyperjax.losses.entropy", "def f():\n    from hyperjax.tasks import Task", ":2: losses imports tasks"),
        ("hyperjax.tasks.task", "if TYPE_CHECKING:\n    from hyperjax.training import Recipe", ":2: tasks imports"),
        ("hyperjax.tasks.task", "try:\n    import hyperjax.cli\nexcept ImportError:\n    pass", "built on it"),
        ("hyperjax.tasks.task", "importlib.import_module('hyperjax.studies.study')", "built on it"),
        ("hyperjax.optimizers.rule", "from hyperjax.schedules import Schedule", "sibling schedules"),
        ("hyperjax.optimizers.rule", "from ..schedules.schedule import Schedule", "sibling schedules"),
        ("hyperjax.random", "from .statistics import mean_interval", "sibling statistics"),
        ("hyperjax.diagnostics.curves", "import hyperjax.ensembles", "sibling ensembles"),
        ("hyperjax.studies.study", "import plotly", "only hyperjax.reports"),
        ("hyperjax.cli", "def f():\n    from plotly.graph_objects import Figure", "only hyperjax.reports"),
        ("hyperjax.reports.page", "from hyperjax import Recipe", "lifted or unknown"),
        ("hyperjax.reports.page", "import hyperjax as hj", "lifted or unknown"),
        ("hyperjax.reports.page", "from hyperjax.trainers import fit", "lifted or unknown"),
        ("hyperjax.reports.page", "from hyperjax import *", "lifted or unknown"),
        ("hyperjax.trainers", "import jax", "no place"),
    ],
)
def test_catches_a_planted_violation(module, source, reason):
    found = violations(source, module)
    assert any(reason in line for line in found), found


def test_reads_relative_imports_of_a_package_from_the_package_itself():
    assert violations("from .fit import fit\nfrom ..tasks import Task", "hyperjax.training", is_package=True) == []
    assert violations("from ..studies import study", "hyperjax.training", is_package=True) != []
    assert violations("from .studies import study", "hyperjax", is_package=True) == []


@pytest.mark.parametrize(
    "path", ["hyperjax/utils.py", "hyperjax/core/rule.py", "hyperjax/losses/_helpers.py", "tests/common.py"]
)
def test_catches_a_vague_name(path):
    assert vague(Path(path))
    assert not vague(Path("hyperjax/optimizers/encore.py"))
