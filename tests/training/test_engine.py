"""The engine's promises: one program, members equal to their lone runs, divergence that stays at home."""

import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hyperjax as hj
from hyperjax.training.engine import Engine
from hyperjax.training.mapping import Population
from tests.training.made import Net, classes

OPTIMIZERS = (
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "adadelta",
    "nadam",
    "radam",
    "lion",
)
SCHEDULES = ("constant", "step_decay", "exponential_decay", "cosine_decay", "linear")
ACTIVATIONS = ("relu", "tanh", "gelu", "swish", "sigmoid")
DROPOUT = (0.0, 0.1, 0.3, 0.5)
EPOCHS = (1, 2, 3.5)
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.1, "adadelta": 1.0, "lion": 1e-3}


def recipe(optimizer, schedule, activation, dropout, epochs, **more):
    rate = RATES.get(optimizer, 1e-2)
    return hj.Recipe(
        optimizer=optimizer,
        learning_rate=rate,
        schedule=schedule,
        activation=activation,
        dropout=dropout,
        epochs=epochs,
        batch_size=10,
        **more,
    )


@pytest.fixture
def compilations(monkeypatch):
    """Counts what the engine compiles, by the function that is compiled."""
    counted = []
    compiled = Population._compile_piece

    def count(self, piece):
        counted.append(self.fn.__name__)
        return compiled(self, piece)

    monkeypatch.setattr(Population, "_compile_piece", count)
    return counted


def same(a, b):
    fields = ("steps", "losses", "gradient_norms", "update_norms", "epochs")
    for field in fields:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=f"{field} of {a.recipe}")
    assert a.metrics.keys() == b.metrics.keys()
    for name in a.metrics:
        np.testing.assert_array_equal(a.metrics[name], b.metrics[name], err_msg=f"{name} of {a.recipe}")
    assert a.diverged_at == b.diverged_at
    leaves = zip(jax.tree.leaves(weights(a)), jax.tree.leaves(weights(b)), strict=True)
    assert all((x == y).all() for x, y in leaves)


def weights(run):
    from flax import nnx

    return nnx.state(run.model, nnx.Param)


@pytest.mark.slow
def test_one_program_holds_every_choice_and_members_equal_their_lone_runs(compilations):
    task = classes()
    everything = list(itertools.product(OPTIMIZERS, SCHEDULES, ACTIVATIONS, DROPOUT, EPOCHS))
    assert len(everything) == 3300
    every = [recipe(*choice) for choice in everything]
    sample = np.random.default_rng(0).choice(len(every), 20, replace=False)
    chosen = [every[i] for i in sample] + [recipe(o, "constant", "relu", 0.1, 1) for o in OPTIMIZERS]
    engine = Engine(task, chosen, also=every)
    runs = engine.run()
    assert runs.conditions["programs"] == 1
    assert compilations == ["_start", "_advance"]
    for run in runs[:6]:
        same(run, hj.fit(classes(), run.recipe))


@pytest.mark.slow
def test_all_three_thousand_three_hundred_in_one_population(compilations):
    every = [recipe(*choice) for choice in itertools.product(OPTIMIZERS, SCHEDULES, ACTIVATIONS, DROPOUT, EPOCHS)]
    runs = hj.fit_population(classes(), every)
    assert len(runs) == 3300
    assert compilations == ["_start", "_advance"]
    for i in np.random.default_rng(1).choice(3300, 12, replace=False):
        same(runs[int(i)], hj.fit(classes(), every[i]))


@pytest.mark.slow
def test_under_vmap_a_member_equals_itself_in_another_block_of_the_same_width():
    recipes = [recipe(o, "cosine_decay", "tanh", 0.1, 2) for o in ("sgd", "adam", "lion", "adagrad", "radam")]
    task = classes()
    together = hj.fit_population(task, recipes, layout="vmap", width=4)
    others = hj.fit_population(task, [recipes[i] for i in (4, 2, 0, 1, 3)], layout="vmap", width=4)
    for there, here in enumerate((4, 2, 0, 1, 3)):
        same(together[here], others[there])
    one_by_one = hj.fit_population(task, recipes, layout="map")
    for a, b in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["map", "vmap"])
def test_a_member_that_diverges_is_marked_and_its_neighbours_do_not_notice(layout):
    calm = [
        recipe("sgd", "constant", "relu", 0.1, 4, loss="squared_error").replace(learning_rate=r)
        for r in (0.01, 0.02, 0.03)
    ]
    wild = calm[0].replace(learning_rate=1e6)
    task = classes()
    mixed = hj.fit_population(task, [calm[0], wild, calm[1], calm[2]], layout=layout, width=4)
    alone = hj.fit_population(task, [calm[0], calm[0], calm[1], calm[2]], layout=layout, width=4)
    for i in (0, 2, 3):
        same(mixed[i], alone[i])
        assert not mixed[i].diverged
    burst = mixed[1]
    assert burst.diverged_at is not None and burst.diverged_at >= 1
    assert len(burst.losses) == burst.diverged_at + 1
    finite = np.isfinite(burst.losses) & np.isfinite(burst.gradient_norms)
    assert finite[:-1].all() and np.isnan(burst.score)
    assert burst.finished and burst.steps_done == burst.diverged_at


def test_a_gradient_that_is_no_number_is_seen_where_the_loss_is_finite():
    """The root of 0 has no slope: 0 times infinity. Nothing is added to the weights."""

    def objective(model, batch, key):
        return jnp.mean(model(batch[0]) ** 2) + jnp.sqrt(0.0 * jnp.sum(model(batch[0])))

    task = classes(loss=None, metrics={}, objective=objective)
    run = hj.fit(task, hj.Recipe(epochs=1))
    assert run.diverged_at == 0 and np.isfinite(run.losses).all() and np.isnan(run.gradient_norms).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights(run)))


def test_seeds_vary_fastest_and_give_every_recipe_the_same_streams():
    recipes = [
        recipe("sgd", "constant", "tanh", 0.2, 1),
        recipe("sgd", "constant", "tanh", 0.2, 1).replace(learning_rate=0.0),
    ]
    runs = hj.fit_population(classes(), recipes, seeds=[3, 5])
    assert [(run.recipe == recipes[1], run.seed) for run in runs] == [(False, 3), (False, 5), (True, 3), (True, 5)]
    assert (
        runs[0].losses[0] == runs[2].losses[0] != runs[1].losses[0]
    )  # same weights, batch and masks before any update
    same(runs[1], hj.fit(classes(), recipes[0], seed=5))


IN_PARTS = recipe("adam", "cosine_decay", "tanh", 0.1, 3.5)


@pytest.fixture(scope="module")
def whole():
    """A run in one segment."""
    return hj.fit(classes(), IN_PARTS)


@pytest.mark.parametrize("segment_steps", [2, 3, 5, 7])
def test_cuts_do_not_change_a_run(segment_steps, whole):
    seen = []
    cut = hj.fit(classes(), IN_PARTS, on_segment=seen.append, segment_steps=segment_steps)
    np.testing.assert_array_equal(cut.losses, whole.losses)
    np.testing.assert_array_equal(cut.metrics["validation_loss"], whole.metrics["validation_loss"])
    assert [len(run.losses) for run in seen] == [
        min(i * segment_steps, 18) for i in range(1, -(-20 // segment_steps) + 1)
    ]
    assert not seen[0].finished and seen[-1].finished


def test_a_fractional_length_is_rounded_up_to_steps_and_validated_at_its_end():
    run = hj.fit(classes(), recipe("sgd", "constant", "tanh", 0.0, 2.3))  # 5 steps an epoch
    assert run.total_steps == run.steps_done == len(run.losses) == 12
    np.testing.assert_allclose(run.epochs, [1, 2, 2.4])
    assert len(run.metrics["validation_accuracy"]) == len(run.metrics["train_loss"]) == 3


def test_validation_agrees_with_the_model_that_is_given_back():
    task = classes()
    run = hj.fit(task, recipe("adam", "constant", "gelu", 0.3, 3))
    x, y = task.data["validation"]
    logits = np.asarray(run.model(x))
    assert np.mean(logits.argmax(1) == y) == pytest.approx(run.score, abs=1e-6)
    shifted = logits - logits.max(1, keepdims=True)
    loss = np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y])
    assert loss == pytest.approx(run.metrics["validation_loss"][-1], rel=1e-5)


def test_training_metrics_are_means_over_examples_of_an_epoch():
    run = hj.fit(classes(), recipe("sgd", "constant", "tanh", 0.0, 2))
    sizes = np.array([10, 10, 10, 10, 6])
    expected = [np.average(run.losses[i : i + 5], weights=sizes) for i in (0, 5)]
    np.testing.assert_allclose(run.metrics["train_loss"], expected, rtol=1e-6)


def test_numbers_in_force_are_those_of_the_schedule():
    chosen = hj.Recipe(
        optimizer="adamw",
        learning_rate=0.1,
        schedule="cosine_decay",
        warmup=5,
        epochs=4,
        batch_size=10,
        weight_decay=hj.schedules.linear(0.1, 0.0, hj.epochs(2)),
    )
    run = hj.fit(classes(), chosen)
    steps = np.arange(20)
    rate = np.where(steps < 5, 0.1 * steps / 5, 0.05 * (1 + np.cos(np.pi * np.clip((steps - 5) / 15, 0, 1))))
    np.testing.assert_allclose(run.in_force("learning_rate"), rate, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(run.in_force("weight_decay"), np.clip(0.1 * (1 - steps / 10), 0, None), atol=1e-7)
    np.testing.assert_allclose(run.in_force("b1"), 0.9)
    with pytest.raises(ValueError, match=r"name must be one of learning_rate.*'b3'"):
        run.in_force("b3")


def test_a_number_in_force_says_whose_it_is_where_two_are_called_alike():
    rng = np.random.default_rng(0)
    masks = (rng.random((24, 3)) < 0.5).astype(np.int32)
    data = {"train": (rng.normal(size=(24, 4)).astype(np.float32), masks)}
    task = hj.Task(Net, data, loss="tversky")
    halved = hj.schedules.linear(1.0, 0.5, hj.epochs(1))
    chosen = hj.Recipe(
        loss_arguments={"alpha": 0.3},
        activation="elu",
        rate_multipliers={"first": halved},
        lookahead={"sync_period": 3},
        batch_size=8,
        epochs=1,
    )
    run = hj.fit(task, chosen)
    assert run.in_force("loss_arguments.alpha")[0] == np.float32(0.3)
    assert run.in_force("activation_arguments.alpha")[0] == 1.0
    with pytest.raises(ValueError, match=r"which of loss_arguments.alpha and activation_arguments.alpha is meant"):
        run.in_force("alpha")
    np.testing.assert_allclose(run.in_force("first"), [1, 5 / 6, 4 / 6], rtol=1e-6)
    assert run.in_force("slow_step_size")[0] == 0.5
    for neutral in ("momentum", "sam", "average", "weight_decay", "l2"):
        assert (run.in_force(neutral) == 0).all()


def test_a_run_can_start_from_another_and_leaves_it_as_it_was():
    task = classes()
    first = hj.fit(task, recipe("adam", "constant", "tanh", 0.0, 3))
    before = jax.tree.map(np.array, weights(first))
    second = hj.fit(task, recipe("sgd", "constant", "tanh", 0.0, 2), init=first)
    assert (
        second.metrics["validation_loss"][0]
        < hj.fit(task, recipe("sgd", "constant", "tanh", 0.0, 2)).metrics["validation_loss"][0]
    )
    jax.tree.map(np.testing.assert_array_equal, before, weights(first))
    same(second, hj.fit(task, recipe("sgd", "constant", "tanh", 0.0, 2), init=first.model))


def test_an_error_in_a_callback_ends_the_threads_before_it_is_seen():
    def fail(place, run):
        raise ZeroDivisionError

    engine = Engine(classes(), [recipe("sgd", "constant", "tanh", 0.0, 300)], range(12), layout="map", width=1)
    before = threading.active_count()
    try:
        engine.run(on_run=fail)
    except ZeroDivisionError:  # while its traceback holds every frame
        assert threading.active_count() == before


def test_training_again_compiles_nothing(compilations):
    task = classes()
    hj.fit(task, recipe("sgd", "constant", "tanh", 0.0, 1))
    hj.fit(task, recipe("sgd", "constant", "tanh", 0.0, 1).replace(learning_rate=0.3), seed=4)
    hj.fit_population(task, [recipe("sgd", "constant", "tanh", 0.0, 1)], width=1, seeds=[1, 2, 3])
    assert compilations == ["_start", "_advance"]


def test_no_global_state_is_touched():
    before = dict(jax.config.values)
    hj.fit(classes(), recipe("sgd", "constant", "tanh", 0.1, 1))
    assert dict(jax.config.values) == before


def test_state_that_is_not_trained_moves_with_the_run():
    from flax import nnx

    class Normed(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, momentum=0.5, rngs=rngs)
            self.dropout = nnx.Dropout(0.2, rngs=rngs)  # Flax's own
            self.second = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(self.dropout(nnx.relu(self.norm(self.first(x)))))

    task = classes(model=Normed)
    chosen = hj.Recipe(batch_size="full", epochs=2, learning_rate=0.0)
    run = hj.fit(task, chosen)
    before = run.model.first(task.data["train"][0])
    expected = np.mean(before, 0) * (1 - 0.5**2)  # two steps of an average from 0, over the whole set
    np.testing.assert_allclose(run.model.norm.mean.get_value(), expected, rtol=1e-4, atol=1e-6)
    assert run.losses[0] != run.losses[1]  # same weights and batch, another mask
    again = hj.fit(classes(model=Normed), chosen)
    np.testing.assert_array_equal(run.losses, again.losses)


@pytest.mark.parametrize("batch_size", [pytest.param(8, marks=pytest.mark.slow), 23])
def test_members_of_mixed_losses_have_the_bits_of_lone_runs(batch_size):
    """Batches whose sums a compiler orders in another way where the loss is fused with its surroundings."""
    names = ("cross_entropy", "focal", "squared_error")
    base = hj.Recipe(optimizer="momentum", learning_rate=0.02, batch_size=batch_size, epochs=2)
    runs = hj.fit_population(classes(), [base.replace(loss=name) for name in names])
    for run in runs:
        same(run, hj.fit(classes(), run.recipe))
