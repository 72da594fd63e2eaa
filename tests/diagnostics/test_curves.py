"""Curves as people have them: whatever is in a table, it is read, or refused by line and column."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hyperjax.diagnostics import Curve, diagnose

TABLE = "step,train_loss,val_loss\n1,2.0,2.5\n2,1.0,\n3,0.5,1.25\n"


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "curve.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace(",", "\t"),
        "# a log\n\nIteration;Loss;Valid;note\n1;2,0;2,5;0\n2;1,0;-;0\n3;0,5;1,25;0\n",
        "VAL LOSS, Epoch ,accuracy,Train/Loss\n2.5,1,0,2.0\nnull,2,0,1\n1.25,3,0,.5\n",
        "step,training_loss,eval_loss\n1,2.0,\n1,,2.5\n2,1.0,\n3,0.5,\n3,,1.25\n",
    ],
)
def test_one_curve_in_many_tables(tmp_path, text, encoding):
    curve = Curve.read_csv(written(tmp_path, text, encoding))
    assert curve.steps.tolist() == [1, 2, 3]
    assert curve.train.tolist() == [2.0, 1.0, 0.5]
    assert curve.validation_steps.tolist() == [1, 3]
    assert curve.validation.tolist() == [2.5, 1.25]
    assert curve.unit == ("epoch" if "poch" in text else "step")


def test_what_is_not_finite_at_the_end_diverged_and_in_the_middle_is_a_gap(tmp_path):
    curve = Curve.read_csv(written(tmp_path, "loss,lr\n2,.1\nnan,.1\n1,.2\n3,.2\ninf,.2\nnan,.2\n"))
    assert (curve.steps.tolist(), curve.gaps, curve.diverged_at) == ([0, 2, 3], 1, 4)
    assert curve.rate.tolist() == [0.1, 0.2, 0.2]
    assert len(curve.validation) == 0
    assert diagnose(curve).findings[0].name == "diverged"
    # Validations that were not written down at the end are no divergence.
    assert Curve([1, 2, 3], [3, 2, 1], [3, 2, None]).diverged_at is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a table with a header and rows, got an empty file"),
        ("step,loss\n1,2\n2,x\n", r"line 3: column 'loss' must hold numbers, got 'x'"),
        ("step,loss\n1,2\n2\n", "line 3: a row must have 2 cells as the header, got 1"),
        ("step,loss\n1,2\n1,1\n", "line 3: column 'step' must rise, got 1, which is doubled, first in line 2"),
        ("step,loss\n2,2\n1,1\n", "line 3: column 'step' must rise, got 1, which is smaller"),
        ("step,loss\n1,2\n,1\n", "line 3: column 'step' must be a finite number, got ''"),
        ("step,accuracy\n1,2\n2,1\n", "a column must hold training losses .* got the columns 'step', 'accuracy'"),
        ("loss,Loss\n1,2\n2,1\n", "column 'loss' must be there once, got it 2 times"),
        ("step,loss\n1,2\n", "column 'loss' must have at least 2 losses, got 1"),
        ("1,2\n2,1\n", "a column must hold training losses"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        Curve.read_csv(written(tmp_path, text))


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"missing.csv must be a file that can be read"):
        Curve.read_csv(tmp_path / "missing.csv")
    (tmp_path / "binary.csv").write_bytes(b"step,loss\n" * 9 + b"\0\0\1")
    with pytest.raises(ValueError, match="must be a text"):
        Curve.read_csv(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], [2.0]), "train must have at least 2 points, got 1"),
        (([], []), "train must have at least 2 points, got 0"),
        (([1, 2], [2.0]), "train must be as many as steps, 2, got 1"),
        (([2, 1], [2.0, 1.0]), "steps must rise, got 1 at place 1, which is smaller"),
        (([1, 1], [2.0, 1.0]), "steps must rise, got 1 at place 1, which is doubled"),
        (([1, np.inf], [2.0, 1.0]), "steps must be numbers"),
        (([1, 2], ["a", 1.0]), "train must be a sequence of numbers"),
        (([1, 2], [[1.0], [2.0]]), "train must be a sequence of numbers"),
        (([1, 2], [1.0, 2.0], [1.0]), "validation must be as many as steps"),
        (([1, 2], [1.0, 2.0], [1.0], [1, 2]), "validation must be as many as validation_steps"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Curve(*arguments)


def told(make):
    """The findings of a curve, or why there is none: nothing but a ValueError may be raised."""
    try:
        return diagnose(make()).findings, ""
    except ValueError as error:
        return (), str(error)


ANY = st.one_of(
    st.none(),
    st.floats(width=64),
    st.floats(-1e3, 1e3),
    st.sampled_from([0.0, 1.0, 1e99, 1e308, -1e308, 5e-324, float("nan"), float("inf")]),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(ANY, ANY), max_size=24),
    st.lists(st.floats(0, 1e16), max_size=24),
    st.booleans(),
)
@example([(1.0, 1.0)] * 12, [], True)
@example([(0.0, None)] * 12, [], True)
@example([(5e-324, 5e-324), (0.0, 0.0)] * 6, [], True)
@example([(1e99, -1e99), (-1e99, 1e99)] * 9, [], True)
@example([(None, None)] * 9, [], False)
def test_any_numbers_are_diagnosed_or_refused(losses, steps, counted):
    steps = list(range(len(losses))) if counted else steps
    found, refusal = told(lambda: Curve(steps, [a for a, _ in losses], [b for _, b in losses]))
    assert refusal or found
    assert all(0 <= finding.confidence <= 1 and finding.evidence for finding in found)


CELLS = st.sampled_from(["", "1", "2.5", "-3e7", "nan", "inf", "x", "1;2", '"', "é", "1e999", "NULL", " 4 ", "\t"])
HEADERS = st.sampled_from(
    ["step,loss", "epoch;train;valid", "loss\tval_loss", "a,b", "Loss", "step,loss,loss", "﻿lr,loss"]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    HEADERS,
    st.lists(st.lists(CELLS, max_size=4), max_size=14),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1", "cp037"]),
    st.integers(0, 3),
)
def test_any_table_is_diagnosed_or_refused(tmp_path_factory, header, rows, separator, encoding, cut):
    numbered = [[str(place), *row] for place, row in enumerate(rows)]
    data = "\n".join([header, *(separator.join(row) for row in numbered)]).encode(encoding, "replace")
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data[: len(data) - cut])
    found, refusal = told(lambda: Curve.read_csv(path))
    assert found or any(name in refusal for name in ("any.csv", "train", "steps"))
