"""Write optimizers.json: a hundred steps of PyTorch's optimizers on a smooth convex problem.

pip install torch==2.13.0 && python tests/references/optimizers.py
"""

import json
from pathlib import Path

import torch

START, TARGET, CURVATURE = [2.0, -1.5, 0.3, 4.0], [0.5, -0.2, 1.0, 0.0], [1.0, 0.3, 2.0, 0.7]
STEPS = 100
OPTIMIZERS = {
    "SGD": (torch.optim.SGD, {"lr": 0.1}),
    "SGD, weight decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "SGD, momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "SGD, nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.3, "initial_accumulator_value": 0.1, "eps": 1e-30}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3}),
    "RMSprop, centered": (torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "centered": True}),
    "RMSprop, momentum": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8}),
    "Adam": (torch.optim.Adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    "Adam, weight decay": (torch.optim.Adam, {"lr": 0.05, "weight_decay": 0.1}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    "Adadelta": (torch.optim.Adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-4}),
    "NAdam": (torch.optim.NAdam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.01}),
    "NAdam, decoupled decay": (torch.optim.NAdam, {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "RAdam": (torch.optim.RAdam, {"lr": 0.05, "eps": 1e-14}),
}


def trajectory(make, arguments):
    """The parameters after each step."""
    start, target, curvature = (torch.tensor(each) for each in (START, TARGET, CURVATURE))
    w = start.clone().requires_grad_()
    optimizer = make([w], **arguments)
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        e = w - target
        (curvature * (e**2 / 2 + torch.log(torch.cosh(e)))).sum().backward()
        optimizer.step()
        found.append(w.tolist())
    return found


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    problem = {"start": START, "target": TARGET, "curvature": CURVATURE, "steps": STEPS}
    paths = {name: trajectory(*each) for name, each in OPTIMIZERS.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps({"torch": torch.__version__, **problem, "paths": paths}))
