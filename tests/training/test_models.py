"""A stranger's model trains unchanged, as a plain loop of its own library would train it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

import hyperjax as hj
from tests.training.strangers import (
    CNN,
    LSTM,
    LinenCNN,
    LinenNormed,
    Odd,
    Transformer,
    counting_apply,
    counting_init,
    dense_apply,
    dense_init,
    pictures,
    rows,
    sequences,
)

RATE, STEPS = 0.02, 5
PLAIN = hj.Recipe(optimizer="adam", learning_rate=RATE, batch_size="full", epochs=STEPS)


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def close(found, expected, rtol=2e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=2e-5), found, expected)


@pytest.mark.parametrize(
    ("made", "task_of"),
    [
        pytest.param(lambda: CNN(rngs=nnx.Rngs(0)), pictures, id="cnn"),
        pytest.param(lambda: LSTM(nnx.Rngs(0)), sequences, id="lstm", marks=pytest.mark.slow),
        pytest.param(lambda: Transformer(nnx.Rngs(0)), sequences, id="transformer", marks=pytest.mark.slow),
    ],
)
def test_an_nnx_model_follows_nnx_optimizer(made, task_of):
    model = made()
    task = task_of(type(model))
    run = hj.fit(task, PLAIN, init=model)
    (x, y), losses = task.data["train"], []
    model.train()
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, gradient = nnx.value_and_grad(lambda model: cross_entropy(model(x), y))(model)
        optimizer.update(model, gradient)
        return loss

    for _ in range(STEPS):
        losses.append(float(step(model, optimizer)))
    np.testing.assert_allclose(run.losses, losses, rtol=2e-5)
    assert type(run.model) is type(model)
    statistics = (nnx.to_pure_dict(nnx.state(trained, nnx.BatchStat)) for trained in (run.model, model))
    close(*statistics)
    model.eval()
    np.testing.assert_allclose(run.model(x), model(x), rtol=1e-3, atol=1e-3)


def test_a_linen_model_follows_train_state():
    module = LinenCNN()
    task = pictures(module)
    (x, y), losses = task.data["train"], []
    variables = module.init(jax.random.key(0), x[:1])
    run = hj.fit(task, PLAIN, init=variables)
    state = TrainState.create(apply_fn=module.apply, params=variables["params"], tx=optax.adam(RATE))

    @jax.jit
    def step(state):
        def loss(params):
            return cross_entropy(state.apply_fn({"params": params}, x), y)

        value, gradient = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=gradient), value

    for _ in range(STEPS):
        state, value = step(state)
        losses.append(float(value))
    np.testing.assert_allclose(run.losses, losses, rtol=2e-5)
    unbound, trained = run.model.unbind()
    assert unbound == module
    close(trained["params"], state.params, rtol=1e-3)
    np.testing.assert_allclose(run.model(x[:2]), module.apply(trained, x[:2]))


def test_a_linen_model_with_running_statistics_and_a_bound_rate():
    """Statistics as the plain loop's; a rate varied in one population; what comes back goes in again."""
    module = LinenNormed()
    task = rows(module)
    (x, y), losses = task.data["train"], []
    variables = module.init(jax.random.key(0), x[:1], train=False)
    runs = hj.fit_population(task, [PLAIN.replace(dropout=rate) for rate in (0.0, 0.5)])
    start = hj.fit_population(task, [PLAIN.replace(learning_rate=0.0, dropout=rate) for rate in (0.0, 0.5)])[0]
    assert runs.conditions["programs"] == 1
    params, stats = start.model.variables["params"], variables["batch_stats"]  # which begin the same everywhere
    transform = optax.adam(RATE)
    state = transform.init(params)

    @jax.jit
    def step(params, stats, state):
        def loss(params):
            given = {**variables, "params": params, "batch_stats": stats}
            logits, after = module.apply(
                given, x, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
            )
            return cross_entropy(logits, y), after["batch_stats"]

        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state_ = transform.update(gradient, state, params)
        return optax.apply_updates(params, updates), stats, state_, value

    for _ in range(STEPS):
        params, stats, state, value = step(params, stats, state)
        losses.append(float(value))
    np.testing.assert_allclose(runs[0].losses, losses, rtol=2e-5)
    close(dict(runs[0].model.variables["batch_stats"]), stats, rtol=1e-4)
    assert abs(runs[1].losses - runs[0].losses).min() > 1e-3  # half of its units are dropped, at every step
    trained = runs[1].model
    assert float(trained.variables["hyperparameters"]["dropout"]) == 0.5
    x, y = task.data["validation"]
    assert np.mean(trained(x, train=False).argmax(-1) == y) == pytest.approx(runs[1].score)
    assert hj.training.evaluate(task, trained)["accuracy"] == pytest.approx(runs[1].score)
    assert hj.training.predict(trained, x).shape == (8, 3)


def waves(key, shape, dtype=jnp.float32):
    """Initial weights that both libraries begin with."""
    return jnp.sin(jnp.arange(np.prod(shape), dtype=dtype)).reshape(shape)


class Choosing(nnx.Module):
    def __init__(self, rngs):
        self.first, self.last = (nnx.Linear(*sizes, kernel_init=waves, rngs=rngs) for sizes in ((4, 8), (8, 3)))
        self.activation = hj.layers.Activation("tanh")

    def __call__(self, x):
        return self.last(self.activation(self.first(x)))


class LinenChoosing(nn.Module):
    @nn.compact
    def __call__(self, x):
        activation = self.variable("hyperparameters", "activation", lambda: hj.layers.Activation("tanh"))
        return nn.Dense(3, kernel_init=waves)(activation.value(nn.Dense(8, kernel_init=waves)(x)))


def test_a_linen_model_s_activation_is_chosen_as_an_nnx_model_s():
    recipes = [hj.Recipe(activation=name, learning_rate=0.05, batch_size=8, epochs=4) for name in ("relu", "gelu")]
    task = rows(LinenChoosing())
    runs, expected = hj.fit_population(task, recipes), hj.fit_population(rows(Choosing), recipes)
    assert runs.conditions["programs"] == 1 and runs.losses[0, -1] != runs.losses[1, -1]
    np.testing.assert_array_equal(runs.losses, expected.losses)
    np.testing.assert_array_equal(runs.metrics["validation_loss"], expected.metrics["validation_loss"])
    (x, _), (module, variables) = task.data["validation"], runs[0].model.unbind()
    assert variables["hyperparameters"]["activation"].choices == ("gelu", "relu")
    for applied in (module.apply, jax.jit(module.apply)):  # in plain Flax it does what it did in training
        np.testing.assert_allclose(applied(variables, x), expected[0].model(x), rtol=1e-5)


def test_equinox_s_own_mlp_follows_equinox_s_own_loop():
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed; it comes with the extra 'test'")

    def init(key, width=6):
        return eqx.nn.MLP(4, 3, width, depth=1, key=key)

    def apply(model, x):
        return jax.vmap(model)(x)

    task = rows((init, apply))
    (x, y), losses = task.data["train"], []
    model = init(jax.random.key(0))
    seen = []
    run = hj.fit(task, PLAIN.replace(decay=lambda path, array: seen.append(path) or False), init=model)
    assert {"params/layers/0/weight", "params/layers/1/bias"} <= set(seen)
    transform = optax.adam(RATE)
    state = transform.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        value, gradient = eqx.filter_value_and_grad(lambda model: cross_entropy(apply(model, x), y))(model)
        updates, state = transform.update(gradient, state)
        return eqx.apply_updates(model, updates), state, value

    for _ in range(STEPS):
        model, state, value = step(model, state)
        losses.append(float(value))
    np.testing.assert_allclose(run.losses, losses, rtol=2e-5)
    assert isinstance(run.model.params, eqx.nn.MLP)
    np.testing.assert_allclose(run.model(x), apply(model, x), rtol=1e-3, atol=1e-4)


def test_a_pair_of_functions_follows_a_plain_loop():
    task = rows((dense_init, dense_apply))
    (x, y), losses = task.data["train"], []
    params = dense_init(jax.random.key(0), width=5)
    run = hj.fit(task, PLAIN.replace(model={"width": 5}), init=params)
    weights = {name: params[name] for name in ("hidden", "head")}
    transform = optax.adam(RATE)
    state = transform.init(weights)

    @jax.jit
    def step(weights, state):
        value, gradient = jax.value_and_grad(lambda w: cross_entropy(dense_apply(w, x), y))(weights)
        updates, state = transform.update(gradient, state)
        return optax.apply_updates(weights, updates), state, value

    for _ in range(STEPS):
        weights, state, value = step(weights, state)
        losses.append(float(value))
    np.testing.assert_allclose(run.losses, losses, rtol=2e-5)
    close({name: run.model.params[name] for name in weights}, weights, rtol=1e-3)
    assert run.model.params["steps"] == 7 and run.model.state is None
    x, y = task.data["validation"]
    assert np.mean(run.model(x).argmax(-1) == y) == pytest.approx(run.score)


def test_a_pair_with_state_in_haiku_s_order_of_arguments():
    task = rows((counting_init, counting_apply))
    run = hj.fit(task, PLAIN.replace(learning_rate=0.0))
    x = task.data["train"][0]
    assert run.model.state["linear"]["n"] == STEPS
    np.testing.assert_allclose(run.model.state["linear"]["mean"], x.mean(0) * (1 - 0.5**STEPS), rtol=1e-4, atol=1e-6)
    assert run.losses[0] != run.losses[1]  # the same weights, batch and (but for the mean) inputs, with other noise
    logits = (x[:2] - run.model.state["linear"]["mean"]) @ run.model.params["linear"]["w"]
    np.testing.assert_allclose(run.model(x[:2]), logits, rtol=1e-5, atol=1e-6)


def test_variables_of_the_user_s_own_are_carried():
    task = rows(Odd)
    run = hj.fit(task, PLAIN)
    x, model = task.data["train"][0], run.model
    assert model.calls.get_value() == STEPS and model.calls.get_value().dtype == jnp.int32
    seen = model.seen.get_value()
    np.testing.assert_allclose(seen["mean"], x.mean(0) * (1 - 0.5**STEPS), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen["largest"], x.max())
    np.testing.assert_array_equal(model.offset, np.full(4, 0.5))
    assert (model.last == x).all(1).any()  # whichever came last
    key = jax.random.key(3)
    for _ in range(STEPS):
        key = jax.random.split(key)[0]
    assert model.chain.get_value() == key
    assert model.tied.kernel is model.again.kernel and not np.allclose(
        model.tied.kernel[...], hj.fit(task, PLAIN.replace(learning_rate=0.0)).model.tied.kernel[...]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "task_of",
    [
        lambda: pictures(lambda rngs: CNN(0.3, rngs=rngs)),
        lambda: sequences(LSTM),
        lambda: sequences(lambda rngs: Transformer(rngs, 0.2)),
        lambda: rows(Odd),
        lambda: rows(LinenNormed()),
        lambda: rows((dense_init, dense_apply)),
        lambda: rows((counting_init, counting_apply)),
    ],
    ids=["cnn", "lstm", "transformer", "odd", "linen", "pair", "pair with state"],
)
def test_members_equal_their_lone_runs_bit_for_bit(task_of):
    recipes = [hj.Recipe(learning_rate=rate, batch_size=12, epochs=2) for rate in (0.01, 0.1)]
    runs = hj.fit_population(task_of(), recipes, seeds=[0, 1])
    task = task_of()
    lone = hj.fit(task, recipes[1], seed=1)
    np.testing.assert_array_equal(lone.losses, runs[3].losses)
    np.testing.assert_array_equal(lone.metrics["validation_loss"], runs[3].metrics["validation_loss"])
    x = task.data["train"][0]
    np.testing.assert_array_equal(hj.training.predict(lone.model, x), hj.training.predict(runs[3].model, x))


def test_blocks_in_a_plain_nnx_loop():
    """As the README shows it: rule, schedule, loss, activation and dropout with `nnx.Optimizer`."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(4, 16, rngs=rngs)
            self.activation = hj.layers.Activation("gelu")
            self.dropout = hj.layers.Dropout(0.1, rngs=rngs)
            self.out = nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(self.dropout(self.activation(self.hidden(x))))

    x, y = rows(Net, examples=60).data["train"]
    model = Net(nnx.Rngs(0))
    rate = hj.schedules.cosine_decay(0.05, decay_steps=60)
    optimizer = nnx.Optimizer(model, hj.optimizers.adamw(rate, weight_decay=1e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            return hj.losses.cross_entropy(model(x), y).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    values = [float(step(model, optimizer)) for _ in range(60)]
    compiled = step.jitted_fn._cache_size()
    hj.layers.bind(model, {"dropout": 0.3})  # another rate, the same program
    values.append(float(step(model, optimizer)))
    model.eval()
    assert values[-2] < 0.3 * values[0] and float(hj.metrics.accuracy(model(x), y).mean()) > 0.9
    assert step.jitted_fn._cache_size() == compiled


def test_blocks_in_a_plain_train_state_loop():
    """As the README shows it: the same blocks with Linen and `TrainState`."""
    module = LinenNormed(width=16)
    x, y = rows(module, examples=60).data["train"]
    variables = module.init(jax.random.key(0), x, train=False)
    rate = hj.schedules.cosine_decay(0.05, decay_steps=60)
    tx = optax.chain(hj.optimizers.adamw(rate), hj.optimizers.scale_by_group({"Dense_0": 0.5}))
    state = TrainState.create(apply_fn=module.apply, params=variables["params"], tx=tx)

    @jax.jit
    def step(state, stats, dropout, key):
        def loss(params):
            given = {"params": params, "batch_stats": stats, "hyperparameters": {"dropout": dropout}}
            logits, after = state.apply_fn(given, x, train=True, mutable=["batch_stats"], rngs={"dropout": key})
            return hj.losses.cross_entropy(logits, y).mean(), after["batch_stats"]

        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradient), stats, value

    stats, values, compiled = variables["batch_stats"], [], []
    for i in range(60):
        key = jax.random.fold_in(hj.random.key(0), i)
        state, stats, value = step(state, stats, 0.1 if i < 30 else 0.0, key)
        values.append(float(value))
        compiled.append(step._cache_size())
    assert values[-1] < 0.3 * values[0] and compiled[-1] == compiled[29]  # another rate, the same program
