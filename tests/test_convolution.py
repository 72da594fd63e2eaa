"""The convolution by patches: the native one's values and derivatives, and where each of the two is used."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.test_util import check_grads

from hyperjax import random
from hyperjax.layers import conv_general_dilated

LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
CASES = {  # shapes of lhs and rhs, channels last unless the options say otherwise
    "3x3 same": ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), "SAME", {}),
    "3x3 valid": ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), "VALID", {}),
    "same lower": ((1, 5, 6, 2), (2, 4, 2, 3), (1, 1), "SAME_LOWER", {}),
    "1x1": ((2, 4, 4, 3), (1, 1, 3, 5), (1, 1), "SAME", {}),
    "strides": ((2, 7, 8, 3), (3, 3, 3, 4), (2, 3), "SAME", {}),
    "1x1 strides": ((2, 7, 8, 3), (1, 1, 3, 4), (2, 2), "VALID", {}),
    "explicit and uneven": ((2, 5, 6, 2), (3, 2, 2, 3), (2, 1), [(2, 0), (1, 3)], {}),
    "negative padding": ((2, 7, 8, 2), (3, 3, 2, 3), (1, 2), [(-1, 1), (0, -2)], {}),
    "kernel dilation": ((2, 8, 9, 2), (3, 2, 2, 3), (1, 2), "SAME", {"rhs_dilation": (2, 3)}),
    "input dilation": ((2, 4, 3, 2), (3, 3, 2, 3), (1, 2), [(1, 2), (2, 1)], {"lhs_dilation": (2, 3)}),
    "groups": ((2, 5, 5, 6), (3, 3, 2, 9), (2, 1), "SAME", {"feature_group_count": 3}),
    "depthwise": ((2, 5, 5, 4), (3, 3, 1, 8), (1, 1), "SAME", {"feature_group_count": 4}),
    "everything": (
        (1, 5, 4, 4),
        (2, 3, 2, 6),
        (2, 1),
        [(1, 2), (0, 1)],
        {"rhs_dilation": (1, 2), "lhs_dilation": (1, 2), "feature_group_count": 2},
    ),
    "one axis": ((3, 9, 2), (4, 2, 5), (2,), "SAME", {"rhs_dilation": (2,)}),
    "three axes": ((2, 4, 5, 3, 2), (2, 3, 2, 2, 3), (1, 2, 1), "SAME", {}),
    "channels first": ((2, 3, 5, 6), (4, 3, 3, 2), (2, 1), "SAME", {"dimension_numbers": None}),
    "odd axes": ((5, 3, 2, 6), (3, 4, 2, 3), (1, 2), "VALID", {"dimension_numbers": ("HCNW", "IOWH", "CWHN")}),
}
EVERY = pytest.mark.parametrize("case", CASES)


def made(case, dtype=jnp.float32):
    """Operands, and our convolution and the native one as functions of them."""
    left, right, strides, padding, options = CASES[case]
    options = {"dimension_numbers": LAST[len(left) - 2]} | options
    numbers = np.random.default_rng(len(case))
    operands = [jnp.asarray(numbers.normal(size=shape), dtype) for shape in (left, right)]
    functions = [
        functools.partial(f, window_strides=strides, padding=padding, **options)
        for f in (conv_general_dilated, lax.conv_general_dilated)
    ]
    return operands, functions


@EVERY
def test_value_and_both_derivatives_are_the_native_ones(case):
    operands, functions = made(case)
    tangents = [jnp.asarray(np.random.default_rng(1).normal(size=x.shape), jnp.float32) for x in operands]

    def measured(convolve):
        out, pull = jax.vjp(convolve, *operands)
        weights = jnp.asarray(np.random.default_rng(2).normal(size=out.shape), jnp.float32)
        return out, pull(weights), jax.jvp(convolve, operands, tangents)

    ours, native = ([*map(np.asarray, jax.tree.leaves(jax.jit(measured, static_argnums=0)(f)))] for f in functions)
    for mine, theirs in zip(ours, native, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-5)


def test_derivatives_are_those_of_finite_differences():
    with jax.enable_x64(True):
        operands, (ours, native) = made("everything", jnp.float64)
        check_grads(lambda *x: jnp.sum(jnp.tanh(ours(*x))), operands, order=1, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(ours(*operands), native(*operands), rtol=1e-12, atol=1e-12)

        def curvature(convolve, x, w):  # forward over reverse: the second derivative along the kernel
            gradient = jax.grad(lambda w: jnp.sum(jnp.tanh(convolve(x, w))))
            return jax.jvp(gradient, (w,), (w,))[1]

        mine, theirs = (jax.jit(curvature, static_argnums=0)(f, *operands) for f in (ours, native))
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["3x3 same", "groups"])
def test_half_precision_is_kept_and_rounded_once(case):
    operands, (ours, _) = made(case, jnp.bfloat16)
    out = ours(*operands)
    assert out.dtype == jnp.bfloat16
    exact = made(case)[1][1](*(x.astype(jnp.float32) for x in operands))
    np.testing.assert_allclose(out.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6)
    gradients = jax.grad(lambda *x: ours(*x).astype(jnp.float32).sum(), (0, 1))(*operands)
    assert {g.dtype for g in gradients} == {jnp.dtype(jnp.bfloat16)}
    wide = ours(*operands, preferred_element_type=jnp.float32)
    assert wide.dtype == jnp.float32
    np.testing.assert_allclose(wide, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["strides", "groups"])
@pytest.mark.parametrize("in_axes", [(0, 0), (None, 0), (0, None)])
def test_members_by_vmap_are_those_alone(case, in_axes):
    operands, (ours, _) = made(case)
    scales = jnp.array([1.0, -0.5, 2.0])
    stacked = [
        x if axis is None else jnp.stack([x * s for s in scales]) for x, axis in zip(operands, in_axes, strict=True)
    ]

    def gradient(x, w):
        return jax.grad(lambda x, w: jnp.sum(jnp.sin(ours(x, w))), (0, 1))(x, w)

    together = jax.jit(jax.vmap(gradient, in_axes))(*stacked)
    for i in range(3):
        alone = gradient(*(x if axis is None else x[i] for x, axis in zip(stacked, in_axes, strict=True)))
        for mine, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(mine[i], theirs, rtol=1e-5, atol=2e-5)


def test_numbers_worked_by_hand():
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    laplace = jnp.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).reshape(3, 3, 1, 1)
    out = conv_general_dilated(x, laplace, (1, 1), "SAME", dimension_numbers=LAST[2])[0, :, :, 0]
    # A plane is harmonic inside; at the edges zeros stand for 0, 4, 8, ... beyond them.
    np.testing.assert_array_equal(out, [[2, 1, -4], [-3, 0, -7], [-16, -11, -22]])


def training(convolve, steps=3):
    """Gradient descent in a scan, as training runs it."""

    def descend(w, x):
        def step(w, _):
            out = functools.partial(convolve, window_strides=(1, 1), padding="SAME", dimension_numbers=LAST[2])
            return w - 0.1 * jax.grad(lambda w: jnp.mean(out(x, w) ** 2))(w), None

        return lax.scan(step, w, None, length=steps)[0]

    return descend


def lowered(function, platform, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("transform", ["alone", "vmap"])
def test_patches_on_cpu_and_native_elsewhere(transform):
    w, x = jnp.ones((3, 3, 5, 7)), jnp.ones((2, 8, 8, 5))
    function = training(conv_general_dilated)
    if transform == "vmap":
        function, w = jax.vmap(function, (0, None)), jnp.stack([w, w])
    on_cpu = lowered(function, "cpu", w, x)
    assert "stablehlo.convolution" not in on_cpu
    assert "x45x" in on_cpu  # 3 x 3 taps of 5 channels
    for platform in ("tpu", "cuda"):
        text = lowered(function, platform, w, x)
        assert "stablehlo.convolution" in text
        assert "x45x" not in text, "neither patches nor room for them"


def test_a_loop_keeps_inputs_for_its_derivative_not_patches():
    def recur(w, x):
        def turn(x, _):
            return jnp.tanh(conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAST[2])), None

        return lax.scan(turn, x, None, length=11)[0].sum()

    w, x = jnp.ones((3, 3, 5, 5)), jnp.ones((2, 8, 8, 5))
    for platform in ("cpu", "tpu"):
        text = lowered(jax.grad(recur), platform, w, x)
        assert "tensor<11x2x8x8x5xf32>" in text
        assert "tensor<11x2x8x8x45x" not in text
        assert "tensor<11x128x45x" not in text


@pytest.mark.parametrize(("stride", "rows"), [(1, 8192), (2, 2048)])
def test_many_patches_are_made_in_blocks(stride, rows):
    with jax.enable_x64(True):  # sums over 8,192 positions are compared
        draw = np.random.default_rng(0)
        x, w = draw.normal(size=(32, 16, 16, 16)), draw.normal(size=(3, 3, 16, 4))

        def measured(convolve, x, w):
            def through(x, w):
                return convolve(x, w, (stride, stride), "SAME", dimension_numbers=LAST[2])

            out, pull = jax.vjp(through, x, w)
            return out, pull(jnp.cos(out)), jax.jvp(through, (x, w), (jnp.sin(x), jnp.sin(w)))[1]

        ours, native = (
            jax.jit(measured, static_argnums=0)(f, x, w) for f in (conv_general_dilated, lax.conv_general_dilated)
        )
        for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(native), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)
        text = lowered(functools.partial(measured, conv_general_dilated), "cpu", x, w)
    assert "tensor<512x144xf64>" in text  # 2 examples of 16 x 16 positions or 8 of 8 x 8, 3 x 3 taps of 16 channels
    assert f"tensor<{rows}x144xf64>" not in text


def test_training_in_a_loop_gives_the_native_weights():
    w, x = jax.random.normal(random.key(0), (3, 3, 2, 3)), jax.random.normal(random.key(1), (4, 5, 5, 2))
    ours = jax.jit(training(conv_general_dilated))(w, x)
    np.testing.assert_allclose(ours, jax.jit(training(lax.conv_general_dilated))(w, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("operands", "options"),
    [
        (((4, 5, 5, 3), (3, 3, 3, 4)), {"batch_group_count": 2, "padding": "SAME"}),
        (((2, 2, 5, 3), (3, 3, 3, 4)), {"padding": "VALID"}),  # no output position
    ],
)
def test_what_is_not_covered_is_native(operands, options):
    x, w = (jnp.ones(shape) for shape in operands)
    options = {"window_strides": (1, 1), "dimension_numbers": LAST[2], **options}
    out = conv_general_dilated(x, w, **options)
    expected = lax.conv_general_dilated(x, w, **options)
    assert out.shape == expected.shape
    np.testing.assert_array_equal(out, expected)
    assert "convolution" in lowered(functools.partial(conv_general_dilated, **options), "cpu", x, w)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 3, 2, 4), {}),  # channels do not fit
        ((3, 3, 3, 4), {"window_strides": (1,)}),
        ((3, 3, 3, 4), {"padding": "WRONG"}),
        ((3, 3, 3, 4), {"lhs_dilation": (2, 2)}),  # padding by name with a dilated input
    ],
)
def test_what_the_native_one_refuses_is_refused_in_its_words(shape, options):
    x, w = jnp.ones((1, 5, 5, 3)), jnp.ones(shape)
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": LAST[2], **options}
    with pytest.raises((ValueError, TypeError, RuntimeError)) as theirs:
        lax.conv_general_dilated(x, w, **options)
    with pytest.raises(theirs.type) as ours:
        conv_general_dilated(x, w, **options)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((3, 3), {"strides": 2}),
        ((3, 2), {"padding": "CIRCULAR"}),
        ((3, 3), {"padding": 1, "kernel_dilation": 2}),
        ((3, 3), {"feature_group_count": 2, "use_bias": False}),
        ((3, 3), {"padding": ((3, 3), (3, 3)), "input_dilation": 2}),
    ],
)
def test_flax_layers_take_it(size, options):
    x = jax.random.normal(random.key(0), (2, 3, 6, 7, 4))  # two axes of examples
    pair = [
        nnx.Conv(4, 6, size, **options, **given, rngs=nnx.Rngs(random.key(1)))
        for given in ({}, {"conv_general_dilated": conv_general_dilated})
    ]
    np.testing.assert_allclose(pair[1](x), pair[0](x), rtol=1e-5, atol=1e-5)
