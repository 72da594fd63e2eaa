"""Population based training as figures and as a page."""

import re

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.reports.population_page import population_figures, population_page
from hyperjax.studies import population_based
from tests.reports.test_page import payload, read
from tests.training.made import classes


@pytest.fixture(scope="module")
def found():
    own = hj.space(learning_rate=hj.log_uniform(1e-3, 0.5), activation=["relu", "tanh"])
    return population_based(classes(), own, 4, recipe=hj.Recipe(optimizer="sgd", batch_size=23, epochs=3))


def test_every_lineage_is_drawn_as_steps(found):
    figures = population_figures(found)
    assert list(figures) == ["Validation accuracy", "learning_rate, as it was found"]  # choices are in the table
    for trace in figures["learning_rate, as it was found"].data:
        member = int(trace.customdata[0])
        rates = found.schedule("learning_rate", member)
        assert trace.line.shape == "hv" and list(trace.x) == [0, 1, 2, 3]
        np.testing.assert_allclose(trace.y, [*rates, rates[-1]], rtol=1e-4)
    assert len(hj.plot(found).data) == 8


def test_the_page_tells_the_best_and_how_it_came_about(found, tmp_path):
    text = hj.report(found, tmp_path / "p.html").read_text("utf-8")
    read(text)
    payload(text)
    best = found.best
    assert f"Best of 4: member {best.number}, validation accuracy {best.run.score:.4g}." in text
    section = population_page(found).sections[-2]
    assert section.count("<tr>") == 1 + len(best.history)
    for piece in best.history:
        assert re.search(rf"<td[^>]*>{piece.epoch}</td><td[^>]*>{piece.member}</td>", section)
