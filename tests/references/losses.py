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


def judged(z, label):
    """Cross-entropy of logits that all have one label."""
    return functional.binary_cross_entropy_with_logits(z, torch.full_like(z, label), reduction="none").mean(1)


def squared(z, label):
    """Squared distance to one label."""
    return functional.mse_loss(z, torch.full_like(z, label), reduction="none").mean(1)


def ranked(z, relevance, sigma):
    """Mean over pairs of the cross-entropy of the better one's lead."""
    pairs = [(i, j) for i in range(len(relevance)) for j in range(len(relevance)) if relevance[i] > relevance[j]]
    leads = torch.stack([z[:, i] - z[:, j] for i, j in pairs], 1)
    return judged(sigma * leads, 1)


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
        "pairwise_ranking": lambda z: ranked(z, labels[:5], 0.7),
        "list_ranking": lambda z: functional.cross_entropy(
            z / 1.7, (targets.abs() / 1.7).softmax(-1), reduction="none"
        ),
        "non_saturating discriminator": lambda z: judged(z, 1) + judged(targets, 0),
        "non_saturating discriminator of fakes": lambda z: judged(targets, 1) + judged(z, 0),
        "non_saturating generator": lambda z: judged(z, 1),
        "minimax generator": lambda z: -judged(z, 0),
        "least_squares discriminator": lambda z: (squared(z, 1) + squared(targets, 0)) / 2,
        "least_squares generator": lambda z: squared(z, 1) / 2,
        "hinge discriminator": lambda z: ((1 - z).relu() + (1 + targets).relu()).mean(1),
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
