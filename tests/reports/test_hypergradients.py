"""Derivatives and descents as figures and pages: what was measured is what is drawn."""

import json
import re

import numpy as np
import pytest

from hyperjax.reports import plot, report
from hyperjax.statistics import Interval
from hyperjax.training import Descent, Hypergradient
from hyperjax.training.descent import Attempt
from hyperjax.training.recipe import Recipe


@pytest.fixture
def found():
    return Hypergradient(
        recipe=Recipe(),
        seeds=(0, 1),
        metric="validation_loss",
        steps=100,
        values=np.array([0.5, 0.7]),
        diverged_at=(None, None),
        numbers={"learning_rate": 1e-3, "optimizer_arguments.b1": 0.9, "loss_arguments.label_smoothing": 0.0},
        shares=frozenset({"optimizer_arguments.b1"}),
        by_seed={
            "learning_rate": np.array([-10.0, -30.0]),
            "optimizer_arguments.b1": np.array([1.0, 1.0]),
            "loss_arguments.label_smoothing": np.array([0.1, 0.3]),
        },
        left_out={"batch_size": "a <count>"},
        bytes=2_500_000,
        _plain_bytes=lambda: 1_000_000,
    )


def test_bars_are_what_a_percent_does(found, tmp_path):
    figure = plot(found)
    (bars,) = figure.data
    assert figure.layout.yaxis.ticktext == ("optimizer_arguments.b1", "learning_rate")  # by odds, 0.09, and 0.02
    assert bars.x == pytest.approx([0.0009, -0.0002])
    assert list(found.elasticities.values()) == pytest.approx([0.09, -0.02])
    text = report(found, tmp_path / "page.html").read_text("utf-8")
    body = text.split('<script type="application/json"')[0]
    assert "It depends most on optimizer_arguments.b1: with odds raised by 1 %, it rises by about 0.0009" in body
    assert "a &lt;count&gt;" in body and "2.5 MB" in body
    assert re.search(r"label_smoothing</t[dh]>.*?0<.*?0.2<", body, re.DOTALL), "a number of 0 is in the table alone"
    assert json.dumps(found.gradient)


@pytest.fixture
def descent():
    first, best = Recipe(), Recipe(learning_rate=1e-2)
    values = [([1.0, 3.0], True), ([0.5, 0.7], True), ([np.nan, 0.1], False)]
    return Descent(
        start=first,
        best=best,
        metric="validation_loss",
        attempts=tuple(Attempt(best, np.array(v), 0.5, better) for v, better in values),
        seeds=(0, 1),
        names=("learning_rate",),
        left_out={"epochs": "a count"},
        fresh_seeds=(2, 3),
        fresh=np.array([[1.5, 1.0], [0.5, np.nan]]),
        improvement=Interval(1.0, -0.5, 2.5),
        moves={"learning_rate": (1e-3, 1e-2)},
    )


def test_the_steps_of_a_descent_and_what_it_is_worth(descent, tmp_path):
    seeds, better, worse = plot(descent).data
    assert (better.x, better.y) == ((0, 1), (2.0, 0.6))
    assert (worse.x, worse.y) == ((2,), (None,))
    assert seeds.y == (1.0, 3.0, 0.5, 0.7, None, 0.1)
    body = report(descent, tmp_path / "page.html").read_text("utf-8").split('<script type="application/json"')[0]
    assert "Most was changed in learning_rate 0.001 to 0.01. On 2 fresh seeds" in body
    assert "not shown to be lower: 1 less, 95 % interval -0.5 to 2.5. 1 of them diverged with the new recipe." in body
    assert "learning_rate=0.01" in body


def test_a_descent_without_a_better_recipe_says_so(descent):
    same = Descent(**{**vars(descent), "best": descent.start})
    assert same.answer == "None of 2 steps led to a lower validation loss."
