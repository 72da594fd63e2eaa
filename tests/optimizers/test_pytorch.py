"""A hundred steps of PyTorch's optimizers, by the arguments that give its numbers."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hyperjax import optimizers
from hyperjax.optimizers import by_rule, rule

STORED = json.loads((Path(__file__).parents[1] / "references" / "optimizers.json").read_text("utf-8"))
AS_PYTORCH = {
    "SGD": lambda: optimizers.sgd(0.1),
    "SGD, weight decay": lambda: by_rule(rule("sgd", l2=0.1), 0.1),
    "SGD, momentum": lambda: optimizers.momentum(0.05),
    "SGD, nesterov": lambda: optimizers.nesterov(0.05),
    "Adagrad": lambda: optimizers.adagrad(0.3, eps=1e-60),
    "RMSprop": lambda: optimizers.rmsprop(0.02, eps=1e-3, eps_in_sqrt=False),
    "RMSprop, centered": lambda: optimizers.rmsprop(0.02, eps=1e-3, eps_in_sqrt=False, centered=True),
    "RMSprop, momentum": lambda: optimizers.rmsprop(0.01, eps=1e-3, eps_in_sqrt=False, momentum=0.8),
    "Adam": lambda: optimizers.adam(0.05, b1=0.8, b2=0.95, eps=1e-3),
    "Adam, weight decay": lambda: by_rule(rule("adam", l2=0.1), 0.05),
    "AdamW": lambda: optimizers.adamw(0.05, weight_decay=0.1),
    "Adadelta": lambda: optimizers.adadelta(1.0, rho=0.9, eps=1e-4),
    "NAdam": lambda: optimizers.nadam(0.05, b1=0.8, b2=0.95, eps=1e-3, momentum_decay=0.01),
    "NAdam, decoupled decay": lambda: optimizers.nadamw(0.05, weight_decay=0.1, momentum_decay=4e-3),
    "RAdam": lambda: optimizers.radam(0.05, eps=1e-14),
}


@pytest.mark.parametrize("name", AS_PYTORCH)
def test_follows_pytorch_for_a_hundred_steps(name):
    assert set(AS_PYTORCH) == set(STORED["paths"])
    with jax.enable_x64(True):
        start, target, curvature = (jnp.asarray(STORED[each]) for each in ("start", "target", "curvature"))
        transform = AS_PYTORCH[name]()

        def loss(w):
            e = w - target
            return jnp.sum(curvature * (e**2 / 2 + jnp.log(jnp.cosh(e))))

        def step(carry, _):
            w, state = carry
            updates, state = transform.update(jax.grad(loss)(w), state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        path = jax.jit(lambda: jax.lax.scan(step, (start, transform.init(start)), None, length=STORED["steps"])[1])()
    np.testing.assert_allclose(path, STORED["paths"][name], rtol=1e-8, atol=1e-10)
