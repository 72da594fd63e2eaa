"""The schedules of one piece, under optax's names and with its arguments."""

from hyperjax.schedules.building import piece
from hyperjax.schedules.lengths import Length
from hyperjax.schedules.schedule import Schedule
from hyperjax.types import Scalar


def constant(value: Scalar) -> Schedule:
    """The same number at every step.

    `s(t) = value`

    Args:
        value: float[], in the unit of what is scheduled.
    Returns: a `Schedule`.
    Raises: ValueError when the value is not a finite number.
    Source: `optax.constant_schedule`; PyTorch: no scheduler.

    >>> print(constant(0.1)(1000))
    0.1
    """
    return piece("constant", value=value)


def linear(
    init_value: Scalar,
    end_value: Scalar,
    transition_steps: Length | Scalar,
    transition_begin: Length | Scalar = 0,
) -> Schedule:
    """A straight line from one value to another, level before and after.

    `s(t) = init_value + (end_value - init_value) clip((t - transition_begin) / transition_steps, 0, 1)`;
    `init_value` throughout when `transition_steps` is 0.

    Args:
        init_value, end_value: float[], in the unit of what is scheduled.
        transition_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
        transition_begin: length, at least 0.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or a number that is not finite.
    Source: `optax.linear_schedule`; PyTorch's `LinearLR` with factors of the initial value.

    >>> print(linear(1.0, 0.2, transition_steps=8, transition_begin=2)(6))
    0.6
    """
    return piece(
        "linear",
        init_value=init_value,
        end_value=end_value,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )


def exponential_decay(
    init_value: Scalar,
    transition_steps: Length | Scalar,
    decay_rate: Scalar,
    transition_begin: Length | Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """Multiply by `decay_rate` over every `transition_steps`, smoothly or at once.

    `s(t) = init_value decay_rate^p`, `p = max(t - transition_begin, 0) / transition_steps`, rounded down when
    `staircase`; `end_value` bounds it from below when `decay_rate < 1`, from above otherwise. `init_value`
    throughout when `transition_steps` or `decay_rate` is 0.

    Args:
        init_value: float[], in the unit of what is scheduled.
        transition_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
        decay_rate: float[], no unit, at least 0.
        transition_begin: length, at least 0.
        staircase: whether the exponent is rounded down; may be traced.
        end_value: float[] or None for no bound.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or rate, or a number that is not finite.
    Source: `optax.exponential_decay`; PyTorch's `ExponentialLR(gamma)` is `decay_rate` with an epoch as length.

    >>> print(exponential_decay(1.0, transition_steps=10, decay_rate=0.5)(20))
    0.25
    """
    return piece(
        "exponential_decay",
        init_value=init_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        staircase=staircase,
        end_value=end_value,
    )


def cosine_decay(
    init_value: Scalar, decay_steps: Length | Scalar, alpha: Scalar = 0.0, exponent: Scalar = 1.0
) -> Schedule:
    """Half a cosine from `init_value` down to `alpha` times it, level afterwards.

    `s(t) = init_value ((1 - alpha) c^exponent + alpha)`, `c = (1 + cos(pi min(t / decay_steps, 1))) / 2`

    Args:
        init_value: float[], in the unit of what is scheduled.
        decay_steps: length, above 0: steps, `epochs(e)` or `fraction(f)`; a traced 0 ends the decay after step 0.
        alpha: float[], no unit; the final value as a multiple of the first.
        exponent: float[], no unit, at least 0.
    Returns: a `Schedule`.
    Raises: ValueError on a length that is not positive, a negative exponent or a number that is not finite.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5 without restarts; `optax.cosine_decay_schedule`;
        PyTorch's `CosineAnnealingLR(T_max, eta_min)` with `alpha = eta_min / init_value`.

    >>> print(cosine_decay(1.0, decay_steps=10)(10))
    0.0
    """
    return piece("cosine_decay", init_value=init_value, decay_steps=decay_steps, alpha=alpha, exponent=exponent)


def cosine(
    init_value: Scalar, end_value: Scalar, transition_steps: Length | Scalar, exponent: Scalar = 1.0
) -> Schedule:
    """Half a cosine from one value to another, level afterwards.

    `s(t) = init_value w + end_value (1 - w)`, `w = ((1 + cos(pi min(t / transition_steps, 1))) / 2)^exponent`

    Args:
        init_value, end_value: float[], in the unit of what is scheduled.
        transition_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`; 0 ends it after step 0.
        exponent: float[], no unit, at least 0.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or exponent, or a number that is not finite.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5; PyTorch's `CosineAnnealingLR(T_max, eta_min)`.

    >>> print(cosine(1.0, 0.5, transition_steps=10)(5))
    0.75
    """
    return piece(
        "cosine", init_value=init_value, end_value=end_value, transition_steps=transition_steps, exponent=exponent
    )


def polynomial(
    init_value: Scalar,
    end_value: Scalar,
    power: Scalar,
    transition_steps: Length | Scalar,
    transition_begin: Length | Scalar = 0,
) -> Schedule:
    """From one value to another along a power, level before and after.

    `s(t) = end_value + (init_value - end_value) (1 - clip((t - transition_begin) / transition_steps, 0, 1))^power`;
    `init_value` throughout when `transition_steps` is 0.

    Args:
        init_value, end_value: float[], in the unit of what is scheduled.
        power: float[], no unit, at least 0.
        transition_steps: length, at least 0: steps, `epochs(e)` or `fraction(f)`.
        transition_begin: length, at least 0.
    Returns: a `Schedule`.
    Raises: ValueError on a negative length or power, or a number that is not finite.
    Source: `optax.polynomial_schedule`; PyTorch's `PolynomialLR(total_iters, power)` with an `end_value` of 0.

    >>> print(polynomial(1.0, 0.0, power=2.0, transition_steps=10)(5))
    0.25
    """
    return piece(
        "polynomial",
        init_value=init_value,
        end_value=end_value,
        power=power,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )


def cosine_restarts(
    init_value: Scalar,
    period: Length | Scalar,
    end_value: Scalar = 0.0,
    period_multiplier: Scalar = 1.0,
    peak_multiplier: Scalar = 1.0,
) -> Schedule:
    """Half a cosine down, again and again, each cycle longer and lower than the one before.

    In cycle `n`, which lasts `period period_multiplier^n` and begins at `b_n`:
    `s(t) = end_value + (init_value peak_multiplier^n - end_value) (1 + cos(pi (t - b_n) / length_n)) / 2`

    Args:
        init_value: float[], the first peak, in the unit of what is scheduled.
        period: length of the first cycle, above 0: steps, `epochs(e)` or `fraction(f)`; a traced 0 keeps `init_value`.
        end_value: float[], in the same unit, approached at the end of each cycle.
        period_multiplier: float[], no unit, at least 1. Its derivative is that within a cycle, and 0 at exactly 1.
        peak_multiplier: float[], no unit, at least 0.
    Returns: a `Schedule`, which never ends.
    Raises: ValueError on a number out of its range or not finite.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, section 3; PyTorch's `CosineAnnealingWarmRestarts(T_0, T_mult,
        eta_min)`; optax: `sgdr_schedule`, where each cycle is written out.

    >>> import numpy as np
    >>> print(np.asarray(cosine_restarts(1.0, period=4, period_multiplier=2.0)(np.array([0, 2, 4, 8, 12]))).round(2))
    [1.  0.5 1.  0.5 1. ]
    """
    return piece(
        "cosine_restarts",
        init_value=init_value,
        period=period,
        end_value=end_value,
        period_multiplier=period_multiplier,
        peak_multiplier=peak_multiplier,
    )


def triangular(low: Scalar, high: Scalar, half_period: Length | Scalar, peak_multiplier: Scalar = 1.0) -> Schedule:
    """Up and down between two values in straight lines, each cycle lower than the one before.

    `s(t) = low + (high - low) peak_multiplier^n (1 - |t / half_period - 2 n - 1|)`, `n = floor(t / (2 half_period))`

    Args:
        low, high: float[], in the unit of what is scheduled.
        half_period: length of a rise, above 0: steps, `epochs(e)` or `fraction(f)`; a traced 0 keeps `low`.
        peak_multiplier: float[], no unit, at least 0; scales each cycle's height.
    Returns: a `Schedule`, which never ends.
    Raises: ValueError on a number out of its range or not finite.
    Source: Smith 2017, arXiv:1506.01186, section 3; see `cyclic` for its modes by name.

    >>> import numpy as np
    >>> print(triangular(0.0, 1.0, half_period=2)(np.arange(5)))
    [0.  0.5 1.  0.5 0. ]
    """
    return piece("triangular", low=low, high=high, half_period=half_period, peak_multiplier=peak_multiplier)


def inverse_sqrt_decay(init_value: Scalar, timescale: Length | Scalar) -> Schedule:
    """Fall with the inverse square root of time, for ever.

    `s(t) = init_value / sqrt(1 + t / timescale)`

    Args:
        init_value: float[], in the unit of what is scheduled.
        timescale: length, above 0, after which it has fallen by the root of 2; a traced 0 keeps `init_value`.
    Returns: a `Schedule`.
    Raises: ValueError on a timescale that is not positive or a number that is not finite.
    Source: what follows the warm-up in Vaswani et al. 2017, arXiv:1706.03762, equation 3; see `inverse_sqrt`.

    >>> print(inverse_sqrt_decay(1.0, timescale=10)(30))
    0.5
    """
    return piece("inverse_sqrt_decay", init_value=init_value, timescale=timescale)


def step_decay(init_value: Scalar, decay_rate: Scalar, transition_steps: Length | Scalar) -> Schedule:
    """Multiply by `decay_rate` at the end of every `transition_steps`.

    `s(t) = init_value decay_rate^floor(t / transition_steps)`

    Args:
        init_value: float[], in the unit of what is scheduled.
        decay_rate: float[], no unit, at least 0.
        transition_steps: length, above 0: steps, `epochs(e)` or `fraction(f)`; a traced 0 keeps `init_value`.
    Returns: a `Schedule`.
    Raises: ValueError on a length that is not positive, a negative rate or a number that is not finite.
    Source: PyTorch's `StepLR(step_size, gamma)`; `optax.exponential_decay(staircase=True)`.

    >>> print(step_decay(1.0, 0.5, transition_steps=10)(25))
    0.25
    """
    return piece("step_decay", init_value=init_value, decay_rate=decay_rate, transition_steps=transition_steps)
