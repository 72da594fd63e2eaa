"""Where a rate is known to carry over it is said to, and where it is known to move."""

import sys
import types

import jax
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.diagnostics import Transfer, transfer
from hyperjax.diagnostics.rate_curve import RateCurve
from hyperjax.diagnostics.transfer import _best, _less, _slope, _verdict, _wider
from hyperjax.statistics import Interval, mean_interval
from tests.training.made import classes

INPUTS = 8


class Net(nnx.Module):
    """Two hidden layers, in the standard parametrization or in the maximal update one of Yang & Hu (arXiv:2011.14522):
    f = width^(-1/2) c tanh(b tanh(width^(1/2) a x)), a, b and c of variance 1/width, here c 0; SGD's rate stays."""

    def __init__(self, rngs, width=32, maximal=False):
        def linear(inputs, outputs, deviation):
            return nnx.Linear(
                inputs, outputs, use_bias=False, kernel_init=nnx.initializers.normal(deviation), rngs=rngs
            )

        self.a = linear(INPUTS, width, width**-0.5 if maximal else INPUTS**-0.5)
        self.b = linear(width, width, width**-0.5)
        self.c = linear(width, 1, 1e-6)
        self.scales = ((width / INPUTS) ** 0.5, width**-0.5) if maximal else (1.0, 1.0)

    def __call__(self, x):
        first, last = self.scales
        return last * self.c(jax.nn.tanh(self.b(jax.nn.tanh(first * self.a(x)))))


@pytest.mark.slow
@pytest.mark.parametrize("maximal", [True, False])
def test_width_transfer_is_known_of_two_parametrizations(maximal, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, INPUTS)).astype(np.float32)
    y = np.sin(2 * x[:, :1] * x[:, 1:2]).astype(np.float32)
    task = hj.Task(lambda rngs, width=32: Net(rngs, width, maximal), {"train": (x, y)}, loss="squared_error")
    recipe = hj.Recipe(optimizer="sgd", batch_size="full")
    result = transfer(task, recipe, sizes=(16, 32, 64, 128), low=1e-2, high=100.0, rates=24, steps=40)
    outputs = result.coordinates["outputs"]
    if maximal:
        assert result.verdict == "carries"
        assert outputs.low < 0 < outputs.high
    else:
        assert result.verdict == "moves"
        assert -1 < result.slope.mean < -0.5
        assert outputs.low < 1 < outputs.high  # all of width gradients move each output the same way
        assert outputs.low > 0.5
    assert set(result.coordinates) == {"a/kernel", "b/kernel", "c/kernel", "outputs"}
    assert result.answer in hj.report(result, tmp_path / "page.html").read_text("utf-8")


@pytest.mark.slow
def test_over_the_data_it_has_no_coordinates():
    recipe = hj.Recipe(optimizer="sgd", batch_size=8)
    shares = (0.5, 0.7, 1.0)
    result = transfer(classes(), recipe, "data", shares, low=1e-3, high=1e3, rates=12, seeds=(0, 1), steps=30)
    assert isinstance(result, Transfer)
    assert result.sizes.tolist() == [0.5, 0.7, 1.0]
    assert result.coordinates == {}
    assert len(result.table.rows) == 3
    assert "data doubles" in result.answer
    assert [trace.name for trace in hj.plot(result).data] == ["blows up", "best"]


def test_every_part_of_the_data_holds_the_smaller_ones():
    task = classes()
    parts = [{row.tobytes() for row in _less(task, share).data["train"][0]} for share in (0.25, 0.5, 1.0)]
    assert [len(part) for part in parts] == [12, 23, 46]
    assert parts[0] < parts[1] < parts[2]
    assert len(_less(task, 0.5).data["validation"][0]) == len(task.data["validation"][0])


def test_the_parts_of_it():
    rates = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    progress = np.array([[0.1, 0.5, 1.0, 0.95, 0.2], [1.0, 0.3, 0.2, 0.1, -np.inf]]).T
    found = _best(RateCurve(rates, progress))
    np.testing.assert_allclose(found[0], (2 * 4 * 8 * 16) ** 0.25)
    np.testing.assert_allclose(found[1], (1 * 1 * 1 * 2) ** 0.25)
    sizes = np.log([1.0, 2.0, 4.0])
    values = np.stack([-0.5 * sizes + 1, -1.5 * sizes + 3], 1)
    np.testing.assert_allclose(_slope(sizes, values), mean_interval([-0.5, -1.5]))
    assert _verdict(Interval(0.1, 0.05, 0.2)) == "carries"
    assert _verdict(Interval(-0.8, -1.0, -0.6)) == "moves"
    assert _verdict(Interval(-0.2, -0.6, 0.2)) == "undecided"
    digits = hj.tasks.digits()
    for name in ("widths", None):
        _, recipe = _wider(digits, hj.Recipe(), name, 48)
        assert recipe.model == {"widths": (48, 48)}
    deep = classes(model=lambda rngs, depth=2: None)
    with pytest.raises(
        ValueError, match=r"name must say which of the model's arguments is its width \(depth\), got None"
    ):
        _wider(deep, hj.Recipe(), None, 48)


@pytest.mark.parametrize("seed", [-np.arange(1, 9) / 10, -np.arange(9, 1, -1) / 10])
def test_a_size_at_which_a_seed_learns_nothing_is_named(monkeypatch, seed):
    """The others learn most at a rate in the middle; nothing is trained."""
    module, rates = sys.modules["hyperjax.diagnostics.transfer"], np.geomspace(1e-4, 10, 8)
    others = np.array([0.1, 0.5, 1.0, 2.0, 1.5, 0.5, 0.2, 0.1])
    curve = RateCurve(rates, np.stack([others, others, seed], 1))
    monkeypatch.setattr(module, "RateRuns", lambda *_: None)
    monkeypatch.setattr(module, "RatePopulation", lambda *_: types.SimpleNamespace(curve=curve))
    message = "low and high must hold a rate that lowers the loss of every seed, got 0.0001 and 10, where none does so"
    with pytest.raises(ValueError, match=f"{message} for the width 16"):
        transfer(classes(), sizes=(16, 32, 64), rates=8, seeds=(0, 1, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"over": "depth"}, "over must be one of width, data, got 'depth'"),
        ({"sizes": (16, 32)}, "sizes must be at least three"),
        ({"sizes": (16, 32, 64.5)}, "sizes' width must be a whole number"),
        ({"over": "data", "sizes": (0.5, 1.0, 2.0)}, "sizes' share must be a number in"),
        ({"name": "breadth"}, "name must be one of .*width"),
        ({"seeds": (0,)}, "seeds must be at least two"),
        ({"low": 2.0, "high": 1.0}, "low must be below high"),
        ({"sizes": 64}, "sizes must be at least three, got 64"),
        ({"recipe": "sgd"}, "recipe must be a Recipe or None, got 'sgd'"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        transfer(classes(), **({"recipe": hj.Recipe(batch_size=8)} | given))
