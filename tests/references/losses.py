"""Write losses.json: PyTorch's losses without reduction, and the gradients of their sums.

pip install torch==2.13.0 && python tests/references/losses.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)) * 3
LABELS = [0, 4, 2, 2, 1, 3]
WEIGHTS = [0.5, 1.0, 2.0, 0.0, 1.5]
TARGETS = RNG.normal(size=(6, 5)) * 3
BITS = RNG.integers(0, 2, (6, 5))
TEACHER = RNG.normal(size=(6, 5)) * 3


def both(loss):
    """Values of the loss at the logits, and the gradient of their sum."""
    logits = torch.tensor(LOGITS, requires_grad=True)
    values = loss(logits)
    values.sum().backward()
    return {"values": values.tolist(), "gradient": logits.grad.tolist()}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    labels, weights, bits = torch.tensor(LABELS), torch.tensor(WEIGHTS), torch.tensor(BITS, dtype=torch.float64)
    targets, teacher = torch.tensor(TARGETS), torch.tensor(TEACHER)
    shares = teacher.softmax(-1)
    found = {
        "cross_entropy": lambda z: functional.cross_entropy(z, labels, reduction="none"),
        "cross_entropy, weights": lambda z: functional.cross_entropy(z, labels, weights, reduction="none"),
        "cross_entropy, weights and smoothing": lambda z: functional.cross_entropy(
            z, labels, weights, reduction="none", label_smoothing=0.3
        ),
        "cross_entropy, shares": lambda z: functional.cross_entropy(
            z, shares, weights, reduction="none", label_smoothing=0.3
        ),
        "binary_cross_entropy": lambda z: functional.binary_cross_entropy_with_logits(z, bits, reduction="none").mean(
            1
        ),
        "huber": lambda z: functional.huber_loss(z, targets, reduction="none", delta=1.3).mean(1),
        "squared_error": lambda z: functional.mse_loss(z, targets, reduction="none").mean(1),
        "absolute_error": lambda z: functional.l1_loss(z, targets, reduction="none").mean(1),
        "triplet": lambda z: functional.triplet_margin_loss(z, targets, teacher, eps=0.0, reduction="none"),
        "kl_divergence": lambda z: functional.kl_div(z.log_softmax(-1), shares, reduction="none").sum(-1),
    }
    inputs = {
        "logits": LOGITS.tolist(),
        "labels": LABELS,
        "weights": WEIGHTS,
        "targets": TARGETS.tolist(),
        "bits": BITS.tolist(),
        "teacher": TEACHER.tolist(),
    }
    written = {"torch": torch.__version__, "inputs": inputs, "losses": {name: both(f) for name, f in found.items()}}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written) + "\n", "utf-8")
