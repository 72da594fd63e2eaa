"""The notebook is made from its text, and runs from top to bottom."""

from pathlib import Path

import jupytext
import nbclient
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_the_notebook_is_what_its_text_says():
    text, made = (jupytext.read(FOLDER / f"tour.{ending}") for ending in ("py", "ipynb"))
    assert cells(text) == cells(made), "make it anew: jupytext --to ipynb notebooks/tour.py"
    assert not any(cell.get("outputs") for cell in made.cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a kernel's machinery warns of its own affairs
def test_the_notebook_runs(tmp_path):
    notebook = jupytext.read(FOLDER / "tour.ipynb")
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [set(output.get("data", {})) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("application/vnd.plotly.v1+json" in kinds for kinds in shown) == 3
    assert (tmp_path / "report.html").stat().st_size > 1_000_000
