"""Ranges with more room at the end where the winner lies, as far as the field allows."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperjax as hj
from hyperjax.studies import Range
from hyperjax.studies.widening import wider

RESTARTS = {"schedule": "cosine_restarts", "init_value": 0.1, "period": {"fraction": hj.uniform(0.2, 0.6)}}
SPACE = hj.space(
    {"optimizer_arguments.b2": hj.uniform(0.9, 0.999), "model.width": hj.log_integer(4, 64), "model.depth": hj.integer(2, 4)},
    optimizer=["adagrad", "momentum", "adam"],
    momentum=hj.uniform(0.5, 0.9),
    dropout=hj.uniform(0.1, 0.5),
    average=hj.log_uniform(0.5, 0.95),
    epochs=hj.uniform(2, 5),
    weight_decay=hj.log_uniform(1e-5, 1e-1),
    l2=hj.uniform(0.0, 0.1),
    batch_size=hj.integer(4, 9),
    micro_batches=[1, 2],
    learning_rate=RESTARTS | {"period_multiplier": hj.uniform(1.0, 1.5), "end_value": hj.uniform(-0.1, 0.1)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("weight_decay", 1e-6, 1.0),  # a factor of 10
        ("l2", 0.0, 0.2),  # its width; nothing below 0
        ("dropout", 0.0, 0.9),
        ("average", 0.05, 1.0),  # 1 itself is the plain mean
        ("momentum", 0.1, 0.99),  # 1 itself is not allowed
        ("optimizer_arguments.b2", 0.801, 0.9999),
        ("epochs", 0.2, 8.0),  # 0 itself is not allowed
        ("batch_size", 2, 14),  # not below the parts that it is cut into
        ("model.width", 1, 640),
        ("model.depth", 1, 6),
        ("learning_rate.period.fraction", 0.02, 1.0),
        ("learning_rate.period_multiplier", 1.0, 2.0),
        ("learning_rate.end_value", -0.3, 0.3),
    ],
)
def test_each_end_reaches_as_far_as_its_field_allows(name, low, high):
    now = SPACE.entries[name]
    assert SPACE.wider({name: "low"}) == {name: Range(low, now.high, now.log, now.integer)}
    assert SPACE.wider({name: "high"}) == {name: Range(now.low, high, now.log, now.integer)}


def test_a_wider_space_is_a_space_with_the_rest_as_it_was():
    edges = {"l2": "low", "momentum": "high"}
    small = {name: SPACE.entries[name] for name in ("optimizer", "momentum", "l2")}
    before = hj.space(small, constraints={"together": "momentum + l2 < 0.95"})
    after = before.widened(edges)
    assert after.entries == before.entries | {"momentum": Range(0.5, 0.99)}
    assert after.constraints.given == before.constraints.given and before.entries == small
    assert before.widened({}).entries == before.entries
    for wrong, message in (
        (
            {"l2": "low"},
            "edges must name a range whose field allows more beside the others, got l2 numbers from 0 to 0.1",
        ),
        ({"optimizer": "low"}, "edges must name ranges of the space, momentum, l2, got 'optimizer'"),
        ({"l2": "up"}, r"edges\['l2'\] must be one of low, high, got 'up'"),
    ):
        with pytest.raises(ValueError, match=message):
            before.widened(wrong)


def test_what_is_outside_the_space_decides_too():
    made = hj.space(momentum=hj.uniform(0.5, 0.9))
    assert made.wider({"momentum": "high"}, hj.Recipe(optimizer="nesterov")) == {"momentum": Range(0.5, 0.99)}
    assert made.wider({"momentum": "high"}) == made.entries  # of Adam, which has none
    kept = hj.space(
        batch_size=hj.integer(4, 9), micro_batches=[1, 4], constraints={"parts": "micro_batches <= batch_size"}
    )
    assert kept.wider({"batch_size": "low"}) == {"batch_size": Range(1, 9, integer=True)}


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(0.0, 2e3), st.booleans(), st.booleans(),
    st.sampled_from(["low", "high"]),
)  # fmt: skip
def test_a_range_reaches_its_width_further_or_to_the_bound(low, width, room, strict, log, end):
    log = log and low > 0
    entry = Range(low, low + width, log)
    now, way = (entry.high, 1) if end == "high" else (entry.low, -1)
    bound = float(f"{now + way * room:.6g}")
    if (bound - now) * way < 1e-3 * width:
        return
    step = now * 10.0**way if log else now + way * (entry.high - entry.low)

    def allowed(value):
        return (bound - value) * way > 0 if strict else (bound - value) * way >= 0

    found = wider(entry, end, allowed)
    there = getattr(found, end)
    assert allowed(there) and (there - now) * way >= 0
    assert (found.low, found.high)[end == "low"] == (entry.low, entry.high)[end == "low"] and found.log == entry.log
    if (bound - step) * way > abs(step) * 1e-9:
        assert math.isclose(there, step, rel_tol=1e-9, abs_tol=1e-9)
    elif (step - bound) * way > abs(step) * 1e-9:
        wanted = now + 0.9 * (bound - now) if strict else bound
        assert math.isclose(there, wanted, rel_tol=1e-9, abs_tol=1e-9)
