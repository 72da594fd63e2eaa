"""Each stage of a step against a plain loop with optax on the same weights and batches; all of them in one program."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax import losses, optimizers, regularizers
from hyperjax.training import stages
from tests.training.made import Net, classes
from tests.training.test_engine import compilations, same, weights  # noqa: F401

PLAIN = hj.Recipe(optimizer="momentum", learning_rate=0.2, batch_size="full", epochs=6)


def loop(task, transform, steps, prepare=None):
    """Losses and last weights of full batches under an optax transformation, from the engine's initial weights."""
    start = hj.fit(task, PLAIN.replace(learning_rate=0.0, epochs=1)).model
    graph, params, rest = nnx.split(start, nnx.Param, ...)
    x, y = task.arrays["train"]

    def loss(params):
        return jnp.mean(losses.cross_entropy(nnx.merge(graph, params, rest)(x), y))

    gradient = jax.grad(loss) if prepare is None else lambda p: prepare(jax.grad(loss), p)
    state, found, path = transform.init(params), [], []
    for _ in range(steps):
        found.append(float(loss(params)))
        updates, state = transform.update(gradient(params), state, params, value=found[-1])
        params = optax.apply_updates(params, updates)
        path.append(params)
    return np.array(found), path, state


def chain(*parts):
    return optax.with_extra_args_support(optax.chain(*parts))


MOMENTUM = optax.sgd(0.2, momentum=0.9)
STAGES = {  # fields of a recipe, and the transformation that they mean
    "clip_norm": ({"clip_norm": 0.05}, chain(optax.clip_by_global_norm(0.05), MOMENTUM)),
    "clip_value": ({"clip_value": 0.01}, chain(optax.clip(0.01), MOMENTUM)),
    "clip_adaptive": ({"clip_adaptive": 0.02}, chain(optax.adaptive_grad_clip(0.02), MOMENTUM)),
    "centralize": ({"centralize": True}, chain(optimizers.centralize(), MOMENTUM)),
    "l1": ({"l1": 0.02}, chain(regularizers.add_elastic_net(0.02), MOMENTUM)),
    "l2": ({"l2": 0.02}, chain(optax.add_decayed_weights(0.02), MOMENTUM)),
    "decay": (
        {"l2": 0.05, "decay": "matrices"},
        chain(optax.add_decayed_weights(0.05, mask=optimizers.matrices), MOMENTUM),
    ),
    "rate_multipliers": (
        {"rate_multipliers": {"second/*": 0.1, "first/bias": 0.0}},
        chain(MOMENTUM, optimizers.scale_by_group({"second/*": 0.1, "first/bias": 0.0})),
    ),
    "proximal_l1": ({"proximal_l1": 0.02}, chain(MOMENTUM, regularizers.proximal_elastic_net(0.2, 0.02))),
    "max_norm": ({"max_norm": 0.5}, chain(MOMENTUM, regularizers.max_norm(0.5))),
    "lookahead": (
        {"lookahead": {"sync_period": 2, "slow_step_size": 0.3}},
        chain(MOMENTUM, optimizers.lookahead(2, 0.3)),
    ),
}
EVERYTHING = [
    *(fields for fields, _ in STAGES.values()),
    {"gradient_noise": 0.05},
    {"sam": 0.3},
    {"average": 0.7},
    {"average": 1.0, "average_start": hj.epochs(2)},
    {"plateau": {"factor": 0.3, "patience": 1, "metric": "train_loss", "rtol": 0.5}},
    {"plateau": {"factor": 0.3, "patience": 1, "metric": "validation_accuracy"}},
    {"early_stopping": {"patience": 2, "metric": "validation_loss"}},
    {"activation": "leaky_relu", "activation_arguments": {"negative_slope": 0.3}},
    {"activation": "elu", "activation_arguments": {"alpha": 0.4}},
    {"activation": "swish", "activation_arguments": {"beta": 3.0}},
    {"sampling": "replacement"},
    {"sampling": "balanced"},
    {"class_weights": "balanced"},
    {"decay": lambda path, array: "second" in path, "weight_decay": 0.3},
]


ALIKE = ("clip_value", "centralize", "l1", "l2", "max_norm")  # what each does, others of the same place do too


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ALIKE)) for n in STAGES])
def test_a_stage_follows_its_transformation(name):
    fields, transform = STAGES[name]
    task = classes()
    run = hj.fit(task, PLAIN.replace(**fields))
    expected, path, _ = loop(task, transform, 6)
    np.testing.assert_allclose(run.losses, expected, rtol=2e-5)
    plain, _, _ = loop(task, chain(MOMENTUM), 6)
    assert abs(plain - expected).max() > 1e-3  # the stage does something here
    if name != "lookahead":
        assert_close(weights(run), path[-1])


def assert_close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "number"), [("max_norm", 0.1), ("clip_adaptive", 0.02), ("centralize", 1.0)])
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4), (3, 3, 2, 4)])
def test_a_unit_is_all_that_leads_to_one_output(name, number, shape):
    """The stages that look at units, on dense kernels and convolutions against the same weights as a matrix."""
    argument = {"max_norm": "limit", "clip_adaptive": "clipping", "centralize": "share"}[name]
    transform = stages.STAGES[name].build({argument: number}, stages.Moment(0.1, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params, tree = ({"k": jnp.asarray(rng.normal(size=shape), jnp.float32), "b": jnp.ones(4)} for _ in range(2))
    changed, _ = transform.update(tree, transform.init(params), params)
    w, u = (np.asarray(each["k"]).reshape(-1, 4) for each in (params, tree))
    norm = lambda x: np.linalg.norm(x, axis=0)  # noqa: E731
    expected = {
        "max_norm": 0.1 * (w + u) / norm(w + u) - w,
        "clip_adaptive": u * 0.02 * norm(w) / norm(u),
        "centralize": u - u.mean(0),
    }[name]
    np.testing.assert_allclose(changed["k"], expected.reshape(shape), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(changed["b"], 0.02 if name == "clip_adaptive" else 1.0, rtol=1e-5)


@pytest.mark.slow
def test_an_average_of_narrow_weights_moves():
    task = classes(model=lambda rngs: Net(rngs, param_dtype=jnp.bfloat16))
    recipe = PLAIN.replace(optimizer="sgd", learning_rate=0.5, epochs=40)
    run = hj.fit(task, recipe.replace(average=0.998))
    _, path, _ = loop(task, chain(optax.sgd(0.5), optimizers.average_weights(0.998)), 40)
    assert all(w.dtype == jnp.bfloat16 for w in jax.tree.leaves(weights(run)))
    wide = [jax.tree.map(lambda w: np.asarray(w, np.float64), each) for each in path]
    average = wide[0]
    for each in wide[1:]:
        average = jax.tree.map(lambda a, w: 0.998 * a + 0.002 * w, average, each)
    for kept, exact in zip(jax.tree.leaves(weights(run)), jax.tree.leaves(average), strict=True):
        np.testing.assert_allclose(np.asarray(kept, np.float64), exact, rtol=0.02, atol=0.01)


def test_sam_takes_the_gradient_at_the_worst_point_nearby():
    task = classes()
    run = hj.fit(task, PLAIN.replace(sam=0.3))
    expected, path, _ = loop(task, chain(MOMENTUM), 6, lambda grad, p: optimizers.sharpness_aware(grad, p, 0.3))
    np.testing.assert_allclose(run.losses, expected, rtol=2e-5)
    assert_close(weights(run), path[-1])


@pytest.mark.parametrize(("decay", "start"), [(0.6, 0), (1.0, 0), (1.0, 3)])
def test_a_run_is_judged_at_its_average(decay, start):
    task = classes()
    run = hj.fit(task, PLAIN.replace(average=decay, average_start=start))
    plain = hj.fit(task, PLAIN)
    np.testing.assert_array_equal(run.losses, plain.losses)  # training goes on at the weights themselves
    _, path, state = loop(task, chain(MOMENTUM, optimizers.average_weights(decay, start)), 6)
    average = state[1].average
    assert_close(weights(run), average)
    if decay == 1.0:
        assert_close(average, jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *path[start:]))
    scores = hj.training.evaluate(task, run.model, "validation")
    assert run.score == pytest.approx(scores["accuracy"])


def test_lookahead_is_judged_at_its_slow_weights():
    task = classes()
    run = hj.fit(task, PLAIN.replace(lookahead={"sync_period": 4, "slow_step_size": 0.5}))
    _, _, state = loop(task, chain(MOMENTUM, optimizers.lookahead(4, 0.5)), 6)
    assert_close(weights(run), state[1].slow)


def test_noise_has_a_key_of_its_own_each_step_and_member():
    task = classes()
    once, again, other = (hj.fit(task, PLAIN.replace(gradient_noise=0.05), seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(once.losses, again.losses)
    still = PLAIN.replace(optimizer="sgd", learning_rate=1.0, gradient_noise=0.1, epochs=1)
    moves = [
        jax.tree.leaves(weights(hj.fit(task, still, init=hj.fit(task, PLAIN).model, seed=seed))) for seed in range(2)
    ]
    assert not np.allclose(moves[0][0], moves[1][0])
    assert not np.allclose(once.losses, other.losses)


def test_a_plateau_of_the_training_loss_falls_where_optax_does():
    task = classes()
    numbers = {"factor": 0.5, "patience": 2, "rtol": 0.3, "cooldown": 1, "accumulation_size": 2}
    recipe = PLAIN.replace(epochs=24, plateau=numbers | {"metric": "train_loss"}, optimizer="sgd")
    run = hj.fit(task, recipe)
    expected, _, _ = loop(task, chain(optax.sgd(0.2), optax.contrib.reduce_on_plateau(**numbers)), 24)
    np.testing.assert_allclose(run.losses, expected, rtol=1e-5)
    theirs, state, scales = optax.contrib.reduce_on_plateau(**numbers), None, []
    for value in run.losses:
        state = state or theirs.init(jnp.zeros(()))
        _, state = theirs.update(jnp.zeros(()), state, value=value)
        scales.append(float(state.scale))
    assert len(set(scales)) > 2
    np.testing.assert_allclose(run.in_force("learning_rate"), 0.2 * np.array(scales), rtol=1e-6)


@pytest.mark.parametrize(("metric", "mode"), [("validation_accuracy", "max"), ("validation_loss", "min")])
def test_a_plateau_of_a_validation_metric_counts_epochs(metric, mode):
    numbers = {"factor": 0.5, "patience": 2, "rtol": 0.03}
    recipe = hj.Recipe(optimizer="adam", learning_rate=0.05, batch_size=12, epochs=20)
    run = hj.fit(classes(), recipe.replace(plateau=numbers | {"metric": metric}))
    sign = 1 if mode == "min" else -1
    best, bad, scale, scales = sign * np.inf, 0, 1.0, []
    for value in run.metrics[metric]:
        scales += [scale] * 4
        bound = best if np.isinf(best) else best * (1 - sign * 0.03)
        bad = 0 if sign * value < sign * bound else bad + 1
        best = value if bad == 0 else best
        if bad == 2:
            scale, bad = scale / 2, 0
    assert len(set(scales)) > 1
    np.testing.assert_allclose(run.in_force("learning_rate"), 0.05 * np.array(scales), rtol=1e-6)


def test_early_stopping_ends_a_run_and_goes_back_to_its_best_epoch():
    task = classes(examples=20)
    recipe = hj.Recipe(optimizer="adam", learning_rate=0.05, batch_size=5, epochs=60)
    stopping = {"patience": 4, "min_gain": 0.002, "metric": "validation_loss"}
    run, whole = hj.fit(task, recipe.replace(early_stopping=stopping)), hj.fit(task, recipe)
    values = whole.metrics["validation_loss"]
    best, at, waited = np.inf, 0, 0
    for epoch, value in enumerate(values):
        best, at, waited = (value, epoch, 0) if best - value > 0.002 else (best, at, waited + 1)
        if waited == 4:
            break
    assert epoch < 59  # it does stop here
    assert run.steps_done == (epoch + 1) * 4 and run.finished and run.best == at
    np.testing.assert_array_equal(run.losses, whole.losses[: run.steps_done])
    np.testing.assert_array_equal(run.metrics["validation_loss"], values[: epoch + 1])
    assert run.score == run.metrics["validation_accuracy"][at]
    assert_close(weights(run), weights(hj.fit(task, recipe.replace(epochs=at + 1))))
    assert hj.training.evaluate(task, run.model)["accuracy"] == pytest.approx(run.score)


def test_a_run_that_reaches_its_end_is_judged_at_its_best_epoch_too():
    task = classes(examples=20)
    recipe = hj.Recipe(optimizer="adam", learning_rate=0.1, batch_size=5, epochs=30)
    run = hj.fit(task, recipe.replace(early_stopping={"patience": 1000, "metric": "validation_loss"}))
    assert run.steps_done == 120
    best = int(np.argmin(run.metrics["validation_loss"]))
    assert run.best == best < 29
    assert_close(weights(run), weights(hj.fit(task, recipe.replace(epochs=best + 1))))


@pytest.mark.slow
def test_micro_batches_equal_the_large_batch_to_rounding():
    task = classes(examples=46)
    recipe = hj.Recipe(optimizer="adam", learning_rate=0.02, batch_size=12, epochs=3)
    whole = hj.fit(task, recipe)
    for parts in (2, 5, 12):
        run = hj.fit(task, recipe.replace(micro_batches=parts))
        np.testing.assert_allclose(run.losses, whole.losses, rtol=1e-5)
        np.testing.assert_allclose(run.metrics["train_accuracy"], whole.metrics["train_accuracy"], rtol=1e-6)
        assert_close(weights(run), weights(whole))


@pytest.mark.slow
def test_a_numbers_of_an_activation_is_what_the_layer_would_have():
    class Leaky(Net):
        def __init__(self, rngs):
            super().__init__(rngs)
            self.activation = hj.layers.Activation("leaky_relu", negative_slope=0.3)

    bound = PLAIN.replace(activation="leaky_relu", activation_arguments={"negative_slope": 0.3})
    run, own = hj.fit(classes(), bound), hj.fit(classes(model=Leaky), PLAIN)
    np.testing.assert_allclose(run.losses, own.losses, rtol=1e-6)
    assert np.abs(run.losses - hj.fit(classes(), PLAIN.replace(activation="leaky_relu")).losses).max() > 1e-3
    assert run.in_force("negative_slope")[0] == np.float32(0.3)


def test_replacement_and_balanced_batches_hold_what_they_say():
    seen = []
    x = np.arange(40, dtype=np.float32)[:, None]
    labels = np.array([0] * 30 + [1] * 8 + [2] * 2, np.int32)

    def objective(model, batch, key):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)[:, 0].astype(int)), batch[0])
        return jnp.sum(model.w[...] * 0.0)

    class One(nnx.Module):
        def __init__(self, rngs):
            self.w = nnx.Param(jnp.ones(()))

    task = hj.Task(One, {"train": (x, labels)}, objective=objective)
    recipe = hj.Recipe(batch_size=8, epochs=40)
    for sampling in ("permutation", "replacement", "balanced"):
        seen.clear()
        hj.fit(task, recipe.replace(sampling=sampling))
        jax.effects_barrier()
        drawn = np.concatenate(seen)
        assert len(drawn) == 1600
        shares = np.bincount(labels[drawn], minlength=3) / 1600
        counts = np.bincount(drawn, minlength=40)
        if sampling == "permutation":
            assert (counts == 40).all()
        elif sampling == "replacement":
            np.testing.assert_allclose(shares, [0.75, 0.2, 0.05], atol=0.04)
            assert counts.std() > 3
        else:
            np.testing.assert_allclose(shares, 1 / 3, atol=0.05)
            assert abs(counts[38] - counts[39]) < 120 and counts[:30].std() < 10


def test_class_weights_multiply_each_loss_by_the_inverse_frequency():
    task = classes()
    labels = np.asarray(task.data["train"][1])
    counted = len(labels) / (3 * np.bincount(labels))
    run = hj.fit(task, PLAIN.replace(class_weights="balanced", epochs=1))
    model = hj.fit(task, PLAIN.replace(learning_rate=0.0, epochs=1)).model
    values = losses.cross_entropy(model(task.data["train"][0]), labels)
    assert run.losses[0] == pytest.approx(float(np.mean(values * counted[labels])), rel=1e-5)


@pytest.mark.slow
def test_all_of_them_are_one_program_and_members_equal_their_lone_runs(compilations):  # noqa: F811
    """Optimizer, schedule, loss, activation and every strength differ between members; each second one is run alone."""
    base = hj.Recipe(batch_size=10, epochs=3)
    kinds = itertools.cycle(
        [
            {"optimizer": "sgd", "loss": "cross_entropy", "schedule": "cosine_decay", "activation": "tanh"},
            {"optimizer": "adam", "loss": "focal", "schedule": "constant", "activation": "gelu"},
            {"optimizer": "nadam", "optimizer_arguments": {"momentum_decay": 0.01}, "activation": "relu"},
            {"optimizer": "lion", "learning_rate": 1e-3, "loss": "multiclass_hinge", "activation": "swish"},
            {"optimizer": "rmsprop", "momentum": 0.8, "schedule": "step_decay", "activation": "leaky_relu"},
        ]
    )
    every = [
        base.replace(**({"dropout": 0.02 * i} | kind | fields))
        for i, (kind, fields) in enumerate(zip(kinds, EVERYTHING, strict=False))
    ]
    task = classes()
    runs = hj.fit_population(task, every)
    assert runs.conditions["programs"] == 1
    assert compilations == ["_start", "_advance"]
    for run in runs[::2]:
        same(run, hj.fit(classes(), run.recipe))


@pytest.mark.slow
def test_under_vmap_all_of_them_agree_with_one_by_one():
    base = hj.Recipe(optimizer="momentum", learning_rate=0.05, batch_size=10, epochs=3, dropout=0.1, activation="tanh")
    every = [base.replace(**fields) for fields in EVERYTHING]
    one_by_one = hj.fit_population(classes(), every, layout="map")
    for a, b in zip(hj.fit_population(classes(), every, layout="vmap"), one_by_one, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=2e-4, atol=1e-5, err_msg=repr(a.recipe))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"clip_value": 0.0}, "clip_value"),
        ({"clip_adaptive": -1.0}, "clip_adaptive"),
        ({"centralize": 1}, "centralize"),
        ({"gradient_noise": -0.1}, "gradient_noise"),
        ({"l1": -0.1}, "l1"),
        ({"proximal_l1": -1.0}, "proximal_l1"),
        ({"max_norm": 0.0}, "max_norm"),
        ({"sam": -0.1}, "sam"),
        ({"average": 1.1}, "average"),
        ({"average_start": 3}, "average_start must be 0 without an average"),
        ({"decay": "matrix"}, "did you mean 'matrices'"),
        ({"decay": "matrices", "optimizer": optax.sgd}, "decay must be 'all'"),
        ({"plateau": {"patence": 3}}, "did you mean 'patience'"),
        ({"plateau": {"factor": 1.0}}, "factor"),
        ({"early_stopping": {"patience": 0}}, "patience"),
        ({"early_stopping": {"min_gain": -1.0}}, "min_gain"),
        ({"lookahead": {"slow_step_size": 2.0}}, "slow_step_size"),
        ({"lookahead": {"sync_period": "2"}}, "sync_period"),
        ({"rate_multipliers": {"first": -1.0}}, "rate_multipliers"),
        ({"rate_multipliers": {"first": 1.0}, "proximal_l1": 0.1}, "rate_multipliers must be left out"),
        ({"sampling": "balance"}, "did you mean 'balanced'"),
        ({"micro_batches": 0}, "micro_batches"),
        ({"micro_batches": 64, "batch_size": 32}, "micro_batches must be at most batch_size"),
        ({"class_weights": "even"}, "class_weights"),
        ({"activation": "relu", "activation_arguments": {"negative_slope": 0.1}}, "relu, which reads no number"),
        ({"activation_arguments": {"alpha": 0.1}}, "activation must be given"),
    ],
)
def test_bad_input_names_the_field(fields, match):
    with pytest.raises(ValueError, match=match):
        hj.Recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"plateau": {"metric": "validation_acuracy"}}, "did you mean 'validation_accuracy'"),
        ({"early_stopping": {"metric": "train_loss"}}, "early_stopping"),
        ({"rate_multipliers": {"third": 1.0}}, "got 'third'"),
        ({"class_weights": "balanced"}, None),
    ],
)
def test_what_does_not_fit_the_task_is_refused(fields, match):
    if match is None:
        x = np.ones((8, 4), np.float32)
        task = classes(data={"train": (x, x[:, :3])}, loss="squared_error", metrics={})
        match = "class_weights must be None"
    else:
        task = classes()
    with pytest.raises(ValueError, match=match):
        hj.fit(task, hj.Recipe(batch_size=4, **fields))


def test_recipes_with_stages_go_through_json():
    for fields in EVERYTHING[:-1]:
        recipe = PLAIN.replace(**fields)
        assert hj.Recipe.from_json(recipe.to_json()) == recipe
