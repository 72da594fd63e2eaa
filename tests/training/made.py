"""Small tasks made for tests: they compile fast and have known answers."""

import numpy as np
from flax import nnx

from hyperjax import layers, metrics
from hyperjax.tasks import Task


class Net(nnx.Module):
    """Two layers with a bindable activation and dropout; one input column may be always zero."""

    def __init__(self, rngs, width=8, inputs=4, outputs=3, param_dtype=np.float32):
        self.first = nnx.Linear(inputs, width, param_dtype=param_dtype, rngs=rngs)
        self.activation = layers.Activation("tanh", name="activation")
        self.dropout = layers.Dropout(0.0, rngs=rngs)
        self.second = nnx.Linear(width, outputs, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x):
        return self.second(self.dropout(self.activation(self.first(x))))


def classes(examples=46, validation=12, **changes):
    """Three classes by the largest of three inputs; the fourth input is always 0."""
    rng = np.random.default_rng(0)

    def make(count):
        x = rng.normal(size=(count, 4)).astype(np.float32)
        x[:, 3] = 0.0
        return x, x[:, :3].argmax(1).astype(np.int32)

    data = {"train": make(examples), "validation": make(validation), "test": make(validation)}
    given = {
        "model": Net,
        "data": data,
        "loss": "cross_entropy",
        "metrics": {"accuracy": metrics.accuracy},
        "name": "made",
    }
    return Task(**(given | changes))
