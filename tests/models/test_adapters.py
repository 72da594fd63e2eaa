"""Models of every kind as NNX modules: what they are called with, what they keep, what they give back."""

import functools
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import hyperjax as hj
from hyperjax.models.adapters import as_factory, as_module, given_back, linen, pure
from hyperjax.models.adapters.calling import in_mode
from hyperjax.models.adapters.held import Fixed, Held, assign, parameter, state, tree_of
from hyperjax.optimizers.groups import path_of
from hyperjax.training.functional import Functional

X = jnp.linspace(-1, 1, 8).reshape(2, 4)


def built(model, *inputs, **structure):
    return as_factory(model, lambda: inputs or (X[:1],)).build(nnx.Rngs(0), **structure)


def paths(module, kind=nnx.Param):
    return [path_of(keys) for keys, _ in jax.tree.leaves_with_path(nnx.state(module, kind))]


def task(model, **changes):
    x = np.asarray(X)
    given = {"loss": "squared_error", "data": {"train": (x, x[:, :3])}}
    return hj.Task(**({"model": model} | given | changes))


class Told(nn.Module):
    """Says what it was told, and looks at what it may do."""

    mode: str = "train"

    @nn.compact
    def __call__(self, x, train=None, deterministic=None):
        self.variable("counts", "calls", lambda: 0)
        mutable = self.is_mutable_collection("counts")
        return jnp.array([float(train), float(deterministic), float(mutable), float(self.has_rng("dropout"))])


def test_linen_is_told_the_mode_and_given_what_plain_flax_gives():
    module = built(Told())
    module.train()
    np.testing.assert_array_equal(module(X), [1, 0, 1, 1])
    module.eval()
    np.testing.assert_array_equal(module(X), [0, 1, 0, 0])
    np.testing.assert_array_equal(module(X, train=True), [1, 1, 0, 0])  # whoever calls goes first


def test_a_mode_that_is_a_field_is_set_and_one_that_is_both_is_left_to_its_owner():
    class Field(nn.Module):
        train: bool

        @nn.compact
        def __call__(self, x):
            return nn.Dropout(0.5, deterministic=not self.train)(nn.Dense(64)(x))

    module = built(Field(train=True))
    module.train()
    assert np.mean(module(X) == 0) > 0.25
    module.eval()
    assert np.all(module(X) != 0) and module.native().train is False
    fixed = built(nn.BatchNorm(use_running_average=True))
    fixed.train()
    np.testing.assert_allclose(fixed(X), X, rtol=1e-4)


class Counting(nn.Module):
    """State that nothing guards, a draw at every call, and something sown."""

    @nn.compact
    def __call__(self, x):
        calls = self.variable("counts", "calls", lambda: 0)
        calls.value += 1
        self.sow("losses", "size", jnp.square(x).sum())
        return nn.Dense(3)(x) + jax.random.normal(self.make_rng("noise"), (3,))

    def twice(self, x):
        return 2 * x


def test_linen_state_is_carried_in_training_alone_and_what_is_sown_is_an_output():
    module = built(Counting())
    assert module.variables().keys() == {"params", "counts"}
    before = int(module.variables()["counts"]["calls"])
    module.train()
    first, second = module(X), module(X)
    assert np.all(first != second)  # keys of its own each time
    assert int(module.variables()["counts"]["calls"]) == before + 2
    out, sown = module(X, mutable=["losses"])
    assert out.shape == (2, 3)
    np.testing.assert_allclose(sown["losses"]["size"][0], jnp.square(X).sum())
    module.eval()
    module(X)  # asks for a key and to change its state: it gets both, and the change is dropped
    assert int(module.variables()["counts"]["calls"]) == before + 3
    np.testing.assert_array_equal(module(X, method="twice"), 2 * X)


def test_linen_structure_and_paths():
    class Net(nn.Module):
        width: int = 4

        @nn.compact
        def __call__(self, x):
            rate = self.variable("hyperparameters", "slope", lambda: 0.5)
            return nn.Dense(3)(rate.value * nn.Dense(self.width)(x))

    factory = as_factory(Net(), lambda: (X,))
    assert factory.arguments == {"width": 4}
    module = factory.build(nnx.Rngs(0), width=7)
    assert paths(module) == [f"params/Dense_{i}/{leaf}" for i in (0, 1) for leaf in ("bias", "kernel")]
    assert tree_of(module.params)["Dense_1"]["kernel"].shape == (4, 7)  # made second, called first
    assert hj.layers.names(module) == ("slope",)
    out = module(X)
    hj.layers.bind(module, {"slope": 0.0})
    np.testing.assert_allclose(module(X), jnp.zeros((2, 3)), atol=1e-6)
    native = given_back(module)
    assert native.unbind()[0] == Net(width=7) and float(native.variables["hyperparameters"]["slope"]) == 0
    again = as_module(native)
    np.testing.assert_array_equal(again(X), module(X))
    assert not np.allclose(out, module(X))


def test_a_linen_module_holds_a_choice_of_activation_by_the_name_of_its_layer():
    own = hj.layers.Activation("tanh")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.variable("hyperparameters", "act", lambda: own).value(x)

    module = built(Net())
    assert hj.layers.names(module) == ("activation",)
    np.testing.assert_allclose(module(X), jnp.tanh(X), rtol=1e-6)
    hj.layers.set_choices(module, "activation", ["elu", "leaky_relu"], ["negative_slope"])
    hj.layers.bind(module, {"activation": 1, "negative_slope": 0.3})
    expected = jnp.where(X > 0, X, 0.3 * X)
    native = given_back(module)
    again = as_module(native)
    hj.layers.bind(again, {"negative_slope": 0.0})
    for model in (module, native, nnx.clone(module)):
        np.testing.assert_allclose(model(X), expected, rtol=1e-6)
    np.testing.assert_allclose(again(X), jax.nn.relu(X), rtol=1e-6)
    assert own.choices == ("tanh",)


def test_partitioned_metadata_comes_back():
    dense = nn.Dense(3, kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out")))
    module = built(dense)
    assert module.variables()["params"]["kernel"].names == ("in", "out")
    assert paths(module) == ["params/bias", "params/kernel"]


def test_a_tree_is_held_by_kind_of_leaf_and_comes_back():
    tree = {"w": [jnp.ones(2), np.arange(3)], "train": {"b": np.float32(2.0)}, "act": jnp.tanh, "rate": 0.5, "no": None}
    held = Held(tree, parameter)
    assert paths(held) == ["train/b", "w/0"] and paths(held, nnx.Not(nnx.Param)) == ["w/1"]
    back = tree_of(held)
    assert back["act"] is jnp.tanh and back["rate"] == 0.5 and back["no"] is None
    jax.tree.map(np.testing.assert_array_equal, (back["w"], back["train"]), (tree["w"], tree["train"]))
    same = Held(OrderedDict({1: jnp.zeros(1), "1": jnp.ones(1)}), parameter)
    assert paths(same) == ["1", "1_"] and tree_of(same)["1"] == 1 and tree_of(same)[1] == 0
    assert paths(Held(jnp.ones(2), parameter)) == ["value"]
    numbers = Held({"n": 3, "on": True}, state)
    assign(numbers, {"n": jnp.int32(4), "on": False})
    assert int(tree_of(numbers)["n"]) == 4 and not bool(tree_of(numbers)["on"])
    with pytest.raises(ValueError, match="model must leave its state's structure as it is"):
        assign(numbers, {"n": 1})


def test_what_a_program_is_made_for_is_compared_by_value():
    assert Fixed((1, "a")) == Fixed((1, "a")) and hash(Fixed([1])) == hash(Fixed([2])) and Fixed([1]) != Fixed([2])
    assert Fixed(np.ones(2)) != Fixed(np.ones(2))  # which cannot be told from one another by one bool
    assert Fixed(1) != 1


def test_a_pair_is_called_by_the_names_of_its_parameters():
    def init(key, x, *, scale=2.0, width=3):
        return {"w": scale * jnp.ones((x.shape[-1], width))}

    def apply(params, key, x, is_training=False, *, slope=0.5, order=2):
        noise = 0.0 if key is None else jax.random.normal(key, ())
        return slope * (x @ params["w"]) ** order + noise, is_training

    factory = as_factory((init, apply), lambda: (X,))
    assert factory.arguments == {"scale": 2.0, "width": 3}
    module = factory.build(nnx.Rngs(0), width=5)
    assert hj.layers.names(module) == ("slope",) and paths(module) == ["params/w"]
    expected = 0.5 * (X @ jnp.full((4, 5), 2.0)) ** 2
    module.eval()
    out, training = module(X)
    np.testing.assert_allclose(out, expected)
    assert training is False
    module.train()
    out, training = module(X)
    noise = out - expected
    np.testing.assert_allclose(noise, jnp.full((2, 5), noise[0, 0]), rtol=1e-4)
    assert training is True and noise[0, 0] != 0 and np.all(module(X)[0] != out)
    trained = given_back(module)
    np.testing.assert_allclose(trained(X)[0], expected)
    np.testing.assert_allclose(trained(X, order=1)[0], 0.5 * X @ jnp.full((4, 5), 2.0))
    assert as_module(trained)._functions == module._functions
    hj.layers.bind(module, {"slope": 0.0})
    assert float(given_back(module).hyperparameters["slope"]) == 0


def test_a_key_that_has_a_default_keeps_it_in_evaluation():
    module = built((lambda key: jnp.ones(4), lambda w, x, key="own": (x @ w, key)))
    module.eval()
    assert module(X)[1] == "own" and given_back(module)(X)[1] == "own"
    module.train()
    assert jnp.issubdtype(module(X)[1].dtype, jax.dtypes.prng_key)


def test_a_pair_in_haiku_s_shape():
    def init(rng, *args, **kwargs):
        return {"w": jax.random.normal(rng, (args[0].shape[-1], 2))}, {"n": jnp.int32(0)}

    def apply(params, state, rng, *args, **kwargs):
        return args[0] @ params["w"], {"n": state["n"] + (1 if rng is None else 10)}

    module = built((init, apply))
    module.train()
    assert module(X).shape == (2, 2)
    assert int(tree_of(module.state)["n"]) == 10
    module.eval()
    module(X)  # what becomes of the state in evaluation is dropped
    assert int(given_back(module).state["n"]) == 10
    params = {"w": jnp.ones((4, 2))}
    np.testing.assert_allclose(module.adopt((params, {"n": jnp.int32(5)}))(X), X @ params["w"])
    with pytest.raises(ValueError, match=r"init must be a run, its model, or a pair \(params, state\), got dict"):
        module.adopt(params)


def test_equinox_modules_need_no_partition():
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed; it comes with the extra 'test'")
    make = functools.partial(eqx.nn.MLP, 4, 3, 6, 1)
    module = built((make, lambda model, x: jax.vmap(model)(x)))
    assert paths(module) == [f"params/layers/{i}/{leaf}" for i in (0, 1) for leaf in ("bias", "weight")]
    np.testing.assert_allclose(module(X), jax.vmap(tree_of(module.params))(X))
    with pytest.raises(ValueError, match=r"got MLP, a tree of arrays; give what makes it from a key"):
        task(make(key=jax.random.key(0)))


class Asks(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs, width: int = 3):
        self.linear = nnx.Linear(4, width, rngs=rngs)
        self.dropout = nnx.Dropout(0.5)

    def __call__(self, x, rngs=None, is_training=False):
        return self.dropout(self.linear(x), rngs=rngs), is_training


def test_an_nnx_module_that_asks_for_streams_and_mode_in_its_call():
    factory = as_factory(Asks, tuple)
    assert factory.arguments == {"width": 3}
    module = factory.build(nnx.Rngs(0), width=64)
    module.train()
    first, second = (in_mode(module, True, jax.random.key(i))(X) for i in (0, 1))
    assert first[1] is True and np.any(first[0] != second[0]) and np.mean(first[0] == 0) > 0.25
    module.eval()
    out, training = in_mode(module, False, jax.random.key(0))(X)
    np.testing.assert_array_equal(out, module.linear(X))
    assert training is False
    plain = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    assert in_mode(plain, True, jax.random.key(0)) is plain


def test_a_factory_may_give_any_kind_and_a_model_with_variables_is_fine_tuned():
    made = built(lambda rngs, width=3: nn.Dense(width), width=5)
    assert made(X).shape == (2, 5)
    native = given_back(made)
    for model in (native, given_back(built((lambda key: jnp.ones((4, 5)), lambda w, x: x @ w)))):
        again = as_factory(model, tuple)
        assert again.arguments == {}
        np.testing.assert_array_equal(again.build(nnx.Rngs(3))(X), model(X))
        np.testing.assert_allclose(hj.training.predict(model, X), model(X), rtol=1e-6)


def test_objectives_say_what_the_model_is_called_with():
    def objective(model, batch, key):
        return jnp.square(model(batch["x"], method="half") - 1).mean(-1)

    class Net(nn.Module):
        def setup(self):
            self.dense = nn.Dense(3)

        def __call__(self, x):
            return self.dense(x)

        def half(self, x):
            return 0.5 * self.dense(x)

    data = {"train": {"x": np.asarray(X)}}
    given = {"loss": None, "objective": objective, "data": data, "name": "halves"}
    run = hj.fit(task(linen(Net(), X[:1]), **given), hj.Recipe(batch_size=2, epochs=1))
    assert isinstance(run.model, Net) and np.isfinite(run.losses).all()
    with pytest.raises(ValueError, match=r"model must say what it is called with, since halves has an objective"):
        hj.fit(task(Net(), **given), hj.Recipe(batch_size=2))
    factory = pure(lambda key, x: jnp.ones((x.shape[-1], 3)), lambda w, x: x @ w, X[:1])
    assert factory.build(nnx.Rngs(0))(X).shape == (2, 3)


def shrinking(params, state, x):
    return x @ params, state[:1]


def no_state(params, state, x):
    return x @ params


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: task(3), r"model must be a Flax module \(NNX or Linen\), a factory .* or a pair .*, got int"),
        (lambda: task((jnp.ones, 3)), r"model must be .*, got a tuple of 2"),
        (lambda: task((len, len, len)), r"model must be .*, got a tuple of 3"),
        (lambda: task(nn.Dense), r"model must be .*, got the class Dense; call it with its fields"),
        (lambda: task(lambda: None), r"model must be a factory that takes rngs, got one without parameters"),
        (lambda: task((lambda: 0, lambda p, x: x)), r"model's init must take a key"),
        (
            lambda: task((lambda key: 0, lambda params: 0)),
            r"model's apply must take parameters and inputs, got .* params",
        ),
        (
            lambda: task((lambda key: 0, lambda p, x, *, mask: 0)),
            r"must have a default .* one of the names key.*; got mask",
        ),
        (lambda: built((lambda key: jnp.ones(2), no_state)), r"model's init must give \(params, state\).*got \w*Array"),
        (
            lambda: built((lambda key: (jnp.ones((4, 2)), 0), no_state))(X),
            r"model's apply must give \(outputs, state\)",
        ),
        (lambda: as_module(nn.Dense(3)), r"model must have its variables .*got Dense"),
        (lambda: hj.training.predict(jnp.tanh, X), r"model must have its variables"),
        (lambda: linen(nn.Dense(3).bind({"params": {}})), r"module must be an unbound Linen module, got Dense"),
        (
            lambda: built(nn.Dense(3)).adopt({"weights": 1}),
            r"init must be .* variables with params, got the keys weights",
        ),
        (lambda: built(nn.Dense(3)).adopt(3), r"init must be a run, a bound module, or variables with params, got int"),
    ],
)
def test_bad_models_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Growing(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.seen = nnx.Linear(4, 3, rngs=rngs), nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, x):
        self.seen.set_value(self.seen.get_value() + 0.5)
        return self.linear(x)


def branching(params, x, *, slope=0.5):
    return x @ params if slope > 0 else x


@pytest.mark.parametrize(
    ("model", "recipe", "message"),
    [
        (
            (lambda key: jnp.ones((4, 3)), branching),
            {"hyperparameters": {"slope": 0.1}},
            r"model, its objective and its loss must be traceable: Python may branch on shapes .*got Attempted boolean",
        ),
        (
            (lambda key: jnp.ones((4, 3)) * np.asarray(key), lambda params, x: x @ params),
            {},
            r"model must be traceable: .*got The numpy.ndarray conversion",
        ),
        (
            Growing,
            {},
            r"model must leave the shape and type of its variable seen as they are, int32\[\], got float32\[\]",
        ),
        (nn.Dense(3), {"model": {"feature": 3}}, r"model arguments must be among .*features.*'feature'; did you mean"),
        (nn.Dense(3), {"dropout": 0.1}, r"dropout must be bound by a hyperparameter of that name in the model"),
        (
            (lambda key: (jnp.ones((4, 3)), jnp.ones(2)), shrinking),
            {},
            r"model must leave the shape and type of its variable state/value as they are, float32\[2\], got float32\[1\]",
        ),
    ],
    ids=["branch", "numpy", "type", "argument", "unbound", "shape"],
)
def test_models_that_cannot_be_traced_or_bound_are_named(model, recipe, message):
    with pytest.raises(ValueError, match=message):
        hj.fit(task(model), hj.Recipe(batch_size=2, epochs=1, **recipe))


def test_variables_of_another_structure_are_refused():
    functional = Functional(task(nn.Dense(3)), {}, {}, ())
    with pytest.raises(ValueError, match=r"init must be a run, a bound module, or variables with params, got list"):
        functional.split([1])
    weights, _ = functional.split({"params": {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}})
    assert jax.tree.structure(weights) == jax.tree.structure(functional.weights)
    wrong = {"params": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)}}
    with pytest.raises(ValueError, match=r"init must be a model with the task's weights"):
        hj.fit(task(nn.Dense(3)), hj.Recipe(batch_size=2, epochs=1), init=wrong)
