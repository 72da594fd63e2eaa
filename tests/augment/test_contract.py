"""What every augmentation promises, row by row of the tables: a new row is tested without touching this file."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperjax import augment, random
from hyperjax.augment.mixing import TABLE as MIXING

ROWS = [(kind, name) for kind, table in augment.TABLES.items() for name in table]
REAL = [row for row in ROWS if row[0] != "tokens"]
SHAPES = {"images": (5, 6, 8, 3), "tokens": (5, 12), "waveforms": (5, 40), "spectrograms": (5, 12, 10)}
OPTIONS = {"pad": 0, "mask_id": 3}
STRENGTHS = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32)  # scanned by row, mapped within
rows = pytest.mark.parametrize(("kind", "name"), ROWS)
real_rows = pytest.mark.parametrize(("kind", "name"), REAL)
mixing_rows = pytest.mark.parametrize("name", MIXING)


def made(kind, dtype=None):
    rng = np.random.default_rng(0)
    if kind == "tokens":
        padded = np.arange(12) < np.array([[12], [9], [5], [1], [0]])
        return jnp.asarray(rng.integers(4, 50, SHAPES[kind]) * padded, dtype or jnp.int32)
    return jnp.asarray(rng.uniform(0.1, 1.0, SHAPES[kind]), dtype or jnp.float32)


def function(kind, name):
    """The row as a function of key, batch and strength, with what else it takes."""
    row = augment.TABLES[kind][name]
    taken = {k: v for k, v in OPTIONS.items() if k in inspect.signature(row).parameters}
    return lambda key, x, strength: row(key, x, strength, **taken)


def bits(x):
    """Bytes of an array, in which NaN equals itself and -0.0 is not 0.0."""
    return np.asarray(x).tobytes()


def odd(x):
    """The batch with the values on which arithmetic is not the identity, where it is real."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        return x
    values = jnp.array([-0.0, jnp.nan, jnp.inf, -jnp.inf, 1e-45, 3e38], x.dtype)
    return x.reshape(-1).at[: len(values)].set(values).reshape(x.shape)


@rows
def test_jit_vmap_and_scan_equal_a_loop_and_0_is_off(kind, name):
    f, x, key = function(kind, name), made(kind), random.key(1)
    together = jax.jit(lambda x: jax.lax.map(jax.vmap(lambda s: f(key, x, s)), STRENGTHS))
    results = together(x)
    for place, strength in np.ndenumerate(STRENGTHS):
        np.testing.assert_allclose(results[place], f(key, x, float(strength)), rtol=1e-5, atol=1e-6)
    assert len({bits(results[place]) for place in np.ndindex(2, 2)}) == STRENGTHS.size, "the strength matters"
    strange = odd(x)
    for off in (together(strange)[0, 0], f(key, strange, 0)):
        assert bits(off) == bits(strange)
    same = jnp.stack([x[0]] * len(x))
    assert len({bits(row) for row in f(key, same, 0.5)}) > 1, "each example draws for itself"


@rows
def test_types_are_kept_and_neither_they_nor_neighbours_change_a_decision(kind, name):
    f = function(kind, name)
    expected = f(random.key(3), made(kind), 0.7)
    assert (expected.dtype, expected.shape) == (made(kind).dtype, SHAPES[kind])
    types = {"int64": 0, "uint8": 0} if kind == "tokens" else {"float64": 1e-5, "bfloat16": 0.05}
    with jax.enable_x64(True):
        for examples, (dtype, exact) in enumerate(types.items(), 2):  # the first two, the first three
            result = f(random.key(3), made(kind, dtype)[:examples], 0.7)
            assert (result.dtype, result.shape) == (np.dtype(dtype), (examples, *SHAPES[kind][1:]))
            np.testing.assert_allclose(np.asarray(result, np.float64), expected[:examples], rtol=exact, atol=exact)


@real_rows
def test_derivatives_are_finite_at_the_edges(kind, name):
    f, key = function(kind, name), random.key(4)

    def total(x, s):
        return jnp.sum(jnp.sin(f(key, x, s)))

    def slopes(x, s):
        forward = jax.linearize(total, x, s)[1]
        return jax.linear_transpose(forward, x, s)(1.0), forward(jnp.zeros_like(x), 1.0)

    strengths = jnp.array([0.0, 0.5, 1.0])
    at = jax.jit(jax.vmap(slopes, (None, 0)))
    for x in (made(kind), jnp.zeros(SHAPES[kind])):  # blank pictures and silence have roots at 0
        (by_x, by_strength), forward = at(x, strengths)
        assert np.all(np.isfinite(by_x)) and np.all(np.isfinite(by_strength))
        np.testing.assert_allclose(by_strength, forward, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(by_x[0], np.cos(x), rtol=1e-5)  # at strength 0 the map is the identity


@rows
def test_names_the_bad_argument(kind, name):
    f, x, key = function(kind, name), made(kind), random.key(0)
    for bad in (-0.1, float("nan"), float("inf"), True, "much"):
        with pytest.raises(ValueError, match=f"^strength of {name} must be"):
            f(key, x, bad)
    for bad in ([0.1, 0.2], jnp.ones(1), None, lambda step: 0.1):
        with pytest.raises(ValueError, match=f"^strength of {name} must be one number"):
            f(key, x, bad)
    with pytest.raises(ValueError, match=f"^{kind} must have the axes .examples,.* got shape"):
        f(key, x[0], 0.1)
    for wrong in (x > 5, x.astype(jnp.float32) if kind == "tokens" else x.astype(jnp.uint8)):
        with pytest.raises(ValueError, match=f"^{kind} must be (integers|floats)"):
            f(key, wrong, 0.1)
    for wrong in (jax.random.PRNGKey(0), jax.random.split(key, 2), 0, None):
        with pytest.raises(ValueError, match=r"^key must be one typed key"):
            f(wrong, x, 0.1)
    for option in {"pad", "mask_id"} & inspect.signature(augment.TABLES[kind][name]).parameters.keys():
        for wrong in (0.5, 2**40, None, [1, 2]):
            with pytest.raises(ValueError, match=f"^{option} must be one integer"):
                augment.TABLES[kind][name](key, x, 0.1, **({"mask_id": 3} if name == "mask" else {}) | {option: wrong})


@pytest.mark.parametrize(
    "call", [*(row for table in augment.TABLES.values() for row in table.values()), *MIXING.values(), augment.chain]
)
def test_says_what_it_does(call):
    text = inspect.getdoc(call)
    first, rest = text.split("\n\n", 1)
    assert first.endswith(".") and "\n" not in first
    for part in ("Args:", "Returns:", "Raises: ValueError", ">>> ", *([] if call is augment.chain else ["Source:"])):
        assert part in rest
    formula = rest[: rest.index("Args:")]
    assert formula.count("`") >= 2
    for argument in list(inspect.signature(call).parameters):
        assert f"{argument}:" in rest[rest.index("Args:") : rest.index("Returns:")]


def pair(dtype=None):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(6, 5, 4, 2)), dtype or jnp.float32), jnp.eye(6, 3, dtype=dtype or jnp.float32)


@mixing_rows
def test_mixing_keeps_the_same_promises(name):
    f, key, (x, t) = MIXING[name], random.key(5), pair()
    together = jax.jit(lambda x: jax.lax.map(jax.vmap(lambda a: f(key, x, t, a)), STRENGTHS))
    results = together(x)
    for place, alpha in np.ndenumerate(STRENGTHS):
        for part, alone in zip(results, f(key, x, t, float(alpha)), strict=True):
            np.testing.assert_allclose(part[place], alone, rtol=1e-5, atol=1e-6)
    assert len({bits(results[1][place]) for place in np.ndindex(2, 2)}) == STRENGTHS.size
    strange = odd(x)
    for off in ([part[0, 0] for part in together(strange)], f(key, strange, t, 0)):
        assert bits(off[0]) == bits(strange) and bits(off[1]) == bits(t)


@mixing_rows
def test_mixing_keeps_types_and_finite_derivatives(name):
    f, key = MIXING[name], random.key(6)
    with jax.enable_x64(True):
        for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
            shapes = jax.eval_shape(f, key, *pair(dtype), jnp.float32(0.5))
            assert [(s.shape, s.dtype) for s in shapes] == [(p.shape, p.dtype) for p in pair(dtype)]
    x, t = pair()

    def total(x, a):
        mixed, soft = f(key, x, t, a)
        return jnp.sum(jnp.sin(mixed)) + jnp.sum(soft**2)

    by_x, by_alpha = jax.jit(jax.vmap(jax.grad(total, (0, 1)), (None, 0)))(x, jnp.array([0.0, 1e-37, 0.5, 1.0, 100.0]))
    assert np.all(np.isfinite(by_x)) and np.all(np.isfinite(by_alpha))
    assert (np.abs(by_alpha[3]) > 1e-4) == (name == "mixup")


@mixing_rows
def test_mixing_names_the_bad_argument(name):
    f, key, (x, t) = MIXING[name], random.key(0), pair()
    cases = [
        ((key, x, t, -0.1), "^alpha must be a number in"),
        ((key, x, t, jnp.ones(2)), "^alpha must be one number"),
        ((key, x.astype(jnp.uint8), t, 0.1), "^inputs must be floats"),
        ((key, x[0, 0, 0], t, 0.1), "^inputs must have the axes"),
        ((key, x, jnp.arange(6), 0.1), "^targets must be floats.* one-hot them.* got int32"),
        ((key, x, t[:5], 0.1), "^targets must be 6 in number"),
        ((jax.random.PRNGKey(0), x, t, 0.1), "^key must be one typed key"),
        ((0, x, t, 0.1), "^key must be one typed key"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            f(*arguments)


def test_every_row_lowers_for_accelerators():
    def everything(key, given, strength):
        alone = [function(*row)(key, given[row[0]], strength) for row in ROWS]
        return alone, [f(key, *pair(), strength) for f in MIXING.values()]

    traced = jax.jit(everything).trace(random.key(0), {kind: made(kind) for kind in SHAPES}, jnp.float32(0.5))
    for platform in ("tpu", "cuda"):
        assert traced.lower(lowering_platforms=(platform,)).as_text()


def test_a_chain_applies_each_part_with_a_key_of_its_own():
    x, key = made("images"), random.key(7)
    both = augment.chain({"noise": 0.1, "shift": 0.2})(key, x)
    swapped = augment.chain({"shift": 0.2, "noise": 0.1})(key, x)
    padded = augment.chain({"flip": 0.0, "shift": 0.2, "cutout": 0.0, "noise": 0.1})(key, x)
    assert bits(both) == bits(swapped) == bits(padded)
    shifted = augment.chain({"shift": 0.2})(key, x)
    noise = augment.chain({"noise": 0.1})(key, jnp.zeros_like(x))
    np.testing.assert_allclose(both, shifted + noise, atol=1e-6)  # the shift comes first
    traced = jax.jit(lambda key, x, strengths: augment.chain(strengths)(key, x))(key, x, {"shift": 0.2, "noise": 0.1})
    np.testing.assert_allclose(traced, both, atol=1e-5)
    assert augment.chain({})(key, x) is x
    two_pixels = jnp.broadcast_to(jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), (400, 1, 2, 1))
    lit = np.asarray(augment.chain({"brightness": 0.5, "contrast": 0.5})(key, two_pixels))[:, 0, :, 0]
    factors = lit.mean(1) / 2, (lit[:, 1] - lit[:, 0]) / lit.mean(1)
    assert abs(np.corrcoef(factors)[0, 1]) < 5 / np.sqrt(400), "one key for both would make them equal"
    sequence = made("tokens")
    hidden = augment.chain({"mask": 1.0, "swap": 0.5}, "tokens", mask_id=3, pad=0)(key, sequence)
    np.testing.assert_array_equal(hidden, np.where(sequence == 0, 0, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: augment.chain({"shfit": 0.1}), "^strengths must be one of .*did you mean 'shift'"),
        (lambda: augment.chain({}, "image"), "^kind must be one of .*did you mean 'images'"),
        (lambda: augment.chain({"mask": 0.1}, "tokens"), "^mask_id must be given"),
        (lambda: augment.chain({"drop": 0.1}, "tokens", padd=0), "^arguments must be one of .*did you mean 'pad'"),
        (lambda: augment.chain({"flip": 2.0})(random.key(0), made("images")), "^strength of flip"),
        (lambda: augment.chain({"flip": 0.2})(0, made("images")), "^key must be one typed key"),
    ],
)
def test_a_chain_names_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
