"""Where compiled programs are kept for the next time."""

import os
from pathlib import Path
from typing import Any


def keep_compiled_programs(wanted: bool) -> None:
    """Turn JAX's persistent compilation cache on, in the folder that the user has chosen for it or ours, or off."""
    import jax

    settings: dict[str, Any] = {"jax_enable_compilation_cache": wanted}
    if wanted and getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        settings["jax_compilation_cache_dir"] = str(Path(home) / "hyperjax" / "programs")
        settings["jax_persistent_cache_min_compile_time_secs"] = 0.1
        settings["jax_persistent_cache_min_entry_size_bytes"] = -1
    for name, value in settings.items():
        jax.config.update(name, value)
