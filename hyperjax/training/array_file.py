"""Arrays in one file of a checkpoint, from whichever process; Orbax's own handler writes them on process 0 alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

_NAME = "arrays.npz"


class ArrayFile(ocp.CheckpointHandler):  # type: ignore[misc]
    """Named arrays as NumPy writes them; nothing is pickled."""

    def save(self, directory: Path, args: "Save") -> None:
        """Write the arrays."""
        np.savez(directory / _NAME, **args.arrays)

    def restore(self, directory: Path, args: "Restore") -> dict[str, np.ndarray]:
        """Read them; types that NumPy does not know come back as bytes of their width."""
        with np.load(directory / _NAME, allow_pickle=False) as found:
            return dict(found)


@ocp.args.register_with_handler(ArrayFile, for_save=True)
@dataclass
class Save(ocp.args.CheckpointArgs):  # type: ignore[misc]
    """What to write."""

    arrays: dict[str, Any]


@ocp.args.register_with_handler(ArrayFile, for_restore=True)
@dataclass
class Restore(ocp.args.CheckpointArgs):  # type: ignore[misc]
    """Read all that is there."""
