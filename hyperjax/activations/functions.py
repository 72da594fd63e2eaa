"""Activation functions; the numbers that some of them take may be traced.

Whole numbers and bools are taken as the default floating dtype by all of them.
"""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.checks import one_number
from hyperjax.types import Scalar


def relu(x: Any) -> jax.Array:
    """Return max(x, 0) elementwise, with derivative 0 at 0.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    >>> relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return jax.nn.relu(floating(x))


def tanh(x: Any) -> jax.Array:
    """Return (e^x - e^-x) / (e^x + e^-x) elementwise, in (-1, 1).

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp" (1998), section 4.4.

    >>> tanh(jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return jnp.tanh(floating(x))


def gelu(x: Any, approximate: bool = True) -> jax.Array:
    """Return x Phi(x) elementwise, by default in its tanh approximation, as `jax.nn.gelu` does.

    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), within 5e-4 of the exact form (PyTorch's default; its
    `approximate="tanh"` is this one).

    Args:
        x: floating array of any shape.
        approximate: False for the exact form, by the error function.

    Returns: array of the shape and dtype of x.
    Source: Hendrycks and Gimpel, "Gaussian error linear units", arXiv:1606.08415, section 2.

    >>> round(float(gelu(1.0)), 4)
    0.8412
    """
    return jax.nn.gelu(floating(x), approximate=approximate)


def gelu_exact(x: Any) -> jax.Array:
    """Return x Phi(x) elementwise, by the error function.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Hendrycks and Gimpel, "Gaussian error linear units", arXiv:1606.08415, section 2. PyTorch: `GELU()`.

    >>> round(float(gelu_exact(1.0)), 4)
    0.8413
    """
    return gelu(x, approximate=False)


def swish(x: Any, beta: Scalar = 1.0) -> jax.Array:
    """Return x * sigmoid(beta x) elementwise (for beta = 1 also called SiLU).

    Args:
        x: floating array of any shape.
        beta: float[], no unit; may be traced. 0 is half the identity, a large one is near relu.

    Returns: array of the shape and dtype of x.
    Raises: ValueError for a beta that is not one finite number.
    Source: Ramachandran, Zoph and Le, "Searching for activation functions", arXiv:1710.05941. PyTorch: `SiLU()`.

    >>> round(float(swish(1.0)), 4)
    0.7311
    """
    x = floating(x)
    out: jax.Array = x * jax.nn.sigmoid(_number("beta", beta, x) * x)
    return out


def sigmoid(x: Any) -> jax.Array:
    """Return 1 / (1 + e^-x) elementwise, in (0, 1).

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986), equation 2.

    >>> float(sigmoid(0.0))
    0.5
    """
    return jax.nn.sigmoid(floating(x))


def identity(x: Any) -> jax.Array:
    """Return x itself: a linear layer.

    Args:
        x: array of any shape.

    Returns: x.
    Source: the definition.

    >>> identity(jnp.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return floating(x)


def leaky_relu(x: Any, negative_slope: Scalar = 0.01) -> jax.Array:
    """Return x where it is positive, else negative_slope * x.

    Args:
        x: floating array of any shape.
        negative_slope: float[], no unit; may be traced.

    Returns: array of the shape and dtype of x.
    Raises: ValueError for a slope that is not one finite number.
    Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013), eq. 3.
        PyTorch: `LeakyReLU(negative_slope)`. A learnt slope, `hyperjax.layers.PReLU`, is a layer, hence structure.

    >>> leaky_relu(jnp.array([-1.0, 2.0]), 0.25).tolist()
    [-0.25, 2.0]
    """
    x = floating(x)
    return jax.nn.leaky_relu(x, _number("negative_slope", negative_slope, x))


def elu(x: Any, alpha: Scalar = 1.0) -> jax.Array:
    """Return x where it is positive, else alpha * (e^x - 1).

    Args:
        x: floating array of any shape.
        alpha: float[], no unit; may be traced.

    Returns: array of the shape and dtype of x.
    Raises: ValueError for an alpha that is not one finite number.
    Source: Clevert, Unterthiner and Hochreiter, arXiv:1511.07289, eq. 15. PyTorch: `ELU(alpha)`.

    >>> round(float(elu(-1.0, 2.0)), 4)
    -1.2642
    """
    x = floating(x)
    return jax.nn.elu(x, _number("alpha", alpha, x))


def selu(x: Any) -> jax.Array:
    """Return 1.0507 * elu(x, 1.6733), whose repeated use draws mean and variance towards 0 and 1.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Klambauer et al., "Self-normalizing neural networks", arXiv:1706.02515, eq. 2. PyTorch: `SELU()`.

    >>> round(float(selu(1.0)), 4)
    1.0507
    """
    return jax.nn.selu(floating(x))


def mish(x: Any) -> jax.Array:
    """Return x * tanh(log(1 + e^x)) elementwise.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Misra, "Mish: a self regularized non-monotonic activation function", arXiv:1908.08681. PyTorch: `Mish()`.

    >>> round(float(mish(1.0)), 4)
    0.8651
    """
    return jax.nn.mish(floating(x))


def softplus(x: Any) -> jax.Array:
    """Return log(1 + e^x) elementwise, a smooth relu.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Dugas et al., "Incorporating second-order functional knowledge" (2001). PyTorch: `Softplus()`, which is the
        identity above 20.

    >>> round(float(softplus(0.0)), 4)
    0.6931
    """
    return jax.nn.softplus(floating(x))


def hard_swish(x: Any) -> jax.Array:
    """Return x * min(max(x + 3, 0), 6) / 6 elementwise, swish in straight pieces.

    Args:
        x: floating array of any shape.

    Returns: array of the shape and dtype of x.
    Source: Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, section 5.2. PyTorch: `Hardswish()`.

    >>> round(float(hard_swish(1.0)), 4)
    0.6667
    """
    return jax.nn.hard_swish(floating(x))


def softmax(x: Any, temperature: Scalar = 1.0, axis: int = -1) -> jax.Array:
    """Return exp(x / temperature), divided by its sum over an axis: shares, and no elementwise function.

    Args:
        x: floating array.
        temperature: float[], in the unit of x, above 0; may be traced. A low one is near one-hot, a high one near even.
        axis: over which the shares sum to 1.

    Returns: array of the shape and dtype of x.
    Raises: ValueError for a concrete temperature that is not positive.
    Source: Bridle (1990); with temperature Hinton, Vinyals and Dean, arXiv:1503.02531, eq. 1. PyTorch: `Softmax(dim)`.

    >>> softmax(jnp.zeros(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    one_number("temperature", temperature, 0.0, open_low=True)
    x = floating(x)
    return jax.nn.softmax(x / jnp.asarray(temperature, x.dtype), axis=axis)


def floating(x: Any) -> jax.Array:
    """x as an array, in the default floating dtype where it holds whole numbers or bools.

    >>> floating(jnp.array([1, 2])).dtype.name
    'float32'
    """
    array = jnp.asarray(x)
    exact = jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool
    return array.astype(jnp.result_type(float)) if exact else array


def _number(name: str, value: Any, x: jax.Array) -> jax.Array:
    """One number in the dtype of x, so that it does not widen the result."""
    one_number(name, value)
    return jnp.asarray(value, x.dtype)
