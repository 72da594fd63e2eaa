"""The README's Python runs as it stands, block after block, as a reader would paste it."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.slow
def test_the_tour_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["value"] < 0.1
    assert names["run"].score > 0.8
    assert (
        names["study"].winner.verdict in ("better", "not shown") and len(names["found"].schedule("learning_rate")) > 1
    )
    assert len(names["runs"]) == 40 and names["runs"].conditions["programs"] == 1
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


def test_the_space_file_of_the_tour_can_be_read(tmp_path):
    from hyperjax.studies import read_space

    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "space.toml"
    path.write_text(text)
    space = read_space(path)
    numbers = {"learning_rate", "dropout", "optimizer", "warmup", "batch_size", "weight_decay.init_value"}
    assert set(space.searched) == numbers and len(space.constraints.given) == 1
