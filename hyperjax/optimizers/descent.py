"""Rules that keep no second moment, by their usual names, with optax's arguments, order and defaults."""

from typing import Any

import optax

from hyperjax.optimizers.table import rule
from hyperjax.optimizers.update import by_rule
from hyperjax.types import Mask, Number


def sgd(
    learning_rate: Number,
    momentum: Number | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent, with momentum or Nesterov's momentum where asked.

        update = -learning_rate * g

    The reference of all others: the least memory, and often the best final accuracy once the rate is tuned. It is slow
    along shallow directions and diverges above 2 / (largest curvature). PyTorch: `SGD(lr, momentum, nesterov=...)`.

    Args:
        learning_rate: float, array, tracer or schedule, in parameters per gradient.
        momentum: decay of the buffer, in [0, 1); None: no buffer (and `nesterov` is not read, as in optax).
        nesterov: apply the momentum once more to the step.
        accumulator_dtype: dtype of the buffer; None: the parameter's.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Robbins and Monro, 1951, A stochastic approximation method.

    >>> import jax.numpy as jnp
    >>> transform = sgd(0.1)
    >>> update, _ = transform.update(2.0 * jnp.ones(()), transform.init(jnp.ones(())))
    >>> print(f"{update:.4f}")
    -0.2000
    """
    if momentum is None:
        return by_rule(rule("sgd"), learning_rate)
    row = rule("nesterov" if nesterov else "momentum", momentum=momentum)
    return by_rule(row, learning_rate, mu_dtype=accumulator_dtype)


def momentum(
    learning_rate: Number,
    momentum: Number = 0.9,
    accumulator_dtype: Any | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with heavy-ball momentum.

        m <- momentum * m + g
        update = -learning_rate * m

    Speeds up along directions that persist and damps those that oscillate. The effective rate is
    learning_rate / (1 - momentum), so the two must be tuned together; it overshoots where the curvature changes.
    PyTorch: `SGD(lr, momentum)` with dampening 0 (it multiplies by the rate outside the buffer as well).

    Args:
        learning_rate: float, array, tracer or schedule.
        momentum: decay of the buffer, in [0, 1).
        accumulator_dtype: dtype of the buffer; None: the parameter's.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Polyak, 1964, Some methods of speeding up the convergence of iteration methods, eq. 9.

    >>> import jax.numpy as jnp
    >>> transform = momentum(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1000
    """
    row = rule("momentum", momentum=momentum)
    return by_rule(row, learning_rate, mu_dtype=accumulator_dtype)


def nesterov(
    learning_rate: Number,
    momentum: Number = 0.9,
    accumulator_dtype: Any | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with Nesterov's momentum.

        m <- momentum * m + g
        update = -learning_rate * (momentum * m + g)

    Corrects the momentum by the gradient that it is about to meet, so it is stable at slightly higher rates than
    heavy-ball. With noisy gradients the difference is small.
    PyTorch: `SGD(lr, momentum, nesterov=True)`.

    Args:
        learning_rate: float, array, tracer or schedule.
        momentum: decay of the buffer, in [0, 1).
        accumulator_dtype: dtype of the buffer; None: the parameter's.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Nesterov, 1983; in this form Sutskever et al., 2013, On the importance of momentum, eq. 3 and 4.

    >>> import jax.numpy as jnp
    >>> transform = nesterov(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1900
    """
    row = rule("nesterov", momentum=momentum)
    return by_rule(row, learning_rate, mu_dtype=accumulator_dtype)


def sign_sgd(learning_rate: Number) -> optax.GradientTransformationExtraArgs:
    """Descent by the sign of the gradient.

        update = -learning_rate * sign(g)

    One bit a parameter, for gradients sent over a slow network, and the plainest rule that does not see the gradient's
    scale. It does not settle without a schedule, and noise in small gradients moves weights as far as large ones do.
    PyTorch has none.

    Args:
        learning_rate: float, array, tracer or schedule: how far each parameter moves.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Bernstein et al., 2018, arXiv:1802.04434, algorithm 1.

    >>> import jax.numpy as jnp
    >>> transform = sign_sgd(0.1)
    >>> update, _ = transform.update(jnp.array([3.0, 0.0]), transform.init(jnp.ones(2)))
    >>> print(update)
    [-0.1 -0. ]
    """
    return by_rule(rule("sign_sgd"), learning_rate)


def lion(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.99,
    mu_dtype: Any | None = None,
    weight_decay: Number = 1e-3,
    mask: Mask = None,
) -> optax.GradientTransformationExtraArgs:
    """Lion: the sign of a momentum.

        update = -learning_rate * (sign(b1 * m + (1 - b1) * g) + weight_decay * p)
        m <- b2 * m + (1 - b2) * g

    One slot only, good on large batches. All steps have one length, so it wants a rate 3 to 10 times below Adam's,
    decay as much higher, and it does not settle without a schedule.
    PyTorch has none; the paper's own code has these numbers.

    Args:
        learning_rate: float, array, tracer or schedule.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        mu_dtype: dtype of the first moment; None: the parameter's.
        weight_decay: decoupled decay, at least 0, multiplied by the learning rate.
        mask: which leaves decay (tree of bools or a function of the parameters); None: all.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Chen et al., 2023, arXiv:2302.06675, algorithm 2.

    >>> import jax.numpy as jnp
    >>> transform = lion(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1001
    """
    row = rule("lion", b1=b1, b2=b2, weight_decay=weight_decay)
    return by_rule(row, learning_rate, mask=mask, mu_dtype=mu_dtype)
