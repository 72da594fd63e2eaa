"""What a session compiles is kept until it ends, and shared by its workers: many tests train the same programs.

With JAX_COMPILATION_CACHE_DIR set, programs are kept there instead, for the next session too.
"""

import os
import shutil
import tempfile

import pytest

# XLA says at length, of every program that is read back, that it was tuned for the machine that it was compiled on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PROGRAMS = pytest.StashKey[str]()
SLOW_EXAMPLES = (  # docstrings whose example trains and compiles for longer than the fast suite can spare
    "hyperjax.training.descent.descend",
    "hyperjax.training.forking.fork",
    "hyperjax.training.hypergradient.hypergradient",
    "hyperjax.diagnostics.batch_cost.batch_cost",
    "hyperjax.diagnostics.noise_scale.noise_scale",
    "hyperjax.diagnostics.range_test.lr_range_test",
    "hyperjax.diagnostics.sharpness.sharpness",
    "hyperjax.diagnostics.signal.signal",
    "hyperjax.diagnostics.transfer.transfer",
    "hyperjax.models.transformer.Transformer",
)


def pytest_configure(config):
    import jax

    given = getattr(config, "workerinput", None)
    folder = jax.config.jax_compilation_cache_dir or (given and given["programs"])
    if folder is None:
        folder = tempfile.mkdtemp(prefix="hyperjax-programs-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    config.stash[PROGRAMS] = folder
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # JAX writes in place: who reads what another worker has half written is told so, and compiles.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache entry")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["programs"] = node.config.stash[PROGRAMS]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in SLOW_EXAMPLES:
            item.add_marker(pytest.mark.slow)
