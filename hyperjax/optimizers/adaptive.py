"""Rules that divide by the root of a second moment, with optax's arguments, order and defaults."""

from typing import Any

import optax

from hyperjax.checks import within
from hyperjax.optimizers.table import rule
from hyperjax.optimizers.update import by_rule
from hyperjax.types import Mask, Number


def adagrad(
    learning_rate: Number,
    initial_accumulator_value: Number = 0.1,
    eps: Number = 1e-7,
) -> optax.GradientTransformationExtraArgs:
    """Adagrad: each parameter's rate falls with the sum of its squared gradients.

        v <- v + g**2
        update = -learning_rate * g / sqrt(v + eps)

    For sparse features, which keep a high rate. The sum never forgets, so long runs slow to a halt.
    PyTorch: `Adagrad` adds its eps outside the root and starts at 0: pass initial_accumulator_value=0 and a tiny eps.

    Args:
        learning_rate: float, array, tracer or schedule.
        initial_accumulator_value: what the sum of squares starts from, at least 0.
        eps: added under the root of the sum, at least 0, in the gradient's unit squared.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Duchi, Hazan, Singer, 2011, Adaptive subgradient methods, fig. 1.

    >>> import jax.numpy as jnp
    >>> transform = adagrad(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.0953
    """
    row = rule("adagrad", initial_accumulator_value=initial_accumulator_value, eps=eps)
    return by_rule(row, learning_rate)


def rmsprop(
    learning_rate: Number,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """RMSprop: the gradient over the root of its mean square.

        v <- decay * v + (1 - decay) * g**2;  n <- decay * n + (1 - decay) * g (centered, else n = 0)
        q = -learning_rate * g / sqrt(v - n**2 + eps)
        update = q, or with momentum b <- momentum * b + q and update = b (nesterov: momentum * b + q)

    For non-stationary problems and recurrent networks. Without bias correction the first steps are too long, by
    1 / sqrt(1 - decay).
    PyTorch: eps_in_sqrt=False and decay=alpha=0.99; its momentum keeps the rate outside the buffer.

    Args:
        learning_rate: float, array, tracer or schedule.
        decay: of the mean square, in [0, 1).
        eps: at least 0; added under the root, in the gradient's unit squared, or outside, in the gradient's unit.
        initial_scale: what the mean square starts from, at least 0.
        eps_in_sqrt: add eps under the root (the default), else outside.
        centered: divide by the standard deviation instead.
        momentum: decay of the buffer, in [0, 1).
        nesterov: apply the momentum once more to the step.
        bias_correction: debias the averages as Adam does.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Tieleman and Hinton, 2012, Lecture 6.5; centered: Graves, 2013, Generating sequences, eq. 38 to 41.

    >>> import jax.numpy as jnp
    >>> transform = rmsprop(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.3162
    """
    row = rule(
        "rmsprop",
        decay=decay,
        eps=eps,
        initial_scale=initial_scale,
        eps_in_sqrt=eps_in_sqrt,
        centered=centered,
        momentum=momentum,
        nesterov=nesterov,
        bias_correction=bias_correction,
    )
    return by_rule(row, learning_rate)


def adam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any | None = None,
    *,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adam: debiased averages of the gradient over the root of its square.

        m <- b1 * m + (1 - b1) * g;  v <- b2 * v + (1 - b2) * g**2
        update = -learning_rate * m / (1 - b1**t) / (sqrt(v / (1 - b2**t) + eps_root) + eps)

    The default for networks: steps of about the learning rate whatever the gradient's scale. Its coupled weight decay
    is weakened where gradients are large (use `adamw`), and it can end in worse minima than tuned momentum.
    PyTorch: `Adam` with the same numbers.

    Args:
        learning_rate: float, array, tracer or schedule.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, at least 0, in the gradient's unit.
        eps_root: added under the root, at least 0, in the gradient's unit squared.
        mu_dtype: dtype of the first moment; None: the parameter's.
        nesterov: apply the momentum once more to the step.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Kingma and Ba, 2015, arXiv:1412.6980, algorithm 1; nesterov: Dozat, 2016.

    >>> import jax.numpy as jnp
    >>> transform = adam(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1000
    """
    row = rule("adam", b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    return by_rule(row, learning_rate, mu_dtype=mu_dtype)


def adamw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any | None = None,
    weight_decay: Number = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """AdamW: Adam with decoupled weight decay.

        m <- b1 * m + (1 - b1) * g;  v <- b2 * v + (1 - b2) * g**2
        u = -learning_rate * m / (1 - b1**t) / (sqrt(v / (1 - b2**t) + eps_root) + eps)
        update = u - learning_rate * weight_decay * p

    Decay acts alike on all parameters, so its strength and the rate can be tuned apart. It decays biases and norms too
    unless `mask` says otherwise.
    PyTorch: `AdamW`, whose default weight_decay is 1e-2.

    Args:
        learning_rate: float, array, tracer or schedule.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, at least 0, in the gradient's unit.
        eps_root: added under the root, at least 0, in the gradient's unit squared.
        mu_dtype: dtype of the first moment; None: the parameter's.
        weight_decay: decoupled decay, at least 0, multiplied by the learning rate.
        mask: which leaves decay (tree of bools or a function of the parameters); None: all.
        nesterov: apply the momentum once more to the step.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Loshchilov and Hutter, 2019, arXiv:1711.05101, algorithm 2.

    >>> import jax.numpy as jnp
    >>> transform = adamw(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1000
    """
    row = rule("adamw", b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay, nesterov=nesterov)
    return by_rule(row, learning_rate, mask=mask, mu_dtype=mu_dtype)


def adadelta(
    learning_rate: Number | None = None,
    rho: Number = 0.9,
    eps: Number = 1e-6,
    weight_decay: Number = 0.0,
    weight_decay_mask: Mask = None,
) -> optax.GradientTransformationExtraArgs:
    """Adadelta: the gradient scaled by the ratio of past updates to past gradients.

        v <- rho * v + (1 - rho) * g**2
        q = sqrt(s + eps) / sqrt(v + eps) * g;  s <- rho * s + (1 - rho) * q**2
        update = -learning_rate * q

    Needs no rate in principle (learning_rate=1). Starts slowly, since eps alone sets the first steps.
    PyTorch: `Adadelta(lr=1.0, rho, eps)`; weight_decay is coupled there too.

    Args:
        learning_rate: float, array, tracer or schedule; None: 1, and updates keep the gradient's sign, as in optax.
        rho: decay of both averages, in [0, 1).
        eps: added under both roots, at least 0, in the gradient's unit squared.
        weight_decay: coupled decay, at least 0: `weight_decay * p` is added to the gradient.
        weight_decay_mask: which leaves decay (tree of bools or a function of the parameters); None: all.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Zeiler, 2012, arXiv:1212.5701, algorithm 1.

    >>> import jax.numpy as jnp
    >>> transform = adadelta(learning_rate=0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.0003
    """
    within("weight_decay", weight_decay, 0.0)
    row = rule("adadelta", rho=rho, eps=eps, l2=weight_decay)
    rate = _turned if learning_rate is None else learning_rate
    return by_rule(row, rate, mask=weight_decay_mask)


def _turned(count: Any) -> float:
    """The rate that undoes the sign of an update: a schedule, since a number would have to be at least 0."""
    return -1.0


def nadam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any | None = None,
    *,
    nesterov: bool = True,
    momentum_decay: Number | None = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam: Adam with Nesterov's look ahead.

        n = b1 * m / (1 - b1**(t + 1)) + (1 - b1) * g / (1 - b1**t)
        update = -learning_rate * n / (sqrt(v / (1 - b2**t) + eps_root) + eps)
        with m and v as in Adam

    Somewhat faster than Adam early on; otherwise it shares its weaknesses.
    With `momentum_decay` it is Dozat's own form, whose momentum grows towards b1 over the steps:

        u_t = b1 * (1 - 0.96**(t * momentum_decay) / 2);  U_t = u_1 * ... * u_t
        direction = u_{t+1} * m / (1 - U_{t+1}) + (1 - u_t) * g / (1 - U_t)

    PyTorch: `NAdam` is that form, `momentum_decay=4e-3`. Without it these are optax's numbers, with constant b1.

    Args:
        learning_rate: float, array, tracer or schedule.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, at least 0, in the gradient's unit.
        eps_root: added under the root, at least 0, in the gradient's unit squared.
        mu_dtype: dtype of the first moment; None: the parameter's.
        nesterov: False makes it Adam, as in optax, and leaves no room for `momentum_decay`.
        momentum_decay: how fast the momentum grows, per step, at least 0; None: it is b1 from the start.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Dozat, 2016, Incorporating Nesterov momentum into Adam, algorithm 2 and section 2.2.

    >>> import jax.numpy as jnp
    >>> transform = nadam(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1474
    """
    arguments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    row = rule("nadam", nesterov=nesterov, momentum_decay=momentum_decay, **arguments)
    return by_rule(row, learning_rate, mu_dtype=mu_dtype)


def radam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    *,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """RAdam: Adam that waits for its second moment before it divides by it.

        n = 2 / (1 - b2) - 1;  n_t = n - 2 * t * b2**t / (1 - b2**t)
        update = -learning_rate * r * (Adam's direction) where n_t >= threshold, else -learning_rate * m / (1 - b1**t)
        r = sqrt((n_t - 4) * (n_t - 2) * n / ((n - 4) * (n - 2) * n_t))

    Makes a warm-up mostly unnecessary. Its first steps are plain momentum steps, whose length depends on the gradient's
    scale.
    PyTorch: `RAdam` with the same numbers (threshold 5, eps outside the root).

    Args:
        learning_rate: float, array, tracer or schedule.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, at least 0, in the gradient's unit.
        eps_root: added under the root, at least 0, in the gradient's unit squared.
        threshold: length of the variance's memory, in steps, from which to precondition, at least 4.
        nesterov: apply the momentum once more to the step.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: Liu et al., 2020, arXiv:1908.03265, algorithm 2.

    >>> import jax.numpy as jnp
    >>> transform = radam(0.1)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1000
    """
    row = rule("radam", b1=b1, b2=b2, eps=eps, eps_root=eps_root, threshold=threshold, nesterov=nesterov)
    return by_rule(row, learning_rate)


def nadamw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any | None = None,
    weight_decay: Number = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = True,
    momentum_decay: Number | None = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdamW: NAdam with decoupled weight decay.

        update = (NAdam's) - learning_rate * weight_decay * p

    Strong in tuned comparisons of optimizers (AlgoPerf's baseline); its weaknesses are Adam's.
    PyTorch: `NAdam(decoupled_weight_decay=True, momentum_decay=4e-3)`, whose default weight_decay is 0.

    Args:
        learning_rate: float, array, tracer or schedule.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, at least 0, in the gradient's unit.
        eps_root: added under the root, at least 0, in the gradient's unit squared.
        mu_dtype: dtype of the first moment; None: the parameter's.
        weight_decay: decoupled decay, at least 0, multiplied by the learning rate.
        mask: which leaves decay (tree of bools or a function of the parameters); None: all.
        nesterov, momentum_decay: as in `nadam`; without `nesterov` it is AdamW.
    Returns: an optax transformation whose state is a `RuleState`.
    Source: `optax.nadamw`; Dozat, 2016, and Loshchilov and Hutter, 2019, arXiv:1711.05101.

    >>> import jax.numpy as jnp
    >>> transform = nadamw(0.1, weight_decay=0.5)
    >>> update, _ = transform.update(jnp.ones(()), transform.init(jnp.ones(())), jnp.ones(()))
    >>> print(f"{update:.4f}")
    -0.1974
    """
    arguments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
    row = rule("nadamw", nesterov=nesterov, momentum_decay=momentum_decay, **arguments)
    return by_rule(row, learning_rate, mask=mask, mu_dtype=mu_dtype)
