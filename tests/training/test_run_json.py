"""Runs through JSON and a file of arrays: equal metrics to the bit, equal models, whatever the model is."""

import json

import numpy as np
import pytest
from flax import linen, nnx

import hyperjax as hj
from hyperjax.training.run_json import about, recalled, trained_arrays
from tests.training.made import Net, classes


class Normed(nnx.Module):
    """With state that is not trained, and weights of half precision."""

    def __init__(self, rngs):
        self.first = nnx.Linear(4, 8, param_dtype=np.float32, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.second = nnx.Linear(8, 3, param_dtype="bfloat16", rngs=rngs)

    def __call__(self, x):
        return self.second(self.norm(self.first(x)))


class Plain(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(x)


CASES = {
    "choices, numbers, averages and early stopping": (
        Net,
        {
            "activation": "leaky_relu",
            "activation_arguments": {"negative_slope": 0.3},
            "dropout": hj.schedules.linear(0.5, 0.1, 20),
            "average": 0.9,
            "early_stopping": {"patience": 2},
            "learning_rate": 0.5,
            "epochs": 8,
        },
    ),
    "state and half precision": (Normed, {"epochs": 1.5}),
    "Linen": (Plain(), {"epochs": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_is_what_it_was(case):
    model, changes = CASES[case]
    task = classes(model=model)
    run = hj.fit(task, hj.Recipe(batch_size=10, **changes), seed=3)
    arrays = trained_arrays(run)
    back = recalled(task, run.recipe, json.loads(json.dumps(about(run), allow_nan=False)), lambda: arrays)
    assert back.metrics.keys() == run.metrics.keys() and back.score == run.score
    for name, values in run.metrics.items():
        assert back.metrics[name].dtype == values.dtype and np.array_equal(back.metrics[name], values)
    assert back.epochs.tolist() == run.epochs.tolist() and back.best == run.best
    assert (back.steps_done, back.total_steps, back.finished) == (run.steps_done, run.total_steps, run.finished)
    assert hj.training.evaluate(task, back.model, "test") == hj.training.evaluate(task, run.model, "test")
    if case.startswith("choices"):
        assert run.best is not None and run.best < len(run.epochs) - 1
        assert float(back.model.dropout.rate.get_value()) == float(run.model.dropout.rate.get_value()) > 0.1


def test_metrics_that_are_not_finite_and_arrays_of_another_model():
    task = classes()
    wild = {"loss": "squared_error", "activation": "relu", "optimizer": "sgd", "learning_rate": 1e6}
    run = hj.fit(task, hj.Recipe(batch_size=10, epochs=2, **wild))
    text = json.dumps(about(run), allow_nan=False)
    back = recalled(task, run.recipe, json.loads(text))
    assert back.diverged_at == run.diverged_at is not None and not back.has_model
    told = json.loads(text) | {"metrics": {"validation_accuracy": ["nan", "inf", "-inf", 0.1]}}
    values = recalled(task, run.recipe, told).metrics["validation_accuracy"]
    assert np.array_equal(values, np.array([np.nan, np.inf, -np.inf, 0.1], np.float32), equal_nan=True)
    arrays = trained_arrays(run)
    with pytest.raises(ValueError, match="weights that were kept must be those of this task's model, float32"):
        _ = recalled(task, run.recipe, json.loads(text), lambda: {k: v for k, v in arrays.items() if k == "step"}).model
    with pytest.raises(ValueError, match=r"JSON must tell of a run, got .* where KeyError"):
        recalled(task, run.recipe, {"seed": 0})
