"""Write recurrent.json: outputs and gradients of PyTorch's GRU and LSTM of two layers, with their weights.

pip install torch==2.13.0 && python tests/references/recurrent.py
"""

import json
from pathlib import Path

import torch

EXAMPLES, TIME, INPUTS, WIDTH = 2, 4, 3, 3


def rounded(values):
    """A tensor as lists, short enough to store."""
    return [rounded(each) for each in values] if values.dim() else round(float(values), 8)


def measured(kind):
    """Weights, outputs at each step, and the gradients of the sum of their squares."""
    torch.manual_seed(0)
    network = kind(INPUTS, WIDTH, num_layers=2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            weights.copy_(torch.round(weights * 1.5, decimals=3))
            if name.startswith("bias_hh"):
                weights.zero_()  # Flax has one bias
    x = torch.round(torch.randn(EXAMPLES, TIME, INPUTS, dtype=torch.float64), decimals=3)
    outputs, _ = network(x)
    (outputs**2).sum().backward()
    named = [(name, weights) for name, weights in network.named_parameters() if not name.startswith("bias_hh")]
    return {
        "weights": {name: rounded(weights.detach()) for name, weights in named},
        "x": rounded(x),
        "outputs": rounded(outputs.detach()),
        "gradients": {name: rounded(weights.grad) for name, weights in named},
    }


if __name__ == "__main__":
    written = {"torch": torch.__version__, "GRU": measured(torch.nn.GRU), "LSTM": measured(torch.nn.LSTM)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written) + "\n", "utf-8")
