"""A convolution that is fast inside training loops on a CPU: sliced patches and one matrix product."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Numbers: patches of more than the first are made in blocks, which the product reads from a core's own cache when they
# hold at most the second.
LARGE, IN_CACHE = 2**20, 2**17


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Convolve as `lax.conv_general_dilated` does, whose place it takes: `nnx.Conv(..., conv_general_dilated=this)`.

    On a CPU, XLA runs a convolution's backward pass inside a loop about 50 times slower than outside
    (jax issue 12868), and turns one under `vmap` over kernels into a grouped one. There this copies, for each output
    position, the inputs under the kernel side by side, and multiplies by the kernel as a matrix; elsewhere it is the
    native convolution, chosen by the platform that the program is lowered for. Any number of spatial axes; derivatives
    in forward and reverse mode of every order.

    On a CPU the patches hold as many numbers as the kernel has positions times the input (9 times for 3x3, stride 1).
    Up to a million they live from the forward pass to the backward pass; a loop that is differentiated keeps inputs
    only. Within `jax.remat` they are made again for the backward pass, which takes about a sixth more time. More than a
    million, or with strides an eighth of that, are made in both passes block by block of examples, never all at once.

    Args:
        lhs, rhs, ...: those of `lax.conv_general_dilated`, same order, meaning and defaults. With a batch group count,
            a sharding, or an output without elements, the native convolution is used on a CPU too.
    Returns: float[...] of the shape and dtype of `lax.conv_general_dilated`; sums are taken in another order.
    Raises: what `lax.conv_general_dilated` raises.
    Source: Chellapilla et al. 2006, "High performance convolutional neural networks for document processing", IWFHR,
        section 4.1 (unrolled convolution).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = nnx.Conv(3, 8, (3, 3), conv_general_dilated=conv_general_dilated, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((5, 32, 32, 3))).shape
    (5, 32, 32, 8)
    """
    native = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )
    result = jax.eval_shape(native, lhs, rhs)  # refuses what the native one refuses
    if batch_group_count != 1 or out_sharding is not None or 0 in result.shape:
        return native(lhs, rhs)

    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    ones = (1,) * (lhs.ndim - 2)
    strides, dilation = tuple(window_strides), tuple(ones if rhs_dilation is None else rhs_dilation)
    if isinstance(padding, str):
        sizes = [lhs.shape[axis] for axis in numbers.lhs_spec[2:]]
        spans = [(rhs.shape[axis] - 1) * d + 1 for axis, d in zip(numbers.rhs_spec[2:], dilation, strict=True)]
        padding = lax.padtype_to_pads(sizes, spans, strides, padding)
    geometry = _Geometry(
        strides,
        tuple((int(low), int(high)) for low, high in padding),
        tuple(ones if lhs_dilation is None else lhs_dilation),
        dilation,
        (tuple(numbers.lhs_spec), tuple(numbers.rhs_spec), tuple(numbers.out_spec)),
        feature_group_count,
    )
    patched = functools.partial(_by_patches, geometry=geometry, precision=precision, dtype=jnp.dtype(result.dtype).name)
    return lax.platform_dependent(lhs, rhs, cpu=patched, default=native)  # type: ignore[no-any-return]


class _Geometry(NamedTuple):
    """Where each output position looks; one entry a spatial axis, in the kernel's order."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    specs: tuple[tuple[int, ...], ...]  # axes of lhs, rhs and output: (batch or output, feature, *spatial)
    groups: int


@functools.partial(jax.jit, static_argnames=("geometry", "precision", "dtype"), inline=True)
def _by_patches(lhs: jax.Array, rhs: jax.Array, geometry: _Geometry, precision: Any, dtype: str) -> jax.Array:
    def product(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        lhs_spec, rhs_spec, out_spec = geometry.specs
        x = lhs.transpose(lhs_spec[0], *lhs_spec[2:], lhs_spec[1])  # [examples, *positions, features]
        # Outputs first: so its gradient is the product of the outputs' gradient and the patches, in this order, which
        # takes half the time of the other (jax 0.10.1 and 0.12).
        kernel = rhs.transpose(rhs_spec[0], *rhs_spec[2:], rhs_spec[1])  # [outputs, *taps, features of a group]
        outputs, taps, features = kernel.shape[0], kernel.shape[1:-1], kernel.shape[-1]
        positions = _positions(x.shape, taps, geometry)
        count, groups = int(np.prod(taps)), geometry.groups
        multiply = functools.partial(lax.dot_general, precision=precision, preferred_element_type=dtype)

        def of_block(x: jax.Array) -> jax.Array:
            patches, many = _patches(x, taps, positions, geometry), x.shape[0] * int(np.prod(positions))
            # Both operands are matrices: with more axes the compiler copies the gradient to transpose it.
            if groups == 1:
                flat = patches.reshape(many, count * features), kernel.reshape(outputs, count * features)
                return multiply(*flat, (((1,), (1,)), ((), ())))
            grouped = patches.reshape(many, count, groups, features)
            kernels = kernel.reshape(groups, outputs // groups, count, features)
            return multiply(grouped, kernels, (((1, 3), (2, 3)), ((2,), (0,)))).transpose(1, 0, 2)

        # A loop also makes the gradient by the inputs once: a sum of padded slices that would be fused into each of its
        # readers, which is dearest where strides spread the slices.
        whole = LARGE if set(geometry.strides) == {1} else IN_CACHE
        block = _block(x.shape[0], int(np.prod(positions)) * count * x.shape[-1], whole) if count > 1 else x.shape[0]
        if block == x.shape[0]:
            out = of_block(x)
        else:
            out = lax.map(jax.checkpoint(of_block, prevent_cse=False), x.reshape(-1, block, *x.shape[1:]))
        out = out.reshape(x.shape[0], *positions, outputs)
        return out.transpose(np.argsort((out_spec[0], *out_spec[2:], out_spec[1])))

    # Within a step this changes nothing: the compiler finds the patches of both passes to be the same. But a loop that
    # is differentiated keeps what its steps leave, and a branch by platform what either branch leaves.
    return jax.checkpoint(product, prevent_cse=False)(lhs, rhs)  # type: ignore[no-any-return]


def _block(examples: int, each: int, whole: int) -> int:
    """Examples in a block, a divisor of all, whose patches are of `each` numbers an example; all if at most `whole`."""
    if examples * each <= whole:
        return examples
    most = max(IN_CACHE // each, 1)
    return max(size for size in range(1, min(examples, most) + 1) if examples % size == 0)


def _positions(shape: tuple[int, ...], taps: tuple[int, ...], geometry: _Geometry) -> tuple[int, ...]:
    """Number of output positions an axis, for inputs [examples, *positions, features] and so many taps an axis."""
    dilated = (np.array(shape[1:-1]) - 1) * np.array(geometry.lhs_dilation) + 1 + np.sum(geometry.padding, 1)
    spans = (np.array(taps) - 1) * np.array(geometry.rhs_dilation) + 1
    return tuple(int(n) for n in (dilated - spans) // np.array(geometry.strides) + 1)


def _patches(x: jax.Array, taps: tuple[int, ...], positions: tuple[int, ...], geometry: _Geometry) -> jax.Array:
    """The inputs under each tap, [examples, *positions, taps * features]."""
    spatial = [(low, high, d - 1) for (low, high), d in zip(geometry.padding, geometry.lhs_dilation, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *spatial, (0, 0, 0)])
    strides, dilation = np.array(geometry.strides), np.array(geometry.rhs_dilation)
    slices = []
    for tap in np.ndindex(*taps):
        start = np.array(tap) * dilation
        end = start + (np.array(positions) - 1) * strides + 1
        slices.append(lax.slice(x, (0, *start, 0), (x.shape[0], *end, x.shape[-1]), (1, *strides, 1)))
    return jnp.concatenate(slices, -1)
