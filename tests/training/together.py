"""What several devices must do when they train one run together; called in a process that has four virtual ones."""

import re
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import layers, random
from hyperjax.training import mapping
from hyperjax.training.devices import Shards
from hyperjax.training.engine import Engine
from hyperjax.training.mapping import Population
from tests.training.made import Net, classes
from tests.training.strangers import pictures
from tests.training.test_engine import weights


def alike(found, expected, tolerance):
    """Two runs that differ by rounding."""
    for field in ("losses", "gradient_norms", "update_norms"):
        numbers = getattr(found, field), getattr(expected, field)
        np.testing.assert_allclose(*numbers, rtol=tolerance, atol=tolerance, err_msg=f"{field} of {found.recipe}")
    assert found.metrics.keys() == expected.metrics.keys() and found.steps_done == expected.steps_done
    for name in found.metrics:
        np.testing.assert_allclose(found.metrics[name], expected.metrics[name], rtol=tolerance, atol=tolerance)
    for a, b in zip(jax.tree.leaves(weights(found)), jax.tree.leaves(weights(expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def planned(task, recipe, devices, layout="auto"):
    """The trainer of a run, and shapes of what its program of a segment takes."""
    trainer = Engine(task, [recipe], shards=Shards(tuple(devices)), layout=layout).groups[0].trainer
    settings, roots = trainer.shapes(1)
    carry = jax.eval_shape(trainer.init.mapped, settings, roots)
    return trainer, (carry, settings, roots, trainer.data, np.int32(0))


def products(text):
    return set(re.findall(r"f32\[([\d,]+)\]\S* dot\(", text))


def moved(text):
    """What devices tell one another."""
    kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
    return set(re.findall(rf" ({kinds})(?:-start)?\(", text))


def a_run():
    """Four devices train as one does, each with a quarter of the batch, and tell one another sums alone."""
    devices = jax.devices()
    task = classes(
        model=lambda rngs: Net(rngs, width=24), examples=562
    )  # batches of 512 and of 50, which four do not divide
    recipe = hj.Recipe(learning_rate=0.05, batch_size=512, epochs=25, dropout=0.2)
    one, together = hj.fit(task, recipe), hj.fit(task, recipe, devices=devices)
    assert one.steps_done == 50 and one.losses[-1] < 0.7 * one.losses[0]
    alike(together, one, 1e-5)
    trainer, shapes = planned(task, recipe, devices)
    assert trainer in task.trainers.values() and trainer.advance.devices == tuple(devices)
    program = trainer.advance.compile(*shapes)
    assert len(trainer.advance._compiled) == 1  # what the run itself was trained by
    lone, lone_shapes = planned(task, recipe, devices[:1])
    lone_program = lone.advance.compile(*lone_shapes)
    text, lone_text = program._program.as_text(), lone_program._program.as_text()
    assert {"512,24", "50,24", "12,24"} <= products(lone_text) and not moved(lone_text)
    assert {"128,24", "50,24", "3,24"} <= products(text) and not {"512,24", "12,24"} & products(text)
    assert moved(text) == {"all-reduce"} and trainer.cuts == lone.cuts
    needs = [each.memory_analysis() for each in (program, lone_program)]
    assert needs[0].temp_size_in_bytes < 0.4 * needs[1].temp_size_in_bytes, needs
    of_one = needs[0].temp_size_in_bytes + needs[0].output_size_in_bytes
    assert trainer.advance.memory(*shapes)[0] == 4 * of_one  # in the one memory of the machine
    trainer._fitting.clear()
    mapping._free_memory = lambda: 4 * of_one - 1
    with pytest.raises(ValueError, match="batch_size must be smaller for made"):
        trainer.compile(1)


def side_by_side():
    """The layout for accelerators shares the work too, and lowers for machines that are not here."""
    task = classes(model=lambda rngs: Net(rngs, width=24), examples=562)
    recipe = hj.Recipe(batch_size=512, epochs=2, dropout=0.2)
    trainer, shapes = planned(task, recipe, jax.devices(), "vmap")
    text = trainer.advance.compile(*shapes)._program.as_text()
    assert {"128,24", "50,24", "3,24"} <= products(text) and not {"512,24", "12,24"} & products(text)
    assert moved(text) == {"all-reduce"}
    searching, its_shapes = planned(task, recipe.replace(optimizer=optax.lbfgs), jax.devices(), "vmap")
    for platform in ("tpu", "cuda"):
        lowered = trainer.advance.lower(*shapes, platforms=(platform,)).as_text()
        constrained = lowered.count("sdy.sharding_constraint")
        assert constrained == 4  # inputs and targets, of a batch and of the validation set
        # A rule that searches along a line asks for the loss of the same batch again.
        lowered = searching.advance.lower(*its_shapes, platforms=(platform,)).as_text()
        assert lowered.count("sdy.sharding_constraint") > constrained


def streamed():
    """A stream's blocks lie on the devices as the program takes them, which is compiled once; members all get it."""
    task = classes(examples=56)
    train = hj.tasks.MemoryMap(task.data["train"])
    read = classes(data={"train": train, "validation": task.data["validation"]})
    recipe = hj.Recipe(learning_rate=0.05, batch_size=16, epochs=4)
    one = hj.fit(task, recipe)
    alike(hj.fit(read, recipe, devices=jax.devices(), segment_steps=3), one, 1e-5)
    (trainer,) = read.trainers.values()
    assert len(trainer.advance._compiled) == 1
    alike(hj.fit_population(read, [recipe] * 3, layout="vmap")[2], one, 1e-5)


def masks_and_blocks():
    """What is drawn for a part of a batch is what one device draws for it, and a block is cut where it is put."""
    shards = Shards(tuple(jax.devices()))

    def masked(x, key):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), shards.batch(x) + jax.random.normal(key, x.shape), 0)

    x, key = np.ones((8, 48), np.float32), random.key(0)
    drawn = shards.jit(masked, (x, key)).lower(x, key).compile()
    text = drawn.as_text()
    assert "u32[2,48]" in text and "u32[8,48]" not in text and moved(text) == {"all-gather"}  # of the result alone
    np.testing.assert_array_equal(drawn(*shards.place((x, key))), jax.jit(masked)(x, key))

    block = np.random.default_rng(0).normal(size=(3, 8, 5)).astype(np.float32)
    cut, whole = shards.put((block, block[:, :6]), axis=1)
    assert {piece.data.shape for piece in cut.addressable_shards} == {(3, 2, 5)}
    assert whole.is_fully_replicated and whole.shape == (3, 6, 5)
    summed = Population(
        lambda scale, block: scale * jax.lax.scan(lambda _, batch: (0.0, shards.batch(batch).mean()), 0.0, block)[1],
        in_axes=(0, None),
        shards=shards,
    )
    np.testing.assert_allclose(summed(np.ones(1), cut)[0], block.mean((1, 2)), rtol=1e-5)
    text = summed.compile(np.ones(1), cut)._program.as_text()
    assert "f32[3,2,5]" in text and "f32[3,8,5]" not in text and moved(text) == {"all-reduce"}
    np.testing.assert_allclose(summed(np.ones(1), whole)[0], block[:, :6].mean((1, 2)), rtol=1e-5)
    assert len(summed._compiled) == 2


class Convolved(nnx.Module):
    """Our convolution, statistics of a batch, and masks; in 64 bits, where rounding is far from all else."""

    def __init__(self, rngs):
        kind = {"param_dtype": np.float64, "rngs": rngs}
        self.convolution = nnx.Conv(1, 6, (3, 3), conv_general_dilated=layers.conv_general_dilated, **kind)
        self.norm = nnx.BatchNorm(6, **kind)
        self.norm.mean, self.norm.var = (nnx.BatchStat(jnp.full(6, value, np.float64)) for value in (0.0, 1.0))
        self.dropout = layers.Dropout(0.0, rngs=rngs)
        self.last = nnx.Linear(6, 4, **kind)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.convolution(x.astype(np.float64))))
        return self.last(self.dropout(x).mean((1, 2)))


def fine(rngs):
    return Net(rngs, param_dtype=np.float64)


def objective(model, batch, key):
    x = batch[0] + 0.1 * jax.random.normal(key, batch[0].shape)
    logits = model(x)
    return hj.losses.cross_entropy(logits, batch[1]), {"size": jnp.abs(logits).mean(-1)}


def everything():
    """Recipes of many kinds in 64 bits, on two devices and on four."""
    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    short = {"learning_rate": 0.05, "epochs": 10, "dropout": 0.2}
    cases = [
        (
            pictures(Convolved, examples=48),
            hj.Recipe(optimizer="momentum", batch_size=32, micro_batches=2, rematerialize=True, **short),
        ),
        (
            classes(loss=None, metrics={}, objective=objective, model=fine),
            hj.Recipe(sampling="replacement", sam=0.05, clip_norm=1.0, **short),
        ),
        (
            classes(model=fine),
            hj.Recipe(optimizer=optax.contrib.muon, early_stopping={"patience": 1}, batch_size=24, **short),
        ),
    ]
    for number, (task, recipe) in enumerate(cases):
        one = hj.fit(task, recipe)
        assert one.losses[-1] < 0.95 * one.losses[0]
        assert (one.steps_done < one.total_steps) == bool(recipe.early_stopping)
        alike(hj.fit(task, recipe, devices=devices[: 4 if number % 2 == 0 else 2]), one, 1e-9)
    low = hj.Recipe(precision="bfloat16", sampling="balanced", **short)
    one, together = hj.fit(classes(), low), hj.fit(classes(), low, devices=devices)
    np.testing.assert_allclose(together.losses, one.losses, rtol=0.02)


class StoppedError(Exception):
    """Raised where a run is to be cut short."""


def going_on():
    """A checkpoint of some devices goes on with others, over a change of the batch size too."""
    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    task = classes(model=fine)
    recipe = hj.Recipe(epochs=6, learning_rate=0.02, batch_size=16, batch_ramp={"epochs": [3]})
    one = hj.fit(task, recipe, segment_steps=3)
    for before, after in ((None, devices), (devices, devices[2:])):
        folder = tempfile.mkdtemp()

        def stop(run):
            if run.steps_done >= 6:
                raise StoppedError

        with pytest.raises(StoppedError):
            hj.fit(task, recipe, segment_steps=3, on_segment=stop, checkpoint=folder, devices=before)
        alike(hj.resume(folder, task, devices=after), one, 1e-9)
