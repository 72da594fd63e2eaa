"""Write schedules.json: learning rates of PyTorch's schedulers, step by step.

pip install torch==2.13.0 && python tests/references/schedules.py
"""

import json
import math
import warnings
from pathlib import Path

import torch
from torch.optim import lr_scheduler

STEPS = 41


def rates(make, rate):
    """The rate in force at each of the first steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate, momentum=0.9)
    scheduler = make(optimizer)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


SCHEDULERS = {
    "StepLR": (lambda o: lr_scheduler.StepLR(o, step_size=7, gamma=0.3), 0.8),
    "MultiStepLR": (lambda o: lr_scheduler.MultiStepLR(o, milestones=[5, 18], gamma=0.3), 0.8),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9), 0.8),
    "LinearLR": (lambda o: lr_scheduler.LinearLR(o, start_factor=0.25, end_factor=0.75, total_iters=12), 0.8),
    "PolynomialLR": (lambda o: lr_scheduler.PolynomialLR(o, total_iters=30, power=1.7), 0.8),
    "CosineAnnealingLR": (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=40, eta_min=0.05), 0.8),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=2, eta_min=0.05),
        0.8,
    ),
    "CosineAnnealingWarmRestarts, equal": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=6), 0.8),
    "OneCycleLR, cos": (lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.8, total_steps=41, pct_start=11 / 41), 0.8),
    "OneCycleLR, linear": (
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=0.8, total_steps=41, pct_start=11 / 41, anneal_strategy="linear", three_phase=True
        ),
        0.8,
    ),
    "CyclicLR, triangular": (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.8, step_size_up=6), 0.1),
    "CyclicLR, triangular2": (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.8, step_size_up=6, mode="triangular2"), 0.1),
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # it counts one step too many, which nothing here reads
    torch.set_default_dtype(torch.float64)
    written = {"torch": torch.__version__, "rates": {name: rates(*each) for name, each in SCHEDULERS.items()}}
    assert all(math.isfinite(rate) for each in written["rates"].values() for rate in each)
    Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=1) + "\n", "utf-8")
