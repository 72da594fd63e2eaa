"""Losses between distributions."""

from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.checks import one_number, require
from hyperjax.losses.classes import cross_entropy
from hyperjax.losses.reduction import kept_entries, per_example, require_within, result_type, widened, with_last_axis
from hyperjax.types import Array, Scalar


def kl_divergence(log_predictions: Any, targets: Any, where: Any = None) -> Array:
    """Kullback-Leibler divergence of predictions from targets, one value per example.

    `sum_c targets_c (log targets_c - log_predictions_c)`; means over the axes between the first and the last.

    Args:
        log_predictions: float[examples, ..., C], logarithms of probabilities.
        targets: float[examples, ..., C], probabilities.
        where: bool, broadcastable to [examples, ...]; False leaves a position out of its example's mean.
    Returns: float[examples] in the type of the predictions, computed in float32 at least.
    Raises: ValueError when the shapes differ or concrete targets are outside [0, 1].
    Source: Kullback & Leibler 1951. optax: `kl_divergence`. PyTorch: `KLDivLoss(reduction="none")` summed over classes.

    >>> print(kl_divergence(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]])))
    [0.6931472]
    """
    predictions, wanted = jnp.asarray(log_predictions), jnp.asarray(targets)
    require(
        predictions.shape == wanted.shape and predictions.ndim >= 1,
        f"targets must have the shape of the predictions, {predictions.shape}, got {wanted.shape}",
    )
    kept = kept_entries(where, wanted.shape[:-1])
    require_within("targets", targets, 0.0, 1.0, with_last_axis(where))
    precise, given = widened(predictions, wanted)
    if kept is not None:
        precise, given = (jnp.where(kept[..., None], each, 0.0) for each in (precise, given))
    return per_example(_divergence(precise, given), kept).astype(result_type(predictions))


def _divergence(log_predictions: Array, targets: Array) -> Array:
    present = targets > 0  # 0 log 0 is 0
    log_targets = jnp.log(jnp.where(present, targets, 1.0))
    return jnp.sum(jnp.where(present, targets * (log_targets - jnp.where(present, log_predictions, 0.0)), 0.0), -1)


def distillation(
    student_logits: Any,
    teacher_logits: Any,
    labels: Any,
    temperature: Scalar = 2.0,
    mix: Scalar = 0.5,
) -> Array:
    """A student's distance to its softened teacher, mixed with its cross-entropy, one value per example.

    `mix T^2 KL(softmax(teacher / T), softmax(student / T)) + (1 - mix) cross_entropy(student, labels)`; nothing flows
    back into the teacher.

    Args:
        student_logits, teacher_logits: float[examples, ..., C], no unit.
        labels: int[examples, ...] in [0, C), or float[examples, ..., C], probabilities.
        temperature: float[], no unit, above 0; may be traced.
        mix: float[], no unit, in [0, 1]; 1 is the teacher alone. May be traced.
    Returns: float[examples] in the type of the student's logits, computed in float32 at least.
    Raises: ValueError on shapes that do not fit, labels out of range, or a number out of its range.
    Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2. optax and PyTorch: none.

    >>> print(distillation(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array([0])))  # log(2) / 2
    [0.3465736]
    """
    one_number("temperature", temperature, 0.0, open_low=True)
    one_number("mix", mix, 0.0, 1.0)
    student, teacher = jnp.asarray(student_logits), jnp.asarray(teacher_logits)
    require(
        student.shape == teacher.shape,
        f"teacher_logits must have the shape of the student's, {student.shape}, got {teacher.shape}",
    )
    precise, guide = widened(student, teacher)
    heat, share = jnp.asarray(temperature, precise.dtype), jnp.asarray(mix, precise.dtype)
    softened = jax.nn.softmax(jax.lax.stop_gradient(guide) / heat, -1)
    apart = per_example(_divergence(jax.nn.log_softmax(precise / heat, -1), softened))
    values = share * heat**2 * apart + (1 - share) * cross_entropy(precise, labels)
    return values.astype(result_type(student))


def gaussian_kl(mean: Any, log_variance: Any) -> Array:
    """Kullback-Leibler divergence of a Gaussian of independent parts from the standard one, one value per example.

    `sum (exp(log_variance) + mean^2 - 1 - log_variance) / 2` over the axes after the first.

    Args:
        mean, log_variance: float[examples, ...] of one shape.
    Returns: float[examples] in the type of the mean, computed in float32 at least; infinite where the variance is too
        large to be written down (a `log_variance` above 88 in float32).
    Raises: ValueError when the shapes differ.
    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B, with its sign turned. optax and PyTorch: none by name.

    >>> print(gaussian_kl(jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2))))
    [0.5]
    """
    centre, spread = jnp.asarray(mean), jnp.asarray(log_variance)
    require(
        centre.shape == spread.shape,
        f"log_variance must have the shape of the mean, {centre.shape}, got {spread.shape}",
    )
    precise, wide = widened(centre, spread)
    values = 0.5 * (jnp.expm1(wide) - wide + jnp.square(precise))
    return jnp.sum(values, tuple(range(1, values.ndim))).astype(result_type(centre))
