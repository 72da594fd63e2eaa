"""What a member computes in and how much memory it takes: types, what is kept, and chunks that fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.training import mapping
from hyperjax.training.engine import Engine
from tests.training.made import classes
from tests.training.test_engine import same, weights


class Probe(nnx.Module):
    """A linear model that remembers what it was computed in."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.bits = nnx.Variable(jnp.zeros([], jnp.int32))

    def __call__(self, x):
        y = self.norm(self.linear(x))
        self.bits[...] = jnp.asarray(jnp.finfo(y.dtype).bits + 100 * jnp.finfo(x.dtype).bits, jnp.int32)
        return y


def test_bfloat16_computes_the_model_alone_in_sixteen_bits():
    task = classes(model=Probe)
    low = hj.fit(task, hj.Recipe(epochs=8, learning_rate=0.03, precision="bfloat16"))
    high = hj.fit(task, hj.Recipe(epochs=8, learning_rate=0.03))
    assert int(low.model.bits[...]) == 16 + 1600 and int(high.model.bits[...]) == 32 + 3200
    kept = [leaf.dtype for leaf in jax.tree.leaves(weights(low))] + [low.model.norm.mean[...].dtype]
    assert set(kept) == {jnp.dtype("float32")} and low.losses.dtype == np.float32
    # The logits of an example have an error of 2^-8, and a mean of 32 of them less.
    np.testing.assert_allclose(low.losses, high.losses, rtol=0.05)
    assert (low.losses != high.losses).all() and low.losses[-1] < 0.6 * low.losses[0]
    fine = low.losses.astype(jnp.bfloat16).astype(np.float32) != low.losses
    assert fine.mean() > 0.8  # the loss itself was not rounded to sixteen bits


def test_bfloat16_reaches_objectives_and_members_equal_lone_runs():
    def objective(model, batch, key):
        logits = model(batch[0])
        return hj.losses.cross_entropy(logits, batch[1]), {"bits": jnp.full((), jnp.finfo(logits.dtype).bits)}

    task = classes(model=Probe, loss=None, metrics={}, objective=objective)
    recipes = [hj.Recipe(epochs=2, learning_rate=rate, precision="bfloat16") for rate in (0.01, 0.1)]
    runs = hj.fit_population(task, recipes)
    assert runs.conditions["programs"] == 1 and runs[0].metrics["train_bits"][-1] == 16
    for run, recipe in zip(runs, recipes, strict=True):
        same(run, hj.fit(task, recipe))
    assert hj.fit(task, recipes[0].replace(precision="float32")).metrics["train_bits"][-1] == 32


class Deep(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(4 if i == 0 else 256, 256, rngs=rngs) for i in range(6)])

    def __call__(self, x):
        for layer in self.layers:
            x = jax.nn.gelu(layer(x)) * jnp.tanh(layer(x))
        return x[:, :3]


@pytest.mark.slow
def test_rematerialization_keeps_less_and_changes_nothing():
    task = classes(model=Deep, examples=512)
    needs, runs = [], []
    for again in (False, True):
        engine = Engine(task, [hj.Recipe(batch_size=512, epochs=4, rematerialize=again)])
        trainer = engine.groups[0].trainer
        settings, roots = trainer.shapes(1)
        carry = jax.eval_shape(trainer.init.mapped, settings, roots)
        needs.append(trainer.advance.memory(carry, settings, roots, trainer.data, np.int32(0))[0])
        runs.append(engine.run()[0])
    assert needs[1] < 0.9 * needs[0]
    np.testing.assert_allclose(runs[1].losses, runs[0].losses, rtol=1e-5)


def test_the_precision_that_a_caller_asks_of_products_reaches_every_thread(monkeypatch):
    texts = []
    lower = mapping.Population.lower
    monkeypatch.setattr(
        mapping.Population, "lower", lambda self, *a, **k: texts.append(lower(self, *a, **k)) or texts[-1]
    )
    with jax.default_matmul_precision("highest"):
        hj.fit(classes(), hj.Recipe(epochs=1))
    products = sum(text.as_text().count("dot_general") for text in texts)
    assert products > 0 and sum(text.as_text().count("precision = [HIGHEST, HIGHEST]") for text in texts) == products


def test_chunks_are_halved_until_they_fit(monkeypatch):
    task, recipe, widths = classes(), hj.Recipe(epochs=1), []

    def memory(self, *piece):
        widths.append(len(piece[2]))
        return 1000 * widths[-1], 2900

    monkeypatch.setattr(mapping.Population, "memory", memory)
    engine = Engine(task, [recipe], range(8), layout="vmap")
    runs = engine.run()
    assert widths == [8, 4, 2] and engine.cuts[0].width == 2
    for a, b in zip(runs, hj.fit_population(task, [recipe], seeds=range(8), layout="vmap", width=2), strict=True):
        same(a, b)


@pytest.mark.parametrize(
    "more", [{}, {"early_stopping": {"patience": 9}}, {"average": 0.9}], ids=["plain", "best", "mean"]
)
def test_a_run_keeps_its_own_weights_alone_of_its_chunk(more):
    """Not the rows of others, nor what Adam remembers: ten thousand runs have to lie in memory."""
    runs = hj.fit_population(classes(), [hj.Recipe(epochs=2, **more)], seeds=range(8), layout="vmap", width=8)
    kept = [leaf for leaf in jax.tree.leaves(runs[3]._trained.args) if isinstance(leaf, np.ndarray)]
    held = sum((leaf if leaf.base is None else leaf.base).nbytes for leaf in kept)
    own = sum(leaf.nbytes for leaf in jax.tree.leaves(weights(runs[3])))
    copies = 2 if "average" in more else 1
    assert copies * own <= held < copies * own + 200


@pytest.mark.parametrize("layout", ["map", "vmap"])
def test_a_member_that_does_not_fit_says_what_it_needs(monkeypatch, layout):
    monkeypatch.setattr(mapping, "_free_memory", lambda: 1000)
    expected = r"batch_size must be smaller for made.*1 member of 67 weights.*32 need .*e-\d+ GB and 1e-06 GB are free"
    with pytest.raises(ValueError, match=expected):
        hj.fit_population(classes(), [hj.Recipe(epochs=1)], seeds=[0, 1], layout=layout)


@pytest.mark.parametrize("bad", [{"precision": "float8"}, {"rematerialize": 1}])
def test_names_the_bad_argument(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        hj.Recipe(**bad)
