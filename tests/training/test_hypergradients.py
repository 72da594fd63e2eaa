"""Every number of a recipe is a leaf: derivatives through a whole short run, against finite differences."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hyperjax as hj
from hyperjax import optimizers
from hyperjax.random import streams
from hyperjax.training.lowering import lower_together
from hyperjax.training.program import Program
from hyperjax.training.segment import segment
from tests.training.made import Net, classes

NAMES = optimizers.names()
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adadelta": 1.0, "lion": 1e-2, "sign_sgd": 1e-2}


def final_loss(dtype, **arguments):
    """The validation loss after 6 steps as a function of a member's leaves; and the leaves for every optimizer."""
    plain = classes(examples=20)
    data = {part: (x.astype(dtype), y) for part, (x, y) in plain.data.items()}
    task = classes(data=data, model=lambda rngs: Net(rngs, param_dtype=dtype))
    recipes = [
        hj.Recipe(
            optimizer=name,
            learning_rate=RATES.get(name, 0.02),
            batch_size=7,
            epochs=2,
            schedule="cosine_decay",
            warmup=2.5,  # between two steps, since the rate has a kink there
            weight_decay=0.01,
            l2=0.02,
            clip_norm=0.5,
            label_smoothing=0.1,
            optimizer_arguments={k: v for k, v in arguments.items() if k in optimizers.numbers(name)},
        )
        for name in NAMES
    ]
    members, structure = lower_together(recipes, task)
    program = Program(task, structure)

    def loss(leaves, settings):
        own = jax.tree.map(lambda new, old: old if jnp.issubdtype(old.dtype, jnp.integer) else new, leaves, settings)
        keys = streams(0)
        _, record = segment(program, 6, program.init(own, keys), own, keys, task.arrays, 0)
        return record.validation[-1, 0]

    return loss, [jax.tree.map(jnp.asarray, member) for member in members]


def stacked(members):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def slopes(loss, settings):
    return jax.grad(loss, allow_int=True)(settings, settings)


@pytest.mark.slow
def test_derivatives_in_float32_are_finite_with_inputs_that_are_always_zero():
    loss, members = final_loss(np.float32)

    def floats(settings):
        return [s for s in jax.tree.leaves(slopes(loss, settings)) if s.dtype != jax.dtypes.float0]

    for leaf in jax.jit(lambda s: jax.lax.map(floats, s))(stacked(members)):
        finite = np.isfinite(leaf).reshape(len(NAMES), -1).all(1)
        assert finite.all(), [name for name, fine in zip(NAMES, finite, strict=True) if not fine]


@pytest.mark.slow
def test_derivatives_in_float64_agree_with_finite_differences():
    with jax.enable_x64(True):
        loss, members = final_loss(np.float64, eps_root=1e-6)
        value, gradient = jax.jit(loss), jax.jit(lambda s: slopes(loss, s))
        for name, settings in zip(NAMES, members, strict=True):
            leaves, tree = jax.tree.flatten(settings)
            checked = 0
            for i, slope in enumerate(jax.tree.leaves(gradient(settings))):
                leaf = np.asarray(leaves[i])
                if leaf.dtype.kind != "f":
                    continue
                # A number of 0 is at the edge of its range, and padding is infinite: neither can be moved both ways.
                direction = np.where(np.isfinite(leaf) & (leaf != 0), np.abs(leaf), 0.0)

                def moved(amount, i=i, leaf=leaf, direction=direction, leaves=leaves, tree=tree):
                    return tree.unflatten([*leaves[:i], jnp.asarray(leaf + amount * direction), *leaves[i + 1 :]])

                h = 1e-5
                numeric = float(value(moved(h), settings) - value(moved(-h), settings)) / (2 * h)
                exact = float(np.sum(np.where(direction > 0, np.asarray(slope), 0.0) * direction))
                assert exact == pytest.approx(numeric, rel=1e-4, abs=1e-8), (name, i, leaf)
                checked += abs(exact) > 1e-6
            assert checked >= 4, name  # the rate, its shape, decay and smoothing at least: none is cut off


@pytest.mark.slow
def test_forward_mode_agrees_with_reverse_mode():
    loss, members = final_loss(np.float32)
    adamw = members[NAMES.index("adamw")]
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0 if x.dtype == jnp.int32 else np.float32), adamw)
    tangent = replace(zeros, learning_rate=np.float32(1.0))
    forward = jax.jit(lambda s: jax.jvp(lambda leaves: loss(leaves, s), (s,), (tangent,))[1])(adamw)
    assert abs(float(forward)) > 1e-3
    assert float(forward) == pytest.approx(float(slopes(loss, adamw).learning_rate), rel=1e-4)
