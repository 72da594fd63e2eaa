"""Figures of diagnostics, one file each."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# What `plot` draws of each kind of diagnostic, by headings; a kind that is not here has a page without figures.
FIGURES: "dict[type, Callable[[Any], dict[str, Figure]]]" = {}
