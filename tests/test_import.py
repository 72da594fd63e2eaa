"""`import hyperjax` is cheap and silent: no backend, no setting touched, no plotting or search library."""

import json
import subprocess
import sys

import pytest

HEAVY = {"plotly", "optuna", "sklearn", "rich", "typer", "pandas", "matplotlib", "scipy", "torch"}
WATCH = """
import json, os, sys
import jax, flax, optax
from flax import nnx
from jax._src import xla_bridge
before, settings, environment = set(sys.modules), dict(jax.config.values), dict(os.environ)
{statement}
print(json.dumps({{
    "new": sorted(set(sys.modules) - before),
    "settings": [k for k, v in jax.config.values.items() if settings.get(k) != v],
    "environment": [k for k in {{*os.environ, *environment}} if os.environ.get(k) != environment.get(k)
                    and not k.startswith("KMP_")],  # set by scikit-learn, which the task of digits rests on
    "backends": list(xla_bridge._backends),
    "started": xla_bridge.backends_are_initialized(),
}}))
"""
EVERY_MODULE = """
import importlib, pkgutil, hyperjax
for module in pkgutil.walk_packages(hyperjax.__path__, "hyperjax."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""


def observe(statement: str) -> dict[str, list[str]]:
    """What a statement changes in a fresh interpreter that has imported JAX, Flax and Optax."""
    program = WATCH.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def roots(names: list[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_importing_starts_nothing_and_brings_nothing_heavy():
    seen = observe("import hyperjax")
    assert "hyperjax" in roots(seen["new"])
    assert not HEAVY & roots(seen["new"])
    others = roots(seen["new"]) - set(sys.stdlib_module_names) - {"hyperjax"}
    assert others <= {"jax", "jaxlib", "flax", "optax", "numpy"}, "what the three bring anyway may come, nothing else"
    assert len(seen["new"]) < 100, f"{len(seen['new'])} modules: names are lifted lazily"
    assert (seen["backends"], seen["started"], seen["settings"], seen["environment"]) == ([], False, [], [])


def test_no_module_starts_a_backend_or_changes_a_setting():
    seen = observe(EVERY_MODULE)
    assert {"hyperjax.checks", "hyperjax.statistics"} <= set(seen["new"])
    assert (seen["backends"], seen["started"], seen["settings"], seen["environment"]) == ([], False, [], [])


@pytest.mark.slow
def test_the_watch_would_notice():
    seen = observe(
        "import sklearn, jax.numpy as n; n.zeros(2); jax.config.update('jax_enable_x64', True); os.environ['A'] = 'b'"
    )
    assert "sklearn" in roots(seen["new"])
    assert seen["backends"]
    assert seen["started"]
    assert seen["settings"] == ["jax_enable_x64"]
    assert seen["environment"] == ["A"]
