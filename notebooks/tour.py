# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # HyperJAX: a tour
#
# Every training hyperparameter as a value in a JAX program. This notebook goes from single blocks in a loop of your own
# to a study of your model, in a minute on a CPU. On Colab choose a GPU or TPU first if you like: nothing below changes.

# %%
# Where HyperJAX is not installed yet, on Colab say, put its folder beside this notebook first (upload or clone it).
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("hyperjax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "./hyperjax"], check=True)

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.training.train_state import TrainState

import hyperjax as hj

# %% [markdown]
# ## Blocks in your own loop
#
# Optimizers are optax transformations under optax's names; a schedule goes wherever a number does. A figure of one:

# %%
schedule = hj.schedules.warmup(hj.schedules.cosine_decay(0.05, decay_steps=270), warmup_steps=30)
hj.plot(schedule, steps=300)

# %% [markdown]
# In an `nnx.Optimizer`, with our loss, dropout and a rule:

# %%
rng = np.random.default_rng(0)
x = rng.normal(size=(512, 4)).astype(np.float32)
y = x[:, :3].argmax(1).astype(np.int32)


class Net(nnx.Module):
    def __init__(self, rngs, width=32):
        self.hidden = nnx.Linear(4, width, rngs=rngs)
        self.activation = hj.layers.Activation("relu", name="activation")
        self.dropout = hj.layers.Dropout(0.1, rngs=rngs, name="dropout")
        self.out = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(self.activation(self.hidden(x))))


model = Net(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, hj.optimizers.adamw(schedule, weight_decay=1e-3), wrt=nnx.Param)


@nnx.jit
def step(model, optimizer):
    def loss(model):
        return hj.losses.cross_entropy(model(x), y, label_smoothing=0.05).mean()

    value, gradient = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradient)
    return value


losses = [float(step(model, optimizer)) for _ in range(300)]
losses[0], losses[-1]

# %% [markdown]
# The same blocks in Linen and a `TrainState`. What may change without compiling again is a variable of the collection
# `hyperparameters`.


# %%
class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        rate = self.variable("hyperparameters", "dropout", lambda: 0.1)
        x = nn.relu(nn.Dense(32)(x))
        key = self.make_rng("dropout") if train else None
        x = hj.layers.Dropout(rate.value)(x, deterministic=not train, rngs=key)
        return nn.Dense(3)(x)


module = LinenNet()
variables = module.init(jax.random.key(0), x)
tx = optax.chain(hj.optimizers.lion(3e-3), hj.optimizers.scale_by_group({"Dense_0": 0.5}))
state = TrainState.create(apply_fn=module.apply, params=variables["params"], tx=tx)


@jax.jit
def linen_step(state, dropout, key):
    def loss(params):
        given = {"params": params, "hyperparameters": {"dropout": dropout}}
        logits = state.apply_fn(given, x, train=True, rngs={"dropout": key})
        return hj.losses.cross_entropy(logits, y).mean()

    value, gradient = jax.value_and_grad(loss)(state.params)
    return state.apply_gradients(grads=gradient), value


for i in range(300):
    state, value = linen_step(state, 0.2, jax.random.key(i))
float(value)

# %% [markdown]
# Every number can be a tracer: here a hundred learning rates side by side, each with its own momentum, by `jax.vmap`.


# %%
def quadratic(rate, momentum):
    tx = hj.optimizers.sgd(rate, momentum=momentum)

    def body(carry, _):
        w, state = carry
        updates, state = tx.update(2 * w, state, w)
        return (optax.apply_updates(w, updates), state), jnp.sum(w**2)

    w = jnp.ones(2)
    return jax.lax.scan(body, (w, tx.init(w)), length=50)[1][-1]


jax.vmap(quadratic)(jnp.linspace(0.01, 0.9, 100), jnp.linspace(0.0, 0.9, 100)).min()

# %% [markdown]
# ## Your own model, one run
#
# A task is a model, arrays, a loss and metrics; a recipe is how it is trained. The model may be NNX, Linen, or a pair
# of pure functions; data that do not fit on the device are read while they are used.

# %%
task = hj.Task(
    model=Net,
    data={"train": (x[:384], y[:384]), "validation": (x[384:448], y[384:448]), "test": (x[448:], y[448:])},
    loss="cross_entropy",
    metrics={"accuracy": hj.metrics.accuracy},
    name="largest of three",
)
recipe = hj.Recipe(
    optimizer="adamw",
    learning_rate=1e-2,
    schedule="cosine_decay",
    warmup=hj.fraction(0.1),
    weight_decay=1e-3,
    dropout=0.1,
    epochs=20,
)
run = hj.fit(task, recipe, seed=0)
run

# %%
hj.plot(run)

# %%
run.in_force("learning_rate")[[0, 10, 100, -1]], run.model(x[:2])

# %% [markdown]
# ## A population
#
# Optimizer, schedule, activation, numbers and length are data: these sixty runs are one compiled program. A run that
# diverges is marked with its step, and does not touch its neighbours.

# %%
recipes = [
    hj.Recipe(optimizer=name, learning_rate=float(rate), activation=activation, epochs=10)
    for name in ("sgd", "momentum", "adam", "lion")
    for rate in np.logspace(-3, 0, 5)
    for activation in ("relu", "tanh", "gelu")
]
runs = hj.fit_population(task, recipes, seeds=[0])
best = max(range(len(runs)), key=lambda i: runs.scores[i])
runs.conditions["programs"], recipes[best], runs.scores[best]

# %% [markdown]
# What if, in the middle of a run, the rate were halved? The run goes on from that step under each recipe, with the same
# batches, over several seeds:

# %%
halved = hj.fork(run, 120, [recipe, recipe.replace(learning_rate=5e-3)])
halved.compare()

# %% [markdown]
# ## A study
#
# A space, trials, seeds; what mattered, with intervals; and one page that needs no network.

# %%
space = hj.space(
    optimizer=["sgd", "momentum", "adamw", "lion"],
    learning_rate=hj.log_uniform(1e-4, 1.0),
    dropout=hj.uniform(0.0, 0.5),
    activation=["relu", "gelu", "tanh"],
    epochs=10,
)
study = hj.study(task, space, trials=64, seeds=2)
study.best.recipe, study.test

# %%
hj.plot(study.effect("learning_rate"))

# %% [markdown]
# The best of many trials is best by luck too. Trained again on fresh seeds: what is the winner worth beside the default
# recipe, and how much had luck flattered it?

# %%
study = hj.studies.confirm(study, task, top=4, seeds=6)
study.winner.verdict, study.winner.gain, study.winner.flattery

# %%
hj.report(study, "report.html")
