"""Write activations.json: PyTorch's activations and their slopes at some points.

pip install torch==2.13.0 && python tests/references/activations.py
"""

import json
from pathlib import Path

import torch
from torch.nn import functional

POINTS = [-30.0, -4.5, -2.9, -1.0, -0.3, -0.01, 0.01, 0.4, 1.7, 2.8, 5.0, 30.0]
FUNCTIONS = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_exact": functional.gelu,
    "swish": functional.silu,
    "sigmoid": torch.sigmoid,
    "leaky_relu": functional.leaky_relu,
    "leaky_relu, 0.3": lambda x: functional.leaky_relu(x, 0.3),
    "elu": functional.elu,
    "elu, 1.7": lambda x: functional.elu(x, 1.7),
    "selu": functional.selu,
    "mish": functional.mish,
    "softplus": lambda x: functional.softplus(x, threshold=100.0),
    "hard_swish": functional.hardswish,
    "softmax": lambda x: functional.softmax(x, -1),
}


def both(function):
    """Values at the points, and the gradient of the sum of their squares."""
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    values = function(x)
    (values**2).sum().backward()
    return {"values": values.tolist(), "gradient": x.grad.tolist()}


if __name__ == "__main__":
    written = {"torch": torch.__version__, "points": POINTS, "functions": {n: both(f) for n, f in FUNCTIONS.items()}}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written) + "\n", "utf-8")
