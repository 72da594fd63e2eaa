"""Constraints as text: they mean what Python means by them, and nothing else can be said."""

import builtins
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperjax as hj
from hyperjax.studies import read_space, to_toml
from hyperjax.studies.expressions import Expression
from hyperjax.studies.samplers import draw

NUMBERS = st.recursive(
    st.one_of(st.integers(-9, 9).map(str), st.floats(-2, 2).map(repr), st.sampled_from(["batch_size", "model.width"])),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner)
        | st.builds("-{}".format, inner)
        | st.builds("({} ** 2)".format, inner)
    ),
    max_leaves=5,
)
SIGNS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
COMPARED = st.builds("{} {} {} {} {}".format, NUMBERS, SIGNS, NUMBERS, SIGNS, NUMBERS)
AMONG = st.sampled_from(
    ["optimizer in ['sgd', 'lion']", "optimizer not in ('adam',)", "batch_size in [32, model.width]", "bias", "True"]
)
TEXTS = st.recursive(
    COMPARED | AMONG,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from([1, 8, 32]), st.sampled_from([0.5, 4, 32]), st.sampled_from(["sgd", "adam"]))
def test_a_text_means_what_python_means_by_it(text, batch, width, optimizer):
    values = {"batch_size": batch, "model.width": width, "optimizer": optimizer, "bias": batch == 8}
    spelled = {"batch_size": batch, "model": SimpleNamespace(width=width), "optimizer": optimizer, "bias": batch == 8}
    expression = Expression("m", text)
    try:
        wanted = eval(text, {}, spelled)  # of this test's own making
    except ArithmeticError:
        with pytest.raises(ValueError, match="constraint 'm' must be possible for every sample"):
            expression(values)
    else:
        assert expression(values) is wanted


MADE = {"model.width": [8, 16], "batch_size": [8, 32, "full"], "optimizer": ["sgd"], "warmup": [0, hj.epochs(2)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", r"constraint 'm' must be made of comparisons, .*got \"__import__\('os'\).system"),
        ("len(optimizer) < 3", r"must be made of comparisons, .*got 'len\(optimizer\)'"),
        ("(1).real < 3", r"must be made of .*got '1 .real'"),
        ("'a'.upper == 'A'", r"must be made of"),
        ("[x for x in [1]] == [1]", r"must be made of"),
        ("lambda: 1", r"must be made of"),
        ("(a := 3) < 4", r"must be made of"),
        ("f'{optimizer}' == 'sgd'", r"must be made of"),
        ("1 if True else 2", r"must be made of"),
        ("{1: 2} == 3", r"must be made of"),
        ("1j < 2", r"must be made of"),
        ("optimizer is None", r"must be made of"),
        ("model.width << 2 < 3", r"must be made of"),
        ("model.width.real < 3", r"constraint 'm' must read names of the space, model.width, .*got 'model.width.real'; did"),
        ("model < 3", r"must read names of the space, .*got 'model'"),
        ("batch_siz < 3", r"must read names of the space, .*got 'batch_siz'; did you mean 'batch_size'"),
        ("True or dropout < 3", r"must read names of the space, .*got 'dropout'"),  # also where it is never looked at
        ("x = 3", r"constraint 'm' must be a comparison such as 'batch_size <= 64', got 'x = 3': invalid syntax"),
        ("", r"must be a comparison such as"),
        ("import os", r"must be a comparison such as"),
        ("1 <", r"must be a comparison such as"),
        ("(" * 3000 + "1" + ")" * 3000, r"must be a comparison such as"),
        ("1" + " + 1" * 300 + " < 2", r"must have at most 50 levels"),
        ("batch_size", r"must compare where something must be true or false, got 'batch_size', which is 8"),
        ("optimizer == 'sgd' and 3", r"must compare .*got '3', which is 3"),
        ("batch_size <= 64", r"must be possible for every sample, got 'full' and 64 in 'batch_size <= 64'"),
        ("batch_size * 2 > 3", r"must compute with numbers alone, got 'batch_size', which is 'full'"),
        ("warmup < 3", r"must be possible for every sample, got epochs\(2\) and 3"),
        ("'sg' in optimizer", r"must be possible .*what follows in must be a list"),
        ("1 / 0 < 3", r"must be possible .*division by zero"),
        ("9 ** 9 ** 9 ** 9 < 3", r"must be possible for every sample"),
        ("10.0 ** 400 < 3", r"must be possible for every sample"),
    ],
)  # fmt: skip
def test_nothing_else_can_be_said(text, message, monkeypatch):
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, lambda *_: pytest.fail("evaluated"))
    with pytest.raises(ValueError, match=message):
        hj.space(MADE, constraints={"m": text})


def test_texts_and_functions_keep_the_same_samples():
    entries = {"model.width": hj.integer(1, 100), "batch_size": list(np.array([8, 16, 32]))}
    text = "batch_size * model.width <= 640 and (batch_size != 8 or model.width % 2 == 0)"

    def function(v):
        return v["batch_size"] * v["model.width"] <= 640 and (v["batch_size"] != 8 or v["model.width"] % 2 == 0)

    by_text = draw(hj.space(entries, constraints={"m": text}), 200, 3)
    assert by_text == draw(hj.space(entries, constraints={"m": function}), 200, 3) and all(map(function, by_text))
    nested = {"schedule": "join", "schedules": [0.1, 0.2, 0.3], "boundaries": [hj.integer(1, 9), hj.integer(2, 9)]}
    ordered = {"in order": "learning_rate.boundaries[0] < learning_rate.boundaries[1]"}
    found = draw(hj.space(learning_rate=nested, constraints=ordered), 50, 0)
    assert all(v["learning_rate.boundaries.0"] < v["learning_rate.boundaries.1"] for v in found)


def test_contradictions_in_texts_are_refused():
    both = {"more": "batch_size > 16", "less": "batch_size < 16"}
    with pytest.raises(ValueError, match=r"constraints must leave something to sample.*'more' in \d+, 'less' in \d+"):
        draw(hj.space(batch_size=[8, 16, 32], constraints=both), 4, 0)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(str.strip), st.text(), max_size=3))
def test_any_message_and_any_text_survive_toml(tmp_path_factory, told):
    told = {message: f"optimizer != {text!r}" for message, text in told.items()}
    made = hj.space(optimizer=["sgd", "adam"], constraints=told)
    path = tmp_path_factory.mktemp("spaces") / "s.toml"
    path.write_bytes(to_toml(made).encode())
    read = read_space(path)
    assert read.constraints.given == told and read.entries == made.entries


def test_a_file_of_constraints(tmp_path):
    text = """
    batch_size = [8, 32]
    epochs = [1, 2]
    model.width = 16

    [constraints]
    "a batch must fit" = "batch_size * model.width <= 256"
    short = "epochs < 3"
    """
    (tmp_path / "s.toml").write_text(text)
    made = read_space(tmp_path / "s.toml")
    assert made.constraints.given == {"a batch must fit": "batch_size * model.width <= 256", "short": "epochs < 3"}
    assert [(v["batch_size"], v["epochs"]) for v in draw(made, None, 0)] == [(8, 1), (8, 2)]
    assert to_toml(made).endswith(
        '\n\n[constraints]\n"a batch must fit" = "batch_size * model.width <= 256"\n"short" = "epochs < 3"\n'
    )
    for wrong, message in (
        ("short = 3", "map messages to .*got 'short': 3; a text such"),
        ("short = 'x < 3'", "got 'x'"),
    ):
        (tmp_path / "s.toml").write_text(text.replace('short = "epochs < 3"', wrong))
        with pytest.raises(ValueError, match=f"space '.*s.toml': constraint.*{message}"):
            read_space(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_text("epochs = 3\nconstraints = ['epochs < 4']")
    with pytest.raises(ValueError, match=r"constraints must map messages to functions .*got \['epochs < 4'\]"):
        read_space(tmp_path / "s.toml")
    mixed = hj.space(epochs=[1, 2], constraints={"a": "epochs < 3", "odd": lambda v: True})
    with pytest.raises(ValueError, match=r"constraints must be none but texts to be written as TOML, got odd$"):
        to_toml(mixed)
